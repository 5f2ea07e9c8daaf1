"""Goes through all files after a purge: what was purged goes, what is stale is marked in its file, what is corrupt is
dropped. Then the purges need not be remembered any more.

It is never in a hurry: what was purged is not found in any case. It never runs twice at a time.
"""

from collections.abc import Callable
from typing import Any, Final

from balancer.cache.purges import GONE, KEEP, Ledger
from balancer.cache.stored import SOFT_PURGED
from balancer.stores.disk_body import FileBody
from balancer.stores.disk_files import Read, read_files
from balancer.stores.disk_index import Entry
from balancer.stores.disk_shelf import DiskShelf
from balancer.stores.work import ThreadReactor

BATCH: Final = 32
"""Files that are read in one call of a thread."""

PAUSE: Final = 0.01
"""Seconds between two batches: three thousand files a second at most, a part of what a disk can do."""


class Sweep:
    """See the module.

    :param done: called at the end.
    """

    def __init__(self, shelf: DiskShelf, ledger: Ledger, reactor: ThreadReactor, done: Callable[[], None]) -> None:
        self._shelf = shelf
        self._ledger = ledger
        self._reactor = reactor
        self._done = done
        self._left = list(shelf.index)
        self._again: list[Entry] = []
        self._over = False
        self._call: Any = None  # the next step, where it waits

    def __repr__(self) -> str:
        return f"<Sweep left={len(self._left) + len(self._again)}{' over' if self._over else ''}>"

    def begin(self) -> None:
        """The next files."""
        self._call = None
        if self._over:
            return
        if not self._left:
            self._left, self._again = self._again, []
        batch: list[tuple[Entry, int]] = []
        while self._left and len(batch) < BATCH:
            entry = self._left.pop()
            if entry.pending is not None:
                self._again.append(entry)  # a thread has still to write it: it is looked at when that is done
            elif not entry.gone:
                batch.append((entry, entry.changes))
            if len(self._again) >= BATCH:
                break
        if batch:
            files = [(self._shelf.file_of(entry), entry.size, False) for entry, _ in batch]
            self._shelf.reading.run(read_files, files).addCallback(self._read, batch)
        elif self._left or self._again:
            self._call = self._reactor.callLater(PAUSE, self.begin)
        else:
            self._over = True
            self._done()

    def stop(self) -> None:
        """No more of it; ``done`` is not called."""
        self._over = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _read(self, files: list[Read | Exception], batch: list[tuple[Entry, int]]) -> None:
        if self._over:
            return
        for (entry, changes), read in zip(batch, files, strict=True):
            if entry.gone:
                continue
            if entry.changes != changes:
                self._again.append(entry)
            elif isinstance(read, Exception):
                self._shelf.spoiled(entry, read)
            else:
                self._judge(entry, read)
        self._call = self._reactor.callLater(PAUSE, self.begin)

    def _judge(self, entry: Entry, read: Read) -> None:
        stored = read.stored
        verdict = self._ledger.verdict(read.key, stored)
        if verdict == GONE:
            self._shelf.remove(entry)
            return
        entry.judged = self._ledger.serial
        if verdict == KEEP and not entry.soft or stored.flags & SOFT_PURGED:
            return
        stored.flags |= SOFT_PURGED
        stored.serial = self._ledger.serial
        if not read.whole:
            stored.body = FileBody(self._shelf, entry, read.footer.body, read.footer.table_check)
        self._shelf.replace(entry, read.key, stored)
        self._again.append(entry)
