"""What came before, byte for byte, and what was found in it: whole heads, and the field lines of requests.

Clients that keep a connection, and backends, send the same heads again and again, and what differs between requests is
mostly the request line alone; what was judged once need not be judged again, for the verdict depends on nothing but
the bytes, the limits and (of a response) whether the request's method lets it have a body. One memo is for one set of
limits. It is bounded in entries and bytes, so strangers can make it forget, never grow; and what is used more often
than they can fill it outlives them. It never judges anything itself.
"""

from typing import Final, Generic, TypeVar

from balancer.http1.heads import RequestFields, RequestHead

Kept = TypeVar("Kept")

LONGEST: Final = 2048
"""Bytes of the longest head kept: a browser's with its cookies has about 1000."""

REQUESTS: Final = 1024
"""Heads of requests, and their field lines, in each half of a memo: a thousand routes and as many clients."""

RESPONSES: Final = 128
"""Heads of responses: more different ones than come again before a second has passed and Date changed."""

ROOM: Final = 4096
"""Bytes an entry may take on average, as they are counted below, before a half is full: so 4 MiB a half for requests,
1 MiB for the responses of an upstream in both halves."""

_ENTRY: Final = 512
_LINE: Final = 256
"""What is counted for an entry and for each of its lines beside twice its bytes (they are kept once as they came and
once as they go on): the objects of CPython that they become."""


class Memo(Generic[Kept]):
    """From bytes to what they were found to be.

    It has two halves. What is new goes to the young one; when that is full it becomes the old one, and the old one is
    forgotten. What is found in the old one is young again.
    """

    __slots__ = ("_entries", "_old", "_weight", "_young")

    def __init__(self, entries: int) -> None:
        """:param entries: the most of them in each half."""
        self._entries = entries
        self._young: dict[bytes, Kept] = {}
        self._old: dict[bytes, Kept] = {}
        self._weight = 0  # of the young ones

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, raw: bytes) -> Kept | None:
        """What these bytes are, if that is known."""
        found = self._young.get(raw)
        if found is None:
            found = self._old.pop(raw, None)
            if found is not None:
                self.keep(raw, found)
        return found

    def keep(self, raw: bytes, kept: Kept) -> None:
        """Remember it, if it is not longer than :data:`LONGEST`."""
        if len(raw) > LONGEST:
            return
        weight = _ENTRY + 2 * len(raw) + _LINE * raw.count(b"\n")
        self._weight += weight
        if len(self._young) >= self._entries or self._weight > ROOM * self._entries:
            self._old = self._young
            self._young = {}
            self._weight = weight
        self._young[raw] = kept


class RequestMemo:
    """Of requests.

    :ivar heads: whole ones.
    :ivar fields: field lines with the empty line, of HTTP/1.1 and any method but CONNECT.
    """

    __slots__ = ("fields", "heads")

    def __init__(self) -> None:
        self.heads: Memo[RequestHead] = Memo(REQUESTS)
        self.fields: Memo[RequestFields] = Memo(REQUESTS)
