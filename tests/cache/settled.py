"""A store on a disk that answers at once, for a cache without a reactor: threads are turned until it does.

It never waits for time to pass.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from balancer.cache.purges import Purge
from balancer.cache.stored import Stored
from balancer.stores.disk import DISK, DiskSettings
from balancer.testing.threads import ThreadlessClock

TURNS = 1000
"""More than anything takes."""


class SettledDisk:
    """The disk store, with whole bodies in memory.

    :param path: its directory, which may be one that was used before.
    :ivar users: caches that used it so far: each has a name of its own, so that one directory, whose making takes
        longer than a sequence, serves many.
    """

    def __init__(self, path: str) -> None:
        self._reactor = ThreadlessClock()
        self._settings = DiskSettings(path=path, size=8 << 20, max_object=1 << 20)
        self._store: Any = None
        self.users = 0
        self.reopen()

    def reopen(self) -> None:
        """End, and begin anew with what is on the disk."""
        if self._store is not None:
            self.stop()
        self._store = DISK.store(self._settings, self._reactor, lambda name: None)
        self._settled(self._store.start())

    @property
    def serial(self) -> int:
        return int(self._store.serial)

    def stop(self) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._settled(self._store.stop())

    def get(self, key: bytes) -> Sequence[Stored]:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        return [self._whole(stored) for stored in self._settled(self._store.get(key))]

    def put(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._store.put(key, stored)
        self._settled(None)

    def drop(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._store.drop(key, stored)
        self._settled(None)

    def remove(self, uri: bytes, soft: bool) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        return int(self._settled(self._store.remove(uri, soft)))

    def purge(self, purge: Purge) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._store.purge(purge)

    def _whole(self, stored: Stored) -> Stored:
        body = stored.body
        if isinstance(body, bytes):
            return stored
        reader = body.open()
        data = b""
        while len(data) < body.size:
            data += self._settled(reader.read(len(data), body.size - len(data)))
        reader.close()
        return stored.with_body(data)

    def _settled(self, result: Any) -> Any:
        """What a Deferred brings, with everything done that waits."""
        found: list[Any] = []
        if isinstance(result, Deferred):
            result.addBoth(found.append)
        for _ in range(TURNS):
            if not self._reactor.waiting and (found or not isinstance(result, Deferred)):
                break
            self._reactor.advance(0)
        return found[0] if isinstance(result, Deferred) else result
