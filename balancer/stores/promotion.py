"""Reading what another store has under one key, to have it in memory. It never keeps anything."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from balancer.cache.stored import Stored, StoredBody
from balancer.errors import StoreError


class Promotion:
    """Reads the responses of one key into memory.

    :param serial: the memory's when they were asked for.
    :param largest: bytes of the largest body that is read.
    :param done: called with this and whether reading failed, once, at any time.
    :ivar complete: the responses with their bodies, in order; none where they are not to be in memory.
    """

    __slots__ = ("_body", "_done", "_largest", "_reader", "_serial", "_waiting", "complete")

    def __init__(self, serial: int, largest: int, done: Callable[["Promotion", bool], None]) -> None:
        self._serial = serial
        self._largest = largest
        self._done = done
        self._waiting: list[Stored] = []
        self._body = bytearray()
        self._reader: Any = None
        self.complete: list[Stored] = []

    def __repr__(self) -> str:
        return f"<Promotion {len(self.complete)} read, {len(self._waiting)} waiting>"

    def found(self, found: Sequence[Stored]) -> Sequence[Stored]:
        """What the store below has; it is passed on as it is."""
        if max([stored.size for stored in found], default=0) <= self._largest:
            self._waiting = list(found)
        self._go_on()
        return found

    def _go_on(self) -> None:
        try:
            while self._waiting:
                body = self._waiting[0].body
                if isinstance(body, bytes):
                    self._has(body)
                elif not self._read_more(body):
                    return
        except StoreError:
            self._end(True)
        else:
            self._end(False)

    def _read_more(self, body: StoredBody) -> bool:
        """Read on; false: a Deferred will go on."""
        if self._reader is None:
            self._reader = body.open()
        missing = body.size - len(self._body)
        if not missing:
            self._reader.close()
            self._reader = None
            self._has(bytes(self._body))
            self._body = bytearray()
            return True
        data = self._reader.read(len(self._body), missing)
        if isinstance(data, Deferred):
            data.addCallbacks(self._more, self._lost)
            return False
        self._take(data)
        return True

    def _more(self, data: bytes) -> None:
        try:
            self._take(data)
        except StoreError:
            self._end(True)
        else:
            self._go_on()

    def _take(self, data: bytes) -> None:
        if not data:
            raise StoreError("a body ended before its end")
        self._body += data

    def _lost(self, failure: Failure) -> None:
        failure.trap(StoreError)
        self._end(True)

    def _has(self, body: bytes) -> None:
        stored = self._waiting.pop(0).with_body(body)
        stored.serial = self._serial
        self.complete.append(stored)

    def _end(self, failed: bool) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if failed:
            self.complete = []
        self._done(self, failed)
