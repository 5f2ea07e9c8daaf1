"""What an earlier process left in the directory, made known directory by directory while the store is in use already.

No file is read for that, only listed, by a thread; the reactor takes over some hundred at a time. What is none of the
store's files, in its own directories, goes and is counted as corrupt.
"""

from collections.abc import Callable
from typing import Final

from twisted.python.failure import Failure

from balancer.stores.disk_directory import SHARDS, Directory, Found
from balancer.stores.disk_shelf import DiskShelf
from balancer.stores.work import ThreadReactor

SLICE: Final = 500
"""Files made known in one turn of the reactor: about a millisecond."""


class Loading:
    """See the module.

    :param done: called when all is known.
    :ivar over: it is, or was stopped.
    """

    def __init__(
        self, directory: Directory, shelf: DiskShelf, reactor: ThreadReactor, done: Callable[[], None]
    ) -> None:
        self.over = False
        self._directory = directory
        self._shelf = shelf
        self._reactor = reactor
        self._done = done
        self._shard = 0

    def __repr__(self) -> str:
        return f"<Loading {self._shard} of {SHARDS}{' over' if self.over else ''}>"

    def begin(self) -> None:
        """The next directory."""
        if self.over:
            return
        if self._shard == SHARDS:
            self.over = True
            self._done()
            return
        shard, self._shard = self._shard, self._shard + 1
        self._shelf.reading.run(self._directory.listing, shard).addCallbacks(self._listed, self._failed)

    def stop(self) -> None:
        """No more of it; ``done`` is not called."""
        self.over = True

    def _listed(self, listing: tuple[list[Found], list[str]]) -> None:
        found, foreign = listing
        self._shelf.corrupt += len(foreign)
        for path in foreign:
            self._shelf.discard(path)
        self._take(found, 0)

    def _take(self, found: list[Found], start: int) -> None:
        if self.over:
            return
        for one in found[start : start + SLICE]:
            self._shelf.load(one)
        if start + SLICE < len(found):
            self._reactor.callLater(0, self._take, found, start + SLICE)
        else:
            self.begin()

    def _failed(self, failure: Failure) -> None:
        failure.trap(OSError)
        error = failure.value
        assert isinstance(error, OSError)
        self._shelf.trouble(error)
        self.begin()
