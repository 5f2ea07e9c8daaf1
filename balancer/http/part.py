"""A partial response (206) on its way through, of which a copy is kept to be combined with others (RFC 9111 section
3.4).

It holds the part in memory, up to a limit. It never sends anything.
"""

from collections.abc import Sequence

from balancer.cache.partial import combined, complete
from balancer.cache.stored import Stored

LARGEST = 8 * 2**20
"""Bytes of the largest part that is kept: segments of videos have less."""

COMBINED = 16 * 2**20
"""Bytes of what parts of one representation are combined to at most: more would be copied for each that comes."""

TOGETHER = 32 * 2**20
"""Bytes of all parts that are on their way through one cache; what would be more is not kept."""


class Parts:
    """The parts on their way through one cache.

    :ivar held: their bytes.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0


class Part:
    """See the module.

    :param stored: the part, but for its body.
    :param others: those on their way through the same cache.
    """

    __slots__ = ("_counted", "_others", "_pieces", "_size", "_stored")

    def __init__(self, stored: Stored, others: Parts) -> None:
        self._stored = stored
        self._others = others
        self._counted = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<Part of {self._size} bytes>"

    def add(self, data: bytes) -> bool:
        """More of it came; ``False`` where it is too large to be kept."""
        self._size += len(data)
        if self._size > LARGEST or self._others.held + len(data) > TOGETHER:
            self._pieces.clear()
            return False
        self._pieces.append(data)
        self._counted += len(data)
        self._others.held += len(data)
        return True

    def close(self) -> None:
        """It is under way no more; calling it twice does nothing more."""
        self._others.held -= self._counted
        self._counted = 0

    def other(self, found: Sequence[Stored]) -> Stored | None:
        """The stored response that it may belong to, of the same variant.

        :param found: what is stored under its key.
        """
        return next((variant for variant in found if variant.nominated == self._stored.nominated), None)

    def combined(self, other: Stored | None, other_body: bytes) -> Stored | None:
        """It came whole: what there is of its representation by now; ``None`` where something better is stored, or it
        has not the bytes that its Content-Range says.

        :param other: what it may belong to, if anything.
        """
        part, body = self._stored, b"".join(self._pieces)
        if not complete(part, body):
            return None
        if other is not None:
            both = combined(other, other_body, part, body)
            if both is not None:
                return both[0].with_body(both[1])
            if other.parts is None:
                return None  # a whole one of another version, which says more than a part
        if part.parts == ((0, part.total),):
            both = combined(part, body, part, body)  # it is the whole
            if both is not None:
                return both[0].with_body(both[1])
        return part.with_body(body)
