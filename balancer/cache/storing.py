"""Which responses are stored, and what of them (RFC 9111 section 3).

Of a response that is stored it keeps the fields that are sent again, and all that reuse will have to know, worked out
once. It never stores anything.
"""

from typing import Final

from balancer.cache.asked import Asked
from balancer.cache.directives import ABSENT, ResponseControl, response_control
from balancer.cache.lifetimes import (
    explicit_lifetime,
    guessed_lifetime,
    initial_age,
    may_guess,
    overridden,
    takes_ttl,
)
from balancer.cache.messages import Request, Response
from balancer.cache.policy import CachePolicy
from balancer.cache.ranges import content_range
from balancer.cache.stored import ALWAYS_VALIDATE, HEURISTIC, IMMUTABLE, MUST_REVALIDATE, OVERRIDDEN, Fields, Stored
from balancer.cache.validators import entity_tag, is_strong, last_modified
from balancer.cache.vary import nominate

UNDERSTOOD: Final = frozenset({
    200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 414, 415, 422,
    451, 500, 501, 502, 503, 504,
})  # fmt: skip
"""Statuses whose responses may be stored. Not 304, 412 and 416, which answer conditions and ranges of one request, and
none of those that are about one client, one connection or one moment: 407, 408, 417, 421, 425, 428, 429, 431, 511."""

MAX_TAGS: Final = 512
"""Tags that a response may have. One with more is not stored: a purge by one that was left out would miss it."""

NOT_KEPT: Final = frozenset({
    # Of another hop, or written anew for each answer (RFC 9111 section 3.1).
    b"age", b"cache-status", b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
    b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
})  # fmt: skip
"""Fields that are never stored."""

_OF_CONTENT: Final = frozenset({
    b"content-encoding", b"content-length", b"content-range", b"content-type", b"transfer-encoding", b"vary",
})  # fmt: skip
"""Fields without which a body cannot be read rightly: whoever would not have them stored means the response."""


class Judgement:
    """Whether a response is stored.

    :ivar stored: what is stored, its body to come; ``None`` where it is not.
    :ivar reason: in few words why it is not; empty where it is.
    """

    __slots__ = ("reason", "stored")

    def __init__(self, stored: Stored | None, reason: str = "") -> None:
        self.stored = stored
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Judgement {self.stored!r} {self.reason}>"


def judge(
    asked: Asked,
    request: Request,
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> Judgement:
    """Decide about a response whose head came.

    :param response: as received: its Date and Age count.
    :param fields: its fields as they go to clients: none of another hop's, a Date among them.
    :param asked_at: when the request was sent; ``now``: when the response's head came.
    :param serial: the store's serial when the request was sent.
    """
    reason = unwanted(asked, response.status)
    if not reason and response.status == 206:
        return _partial(asked, request, response, fields, policy, asked_at=asked_at, now=now, serial=serial)
    if reason:
        return Judgement(None, reason)
    return judge_fields(asked, request, response, fields, policy, asked_at=asked_at, now=now, serial=serial)


def unwanted(asked: Asked, status: int) -> str:
    """Why no response of this status to this request is stored, whatever it says; empty where one may be."""
    if asked.bypass:
        return "bypass"
    if not asked.cacheable:
        return "method"
    if asked.method == b"HEAD":
        return "HEAD"
    if not asked.may_store:
        return "no-store in the request"
    return "" if status in UNDERSTOOD else f"status {status}"


def judge_fields(
    asked: Asked,
    request: Request,
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> Judgement:
    """Decide by the fields alone, method and status being such as are stored; of partial content the parts are the
    caller's. As :func:`judge` otherwise."""
    control = response_control(response, policy.targets)
    reason = _forbidden(asked, control) or _too_much(response, policy)
    if reason:
        return Judgement(None, reason)
    hidden = control.no_cache_fields | control.private_fields
    kept = _kept(fields, hidden, policy)
    if policy.set_cookie == "pass" and any(name.lower() == b"set-cookie" for name, _ in kept):
        return Judgement(None, "set-cookie")
    nominated = nominate(response.get_all(b"vary"), request)
    if nominated is None:
        return Judgement(None, "Vary: *")
    tags = _tags(response, policy)
    if len(tags) > MAX_TAGS:
        return Judgement(None, f"more than {MAX_TAGS} tags")
    explicit = explicit_lifetime(response, control, now)
    if explicit is None and not may_guess(response.status, control) and not _ruled(response.status, control, policy):
        return Judgement(None, "no freshness")
    stored = Stored(
        response.status, response.reason, b"".join([b"%b: %b\r\n" % field for field in kept]), now,
        initial_age(response, asked_at, now), 0.0, nominated=nominated, tags=tags, serial=serial,
    )  # fmt: skip
    _keep_time(stored, response, control, explicit, policy, now)
    return _worth(stored, control, bool(entity_tag(response.get_all(b"etag")) or last_modified(response, now)))


def _forbidden(asked: Asked, control: ResponseControl) -> str:
    """What in its directives forbids to store a response (section 3)."""
    # Who understands the status need not mind no-store beside must-understand (section 5.2.2.3), and we do.
    if control.no_store and not control.must_understand:
        return "no-store"
    if control.private or control.private_fields & _OF_CONTENT:
        return "private"
    shared = control.public or control.must_revalidate or control.s_maxage != ABSENT
    if asked.authorized and not shared:
        return "authorization"  # section 3.5
    return ""


def _too_much(response: Response, policy: CachePolicy) -> str:
    length = response.get(b"content-length")
    known = length is not None and length.isdigit() and len(length) <= 18
    return "too large" if known and int(length or b"0") > policy.max_object else ""


def _kept(fields: Fields, hidden: frozenset[bytes], policy: CachePolicy) -> Fields:
    """The fields that are stored."""
    dropped = NOT_KEPT | hidden - _OF_CONTENT
    if policy.set_cookie == "strip":
        dropped = dropped | {b"set-cookie"}
    return [field for field in fields if field[0].lower() not in dropped]


def _tags(response: Response, policy: CachePolicy) -> tuple[bytes, ...]:
    found: dict[bytes, None] = {}
    for name in policy.tags:
        for value in response.get_all(name.encode("ascii")):
            found.update(dict.fromkeys(value.replace(b",", b" ").split()))
    return tuple(found)


def _ruled(status: int, control: ResponseControl, policy: CachePolicy) -> bool:
    return policy.ttl is not None and takes_ttl(status, control)


def _keep_time(
    stored: Stored,
    response: Response,
    control: ResponseControl,
    explicit: float | None,
    policy: CachePolicy,
    now: float,
) -> None:
    """Work out lifetime, windows and flags."""
    age = stored.age
    said = guessed_lifetime(response, policy, now, age) if explicit is None else explicit
    stored.lifetime = overridden(said, stored.status, explicit is not None, control, policy, age)
    flags = IMMUTABLE if control.immutable else 0
    if policy.ttl is not None or stored.lifetime > said:
        flags |= OVERRIDDEN
    elif explicit is None:
        flags |= HEURISTIC
    if control.no_cache or control.no_cache_fields & _OF_CONTENT:
        flags |= ALWAYS_VALIDATE
    if control.must_revalidate or control.proxy_revalidate or control.s_maxage != ABSENT:
        flags |= MUST_REVALIDATE
    stored.flags = flags
    if not flags & (ALWAYS_VALIDATE | MUST_REVALIDATE):
        stored.while_revalidate = _window(control.stale_while_revalidate, policy.stale_while_revalidate)
        stored.if_error = _window(control.stale_if_error, policy.stale_if_error)


def _window(said: int, default: float) -> float:
    return default if said == ABSENT else float(said)


def _worth(stored: Stored, control: ResponseControl, validated: bool) -> Judgement:
    """Store it only where it can ever be used: fresh, validated, or stale as the response itself allows."""
    if validated:
        return Judgement(stored)
    if stored.flags & ALWAYS_VALIDATE:
        return Judgement(None, "no-cache and no validator")
    stale = max(control.stale_while_revalidate, control.stale_if_error) > 0
    if stored.lifetime > stored.age or (stale and stored.while_revalidate + stored.if_error > 0):
        return Judgement(stored)
    return Judgement(None, "no freshness and no validator")


def _partial(
    asked: Asked,
    request: Request,
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> Judgement:
    """Decide about a part (section 3.3): one range, told apart from all others by a strong entity tag."""
    values = response.get_all(b"content-range")
    part = content_range(values[0]) if len(values) == 1 else None
    if not asked.ranged or part is None:
        return Judgement(None, "no single range")
    if not is_strong(entity_tag(response.get_all(b"etag"))):
        return Judgement(None, "partial without a strong validator")
    # RFC 9110 section 15.3.7: what its client has already need not be in it, so nobody else could use it.
    if request.get(b"if-range") is not None:
        return Judgement(None, "If-Range")
    if any(value != b"%d" % (part[1] - part[0]) for value in response.get_all(b"content-length")):
        return Judgement(None, "lengths that contradict each other")
    whole = [field for field in fields if field[0].lower() != b"content-range"]
    judgement = judge_fields(asked, request, response, whole, policy, asked_at=asked_at, now=now, serial=serial)
    stored = judgement.stored
    if stored is not None:
        first, end, stored.total = part
        stored.parts = ((first, end),)
    return judgement
