"""A store of responses that is as simple as one can be: a dictionary, no bounds, answers at once.

What is tested with it is not the store. It never forgets anything but what it is told to.
"""

from collections.abc import Callable

from zope.interface import implementer

from balancer.cache.purges import Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.interfaces import ICacheStore, ICacheWriter


@implementer(ICacheStore)
class PlainStore:
    """See the module."""

    def __init__(self) -> None:
        self.serial = 0
        self.counters: dict[str, int] = {}
        self.held: dict[bytes, list[Stored]] = {}

    def start(self) -> None:
        """Nothing to open."""

    def stop(self) -> None:
        """Nothing to close."""

    def get(self, key: bytes) -> list[Stored]:
        """The responses of this key, the most recent first."""
        return list(self.held.get(key, ()))

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> ICacheWriter | None:
        """Bodies come whole, or not at all."""
        return None

    def put(self, key: bytes, stored: Stored) -> None:
        """In the place of the one with the same ``nominated``; not where it was asked for before a purge."""
        if stored.serial < self.serial:
            return
        others = [other for other in self.held.get(key, ()) if other.nominated != stored.nominated]
        self.held[key] = [stored, *others]

    def drop(self, key: bytes, stored: Stored) -> None:
        """Remove this one."""
        self.held[key] = [other for other in self.held.get(key, ()) if other is not stored]

    def remove(self, uri: bytes, soft: bool) -> int:
        """Remove all of this URI, or mark it."""
        return self._take(soft, lambda key, _: key.partition(b"\n")[0] == uri)

    def purge(self, purge: Purge) -> None:
        """Remove or mark what it meets."""
        self.serial += 1
        self._take(purge.soft, lambda key, stored: _meets(purge, key.partition(b"\n")[0], stored))

    def _take(self, soft: bool, meets: Callable[[bytes, Stored], bool]) -> int:
        count = 0
        for key, found in self.held.items():
            met = [stored for stored in found if meets(key, stored)]
            count += len(met)
            if soft:
                for stored in met:
                    stored.flags |= SOFT_PURGED
            else:
                self.held[key] = [stored for stored in found if stored not in met]
        return count


def _meets(purge: Purge, uri: bytes, stored: Stored) -> bool:
    kinds = {
        "url": uri == purge.what,
        "prefix": uri.startswith(purge.what),
        "host": uri.partition(b"://")[2].partition(b"/")[0] == purge.what,
        "tag": purge.what in stored.tags,
        "all": True,
    }
    return kinds[purge.kind]
