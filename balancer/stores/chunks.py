"""A body in memory as the pieces it came in: it can be read while it is written, and is never joined or copied whole.

Memory alone: it never waits and never fails.
"""

from bisect import bisect_right
from typing import Final

PIECE: Final = 16 * 2**10
"""Bytes up to which small pieces are joined to the one before, so that a body that comes in drops does not take many
times its size."""

CHUNK_COST: Final = 33 + 16 + 8 + 40
"""Bytes a piece takes beside its own: a bytes object, malloc's rounding, its place in the list, its offset."""


class Chunks:
    """A :class:`~balancer.cache.stored.StoredBody` that may still grow."""

    __slots__ = ("_pieces", "_size", "_starts")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._starts: list[int] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<Chunks {self._size} bytes in {len(self._pieces)}>"

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._size

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return self._size + CHUNK_COST * len(self._pieces)

    def append(self, data: bytes) -> None:
        """There is more of it."""
        if not data:
            return
        pieces = self._pieces
        if pieces and len(pieces[-1]) + len(data) <= PIECE:
            pieces[-1] += data
        else:
            pieces.append(data)
            self._starts.append(self._size)
        self._size += len(data)

    def joined(self) -> bytes:
        """All of it at once."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def open(self) -> "ChunksReader":
        """A reader; what it reads stays as long as it does."""
        return ChunksReader(self)

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes from there, out of one piece; none at the end of what is there."""
        if not 0 <= offset < self._size or size <= 0:
            return b""
        index = bisect_right(self._starts, offset) - 1
        piece = self._pieces[index]
        offset -= self._starts[index]
        if not offset and size >= len(piece):
            return piece
        return piece[offset : offset + size]


class ChunksReader:
    """Reads it; see :class:`~balancer.cache.stored.BodyReader`."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks

    def read(self, offset: int, size: int) -> object:
        """See :class:`~balancer.cache.stored.BodyReader`."""
        return self._chunks.read(offset, size)

    @property
    def file(self) -> tuple[int, int] | None:
        """There is none."""
        return None

    def close(self) -> None:
        """It may be read on all the same."""
