"""Stored responses as few bytes objects: what a store in memory keeps, and what a store on a disk may write.

As :class:`~balancer.cache.stored.Stored` a response takes some 600 bytes beside its lines and body, in a dozen objects;
packed it takes 110, in one that no garbage collector visits. It never keeps anything.
"""

from struct import Struct, error, pack, unpack_from
from typing import Final

from balancer.cache.stored import Stored, StoredBody

_HEAD: Final = Struct("<5dq5IHH")
"""arrived, age, lifetime, while_revalidate, if_error, total; bytes of lines, nominated, tags, parts and reason; status,
flags. Those five follow, in this order, and then the body, where it is in the same bytes."""

_SIZE: Final = _HEAD.size

_FLAGS_AT: Final = _SIZE - 2

_COUNT: Final = Struct("<I")

_PART: Final = Struct("<QQ")


def packed(stored: Stored) -> bytes | None:
    """All but its body and its serial; ``None`` where a number is none that a response can have."""
    tags = b"".join([_COUNT.pack(len(tag)) + tag for tag in stored.tags])
    try:
        parts = b"".join([_PART.pack(first, end) for first, end in stored.parts or ()])
        head = _HEAD.pack(
            stored.arrived, stored.age, stored.lifetime, stored.while_revalidate, stored.if_error, stored.total,
            len(stored.lines), len(stored.nominated), len(tags), len(parts), len(stored.reason), stored.status,
            stored.flags,
        )  # fmt: skip
    except error:
        return None
    return b"".join([head, stored.lines, stored.nominated, tags, parts, stored.reason])


def unpacked(head: bytes, serial: int, body: bytes | StoredBody | None) -> Stored:
    """What was packed.

    :param body: its body; ``None`` for what follows the head in the same bytes.
    """
    (
        arrived, age, lifetime, while_revalidate, if_error, total, lines, nominated, tags, parts, reason, status, flags,
    ) = _HEAD.unpack_from(head)  # fmt: skip
    end_of_lines = _SIZE + lines
    end_of_nominated = end_of_lines + nominated
    end_of_tags = end_of_nominated + tags
    end_of_parts = end_of_tags + parts
    end = end_of_parts + reason
    return Stored(
        status,
        head[end_of_parts:end],
        head[_SIZE:end_of_lines],
        arrived,
        age,
        lifetime,
        while_revalidate,
        if_error,
        flags,
        head[end_of_lines:end_of_nominated],
        _tags(head, end_of_nominated, end_of_tags) if tags else (),
        serial,
        head[end:] if body is None else body,
        _parts(head, end_of_tags, end_of_parts) if parts else None,
        total,
    )


def nominated_of(head: bytes) -> bytes:
    """The ``nominated`` of what was packed."""
    lines, size = unpack_from("<2I", head, 48)
    return head[_SIZE + lines : _SIZE + lines + size]


def tags_of(head: bytes) -> tuple[bytes, ...]:
    """The ``tags`` of what was packed."""
    lines, nominated, size = unpack_from("<3I", head, 48)
    start = _SIZE + lines + nominated
    return _tags(head, start, start + size) if size else ()


def flags_of(head: bytes) -> int:
    """The ``flags`` of what was packed."""
    return head[_FLAGS_AT] | head[_FLAGS_AT + 1] << 8


def flagged(head: bytes, flags: int) -> bytes:
    """The same with other flags."""
    return head[:_FLAGS_AT] + pack("<H", flags) + head[_SIZE:]


def _tags(head: bytes, start: int, end: int) -> tuple[bytes, ...]:
    found = []
    while start < end:
        (size,) = _COUNT.unpack_from(head, start)
        start += _COUNT.size
        found.append(head[start : start + size])
        start += size
    return tuple(found)


def _parts(head: bytes, start: int, end: int) -> tuple[tuple[int, int], ...]:
    found = []
    for offset in range(start, end, _PART.size):
        first, last = _PART.unpack_from(head, offset)
        found.append((first, last))
    return tuple(found)
