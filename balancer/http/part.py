"""A partial response (206) on its way through, of which a copy is kept to be combined with others (RFC 9111 section
3.4).

It holds the part in memory, up to a limit. It never sends anything.
"""

from collections.abc import Sequence

from balancer.cache.partial import combined, complete
from balancer.cache.stored import Stored

LARGEST = 8 * 2**20
"""Bytes of the largest part that is kept: segments of videos have less."""


class Part:
    """See the module.

    :param stored: the part, but for its body.
    """

    __slots__ = ("_pieces", "_size", "_stored")

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._pieces: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<Part of {self._size} bytes>"

    def add(self, data: bytes) -> bool:
        """More of it came; ``False`` where it is too large to be kept."""
        self._size += len(data)
        if self._size > LARGEST:
            self._pieces.clear()
            return False
        self._pieces.append(data)
        return True

    def combined(self, found: Sequence[Stored]) -> Stored | None:
        """It came whole: what there is of its representation by now; ``None`` where something better is stored, or it
        has not the bytes that its Content-Range says.

        :param found: what is stored under its key.
        """
        part, body = self._stored, b"".join(self._pieces)
        if not complete(part, body):
            return None
        for variant in found:
            if isinstance(variant.body, bytes) and variant.nominated == part.nominated:
                both = combined(variant, variant.body, part, body)
                if both is not None:
                    return both[0].with_body(both[1])
                if variant.parts is None:
                    return None  # a whole one of another version, which says more than a part
        return part.with_body(body)
