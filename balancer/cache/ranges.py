"""Range and Content-Range (RFC 9110 section 14) in bytes: what a client asks for, and what of a representation that is.

What cannot be read, is in another unit or asks for too much at a time is no range at all, and the answer is whole
(section 14.2). Offsets count from 0, and ends are exclusive. Nothing here raises, whatever the bytes.
"""

import re
from typing import Final

from balancer.cache.messages import Request

MAX_RANGES: Final = 32
"""Ranges of one request; a request with more gets the whole. Programs that read documents by parts ask for a few, and
what is more is a broken client or an attack (RFC 9110 section 17.15)."""

GAP: Final = 80
"""Bytes between two ranges that are sent along rather than begin another part, which would cost about as many (RFC 9110
section 15.3.7.2)."""

FAR: Final = 10**18
"""The end of a range that has none; also what longer numbers are taken for: they lie behind the end of anything."""

SUFFIX: Final = -1
"""The first position of a range that asks for the last bytes."""

Span = tuple[int, int]
"""``(offset, end)``."""

_UNIT: Final = re.compile(rb"(?i:bytes)=")
_SPEC: Final = re.compile(rb"([0-9]*+)-([0-9]*+)")
_CONTENT: Final = re.compile(rb"(?i:bytes) ([0-9]{1,18}+)-([0-9]{1,18}+)/(?:([0-9]{1,18}+)|\*)")


def wanted(request: Request) -> list[Span] | None:
    """The ranges a request asks for: ``(first, end)``, or :data:`SUFFIX` and how many of the last bytes.

    ``None`` where it asks for the whole: it is no GET (section 14.2), has no Range or several, or one that is invalid,
    in another unit, or of more than :data:`MAX_RANGES`.
    """
    value = request.get(b"range")
    if value is None or request.method != b"GET" or len(request.get_all(b"range")) != 1:
        return None
    return parse(value)


def parse(value: bytes) -> list[Span] | None:
    """The same of a value."""
    unit = _UNIT.match(value)
    if unit is None or value.count(b",") > 2 * MAX_RANGES:
        return None
    specs: list[Span] = []
    for element in value[unit.end() :].split(b","):
        spec = element.strip(b" \t")
        if not spec:
            continue  # RFC 9110 section 5.6.1.2: empty elements count for nothing
        found = _spec(spec)
        if found is None or len(specs) >= MAX_RANGES:
            return None
        specs.append(found)
    return specs or None


def satisfied(specs: list[Span], total: int) -> list[Span]:
    """What they are of a representation of ``total`` bytes, in the order asked for; empty if nothing can be satisfied.

    Of several those that overlap, or are closer than :data:`GAP`, become one, in the place of the first of them.
    """
    spans: list[Span] = []
    for first, end in specs:
        if first == SUFFIX:
            first, end = max(0, total - end), total if end else 0
        end = min(end, total)
        if first < end:
            spans.append((first, end))
    return spans if len(spans) < 2 else _coalesced(spans)


def content_range(value: bytes) -> tuple[int, int, int] | None:
    """What a part is: offset, end and the length of the whole, -1 where it says ``*`` for that. ``None`` for an invalid
    value (section 14.4), another unit, and one that says only that nothing could be satisfied."""
    found = _CONTENT.fullmatch(value)
    if found is None:
        return None
    first, end = int(found[1]), int(found[2]) + 1
    total = -1 if found[3] is None else int(found[3])
    return (first, end, total) if first < end and (total < 0 or end <= total) else None


def _spec(spec: bytes) -> Span | None:
    found = _SPEC.fullmatch(spec)
    if found is None:
        return None
    first, last = found[1], found[2]
    if not first:
        return (SUFFIX, _number(last)) if last else None
    span = (_number(first), _number(last) + 1 if last else FAR + 1)
    return span if span[0] < span[1] else None  # section 14.1.1: last before first is invalid, and so is the whole set


def _number(digits: bytes) -> int:
    """Section 14.1.1: large numbers are to be expected."""
    digits = digits.lstrip(b"0") if len(digits) > 18 else digits
    return int(digits or b"0") if len(digits) <= 18 else FAR


def _coalesced(spans: list[Span]) -> list[Span]:
    """Sorted by where they begin, whatever touches the one before it joins it; then back in the order asked for."""
    joined: list[tuple[int, int, int]] = []
    for first, end, place in sorted([(span[0], span[1], place) for place, span in enumerate(spans)]):
        if joined and first - joined[-1][2] < GAP:
            earlier, start, before = joined[-1]
            joined[-1] = (min(earlier, place), start, max(before, end))
        else:
            joined.append((place, first, end))
    joined.sort()
    return [(first, end) for _, first, end in joined]
