"""Which stored response answers a request, and whether it may do so unasked (RFC 9111 section 4).

A response that is stale, or that a request will not take as it is, is never sent, unless its own words, the request's
or the settings' allow that. It never fetches anything: it says what is to be done.
"""

import enum
from collections.abc import Sequence
from typing import Final

from balancer.cache.asked import Asked
from balancer.cache.dates import http_date
from balancer.cache.messages import Request
from balancer.cache.partial import covers
from balancer.cache.policy import CachePolicy
from balancer.cache.stored import ALWAYS_VALIDATE, IMMUTABLE, MUST_REVALIDATE, SOFT_PURGED, Stored
from balancer.cache.validators import entity_tag, last_modified

_NOT_FRESH: Final = ALWAYS_VALIDATE | SOFT_PURGED
_NEVER_STALE: Final = ALWAYS_VALIDATE | MUST_REVALIDATE
_LAST_PART: Final = 0.1
"""The part of a lifetime, at its end, within which a response is validated early."""


class Kind(enum.Enum):
    """What is done about a request."""

    HIT = "hit"
    """The stored response is sent; nothing else need be done, unless ``background`` says so."""
    STALE = "stale"
    """It is sent although it is stale, as stale-while-revalidate allows (RFC 5861 section 3)."""
    VALIDATE = "validate"
    """The origin is asked whether it is still good."""
    MISS = "miss"
    """The origin is asked for a response."""
    REFUSED = "refused"
    """The request is only for what is stored, and nothing fits: 504 (section 5.2.1.7)."""


HIT: Final = Kind.HIT
STALE: Final = Kind.STALE
VALIDATE: Final = Kind.VALIDATE
MISS: Final = Kind.MISS
REFUSED: Final = Kind.REFUSED


class Decision:
    """What is done about a request, and why.

    :ivar kind: compare with ``is``.
    :ivar stored: the response that was chosen; ``None`` where none is for this request.
    :ivar reason: the forward reason (RFC 9211 section 2.2); empty where the stored response is sent.
    :ivar detail: more of it, in words.
    :ivar background: send it, and validate it meanwhile.
    :ivar age: current_age of the chosen one in whole seconds, for its Age field.
    :ivar ttl: whole seconds for which it is fresh yet; negative where it is stale.
    :ivar fallback: what may be sent where the origin fails (RFC 5861 section 4).
    """

    __slots__ = ("age", "background", "detail", "fallback", "kind", "reason", "stored", "ttl")

    def __init__(
        self,
        kind: Kind,
        stored: Stored | None = None,
        reason: str = "",
        detail: str = "",
        background: bool = False,
        age: int = 0,
        ttl: int = 0,
        fallback: Stored | None = None,
    ) -> None:
        self.kind = kind
        self.stored = stored
        self.reason = reason
        self.detail = detail
        self.background = background
        self.age = age
        self.ttl = ttl
        self.fallback = fallback

    def __repr__(self) -> str:
        return f"<Decision {self.kind.name} {self.reason} {self.detail} {self.stored!r}>"


def fresh(stored: Stored, now: float) -> bool:
    """Whether a plain request (:attr:`Asked.plain`) may be sent it as it is, if it is for such requests: Vary is not
    looked at. While the clock stands before its arrival it is stale: nobody knows how long it has lain."""
    if stored.flags & _NOT_FRESH or stored.parts is not None:
        return False
    resident = now - stored.arrived
    return resident >= 0.0 and stored.age + resident < stored.lifetime


def early(stored: Stored, now: float, jitter: float, chance: float) -> bool:
    """Whether a fresh response is to be validated in the background before it is stale: ever more likely over the last
    part of its lifetime, so that what was stored together is not validated together.

    :param chance: evenly distributed over [0, 1).
    """
    rest = stored.lifetime - stored.age - (now - stored.arrived)
    return rest < stored.lifetime * _LAST_PART * jitter * chance


def current_age(stored: Stored, now: float) -> int:
    """Its age in whole seconds, for the Age field (section 4.2.3)."""
    return int(stored.age + max(0.0, now - stored.arrived))


def decide(
    asked: Asked, request: Request, variants: Sequence[Stored], policy: CachePolicy, now: float, chance: float
) -> Decision:
    """What is done about a request.

    :param variants: what the store has under the request's key.
    :param chance: evenly distributed over [0, 1): spreads validations in the background.
    """
    if not asked.cacheable:
        return Decision(MISS, None, "bypass" if asked.bypass else "method", asked.bypass)
    chosen = select(asked, request, variants, now)
    if chosen is None:
        return _absent(asked, "vary-miss" if variants else "uri-miss")
    if chosen.parts is not None and not covers(chosen, request):
        return _absent(asked, "partial")
    resident = now - chosen.arrived
    age = chosen.age + max(0.0, resident)
    is_fresh = not chosen.flags & _NOT_FRESH and resident >= 0.0 and age < chosen.lifetime
    unmet = _unmet(asked, chosen, age, is_fresh)
    decision = Decision(VALIDATE, chosen, age=int(age), ttl=_whole_ttl(chosen, age, is_fresh))
    if is_fresh and not unmet:
        decision.kind = HIT
        decision.background = early(chosen, now, policy.jitter, chance)
    elif unmet or resident < 0.0 or not _sent_stale(decision, chosen, age, asked.max_stale, policy.jitter * chance):
        _ask_origin(decision, chosen, asked, "request" if is_fresh else "stale", unmet, now)
    # What a request forbids to store, a validation on its behalf could not freshen.
    decision.background = decision.background and asked.may_store
    return decision


def select(asked: Asked, request: Request, variants: Sequence[Stored], now: float) -> Stored | None:
    """The stored response that is for this request: of several the one with the latest Date, of those with a Vary if
    there are any (section 4.1)."""
    found: Stored | None = None
    for stored in variants:
        if asked.fits(stored.nominated, request) and (found is None or _preferred(stored, found, now)):
            found = stored
    return found


def _preferred(stored: Stored, found: Stored, now: float) -> bool:
    """Whether it comes before one that was found first; of equals that one was stored last, and stays."""
    if bool(stored.nominated) != bool(found.nominated):
        return bool(stored.nominated)  # a default response that leaves out Vary is not for whom there is a better one
    return dated(now, stored) > dated(now, found)


def dated(now: float, stored: Stored) -> float:
    """The second of a stored response's Date; of its arrival, where that is none (RFC 9110 section 6.6.1)."""
    return http_date(stored.get(b"date") or b"", now) or stored.arrived


def usable_on_error(asked: Asked, stored: Stored, now: float) -> bool:
    """Whether a stored response that fits the request may be sent because the origin fails: a fresh one may, a stale
    one within the time that the request, else the response, else the settings allow (RFC 5861 section 4)."""
    past = _past(stored, now)
    if past < 0.0 and not stored.flags & ALWAYS_VALIDATE:
        return True
    if stored.flags & _NEVER_STALE or now < stored.arrived:
        return False
    return past < (stored.if_error if asked.stale_if_error is None else asked.stale_if_error)


def _past(stored: Stored, now: float) -> float:
    """Seconds since it became stale; negative while it is fresh."""
    past = stored.age + (now - stored.arrived) - stored.lifetime
    return max(0.0, past) if stored.flags & SOFT_PURGED or now < stored.arrived else past


def _unmet(asked: Asked, stored: Stored, age: float, is_fresh: bool) -> str:
    """Which directive of the request a stored response does not meet; empty for none. That it is stale is no matter of
    the request's."""
    if asked.no_cache:
        return "no-cache"
    # A reload's max-age=0 wants it validated even in the second of its arrival; RFC 8246 section 2 spares that.
    too_old = asked.max_age is not None and (age > asked.max_age or not asked.max_age)
    if too_old and not (is_fresh and stored.flags & IMMUTABLE):
        return "max-age"
    patience = -1.0 if asked.max_stale is None else asked.max_stale
    if asked.max_age is not None and not is_fresh and max(0.0, age - stored.lifetime) > patience:
        return "max-age"  # whoever says it takes nothing stale, unless with max-stale (section 5.2.1.1)
    if asked.min_fresh is not None and stored.lifetime - age < asked.min_fresh:
        return "min-fresh"
    return ""


def _sent_stale(decision: Decision, stored: Stored, age: float, max_stale: float | None, spread: float) -> bool:
    """Whether it is sent though it is stale (section 4.2.4); the decision then says how.

    :param spread: the part of stale-while-revalidate's window after which it is validated meanwhile.
    """
    if stored.flags & _NEVER_STALE:
        return False
    purged = bool(stored.flags & SOFT_PURGED)
    past = max(0.0, age - stored.lifetime)
    if past < stored.while_revalidate:
        decision.kind = STALE
        decision.detail = "stale-while-revalidate"
        decision.background = purged or past >= stored.while_revalidate * spread
        return True
    if max_stale is None or purged or past > max_stale:
        return False
    decision.kind = HIT
    decision.detail = "max-stale"
    return True


def _whole_ttl(stored: Stored, age: float, is_fresh: bool) -> int:
    """Seconds left, rounded down; what is stale has none."""
    rest = int((stored.lifetime - age) // 1)
    return rest if is_fresh else min(rest, 0)


def _absent(asked: Asked, reason: str) -> Decision:
    """Nothing that is stored fits."""
    if asked.only_if_cached:
        return Decision(REFUSED, None, reason, "only-if-cached")
    return Decision(MISS, None, reason)


def _ask_origin(decision: Decision, stored: Stored, asked: Asked, reason: str, unmet: str, now: float) -> None:
    """What is stored fits, but is not sent without the origin's word."""
    decision.reason = reason
    decision.detail = unmet
    if asked.only_if_cached:
        decision.kind = REFUSED
        decision.detail = "only-if-cached"
        return
    if not entity_tag(stored.get_all(b"etag")) and not last_modified(stored, now):
        decision.kind = MISS
    if usable_on_error(asked, stored, now):
        decision.fallback = stored
