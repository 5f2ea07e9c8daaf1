"""Purges of a disk store: into the ledger and its files, and, when their files were swept, out of both again."""

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from balancer.cache.purges import Ledger, Purge
from balancer.errors import StoreError
from balancer.stores.disk_directory import Directory
from balancer.stores.disk_purges import FULL, MOST, Known, PurgeFiles, read
from balancer.stores.disk_record import Corrupt
from balancer.stores.disk_shelf import DiskShelf
from balancer.stores.disk_sweep import Sweep
from balancer.stores.work import ThreadReactor

SWEEP_AFTER: Final = 5.0
"""Seconds after a purge until a sweep begins: several purges are often made together."""

FORGET_AFTER: Final = 60.0
"""Seconds after a sweep until its purges are forgotten: what was asked for before one of them, and comes later than
that, is not kept."""


class Purging:
    """See the module.

    :param sync: whether a purge waits for the disk.
    """

    def __init__(
        self, directory: Directory, shelf: DiskShelf, ledger: Ledger, reactor: ThreadReactor, sync: bool
    ) -> None:
        self._directory = directory
        self._shelf = shelf
        self._ledger = ledger
        self._reactor = reactor
        self._files = PurgeFiles(directory, sync)
        self._sweep: Sweep | None = None
        self._call: Any = None  # the delayed call, where there is one
        self._due = False  # there is something to sweep that no sweep has begun with
        self._paused = False

    def __repr__(self) -> str:
        return f"<Purging {self._ledger!r} {self._files!r} {self._sweep!r}>"

    @property
    def emptied(self) -> bool:
        """Whether somebody removed what was purged."""
        return self._files.emptied

    def recall(self) -> bool:
        """Learn what was purged before; whether that is known, and so whether what is stored may be used.

        :raises StoreError: it cannot be read.
        """
        try:
            known = read(self._directory)
        except Corrupt as error:
            if self._directory.purges():
                self._shelf.corrupt += 1
                log.error("the cache in {path!r} begins empty: {error}", path=self._directory.path, error=error)
            self._ledger.serial = 1
            return False
        except OSError as error:
            raise StoreError(f"what was purged cannot be read: {error.strerror} ({error.filename})") from error
        self._take(known)
        return True

    def begin(self, trusted: bool) -> None:
        """Begin to write down.

        :param trusted: whether older files count.
        :raises StoreError: it cannot be done.
        """
        try:
            older = self._files.begin(self._ledger.serial, self._shelf.version)
            if not (trusted and self._files.records):
                self._files.end(older, 0)
            self._paused = False
        except OSError as error:
            raise StoreError(f"the cache directory cannot be written: {error.strerror} ({error.filename})") from error

    def loaded(self) -> None:
        """Every entry is known: what was purged before can be swept."""
        self._shelf.dropped = None
        if self._files.records:
            self._sweep_soon()

    def purge(self, purge: Purge) -> None:
        """See :meth:`~balancer.interfaces.ICacheStore.purge`."""
        if self._files.records >= FULL:
            purge = Purge(kind="all")
        serial = self._ledger.add(purge)
        self._write(lambda: self._files.add(serial, purge))
        if purge.kind != "url":
            self._sweep_soon()
            return
        for entry in self._shelf.index.under(purge.what):
            if purge.soft:
                entry.soft = True
            else:
                self._shelf.remove(entry)

    def removed(self, uri: bytes, soft: bool, durable: bool) -> None:
        """What there is of a URI was removed.

        :param durable: there was something, or may be: it must not come back.
        """
        purge = Purge(kind="url", what=uri, soft=soft)
        # What is not known yet is met when it is looked up.
        loading = self._shelf.dropped is not None
        serial = self._ledger.add(purge) if loading else self._ledger.removed(uri, soft)
        if durable:
            self._write(lambda: self._files.add(serial, purge))

    def dropped(self, name: bytes, version: int) -> None:
        """A response was dropped: neither it nor what it replaced may come back."""
        self._shelf.supersede(name)
        self._write(lambda: self._files.add_dropped(name, version))

    def stop(self) -> None:
        """No more of it."""
        self.pause()
        self._files.close()

    def pause(self) -> None:
        """No sweep, until :meth:`begin`; purges are taken meanwhile."""
        self._paused = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep = None

    def _take(self, known: Known) -> None:
        for serial, purge in known.purges:
            self._ledger.note(serial, purge)
        self._ledger.serial = known.serial
        self._shelf.version = self._shelf.first = known.version
        self._files.records = known.records
        self._shelf.dropped = known.dropped

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self._shelf.trouble(error)
        if self._files.records >= MOST:
            self._sweep_soon()

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep_soon(self) -> None:
        self._due = True
        if self._call is None and self._sweep is None and not self._paused:
            self._call = self._reactor.callLater(SWEEP_AFTER, self._sweep_now)

    def _sweep_now(self) -> None:
        self._call = None
        self._due = False
        serial, records = self._ledger.serial, self._files.records
        try:
            older = self._files.begin(serial, self._shelf.version)
        except OSError as error:
            self._shelf.trouble(error)
            self._sweep_soon()
            return
        self._sweep = Sweep(self._shelf, self._ledger, self._reactor, lambda: self._swept(serial, older, records))
        self._sweep.begin()

    def _swept(self, serial: int, older: list[str], records: int) -> None:
        to_remove = self._shelf.to_remove
        self._call = self._reactor.callLater(FORGET_AFTER, self._forget, serial, older, records, to_remove)

    def _forget(self, serial: int, older: list[str], records: int, to_remove: int) -> None:
        if self._shelf.removed < to_remove:  # files that were dropped are still there
            self._call = self._reactor.callLater(FORGET_AFTER, self._forget, serial, older, records, to_remove)
            return
        self._call = None
        self._sweep = None
        self._ledger.forget(serial)
        self._files.end(older, records)
        if self._due:
            self._sweep_soon()


log = Logger()
