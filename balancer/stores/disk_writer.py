"""One body on its way to the disk: threads write it, piece after piece, while more of it comes.

A small one is kept in memory until it is complete, and then written at one time. It never decides what is found.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.cache.stored import Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheWriter
from balancer.stores.disk_body import FileBody, Keeper
from balancer.stores.disk_files import Temporary
from balancer.stores.disk_growing import GrowingBody
from balancer.stores.disk_index import Entry
from balancer.stores.disk_record import encode_head
from balancer.stores.work import Work

SPILL: Final = 262144
"""Bytes that are collected until they are worth a call of a thread."""

QUEUE: Final = 1 << 20
"""Bytes of one body that wait to be written until whoever writes has to wait: four calls' worth."""


class Shelf(Keeper, Protocol):
    """The store, as its writers know it."""

    writing: Work

    def reserve(self, size: int) -> None:
        """So many bytes more are on their way: ``size`` of them in memory.

        :raises StoreError: there is no room.
        """

    def written(self, size: int) -> None:
        """So many of them are not in memory any more."""

    def over(self, writer: "DiskWriter", reserved: int) -> None:
        """A writer is over: what was reserved for it is free, or has become an entry."""

    def temporary(self) -> str:
        """A name for a file that is written."""

    def keep(self, key: bytes, stored: Stored, body: bytes) -> None:
        """Store this, which is small."""

    def enter(self, key: bytes, stored: Stored, body: int) -> Entry | None:
        """Have this found, whose file comes later; ``None`` where a purge met it."""

    def settled(self, entry: Entry, stored: Stored) -> None:
        """The file of an entry is there, with this head."""

    def unsettled(self, entry: Entry) -> None:
        """The file of an entry could not be written."""

    def trouble(self, error: Exception) -> None:
        """Something could not be written."""

    def discard(self, path: str) -> None:
        """A file goes."""


@implementer(ICacheWriter)
class DiskWriter:
    """See the module.

    :ivar body: what was written so far.
    """

    def __init__(
        self, shelf: Shelf, key: bytes, stored: Stored, size: int, most: int, resume: Callable[[], None]
    ) -> None:
        self.body = GrowingBody(shelf)
        self._shelf = shelf
        self._key = key
        self._stored = stored
        self._size = size
        self._most = most
        self._resume = resume
        self._file: Temporary | None = None
        self._busy = False
        self._full = False
        self._failed = ""
        self._closed = False
        self._waiting = 0  # bytes in memory
        self._entry: Entry | None = None
        self._judged: Stored | None = None  # as what it was entered: what replaces that is appended later

    def __repr__(self) -> str:
        return f"<DiskWriter {self.body!r}{' closed' if self._closed else ''}{f' {self._failed}' * bool(self._failed)}>"

    def write(self, data: bytes) -> bool:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        self._check()
        if self.body.size + len(data) > self._most:
            self._failed = f"a body of more than {self._most} bytes is not kept"
        else:
            try:
                self._shelf.reserve(len(data))
            except StoreError as error:
                self._failed = str(error)
        self._check()
        if data:
            self.body.append(bytes(data))
            self._waiting += len(data)
            self._flush()
        self._full = self._waiting > QUEUE
        return not self._full

    def commit(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        self._check()
        if 0 <= self._size != self.body.size:
            self._failed = f"{self.body.size} bytes came, and {self._size} were promised"
            self._check()
        self._closed = True
        if self._file is None:
            data = self.body.rest()
            self._leave()
            self._shelf.keep(self._key, self._stored, data)
            return
        stored = self._stored.with_body(self.body)
        entry = self._entry = self.body.entry = self._shelf.enter(self._key, stored, self.body.size)
        self._judged = None if entry is None else entry.pending
        if not self._busy:
            self._finish()

    def abort(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        if not self._closed:
            self._closed = True
            if not self._busy:
                self._finish()

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the body is complete, or given up")
        if self._failed:
            raise StoreError(self._failed)

    # -- the file ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Have a thread write what there is, if that is enough and none does."""
        if self._busy or self._waiting < SPILL or self._failed:
            return
        if self._file is None:
            self._file = Temporary(self._shelf.temporary())
        data = self.body.rest()
        self._busy = True
        done = self._shelf.writing.run(self._file.append, data)
        done.addCallbacks(self._appended, self._broken, callbackArgs=(len(data),))

    def _appended(self, _: None, size: int) -> None:
        self._busy = False
        self._moved(size)
        if self._closed:
            self._finish()
            return
        self._flush()
        if self._full and self._waiting <= SPILL:
            self._full = False
            self._resume()

    def _moved(self, size: int) -> None:
        file = self._file
        assert file is not None
        if not self.body.filed and size:
            self.body.opened(file.file)
        self.body.moved(size)
        self._waiting -= size
        self._shelf.written(size)

    def _broken(self, failure: Failure) -> None:
        failure.trap(OSError)
        error: Any = failure.value
        self._busy = False
        self._failed = f"a body cannot be written: {error.strerror}"
        self._shelf.trouble(error)
        if self._closed:
            self._finish()
        elif self._full:
            self._full = False
            self._resume()

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """No thread is at it, and nothing more comes."""
        entry, file = self._entry, self._file
        if entry is None or entry.gone or self._failed or file is None:
            if entry is not None and not entry.gone:
                self._shelf.unsettled(entry)
            self._leave()
            return
        stored = self._judged
        assert stored is not None
        data = self.body.rest()
        head = encode_head(self._key, stored)
        done = self._shelf.writing.run(file.finish, data, head, self._shelf.file_of(entry))
        done.addCallbacks(self._finished, self._unfinished, callbackArgs=(entry, stored, len(data)))

    def _finished(self, _: None, entry: Entry, stored: Stored, size: int) -> None:
        self._moved(size)
        self._file = None
        self.body.became = FileBody(self._shelf, entry, self.body.size, 0)
        self._shelf.settled(entry, stored)
        self._leave()

    def _unfinished(self, failure: Failure) -> None:
        failure.trap(OSError)
        error: Any = failure.value
        self._failed = f"a body cannot be written: {error.strerror}"
        self._shelf.trouble(error)
        self._finish()

    def _leave(self) -> None:
        """Nothing is the writer's any more."""
        file, self._file = self._file, None
        if file is not None:
            if file.file >= 0 and not self.body.filed:
                self.body.opened(file.file)
            self._shelf.discard(file.path)
        self._shelf.written(self._waiting)
        self._waiting = 0
        self.body.leave()
        self._shelf.over(self, self.body.size)
