"""Partial content that is stored: what of it answers a request, and what two responses become together (RFC 9111
sections 3.3 and 3.4, RFC 9110 section 15.3.7.3).

Incomplete content is never taken for the whole. Nothing here stores anything.
"""

from typing import Final

from balancer.cache import conditions, ranges
from balancer.cache.lines import names_in, without
from balancer.cache.messages import Request
from balancer.cache.ranges import Span
from balancer.cache.stored import ALWAYS_VALIDATE, MUST_REVALIDATE, Stored

MAX_PARTS: Final = 64
"""Parts of one stored response, apart from each other; more are not combined, the new one takes the place of all."""

_LENGTHS: Final = frozenset({b"content-range", b"content-length"})
_OF_THE_CONTENT: Final = _LENGTHS | {b"content-digest", b"content-md5"}
"""What a part says of itself, and not of the whole (RFC 9530 section 2 for the digest)."""
_FRESHNESS: Final = frozenset({b"cache-control", b"expires", b"pragma"})


def covers(stored: Stored, request: Request) -> bool:
    """Whether a stored response has what a request asks for: it is whole, or the request is for one range that lies in
    one part (RFC 9111 section 3.3)."""
    return stored.parts is None or span(stored, request) is not None


def span(stored: Stored, request: Request) -> Span | None:
    """Of a stored partial response, what it has of the one range that a request asks for, and ``None`` for nothing.

    Where the length of the whole is not known, a range without an end, or of the last bytes, cannot be told.
    """
    specs = ranges.wanted(request)
    if specs is None or len(specs) != 1 or not conditions.range_holds(request, conditions.validators(stored)):
        return None
    first, end = specs[0]
    if stored.total >= 0:
        spans = ranges.satisfied(specs, stored.total)
        if not spans:
            return None
        first, end = spans[0]
    return (first, end) if first != ranges.SUFFIX and place(stored, first, end) >= 0 else None


def place(stored: Stored, first: int, end: int) -> int:
    """Where in the body of a partial response these bytes of the representation begin; -1 if it has not all of them."""
    skipped = 0
    for begin, stop in stored.parts or ():
        if begin <= first and end <= stop:
            return skipped + first - begin
        skipped += stop - begin
    return -1


def complete(stored: Stored, body: bytes) -> bool:
    """Whether a partial response has as many bytes as its parts say."""
    return sum([end - first for first, end in stored.parts or ()]) == len(body)


def combined(stored: Stored, body: bytes, new: Stored, new_body: bytes) -> tuple[Stored, bytes] | None:
    """Two partial responses of one representation as one: a 200 if nothing is missing any more.

    The new response's fields take the place of the stored one's of the same names, and its freshness counts. The body
    of what is returned is empty; the bytes stand beside it.

    :return: ``None`` if they may not be combined: no strong validator in common, not the same variant, one of them
        whole, lengths that contradict each other, or more than :data:`MAX_PARTS`.
    """
    if not _same(stored, body, new, new_body):
        return None
    total = max(stored.total, new.total)
    parts, joined = _union(_pieces(stored, body) + _pieces(new, new_body))
    if len(parts) > MAX_PARTS or (total >= 0 and parts[-1][1] > total):
        return None
    whole = parts == [(0, total)]
    lines = _merged(stored.lines, new.lines) + b"Content-Length: %d\r\n" % len(joined)
    replaced = bool(names_in(new.lines) & _FRESHNESS)
    kept = 0 if replaced else stored.flags & (ALWAYS_VALIDATE | MUST_REVALIDATE)
    result = Stored(
        200 if whole else 206,
        b"OK" if whole else b"Partial Content",
        lines,
        new.arrived,
        new.age,
        new.lifetime if replaced else min(new.lifetime, stored.lifetime),
        new.while_revalidate if replaced else min(new.while_revalidate, stored.while_revalidate),
        new.if_error if replaced else min(new.if_error, stored.if_error),
        new.flags | kept,
        new.nominated,
        new.tags or stored.tags,
        min(stored.serial, new.serial),
        b"",
        None if whole else tuple(parts),
        total,
    )
    return result, joined


def _same(stored: Stored, body: bytes, new: Stored, new_body: bytes) -> bool:
    """Whether both are parts of one representation, as far as can be told, and have the bytes they say."""
    if stored.parts is None or new.parts is None or stored.nominated != new.nominated:
        return False
    if stored.total >= 0 and new.total >= 0 and stored.total != new.total:
        return False
    for each, content in ((stored, body), (new, new_body)):
        if not each.parts or not complete(each, content):
            return False
    validator = conditions.validators(stored).strong
    return validator != b"" and validator == conditions.validators(new).strong


def _pieces(stored: Stored, body: bytes) -> list[tuple[int, bytes]]:
    """Offsets in the representation, and the bytes from there."""
    pieces = []
    at = 0
    for first, end in stored.parts or ():
        pieces.append((first, body[at : at + end - first]))
        at += end - first
    return pieces


def _offset(piece: tuple[int, bytes]) -> int:
    return piece[0]


def _union(pieces: list[tuple[int, bytes]]) -> tuple[list[Span], bytes]:
    """The parts they make together, and their bytes one after the other. What two have is the same (the validator is
    strong)."""
    parts: list[Span] = []
    joined: list[bytes] = []
    for first, data in sorted(pieces, key=_offset):
        end = first + len(data)
        if parts and first <= parts[-1][1]:
            start, before = parts[-1]
            joined.append(data[before - first :])
            parts[-1] = (start, max(before, end))
        else:
            parts.append((first, end))
            joined.append(data)
    return parts, b"".join(joined)


def _merged(older: bytes, newer: bytes) -> bytes:
    """RFC 9111 section 3.4: the new response's fields replace those of the same names, Content-Range aside."""
    newer = without(newer, _OF_THE_CONTENT)
    return without(older, names_in(newer) | _OF_THE_CONTENT) + newer
