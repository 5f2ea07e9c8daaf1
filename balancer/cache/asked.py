"""What a request says about caching, read once: a head that comes again is asked for what was made of it before.

It never decides whether a stored response is good enough (:mod:`balancer.cache.reuse` does).
"""

import re
from typing import Final

from balancer.cache.dates import OVERFLOW
from balancer.cache.directives import ABSENT, RequestControl, request_control
from balancer.cache.keys import NamePatterns, argument_name, cookie_pairs
from balancer.cache.messages import Request
from balancer.cache.policy import BypassPolicy, CachePolicy
from balancer.cache.vary import matches
from balancer.core.route_spec import HeaderCondition, HeaderPattern

CACHED_METHODS: Final = frozenset({b"GET", b"HEAD", b"QUERY"})
"""Methods whose requests stored responses may answer. Of POST, RFC 9110 section 9.3.3 would allow it; nobody asks."""

CONDITIONS: Final = (b"if-none-match", b"if-modified-since")
"""The preconditions that a cache answers (RFC 9111 section 4.3.2)."""
ORIGINS_CONDITIONS: Final = (b"if-match", b"if-unmodified-since")
"""Those that the origin server alone may evaluate: a request that has one goes past the cache."""


LONGEST_FIT: Final = 512
"""Bytes of nominated fields that are remembered so; longer ones are compared each time."""

MAX_FITS: Final = 64
"""Forms of nominated fields that one request's answers are remembered for: two full sets of variants."""


class Asked:
    """See the module. Of the request itself it keeps nothing.

    :ivar method: the request's.
    :ivar cacheable: a stored response may answer it, and its response may be stored.
    :ivar bypass: why it goes past the cache, in words; empty where it does not, or where its method is none of ours.
    :ivar plain: a GET that asks for nothing more than a fresh response: one is sent to it as it is, whole.
    :ivar may_store: nothing in the request forbids to store what it brings (or to freshen what is stored).
    :ivar no_cache: it wants a validated response.
    :ivar max_age: the greatest age it takes, in seconds; ``None`` for any.
    :ivar min_fresh: seconds for which it wants a response to be fresh yet; ``None`` where it does not say.
    :ivar max_stale: seconds past its lifetime that it takes one; ``inf`` for any; ``None`` where it does not say.
    :ivar stale_if_error: likewise where the origin fails (RFC 5861 section 4).
    :ivar only_if_cached: it wants no response of the origin's.
    :ivar authorized: it has Authorization.
    :ivar conditional: it has preconditions that what is stored may answer.
    :ivar ranged: it asks for a part; of other methods than GET that counts for nothing (RFC 9110 section 14.2).
    """

    __slots__ = (
        "_fits", "authorized", "bypass", "cacheable", "conditional", "max_age", "max_stale", "may_store", "method",
        "min_fresh", "no_cache", "only_if_cached", "plain", "ranged", "stale_if_error",
    )  # fmt: skip

    def __init__(self, request: Request, policy: CachePolicy) -> None:
        control = request_control(request)
        self._fits: dict[bytes, bool] = {}
        self.method = request.method
        self.bypass = _bypass(request, policy.bypass)
        self.cacheable = request.method in CACHED_METHODS and not self.bypass
        self.may_store = self.cacheable and not control.no_store
        self.only_if_cached = control.only_if_cached
        heeded = control if policy.request_directives else RequestControl([])
        self.no_cache = heeded.no_cache
        self.max_age = _told(heeded.max_age)
        self.min_fresh = _told(heeded.min_fresh)
        self.max_stale = _told(heeded.max_stale)
        if heeded.max_stale == OVERFLOW:
            self.max_stale = float("inf")
        self.stale_if_error = _told(heeded.stale_if_error)
        self.authorized = request.get(b"authorization") is not None
        self.conditional = any(request.get(name) is not None for name in CONDITIONS)
        self.ranged = request.method == b"GET" and request.get(b"range") is not None
        self.plain = (
            self.cacheable
            and request.method == b"GET"
            and not (self.conditional or self.ranged or self.no_cache)
            and self.max_age is None
            and self.min_fresh is None
        )

    def fits(self, nominated: bytes, request: Request) -> bool:
        """Whether a response that was stored with these nominated fields is for this request: it is told once, then
        remembered.

        :param request: the one this was made of, or one with the same head.
        """
        if not nominated:
            return True
        if len(nominated) > LONGEST_FIT:
            return matches(nominated, request)
        found = self._fits.get(nominated)
        if found is None:
            if len(self._fits) >= MAX_FITS:
                self._fits.clear()
            found = self._fits[nominated] = matches(nominated, request)
        return found

    def __repr__(self) -> str:
        said = [name for name in ("cacheable", "plain", "may_store", "no_cache", "ranged") if getattr(self, name)]
        return f"<Asked {self.method.decode('latin-1')} {' '.join(said)}>"


def _told(seconds: int) -> float | None:
    return None if seconds == ABSENT else float(seconds)


def _bypass(request: Request, policy: BypassPolicy) -> str:
    """What sends a request past the cache, in words; empty for nothing."""
    for condition in ORIGINS_CONDITIONS:
        if request.get(condition) is not None:
            return f"header {condition.decode('ascii')}"
    if policy.headers:
        for name, wanted in policy.headers.items():
            if _holds(wanted, request.get_all(name.encode("ascii"))):
                return f"header {name}"
    if policy.cookies:
        cookies = NamePatterns(policy.cookies)
        if any(cookies.match(name) for name, _ in cookie_pairs(request)):
            return f"cookie {_first(cookies, [name for name, _ in cookie_pairs(request)])}"
    if policy.query and request.query is not None:
        arguments = NamePatterns(policy.query)
        if any(arguments.match(argument_name(part)) for part in request.query.split(b"&")):
            return f"query {_first(arguments, [argument_name(part) for part in request.query.split(b'&')])}"
    return ""


def _first(patterns: NamePatterns, names: list[bytes]) -> str:
    """The name that was met, as far as it is worth telling."""
    return next((name for name in names if patterns.match(name)), b"")[:64].decode("latin-1")


def _holds(wanted: HeaderCondition, values: list[bytes]) -> bool:
    if isinstance(wanted, HeaderPattern):
        pattern = wanted.regex.encode("ascii")
        return any(re.fullmatch(pattern, value, re.DOTALL) is not None for value in values)
    if isinstance(wanted, str):
        return wanted.encode("utf-8") in values
    return bool(values) is wanted
