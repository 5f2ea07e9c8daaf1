"""Heads that came before, byte for byte, and what was found in them.

Clients that keep a connection, and backends, send the same heads again and again; what was judged once need not be
judged again, for the verdict depends on nothing but the bytes, the limits and (of a response) whether the request's
method lets it have a body. One memo is for one set of limits. It is bounded in entries and bytes, so strangers can
make it forget, never grow. It never judges anything itself.
"""

from typing import Final, TypeVar

from balancer.http1.heads import LENGTH, NONE, RequestHead, ResponseHead

Head = TypeVar("Head", RequestHead, ResponseHead)

ENTRIES: Final = 128
"""Heads kept: more different ones than a busy listener meets again before a second has passed and Date changed."""

LONGEST: Final = 2048
"""Bytes of the longest head kept: a browser's with its cookies has about 1000. All of it at most 256 KiB of bytes."""


class HeadMemo(dict[bytes, Head]):
    """From a head's bytes, its empty line included, to the head."""

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember a head of at most :data:`LONGEST` bytes; where too many are kept it begins anew, which costs less
        than finding the oldest."""
        if len(self) >= ENTRIES:
            self.clear()
        framing = head.framing
        head.raw = raw
        head.whole = len(raw) + framing.length if framing.kind is NONE or framing.kind is LENGTH else -1
        self[raw] = head
