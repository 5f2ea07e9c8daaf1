"""Memory over another store: `type = "tiered"`.

Everything is written to the store below and found there; what is asked for again is put into memory too, with all
responses of its key or none, so that memory alone can answer for a key. Whatever changes a key drops it from memory. It
never starts or stops the store below, which is the configuration's, and never learns what is purged there past it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import classImplements

from balancer.cache.purges import Purge
from balancer.cache.stored import Stored, StoredBody
from balancer.interfaces import ICacheStore, ICacheStorePlugin, ICacheWriter
from balancer.stores.memory import MemoryStore
from balancer.stores.promotion import Promotion
from balancer.stores.s3fifo import Ghosts
from balancer.stores.settings import MemorySettings, TieredSettings

REMEMBERED: Final = 2**16
"""Keys found below that are remembered, to tell those that are asked for again: half a mebibyte."""

MAX_READING: Final = 64
"""Keys that are read into memory at one time: so many bodies of the largest size at most. Others wait for being asked
for once more."""

MAX_SERIALS: Final = 4096
"""Serials that are remembered. A response that was asked for before as many purges is not kept."""


class TieredWriter:
    """See :class:`~balancer.interfaces.ICacheWriter`: the writer of the store below, whose commit is noticed."""

    __slots__ = ("_changed", "_writer")

    def __init__(self, writer: ICacheWriter, changed: Callable[[], None]) -> None:
        self._writer = writer
        self._changed = changed

    @property
    def body(self) -> StoredBody:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        body: StoredBody = self._writer.body
        return body

    def write(self, data: bytes) -> bool:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        return self._writer.write(data)

    def commit(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        self._writer.commit()
        self._changed()

    def abort(self) -> None:
        """See :class:`~balancer.interfaces.ICacheWriter`."""
        self._writer.abort()


classImplements(TieredWriter, ICacheWriter)


class TieredStore:
    """See :class:`~balancer.interfaces.ICacheStore`.

    Its serial counts the states that the serials of both stores were in, when asked for.
    """

    __slots__ = (
        "_asked", "_below", "_failed", "_first", "_largest", "_memory", "_promoted", "_reading", "_serials",
    )  # fmt: skip

    def __init__(self, memory: MemoryStore, below: ICacheStore, largest: int) -> None:
        self._memory = memory
        self._below = below
        self._largest = largest
        self._asked = Ghosts()
        self._asked.fit(REMEMBERED)
        self._reading: dict[bytes, Promotion] = {}
        self._serials = deque([(memory.serial, below.serial)])
        self._first = 0
        self._promoted = 0
        self._failed = 0

    def __repr__(self) -> str:
        return f"<TieredStore {self._memory!r} over {self._below!r}>"

    @property
    def serial(self) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        now = (self._memory.serial, self._below.serial)
        serials = self._serials
        if serials[-1] != now:
            serials.append(now)
            if len(serials) > MAX_SERIALS:
                serials.popleft()
                self._first += 1
        return self._first + len(serials) - 1

    @property
    def counters(self) -> dict[str, int]:
        """Those of the store below; those of the memory with ``memory_`` in front; and how many responses were
        ``promoted`` into memory, or could not be read for that (``unread``)."""
        counters: dict[str, int] = dict(self._below.counters)
        counters.update({f"memory_{name}": value for name, value in self._memory.counters.items()})
        counters["promoted"] = self._promoted
        counters["unread"] = self._failed
        return counters

    def start(self) -> None:
        """Nothing has to be opened: the store below is started by itself."""

    def stop(self) -> None:
        """Let go of the memory."""
        self._reading.clear()
        self._memory.stop()

    def get(self, key: bytes) -> Sequence[Stored] | Deferred[Sequence[Stored]]:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        found = self._memory.get(key)
        if found:
            return found
        below = self._below.get(key)
        hashed = hash(key)
        if not self._asked.has(hashed, REMEMBERED):
            self._asked.add(hashed)
        elif len(self._reading) < MAX_READING and key not in self._reading:
            self._promote(key, below)
        return below

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> "TieredWriter | None":
        """See :class:`~balancer.interfaces.ICacheStore`."""
        writer = self._below.begin(key, self._for_below(stored), size, resume)
        return None if writer is None else TieredWriter(writer, partial(self._changed, key))

    def put(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._below.put(key, self._for_below(stored))
        self._changed(key)

    def drop(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._below.drop(key, stored)
        self._changed(key)

    def remove(self, uri: bytes, soft: bool) -> int | Deferred[int]:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._memory.remove(uri, False)  # what is being read into it was asked for before, and so is met as well
        return self._below.remove(uri, soft)

    def purge(self, purge: Purge) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._memory.purge(purge)
        self._below.purge(purge)

    def _for_below(self, stored: Stored) -> Stored:
        """The same with the serial that the store below had then."""
        place = stored.serial - self._first
        there = stored.with_body(stored.body)
        there.serial = self._serials[place][1] if 0 <= place < len(self._serials) else 0
        return there

    def _changed(self, key: bytes) -> None:
        """What memory has of a key, or is to have, is not what is below any more."""
        self._reading.pop(key, None)
        self._memory.discard(key)

    def _promote(self, key: bytes, below: Sequence[Stored] | Deferred[Sequence[Stored]]) -> None:
        promotion = Promotion(self._memory.serial, self._largest, partial(self._read, key))
        self._reading[key] = promotion
        if isinstance(below, Deferred):
            below.addCallback(promotion.found)
        else:
            promotion.found(below)

    def _read(self, key: bytes, promotion: "Promotion", failed: bool) -> None:
        """All bodies of a key are in memory, or are not to be."""
        if failed:
            self._failed += 1
        if self._reading.get(key) is not promotion:
            return
        del self._reading[key]
        for stored in reversed(promotion.complete):
            self._memory.put(key, stored)
            self._promoted += 1


class TieredPlugin:
    """See :class:`~balancer.interfaces.ICacheStorePlugin`."""

    def __init__(self) -> None:
        self.name = "tiered"
        self.settings = TieredSettings

    def store(self, settings: object, reactor: object, others: Callable[[str], ICacheStore]) -> TieredStore:
        """Memory over the store that ``over`` names."""
        assert isinstance(settings, TieredSettings)
        upper = settings.memory
        memory = MemoryStore(MemorySettings(size=upper.size, max_object=upper.max_object), reactor)
        return TieredStore(memory, others(settings.over), memory.largest)


classImplements(TieredStore, ICacheStore)
classImplements(TieredPlugin, ICacheStorePlugin)

TIERED = TieredPlugin()
