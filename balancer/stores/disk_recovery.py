"""What a disk store does when somebody has emptied its directory, or removed it, while it is in use: it begins anew.

Nothing is found or kept until then, and nothing of before comes back: what was being written is given up, and what is
left of files and purges is removed before anything new is written. Where the directory is another process's by now it
is left alone, and asked for again from time to time. It never forgets a purge: those go on being taken meanwhile.
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.errors import StoreError
from balancer.stores.disk_directory import Directory
from balancer.stores.disk_purging import Purging
from balancer.stores.disk_shelf import DiskShelf
from balancer.stores.work import ThreadReactor

SLICE: Final = 1000
"""Entries that are forgotten in one turn of the reactor: some milliseconds."""

RETRY: Final = 30.0
"""Seconds until it is tried once more, where the directory cannot be made."""


class Recovery:
    """See the module.

    :param done: called when the directory is there again.
    :ivar active: it is not, yet.
    """

    def __init__(
        self,
        directory: Directory,
        shelf: DiskShelf,
        purging: Purging,
        reactor: ThreadReactor,
        done: Callable[[], None],
    ) -> None:
        self.active = False
        self._directory = directory
        self._shelf = shelf
        self._purging = purging
        self._reactor = reactor
        self._done = done
        self._told = False
        self._call: Any = None

    def __repr__(self) -> str:
        return f"<Recovery of {self._directory!r}{' active' if self.active else ''}>"

    def begin(self) -> None:
        """The store is closed as of now. (Whoever is at an entry at this moment can go on: all else comes later.)"""
        self.active = True
        self._told = False
        self._purging.pause()
        log.error(
            "the cache directory {path!r} was emptied or removed by somebody while it is in use: the cache is empty, "
            "and the directory is made again",
            path=self._directory.path,
        )
        self._call = self._reactor.callLater(0, self._give_up)

    def stop(self) -> None:
        """No more of it."""
        self.active = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _give_up(self) -> None:
        self._call = None
        for writer in list(self._shelf.writers):
            writer.abort()
        if self._shelf.forget(SLICE):
            self._call = self._reactor.callLater(0, self._give_up)
        else:
            self._shelf.writing.idle().addCallback(lambda _: self._renew())

    def _renew(self) -> None:
        self._call = None
        if self.active:
            self._shelf.reading.run(self._directory.renew).addCallback(self._renewed).addErrback(self._failed)

    def _renewed(self, _: None) -> None:
        if self.active:
            self._purging.begin(False)
            self.active = False
            self._done()
            log.info("the cache in {path!r} is in use again", path=self._directory.path)

    def _failed(self, failure: Failure) -> None:
        failure.trap(StoreError)
        if not self.active:
            return
        if not self._told:
            self._told = True
            log.error(
                "there is no cache until this works, which is tried each {seconds:g} s: {error}",
                seconds=RETRY,
                error=failure.value,
            )
        self._call = self._reactor.callLater(RETRY, self._renew)


log = Logger()
