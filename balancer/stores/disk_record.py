"""A stored response as one file: its body, what proves the body, and its head at the end. Pure; no file is touched.

    body | table | head | footer [| head | footer ...]

The table has the CRC-32 of each block of the body. The last footer counts: it says where its head, table and body are,
and has a CRC-32 of the head, of the table and of itself, so that each byte a response is made of is proven. A head
that is replaced stays where it is, with the new one behind it: so a body is written once, of whatever length, and
freshening appends a few hundred bytes. CRC-32 finds what disks, memory and torn writes do (any burst of up to 32
bits, and all but 2**-32 of what is larger); it is no proof against who may write into the directory.
"""

import struct
import zlib
from typing import Final, NamedTuple

from balancer.cache.stored import Stored
from balancer.errors import BalancerError

BLOCK: Final = 262144
"""Bytes of a body that one checksum proves: what has to be read for the first byte, against the size of the table
(16 KiB for each GiB)."""

_MAGIC: Final = b"twcache1"
_FOOTER = struct.Struct(">8sQQIII")
_CHECK = struct.Struct(">I")
_HEAD = struct.Struct(">HIQdddddqIIIIiI")
_PART = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")

FOOTER_SIZE: Final = _FOOTER.size + _CHECK.size
"""Bytes of a footer."""


class Corrupt(BalancerError):
    """What was read is not what was written: torn, cut off, changed, or nothing of ours."""


class Footer(NamedTuple):
    """Where everything is.

    :ivar body: bytes of the body, which begins the file; the table follows.
    :ivar start: where the head begins.
    :ivar head: its bytes.
    :ivar head_check: its CRC-32.
    :ivar table_check: that of the table.
    """

    body: int
    start: int
    head: int
    head_check: int
    table_check: int


class Sums:
    """The table of a body that comes piece by piece."""

    __slots__ = ("_check", "_sums", "size")

    def __init__(self) -> None:
        self.size = 0
        self._check = 0
        self._sums: list[int] = []

    def update(self, data: bytes) -> None:
        """The next bytes."""
        view = memoryview(data)
        while view:
            piece = view[: BLOCK - self.size % BLOCK]
            self._check = zlib.crc32(piece, self._check)
            self.size += len(piece)
            view = view[len(piece) :]
            if not self.size % BLOCK:
                self._sums.append(self._check)
                self._check = 0

    def table(self) -> bytes:
        """The table of all that came."""
        sums = [*self._sums, self._check] if self.size % BLOCK else self._sums
        return struct.pack(f">{len(sums)}I", *sums)


def table_size(body: int) -> int:
    """Bytes of the table of so many bytes of body."""
    return (body + BLOCK - 1) // BLOCK * 4


def encode_head(key: bytes, stored: Stored) -> bytes:
    """A head: all of a stored response but its body, and the key it has."""
    parts = stored.parts
    flat = b"" if parts is None else b"".join(_PART.pack(*part) for part in parts)
    texts = (key, stored.reason, stored.lines, stored.nominated)
    fixed = _HEAD.pack(
        stored.status, stored.flags, stored.serial, stored.arrived, stored.age, stored.lifetime,
        stored.while_revalidate, stored.if_error, stored.total, *map(len, texts),
        -1 if parts is None else len(parts), len(stored.tags),
    )  # fmt: skip
    tags = [piece for tag in stored.tags for piece in (_LENGTH.pack(len(tag)), tag)]
    return b"".join((fixed, *texts, flat, *tags))


def decode_head(data: bytes) -> tuple[bytes, Stored]:
    """The key, and the response without its body.

    :raises Corrupt: this is no head.
    """
    try:
        return _decoded(data)
    except (struct.error, ValueError) as error:
        raise Corrupt(f"no head: {error}") from None


def _decoded(data: bytes) -> tuple[bytes, Stored]:
    fixed = _HEAD.unpack_from(data)
    place = _HEAD.size
    texts = []
    for size in fixed[9:13]:
        texts.append(data[place : place + size])
        place += size
    key, reason, lines, nominated = texts
    parts: tuple[tuple[int, int], ...] | None = None
    if fixed[13] >= 0:
        end = place + fixed[13] * _PART.size
        parts = tuple((first, last) for first, last in _PART.iter_unpack(data[place:end]))
        place = end
    tags = []
    for _ in range(fixed[14]):
        (size,) = _LENGTH.unpack_from(data, place)
        tags.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    if place != len(data):
        raise Corrupt("no head: its lengths do not fit")
    status, flags, serial, arrived, age, lifetime, revalidate, if_error, total = fixed[:9]
    return key, Stored(
        status, reason, lines, arrived, age, lifetime, revalidate, if_error, flags, nominated, tuple(tags), serial,
        b"", parts, total,
    )  # fmt: skip


def sealed(body: int, table_check: int, start: int, head: bytes) -> bytes:
    """A head with its footer, to stand at ``start``."""
    footer = _FOOTER.pack(_MAGIC, body, start, len(head), zlib.crc32(head), table_check)
    return head + footer + _CHECK.pack(zlib.crc32(footer))


def tail(sums: Sums, head: bytes) -> bytes:
    """What follows a body that is complete."""
    table = sums.table()
    return table + sealed(sums.size, zlib.crc32(table), sums.size + len(table), head)


def whole(head: bytes, body: bytes) -> bytes:
    """The file of a body in memory."""
    sums = Sums()
    sums.update(body)
    return body + tail(sums, head)


def read_footer(end: bytes, size: int) -> Footer:
    """The footer of a file of ``size`` bytes, of which ``end`` are the last (at least :data:`FOOTER_SIZE`).

    :raises Corrupt: it has none.
    """
    packed = end[-FOOTER_SIZE : -_CHECK.size]
    if len(packed) != _FOOTER.size or _CHECK.pack(zlib.crc32(packed)) != end[-_CHECK.size :]:
        raise Corrupt("no footer")
    magic, *rest = _FOOTER.unpack(packed)
    footer = Footer(*rest)
    if magic != _MAGIC or footer.start + footer.head + FOOTER_SIZE != size:
        raise Corrupt("not the footer of this file")
    if footer.body + table_size(footer.body) > footer.start:
        raise Corrupt("a body that does not fit")
    return footer


def read_head(end: bytes, footer: Footer) -> tuple[bytes, Stored]:
    """The key and the response without its body, from the end of a file, at least head and footer.

    :raises Corrupt: it is not what was written.
    """
    head = end[-footer.head - FOOTER_SIZE : -FOOTER_SIZE]
    if len(head) != footer.head or zlib.crc32(head) != footer.head_check:
        raise Corrupt("a head that is not what was written")
    return decode_head(head)


def read_whole(data: bytes, footer: Footer) -> tuple[bytes, Stored]:
    """The key and the response with its body, from all of a file.

    :raises Corrupt: it is not what was written.
    """
    key, stored = read_head(data, footer)
    table = data[footer.body : footer.body + table_size(footer.body)]
    body = stored.body = data[: footer.body]
    prove(body, 0, table, footer.table_check)
    return key, stored


def prove(blocks: bytes, first: int, table: bytes, table_check: int) -> None:
    """Prove blocks of a body, from the block of that number on (the last block of a body may be shorter).

    :raises Corrupt: they are not what was written.
    """
    if zlib.crc32(table) != table_check:
        raise Corrupt("a table that is not what was written")
    view = memoryview(blocks)
    for number, place in enumerate(range(0, len(blocks), BLOCK), first):
        if _CHECK.pack(zlib.crc32(view[place : place + BLOCK])) != table[number * 4 : number * 4 + 4]:
            raise Corrupt(f"block {number} of a body is not what was written")
