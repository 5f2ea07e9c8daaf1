"""The files of a disk store and the room they have: what is found of them, what comes in, what goes out.

A response is found from the moment it is complete: from memory until a thread has written its file. What goes is not
found any more at once; its file is removed by a thread. It never says whether a response may be reused.
"""

from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOENT, ENOMEM
from itertools import islice
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.cache.purges import GONE, SOFT, Ledger
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.stores.disk_body import FileBody
from balancer.stores.disk_directory import Directory, Found, unlink_all
from balancer.stores.disk_files import append_head, write_whole
from balancer.stores.disk_growing import GrowingBody
from balancer.stores.disk_index import Entry, Index, name_of
from balancer.stores.disk_record import FOOTER_SIZE, Corrupt, encode_head, table_size
from balancer.stores.disk_writer import DiskWriter
from balancer.stores.work import ThreadReactor, Work

READERS: Final = 3
"""Threads of the reactor's (it has ten) that read what the page cache has not: a slow disk is no faster with more."""

WRITERS: Final = 2
"""Threads that write and remove: a file that takes long to remove does not keep the others waiting."""

MEMORY: Final = 32 << 20
"""Bytes of bodies that wait for a thread, of all responses together; what comes while there are more is not kept."""

BACKLOG: Final = 65536
"""Files that wait to be removed; what comes while there are more is not kept."""

BATCH: Final = 256
"""Files that a thread removes in one call, and entries that are pushed out in one turn."""

VARIANTS: Final = 32
"""Responses under one key: each is read at each lookup. One more pushes out the least recent."""

HEADS: Final = 1 << 20
"""Bytes of heads that were replaced, in one file. One more, and the response is fetched anew."""

NOT_ITS_FAULT: Final = frozenset({EMFILE, ENFILE, ENOMEM})
"""Errors of reading that say nothing of a file."""


class DiskShelf:
    """See the module.

    :param ledger: knows what purges met.
    :param size: bytes of the disk that all files may take.
    :param objects: files there may be.
    :param missing: called when a file or folder was not there; whether that is because all is gone, and so was told.
    :ivar version: that of the last file.
    :ivar first: the last version of earlier processes.
    :ivar dropped: while files of earlier processes are made known: the names that were dropped or stored anew, with
        the version up to which files of that name do not count. ``None`` when all are known.
    :ivar to_remove: files that were to be removed, so far.
    :ivar removed: how many of them a thread has come to.
    :ivar writers: those that are not over.
    """

    def __init__(
        self,
        directory: Directory,
        reactor: ThreadReactor,
        ledger: Ledger,
        size: int,
        objects: int,
        missing: Callable[[], bool],
    ) -> None:
        self.index = Index()
        self.reading = Work(reactor, READERS)
        self.writing = Work(reactor, WRITERS)
        self.writers: set[DiskWriter] = set()
        self.version = 0
        self.first = 0
        self.dropped: dict[bytes, int] | None = {}
        self.to_remove = self.removed = 0
        self.evicted = self.refused = self.corrupt = self.errors = 0
        self._directory = directory
        self._reactor = reactor
        self._ledger = ledger
        self._size = size
        self._objects = objects
        self._missing = missing
        self._memory = 0
        self._reserved = 0
        self._doomed: list[str] = []
        self._removing = False
        self._trimming = False
        self._troubled = False

    def __repr__(self) -> str:
        return f"<DiskShelf {self.index!r} writers={len(self.writers)}>"

    @property
    def quiet(self) -> bool:
        """Whether files are as the index has them: none is written or to be removed."""
        return self.removed == self.to_remove and not self.writing.busy

    def roomy(self, size: int) -> bool:
        """Whether so many bytes more may come now; else that is counted."""
        if self._memory < MEMORY and len(self._doomed) < BACKLOG and self._reserved + size <= self._size // 2:
            return True
        self.refused += 1
        return False

    # -- coming in -----------------------------------------------------------------------------------------------

    def keep(self, key: bytes, stored: Stored, body: bytes) -> None:
        """Store this at one time."""
        if not self.roomy(len(body)):
            return
        entry = self.enter(key, stored.with_body(body), len(body))
        if entry is None or entry.pending is None:
            return
        size = len(body)
        self._memory += size
        head = encode_head(key, entry.pending)
        done = self.writing.run(write_whole, self.temporary(), self.file_of(entry), head, body)
        done.addBoth(self._freed, size).addCallbacks(
            lambda _, stored=entry.pending: self.settled(entry, stored), self._failed, errbackArgs=(entry,)
        )

    def enter(self, key: bytes, stored: Stored, body: int) -> Entry | None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        judged = self._arriving(key, stored)
        if judged is None:
            return None
        name = name_of(key, stored.nominated)
        old = self.index.named(name)
        if old is not None:
            self.remove(old)
        beside = self.index.find(key)
        if len(beside) >= VARIANTS:
            self._push_out(beside[-1])
        self.supersede(name)
        self.version += 1
        size = body + table_size(body) + len(encode_head(key, judged)) + FOOTER_SIZE
        entry = Entry(name, self.version, size)
        entry.proven = True
        self._await(entry, key, judged)
        self.index.add(entry)
        self.trim()
        return None if entry.gone else entry

    def freshen(self, key: bytes, stored: Stored) -> None:
        """Replace the head of an entry, whose body this is."""
        body = stored.body
        entry = body.entry if isinstance(body, FileBody | GrowingBody) else None
        judged = self._arriving(key, stored)
        if entry is None or entry.gone or judged is None or name_of(key, stored.nominated) != entry.name:
            self.refused += 1
            return
        entry.soft = False
        self.index.renew(entry)
        self.replace(entry, key, judged)

    def replace(self, entry: Entry, key: bytes, stored: Stored) -> None:
        """Give an entry this head, on the disk too."""
        size = entry.size + len(encode_head(key, stored)) + FOOTER_SIZE
        if size - stored.size - table_size(stored.size) > HEADS:
            self._push_out(entry)
            return
        written = entry.pending is None
        self._await(entry, key, stored)
        entry.changes += 1
        self.index.resize(entry, size)
        if written:
            self._append(entry)
        self.trim()

    def load(self, found: Found) -> None:
        """There is a file of an earlier process."""
        if found.version > self.first:
            return  # it is of this one
        entry = Entry(found.name, found.version, found.size)
        entry.used = found.used
        other = self.index.named(found.name)
        known = (self.dropped or {}).get(found.name, -1)
        if found.version <= (known if other is None else max(known, other.version)):
            self.discard(self.file_of(entry))
            return
        if other is not None:
            self.remove(other)
        self.index.add_old(entry)
        self.trim()

    def supersede(self, name: bytes) -> None:
        """Files of earlier processes that have this name and are not known yet do not count."""
        if self.dropped is not None:
            self.dropped[name] = self.first

    def _arriving(self, key: bytes, stored: Stored) -> Stored | None:
        """As what it is kept: ``None`` for not at all."""
        verdict = self._ledger.arriving(key, stored)
        if verdict == GONE:
            return None
        judged = stored.with_body(stored.body)
        judged.serial = self._ledger.serial
        if verdict == SOFT:
            judged.flags |= SOFT_PURGED
        return judged

    def _await(self, entry: Entry, key: bytes, stored: Stored) -> None:
        entry.pending, entry.key, entry.arrived, entry.judged = stored, key, stored.arrived, stored.serial

    # -- being written -------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        if not self.roomy(size):
            raise StoreError("there is no room for more bodies at present")
        self._memory += size
        self._reserved += size
        self.trim()

    def written(self, size: int) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        self._memory -= size

    def over(self, writer: DiskWriter, reserved: int) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        self._reserved -= reserved
        self.writers.discard(writer)

    def settled(self, entry: Entry, stored: Stored) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        self._well()
        if entry.gone:
            self.discard(self.file_of(entry))
        elif entry.pending is stored:
            entry.pending, entry.key = None, b""
        else:  # its head was replaced meanwhile
            self._append(entry)

    def unsettled(self, entry: Entry) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        if not entry.gone:
            entry.pending = None
            self.remove(entry)

    def _append(self, entry: Entry) -> None:
        stored = entry.pending
        assert stored is not None
        done = self.writing.run(append_head, self.file_of(entry), encode_head(entry.key, stored))
        done.addCallbacks(lambda _: self.settled(entry, stored), self._failed, errbackArgs=(entry,))

    def _freed(self, result: Any, size: int) -> Any:
        self._memory -= size
        return result

    def _failed(self, failure: Failure, entry: Entry) -> None:
        failure.trap(OSError, Corrupt)
        error = failure.value
        if entry.gone:
            self.discard(self.file_of(entry))
            return
        if isinstance(error, Corrupt):
            self.corrupt += 1
        elif isinstance(error, OSError):
            self.trouble(error)
        self.unsettled(entry)

    # -- going ---------------------------------------------------------------------------------------------------

    def remove(self, entry: Entry) -> None:
        """It is not found any more, and its file goes."""
        self.index.remove(entry)
        if entry.pending is None:
            self.discard(self.file_of(entry))
        else:  # a thread is at it; the file goes when it is done
            entry.pending, entry.key = None, b""

    def trim(self) -> None:
        """Push out what there is no room for; a lot of it in several turns."""
        index = self.index
        for _ in range(BATCH):
            if index.bytes + self._reserved <= self._size and len(index) <= self._objects:
                return
            entry = index.victim(self._size)
            if entry is None:
                return
            self._push_out(entry)
        if not self._trimming:
            self._trimming = True
            self._reactor.callLater(0, self._trim_on)

    def discard(self, path: str) -> None:
        """A file goes, when a thread comes to it."""
        self._doomed.append(path)
        self.to_remove += 1
        self._remove_some()

    def _push_out(self, entry: Entry) -> None:
        self.evicted += 1
        self.remove(entry)

    def _trim_on(self) -> None:
        self._trimming = False
        self.trim()

    def _remove_some(self) -> None:
        if self._removing or not self._doomed:
            return
        self._removing = True
        paths, self._doomed = self._doomed[:BATCH], self._doomed[BATCH:]
        self.writing.run(unlink_all, paths).addCallback(self._removed, len(paths))

    def _removed(self, wrong: list[OSError], count: int) -> None:
        self._removing = False
        self.removed += count
        for error in wrong:
            self.trouble(error)
        self._remove_some()

    # -- what is wrong -------------------------------------------------------------------------------------------

    def spoiled(self, entry: Entry, error: Exception) -> None:
        """See :class:`~balancer.stores.disk_body.Keeper`."""
        if isinstance(error, OSError):
            if entry.gone and error.errno == ENOENT:
                return
            if error.errno != ENOENT:
                self.trouble(error)
            if error.errno in NOT_ITS_FAULT:
                return
        if isinstance(error, Corrupt) or (isinstance(error, OSError) and error.errno == ENOENT):
            self.corrupt += 1
        if not entry.gone:
            self.remove(entry)
        if isinstance(error, OSError) and error.errno == ENOENT:
            self._missing()

    def forget(self, count: int) -> bool:
        """So many entries have no file any more; whether there are others."""
        for entry in list(islice(self.index, count)):
            self.index.remove(entry)
            entry.pending, entry.key = None, b""
            self.corrupt += 1
        return len(self.index) > 0

    def trouble(self, error: Exception) -> None:
        """See :class:`~balancer.stores.disk_writer.Shelf`. The first one is logged, until it is well again."""
        self.errors += 1
        if isinstance(error, OSError) and error.errno == ENOENT and self._missing():
            return
        if not self._troubled:
            self._troubled = True
            log.error(
                "the cache in {path!r} has trouble, and goes on with what it can keep: {error}",
                path=self._directory.path,
                error=error,
            )

    def _well(self) -> None:
        if self._troubled:
            self._troubled = False
            log.info("the cache in {path!r} is written again", path=self._directory.path)

    # -- names ---------------------------------------------------------------------------------------------------

    def file_of(self, entry: Entry) -> str:
        """See :class:`~balancer.stores.disk_body.Keeper`."""
        return self._directory.file_of(entry)

    def temporary(self) -> str:
        """See :class:`~balancer.stores.disk_writer.Shelf`."""
        return self._directory.temporary()


log = Logger()
