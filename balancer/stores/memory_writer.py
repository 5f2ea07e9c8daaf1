"""One body on its way into memory. It never waits: what does not fit is refused."""

from typing import Protocol

from zope.interface import classImplements

from balancer.cache.purges import GONE, SOFT, Ledger
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheWriter
from balancer.stores.chunks import Chunks


class Taker(Protocol):
    """The store, as its writers see it."""

    def room(self, size: int, more: int) -> bool:
        """Whether a body of so many bytes may have so many more."""

    def wrote(self, cost: int) -> None:
        """So many bytes more are taken by what is being written."""

    def ended(self, writer: "MemoryWriter", complete: bool) -> None:
        """It is done; of no more use if it is not complete."""


class MemoryWriter:
    """See :class:`~balancer.interfaces.ICacheWriter`.

    :ivar stored: the response without its body; its own, with the serial at which it was judged last.
    :ivar body: what was written.
    """

    __slots__ = ("_announced", "_open", "_purged", "_store", "body", "key", "stored")

    def __init__(self, store: Taker, key: bytes, stored: Stored, announced: int) -> None:
        self._store = store
        self._announced = announced
        self._open = True
        self._purged = False
        self.key = key
        self.stored = stored.with_body(b"")
        self.body = Chunks()

    def __repr__(self) -> str:
        return f"<MemoryWriter {'open' if self._open else 'done'} {self.body.size} of {self._announced} bytes>"

    def judge(self, ledger: Ledger) -> bool:
        """Whether it may be kept, by what was purged until now."""
        if self._purged:
            return False
        verdict = ledger.arriving(self.key, self.stored)
        if verdict == SOFT:
            self.stored.flags |= SOFT_PURGED
        self.stored.serial = ledger.serial
        self._purged = verdict == GONE
        return not self._purged

    def write(self, data: bytes) -> bool:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        body = self.body
        if not self._open:
            raise StoreError("the body is complete, or was given up")
        if not self._store.room(body.size, len(data)):
            raise StoreError(f"no room in memory for {body.size + len(data)} bytes of a body")
        cost = body.cost
        body.append(data)
        self._store.wrote(body.cost - cost)
        return True

    def commit(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        if not self._open:
            raise StoreError("the body is complete, or was given up")
        complete = self._announced in (-1, self.body.size)
        self._end(complete)
        if not complete:
            raise StoreError(f"a body of {self.body.size} bytes where {self._announced} were announced")

    def abort(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        if self._open:
            self._end(False)

    def _end(self, complete: bool) -> None:
        self._open = False
        self._store.ended(self, complete)


classImplements(MemoryWriter, ICacheWriter)
