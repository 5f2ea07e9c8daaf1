"""A store of responses on a disk: it survives a restart, and a kill at any moment.

What it promises, whatever happens to process, files and disk: a response is found whole and as it was stored, or it is
not found. A purge has reached the kernel before :meth:`DiskStore.purge` returns, so it survives the end of the process;
with ``sync`` it has reached the disk, and survives a power failure as well. Bodies never wait for the disk: what a
power failure leaves of them is seen by their checksums.

The reactor itself reads what is in the page cache, which takes microseconds, and leaves all else to threads: reading
what is not there, writing, removing. It never decides whether a response may be reused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.cache.purges import GONE, SOFT, Ledger, Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheStore
from balancer.stores.disk_body import FileBody, note
from balancer.stores.disk_directory import SHARDS, Directory
from balancer.stores.disk_files import Read, read_file, read_files
from balancer.stores.disk_index import Entry, name_of
from balancer.stores.disk_loading import Loading
from balancer.stores.disk_purging import Purging
from balancer.stores.disk_record import Corrupt
from balancer.stores.disk_recovery import Recovery
from balancer.stores.disk_shelf import DiskShelf
from balancer.stores.disk_writer import DiskWriter
from balancer.stores.work import ThreadReactor

WRITERS: Final = 1024
"""Bodies that are written at one time, each with a descriptor; what comes while there are more is not kept."""


@implementer(ICacheStore)
class DiskStore:
    """See the module.

    :param path: its directory.
    :param size: bytes of the disk that files may take.
    :param most: bytes of a body that is kept.
    :param objects: responses that are kept.
    :param sync: whether a purge waits for the disk.
    """

    def __init__(
        self, reactor: ThreadReactor, path: str, size: int, most: int, objects: int, sync: bool = False
    ) -> None:
        self._reactor = reactor
        self._most = most
        self._open = False
        self._ledger = Ledger()
        self._directory = Directory(path)
        self._shelf = DiskShelf(self._directory, reactor, self._ledger, size, objects, self._missing)
        self._purging = Purging(self._directory, self._shelf, self._ledger, reactor, sync)
        self._recovery = Recovery(self._directory, self._shelf, self._purging, reactor, self._recovered)
        self._loading: Loading | None = None
        self._started: Deferred[None] | None = None

    def __repr__(self) -> str:
        return f"<DiskStore {self._directory!r} {self._shelf!r}>"

    @property
    def serial(self) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        return self._ledger.serial

    @property
    def counters(self) -> Mapping[str, int]:
        """See :class:`~balancer.interfaces.ICacheStore`; ``bytes`` are those of the disk that files take."""
        shelf = self._shelf
        return {
            "objects": len(shelf.index), "bytes": shelf.index.bytes, "evicted": shelf.evicted,
            "refused": shelf.refused, "corrupt": shelf.corrupt, "errors": shelf.errors,
        }  # fmt: skip

    # -- beginning and end ---------------------------------------------------------------------------------------

    def start(self) -> "Deferred[None]":
        """Open the directory. It fires when all that is in there is found; what is known already is found before, and
        what comes is kept.

        :raises StoreError: the directory cannot be used; the message says what to change.
        """
        self._directory.open()
        done: Deferred[None] = Deferred()
        self._started = done
        try:
            if self._purging.recall():
                self._begin(True)
                return done
        except BaseException:
            self._directory.close()
            raise
        shards = [f"{shard:02x}" for shard in range(SHARDS)]
        emptied = self._shelf.reading.run(self._directory.empty, shards)
        emptied.addCallback(lambda _: self._begin(False)).addErrback(self._not_begun)
        return done

    def stop(self) -> "Deferred[None]":
        """Close it; fires when everything that came is written."""
        self._open = False
        if self._loading is not None:
            self._loading.stop()
        self._recovery.stop()
        self._purging.stop()
        for writer in list(self._shelf.writers):
            writer.abort()
        started, self._started = self._started, None
        if started is not None and not started.called:
            started.callback(None)
        done = self._shelf.writing.idle()
        done.addCallback(lambda _: self._shelf.reading.idle())
        return done.addCallback(lambda _: self._directory.close())

    def _begin(self, trusted: bool) -> None:
        if self._started is None:
            return  # it was stopped meanwhile
        self._purging.begin(trusted)
        self._open = True
        self._loading = Loading(self._directory, self._shelf, self._reactor, self._loaded)
        self._loading.begin()

    def _not_begun(self, failure: Failure) -> None:
        self._directory.close()
        error = failure.value
        if isinstance(error, OSError):
            words = f"the cache directory cannot be emptied: {error.strerror} ({error.filename})"
            failure = Failure(StoreError(words))
        if self._started is not None:
            self._started.errback(failure)

    def _loaded(self) -> None:
        self._loading = None
        self._purging.loaded()
        if self._started is not None and not self._started.called:
            self._started.callback(None)

    # -- when the directory is emptied ---------------------------------------------------------------------------

    def _missing(self) -> bool:
        """A file was not there: whether that is because nothing is there any more."""
        if self._open and not self._directory.whole():
            self._recover()
        return self._recovery.active

    def _usable(self) -> bool:
        """Whether it is open, and the directory still there."""
        if self._open and (self._directory.emptied or self._purging.emptied):
            self._recover()
        return self._open

    def _recover(self) -> None:
        self._open = False
        if self._loading is not None:
            self._loading.stop()
        self._recovery.begin()

    def _recovered(self) -> None:
        self._open = True
        self._loaded()

    # -- finding -------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> "Sequence[Stored] | Deferred[Sequence[Stored]]":
        """See :class:`~balancer.interfaces.ICacheStore`."""
        entries = self._shelf.index.find(key)
        if not entries or not self._open:
            return ()
        found = []
        for entry in entries:
            if entry.pending is not None:
                stored = self._judged(entry, key, entry.pending)
            else:
                try:
                    read = read_file(self._shelf.file_of(entry), entry.size, False, not entry.begun)
                except (OSError, Corrupt) as error:
                    self._shelf.spoiled(entry, error)
                    continue
                if read is None:
                    return self._get_later(key, entries)
                stored = self._accepted(entry, key, read)
            if stored is not None:
                found.append(stored)
        return found

    def _get_later(self, key: bytes, entries: Sequence[Entry]) -> "Deferred[Sequence[Stored]]":
        cold = [(entry, entry.changes) for entry in entries if not entry.gone]
        files = [(self._shelf.file_of(entry), entry.size, not entry.begun) for entry, _ in cold]
        done = self._shelf.reading.run(read_files, files)
        return done.addCallback(self._got, key, cold)

    def _got(self, files: list[Read | Exception], key: bytes, cold: list[tuple[Entry, int]]) -> list[Stored]:
        found = []
        for (entry, changes), read in zip(cold, files, strict=True):
            if entry.gone:
                continue
            stored = None
            if entry.pending is not None:
                stored = self._judged(entry, key, entry.pending)
            elif not isinstance(read, Exception):
                stored = self._accepted(entry, key, read)
            elif entry.changes == changes:
                self._shelf.spoiled(entry, read)
            if stored is not None:
                found.append(stored)
        return found

    def _accepted(self, entry: Entry, key: bytes, read: Read) -> Stored | None:
        """What was read, if it is of this key and no purge met it."""
        stored = read.stored
        if read.key != key:
            if name_of(read.key, stored.nominated) != entry.name:
                self._shelf.spoiled(entry, Corrupt("a file that has another's name"))
            return None  # else two keys of one digest
        entry.arrived = stored.arrived
        if read.first:
            note(entry, (0,), read.footer.body)
        if not read.whole:
            stored.body = FileBody(self._shelf, entry, read.footer.body, read.footer.table_check)
        return self._judged(entry, key, stored)

    def _judged(self, entry: Entry, key: bytes, stored: Stored) -> Stored | None:
        """The same, with what purges mean for it."""
        verdict = self._ledger.verdict(key, stored)
        if verdict == GONE:
            self._shelf.remove(entry)
            return None
        entry.judged = self._ledger.serial
        entry.used = True
        if verdict == SOFT or entry.soft:
            stored = stored.with_body(stored.body)
            stored.flags |= SOFT_PURGED
        return stored

    # -- storing -------------------------------------------------------------------------------------------------

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> DiskWriter | None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        shelf = self._shelf
        if not self._usable() or size > self._most or len(shelf.writers) >= WRITERS:
            shelf.refused += 1
            return None
        if not shelf.roomy(max(size, 0)):
            return None
        writer = DiskWriter(shelf, key, stored, size, self._most, resume)
        shelf.writers.add(writer)
        return writer

    def put(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        body = stored.body
        if not self._usable() or (isinstance(body, bytes) and len(body) > self._most):
            self._shelf.refused += 1
        elif isinstance(body, bytes):
            self._shelf.keep(key, stored, body)
        else:
            self._shelf.freshen(key, stored)

    # -- removing ------------------------------------------------------------------------------------------------

    def drop(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        entry = self._shelf.index.named(name_of(key, stored.nominated))
        if (
            self._open
            and entry is not None
            and entry.arrived == stored.arrived
            and getattr(stored.body, "entry", entry) is entry
        ):
            self._purging.dropped(entry.name, entry.version)
            self._shelf.remove(entry)

    def remove(self, uri: bytes, soft: bool) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        if not self._usable() and not self._recovery.active:
            return 0
        entries = [entry for entry in self._shelf.index.under(uri) if self._alive(entry)]
        durable = bool(entries) or self._loading is not None or not self._shelf.quiet
        self._purging.removed(uri, soft, durable)
        for entry in entries:
            if soft:
                entry.soft = True
            elif not entry.gone:
                self._shelf.remove(entry)
        return len(entries)

    def purge(self, purge: Purge) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        if self._usable() or self._recovery.active:
            self._purging.purge(purge)

    def _alive(self, entry: Entry) -> bool:
        """Whether no purge met it, as far as that can be said without waiting for the disk."""
        if entry.judged >= self._ledger.last:
            return True
        if entry.pending is not None:
            return self._judged(entry, entry.key, entry.pending) is not None
        try:
            read = read_file(self._shelf.file_of(entry), entry.size, wait=False)
        except (OSError, Corrupt) as error:
            self._shelf.spoiled(entry, error)
            return False
        return read is None or self._accepted(entry, read.key, read) is not None
