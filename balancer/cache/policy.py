"""The settings of a cache: `[cache.NAME]`. Frozen values with their checks, documented key by key.

Names of fields are lower case in them, whoever wrote them. Nothing here looks at a request or a response.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import AfterValidator
from typing_extensions import Doc

from balancer.core.guard_policy import Source, checked_source
from balancer.core.route_spec import HeaderCondition, checked_field_name
from balancer.core.units import Count, CountOrZero, Seconds, SecondsOrZero, Share, Size

SHORTEST_TOKEN = 16
"""Characters of a token: of letters and digits, these are 95 bits, which nobody guesses through a network."""

_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1, b64token
_SEPARATOR = re.compile("[&=#]")
_COOKIE = re.compile(r"[!#$%&'+\-.^_`|~0-9A-Za-z]+")  # RFC 6265 section 4.1.1: a token, here without "*"
_LABEL = re.compile(r"[ -~]{0,64}")


def checked_argument(name: str) -> str:
    """Return the name of an argument of a query, or with ``*`` at its end the beginning of some.

    :raises ValueError: it is no name, or has a ``*`` elsewhere.
    """
    if not name.isprintable() or name != name.strip() or not name or _SEPARATOR.search(name) is not None:
        raise ValueError('the name of an argument, written decoded, without "&", "=", "#" and spaces around it')
    return checked_end(name)


def checked_cookie(name: str) -> str:
    """Return the name of a cookie.

    :raises ValueError: it is not a token, or has a ``*``, which would look like any.
    """
    if _COOKIE.fullmatch(name) is None:
        raise ValueError("the whole name of a cookie: letters, digits and !#$%&'+-.^_`|~ (RFC 6265 section 4.1.1)")
    return name


def checked_cookies(name: str) -> str:
    """Return the name of a cookie, or with ``*`` at its end the beginning of some.

    :raises ValueError: it is not a token, or has a ``*`` elsewhere.
    """
    if name != "*":
        checked_cookie(checked_end(name).removesuffix("*"))
    return name


def checked_end(name: str) -> str:
    """Return the name.

    :raises ValueError: it has a ``*`` elsewhere than at its end.
    """
    if "*" in name[:-1]:
        raise ValueError('a name with no "*" elsewhere than at its end, where it stands for anything')
    return name


def checked_token(token: str) -> str:
    """Return the token.

    :raises ValueError: it is short, or could not stand behind ``Authorization: Bearer``; the message does not show it.
    """
    if len(token) < SHORTEST_TOKEN or _BEARER.fullmatch(token) is None:
        raise ValueError(
            f'at least {SHORTEST_TOKEN} letters, digits, "-", ".", "_", "~", "+" and "/", and "=" at the end alone '
            "(RFC 6750 section 2.1); python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    return token


def checked_label(name: str) -> str:
    """Return what Cache-Status calls a cache.

    :raises ValueError: it is no String of RFC 8941 section 3.3.3, or a long one.
    """
    if _LABEL.fullmatch(name) is None:
        raise ValueError("at most 64 visible ASCII characters and spaces")
    return name


FieldName = Annotated[str, AfterValidator(checked_field_name)]
Argument = Annotated[str, AfterValidator(checked_argument)]
Cookie = Annotated[str, AfterValidator(checked_cookie)]
Cookies = Annotated[str, AfterValidator(checked_cookies)]


def _lowered(policy: object, *keys: str) -> None:
    """Names of fields as they are compared, also where no file was read."""
    for key in keys:
        object.__setattr__(policy, key, tuple(map(checked_field_name, getattr(policy, key))))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """What requests are told apart by, beside scheme, host and path."""

    __pydantic_config__ = {"extra": "forbid"}

    query: Annotated[
        bool, Doc("Whether the query counts; with false, or with the two keys below, servers should not look at it.")
    ] = True
    include_query: Annotated[
        tuple[Argument, ...],
        Doc(
            'The only arguments of the query that count, by name (written decoded; case does not count); "utm_*" '
            "stands for all that begin so."
        ),
    ] = ()
    exclude_query: Annotated[
        tuple[Argument, ...],
        Doc('Arguments of the query that do not count, by name; "utm_*" stands for all that begin so.'),
    ] = ()
    sort_query: Annotated[bool, Doc("Whether the order of the arguments does not count.")] = False
    headers: Annotated[tuple[FieldName, ...], Doc("Request fields whose values count, whatever Vary says.")] = ()
    cookies: Annotated[tuple[Cookie, ...], Doc("Cookies whose values count.")] = ()
    host: Annotated[bool, Doc("Whether the host counts; with false all hosts have the same pages.")] = True

    def __post_init__(self) -> None:
        _lowered(self, "headers")
        if self.include_query and self.exclude_query:
            raise ValueError('only one of "include_query" and "exclude_query" can be given')
        if not self.query and (self.include_query or self.exclude_query or self.sort_query):
            key = next(key for key in ("include_query", "exclude_query", "sort_query") if getattr(self, key))
            raise ValueError(f'"{key}" says nothing beside "query" = false')
        for name in (*self.include_query, *self.exclude_query):
            checked_argument(name)
        for name in self.cookies:
            checked_cookie(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassPolicy:
    """Requests that go past the cache: nothing is looked up, nothing stored."""

    __pydantic_config__ = {"extra": "forbid"}

    headers: Annotated[
        Mapping[FieldName, HeaderCondition],
        Doc("Conditions on request fields, one of which is enough; as in a route's `headers`."),
    ] = field(default_factory=dict)
    cookies: Annotated[
        tuple[Cookies, ...],
        Doc('Cookies whose presence is enough, by name; "wordpress_*" stands for all that begin so.'),
    ] = ()
    query: Annotated[
        tuple[Argument, ...],
        Doc('Arguments of the query whose presence is enough, by name; "*" at the end stands for all that begin so.'),
    ] = ()

    def __post_init__(self) -> None:
        headers = {checked_field_name(name): condition for name, condition in self.headers.items()}
        object.__setattr__(self, "headers", headers)
        for name in self.cookies:
            checked_cookies(name)
        for name in self.query:
            checked_argument(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePolicy:
    """Who may purge by HTTP requests of the method PURGE."""

    __pydantic_config__ = {"extra": "forbid"}

    token: Annotated[
        str,
        AfterValidator(checked_token),
        Doc(f"What `Authorization: Bearer` has to say, at least {SHORTEST_TOKEN} characters."),
    ] = field(repr=False)
    sources: Annotated[
        tuple[Source, ...],
        MinLen(1),
        Doc('Networks whose clients may: "127.0.0.0/8", "10.1.2.3", "2001:db8::/32".'),
    ] = ("127.0.0.0/8", "::1/128")

    def __post_init__(self) -> None:
        checked_token(self.token)
        if not self.sources:
            raise ValueError('"sources" has no network, so that nobody may purge')
        for source in self.sources:
            checked_source(source)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """One cache: what is stored, for how long, and who may purge it."""

    __pydantic_config__ = {"extra": "forbid"}

    store: Annotated[
        str,
        Doc('Where responses are kept: the name of a `[store.NAME]`; "memory" is there without being written.'),
    ] = "memory"
    key: Annotated[KeyPolicy, Doc("What requests are told apart by.")] = field(default_factory=KeyPolicy)
    bypass: Annotated[BypassPolicy, Doc("Which requests go past the cache.")] = field(default_factory=BypassPolicy)
    ttl: Annotated[
        SecondsOrZero | None,
        Doc(
            "Seconds that responses are fresh, whatever they say of it (no-store, private and no-cache count all the "
            "same); absent: what they say."
        ),
    ] = None
    default_ttl: Annotated[
        SecondsOrZero,
        Doc(
            "Seconds that a response is fresh which says nothing of it, has a status that may be guessed about and "
            "nothing to guess by (`heuristic`)."
        ),
    ] = 0.0
    min_ttl: Annotated[SecondsOrZero, Doc("Seconds that a response is fresh at least, if it may be stored.")] = 0.0
    max_ttl: Annotated[SecondsOrZero, Doc("Seconds that a response is fresh at most; 0 for no limit.")] = 0.0
    heuristic: Annotated[
        Share,
        Doc(
            "The part of its age (Date less Last-Modified) for which a response is fresh that says nothing of it "
            "(RFC 9111 section 4.2.2); 0 never guesses."
        ),
    ] = 0.1
    heuristic_max: Annotated[Seconds, Doc("Seconds that a guess is at most.")] = 86400.0
    stale_while_revalidate: Annotated[
        SecondsOrZero,
        Doc("Seconds for which a stale response is sent while it is validated, where the response does not say."),
    ] = 0.0
    stale_if_error: Annotated[
        SecondsOrZero,
        Doc("Seconds for which a stale response is sent where the servers fail, where the response does not say."),
    ] = 86400.0
    targets: Annotated[
        tuple[FieldName, ...],
        Doc("Fields that come before Cache-Control for us; the first that is there counts (RFC 9213)."),
    ] = ("cdn-cache-control",)
    request_directives: Annotated[
        bool,
        Doc(
            "Whether Cache-Control of requests is heeded; with false clients can not make us ask the servers "
            "(only-if-cached and no-store are heeded still)."
        ),
    ] = True
    set_cookie: Annotated[
        Literal["pass", "strip", "store"],
        Doc(
            "What is done with responses that set cookies: `pass` does not store them; `strip` takes the cookie out of "
            "what is stored; `store` keeps it, so that every client gets it."
        ),
    ] = "pass"
    tags: Annotated[
        tuple[FieldName, ...],
        Doc("Response fields with tags to purge by: separated by spaces (Surrogate-Key) or commas (Cache-Tag)."),
    ] = ("surrogate-key", "cache-tag")
    max_object: Annotated[Size, Doc("Bytes of the largest body that is stored.")] = 64 * 2**20
    max_variants: Annotated[
        Count, Doc("Responses kept for one key that differ by Vary; the oldest leaves for one more.")
    ] = 32
    collapse: Annotated[
        bool, Doc("Whether requests for what is being fetched already wait for it instead of asking a server too.")
    ] = True
    followers: Annotated[
        CountOrZero, Doc("Requests that wait for one fetch at most; more ask a server themselves. 0 for no limit.")
    ] = 10000
    uncacheable: Annotated[
        SecondsOrZero,
        Doc("Seconds for which requests are not collapsed after a response that may not be stored (hit-for-miss)."),
    ] = 120.0
    jitter: Annotated[
        Share,
        Doc(
            "The part of stale-while-revalidate's window, or of the last tenth of a lifetime, over which validations "
            "in the background are spread, so that what was stored together is not validated together."
        ),
    ] = 0.1
    name: Annotated[
        str,
        AfterValidator(checked_label),
        Doc("What Cache-Status (RFC 9211) calls this cache; empty leaves the field out."),
    ] = "balancer"
    purge: Annotated[PurgePolicy | None, Doc("Who may purge by requests; absent for nobody.")] = None

    def __post_init__(self) -> None:
        _lowered(self, "targets", "tags")
        checked_label(self.name)
