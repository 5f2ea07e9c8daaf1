"""What is asked of an origin, and what its answer does to what is stored (RFC 9111 sections 4.3.1, 4.3.4, 4.3.5).

The client's own conditions are answered from what is stored; the origin is asked ours. It never sends anything.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from balancer.cache.asked import Asked
from balancer.cache.messages import PlainResponse, Request, Response
from balancer.cache.policy import CachePolicy
from balancer.cache.reuse import dated, select
from balancer.cache.stored import UNSIZED, Fields, Stored
from balancer.cache.storing import judge_fields
from balancer.cache.validators import entity_tag, is_strong, last_modified, opaque
from balancer.cache.vary import matches

MAX_TAGS_BYTES: Final = 4096
"""Bytes of entity tags in one If-None-Match: many servers refuse a field line of more than 8 KiB."""

_CONDITIONS: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})
_RANGES: Final = frozenset({b"range", b"if-range"})

_OF_BODY: Final = frozenset({
    b"content-encoding", b"content-length", b"content-range", b"etag", b"transfer-encoding",
})  # fmt: skip
"""Fields that a 304 does not change: they describe the body that stays (section 3.2)."""


def fetching(request: Request, whole: bool = False) -> Fields:
    """The request's fields without the client's preconditions.

    :param whole: the whole representation is wanted: without Range too.
    """
    dropped = _CONDITIONS | _RANGES if whole else _CONDITIONS
    return [field for field in request.fields if field[0].lower() not in dropped]


def validating(request: Request, stored: Stored, variants: Sequence[Stored]) -> Fields:
    """The request's fields with the conditions that validate what is stored: the entity tags of all variants that are
    for this request, and where there is one alone its Last-Modified. A 304 may update no others (section 4.3.4), and
    there are servers whose entity tags are the same for what they compress and what they do not.

    :param stored: the one that was chosen. A stored part is asked for by the client's Range, else the whole.
    """
    fields = fetching(request, whole=stored.parts is None)
    others = [
        other for other in variants if other is not stored and other.parts is None and matches(other.nominated, request)
    ]
    tags: dict[bytes, None] = {}
    length = 0
    for variant in [stored, *others]:
        tag = entity_tag(variant.get_all(b"etag"))
        length += len(tag) + 2
        if tag and (length <= MAX_TAGS_BYTES or variant is stored):
            tags[tag] = None
    if tags:
        fields.append((b"If-None-Match", b", ".join(tags)))
    modified = last_modified(stored, stored.arrived)
    # Where it goes with an entity tag, who knows tags does not look at it (RFC 9110 section 13.2.2).
    if modified and len(tags) <= 1 and stored.parts is None:
        fields.append((b"If-Modified-Since", modified))
    return fields


def freshened(
    asked: Asked,
    request: Request,
    variants: Sequence[Stored],
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> Stored | None:
    """What a 304 makes of what is stored: the response that it says is still good, with the 304's fields.

    It answers the request. It is to be kept only where ``asked.may_store``, in the place of the one with the same body.
    A Set-Cookie of the 304 is among its fields only where the settings store cookies: it is for this client alone.

    :param variants: what the store has under the request's key, the most recent first.
    :param response: the 304 as received; the other arguments are those of :func:`~balancer.cache.storing.judge`.
    :returns: ``None`` where the 304 fits none, forbids to store it or has another Vary: the response has to be fetched,
        and what :func:`identified` finds is to be dropped.
    """
    stored = identified(request, variants, response, now)
    if not stored:
        return None
    return _updated(asked, request, stored[0], response, fields, policy, asked_at=asked_at, now=now, serial=serial)


def identified(request: Request, variants: Sequence[Stored], response: Response, now: float) -> list[Stored]:
    """The stored responses that a 304 is about (section 4.3.4), the most recent first, which is the one that
    :func:`freshened` updates. As all of them would have to be, the others are to be dropped."""
    tag = entity_tag(response.get_all(b"etag"))
    initial = sorted(
        [stored for stored in variants if matches(stored.nominated, request)], key=partial(dated, now), reverse=True
    )
    if is_strong(tag):
        found = [stored for stored in initial if entity_tag(stored.get_all(b"etag")) == tag]
    elif tag:
        found = [stored for stored in initial if opaque(entity_tag(stored.get_all(b"etag"))) == opaque(tag)]
    elif modified := last_modified(response, now):
        found = [stored for stored in initial if last_modified(stored, now) == modified]
    else:
        found = [stored for stored in initial if len(initial) == 1 and not _has_validator(stored, now)]
    return found if is_strong(tag) else found[:1]


def freshened_by_head(
    asked: Asked,
    request: Request,
    variants: Sequence[Stored],
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> tuple[Stored | None, Stored | None]:
    """What the 200 to a HEAD request makes of what is stored for GET.

    :returns: the stored response it is about and the same with the new fields; ``(old, None)`` where the old one is not
        to be used any more; ``(None, None)`` where nothing stored is touched. The arguments are :func:`freshened`'s.
    """
    stored = select(asked, request, variants, now)
    if stored is None or response.status != 200 or not asked.may_store or stored.status not in (200, 206):
        return None, None
    if not _same(stored, response):
        return stored, None
    new = _updated(asked, request, stored, response, fields, policy, asked_at=asked_at, now=now, serial=serial)
    return stored, new


def _has_validator(stored: Stored, now: float) -> bool:
    return bool(entity_tag(stored.get_all(b"etag")) or last_modified(stored, now))


def _same(stored: Stored, response: Response) -> bool:
    """Whether every validator and length that the answer to HEAD has is the stored response's (section 4.3.5)."""
    for name in (b"etag", b"last-modified"):
        values = response.get_all(name)
        if values and values != stored.get_all(name):
            return False
    length = response.get(b"content-length")
    if length is None:
        return True
    return length == b"%d" % (stored.size if stored.parts is None else stored.total)


def _updated(
    asked: Asked,
    request: Request,
    stored: Stored,
    response: Response,
    fields: Fields,
    policy: CachePolicy,
    *,
    asked_at: float,
    now: float,
    serial: int,
) -> Stored | None:
    """A stored response with new fields (section 3.2), judged anew; ``None`` where it may not be stored so."""
    ages = [(b"Age", value) for value in response.get_all(b"age")]
    unchanged = _OF_BODY if policy.set_cookie == "store" else _OF_BODY | {b"set-cookie"}
    new = [field for field in fields if field[0].lower() not in unchanged]
    replaced = {name.lower() for name, _ in new}
    kept = [field for field in stored.fields() if field[0].lower() not in replaced]
    merged = kept + [field for field in new if field[0].lower() != b"age"] + ages
    head = PlainResponse(stored.status, merged, stored.reason)
    result = judge_fields(asked, request, head, merged, policy, asked_at=asked_at, now=now, serial=serial).stored
    if result is None:
        return None
    if result.nominated != stored.nominated:
        return None  # another Vary: it would stand beside the old one, which would go on being chosen
    result.body, result.parts, result.total = stored.body, stored.parts, stored.total
    result.flags |= stored.flags & UNSIZED
    return result
