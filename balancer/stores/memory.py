"""The store in memory: `type = "memory"`.

A response with a small body is one bytes object (:mod:`balancer.stores.packing`), with a larger one two; a large body
stays in the pieces it came in. What is asked for often is kept unpacked beside that. Which entry leaves for another,
:mod:`balancer.stores.s3fifo` says. It never writes to a disk, and never waits.
"""

from array import array
from collections.abc import Callable
from typing import Any, Final

from zope.interface import classImplements

from balancer.cache.purges import GONE, SOFT, Ledger, Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.interfaces import ICacheStore, ICacheStorePlugin
from balancer.stores.chunks import Chunks
from balancer.stores.memory_writer import MemoryWriter
from balancer.stores.packing import flagged, nominated_of, packed, tags_of, unpacked
from balancer.stores.ready import READY_SIZE, Ready, ReadyTable
from balancer.stores.s3fifo import MAX_USES, SLOT_COST, S3Fifo
from balancer.stores.settings import MemorySettings
from balancer.stores.sweep import Sweep
from balancer.stores.uris import Uris
from balancer.stores.variants import (
    BYTES_COST,
    Entry,
    Variant,
    cost_of,
    entry_of,
    head_of,
    is_soft,
    soft,
    stored_of,
    variant,
    variants_of,
)

LARGEST_SHARE: Final = 8
"""A body is at most one part in so many of the store."""

READY_SHARE: Final = 16
"""One part in so many of the store is for what stands there unpacked too."""

KEY_COST: Final = SLOT_COST + 60 + 32 + 18 + 9 + BYTES_COST
"""Bytes for each key beside its own: the policy's, a place in the table (42 to 84), the number of the slot, its place
in the lists of keys and of entries and in that of serials, and the key's object."""


class MemoryStore:
    """See :class:`~balancer.interfaces.ICacheStore`. All of it answers at once.

    :ivar largest: bytes of the largest body it keeps.
    """

    __slots__ = (
        "_admitted", "_entries", "_evicted", "_judged", "_keys", "_ledger", "_limit", "_objects", "_policy", "_purged",
        "_ready", "_refused", "_slots", "_sweep", "_uris", "_writers", "_writing", "largest",
    )  # fmt: skip

    def __init__(self, settings: MemorySettings, reactor: Any) -> None:
        self._limit = settings.size - settings.size // READY_SHARE
        self.largest = min(settings.max_object, settings.size // LARGEST_SHARE)
        self._ledger = Ledger()
        self._sweep = Sweep(reactor, self._ledger, self._judge_some)
        self._writers: set[MemoryWriter] = set()
        self._writing = 0
        self._admitted = 0
        self._evicted = 0
        self._refused = 0
        self._purged = 0
        self._objects = 0
        self._slots: dict[bytes, int] = {}
        self._policy = S3Fifo(self._limit)
        self._keys: list[bytes] = [b"", b""]
        self._entries: list[Entry] = [b"", b""]  # of a free slot: no bytes
        self._judged = array("Q", [0, 0])
        self._uris = Uris()
        self._ready = ReadyTable(settings.size // READY_SHARE // READY_SIZE // 2)

    def __repr__(self) -> str:
        return f"<MemoryStore {self._objects} objects, {self._policy.used + self._writing} of {self._limit} bytes>"

    @property
    def serial(self) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        return self._ledger.serial

    @property
    def counters(self) -> dict[str, int]:
        """What there is now: ``objects``, the ``bytes`` of memory they take with those that are ``writing``. And how
        many there were since the start: ``admitted``, ``refused``, ``evicted`` for others, ``purged`` or removed."""
        return {
            "objects": self._objects,
            "bytes": self._policy.used + self._writing,
            "writing": len(self._writers),
            "admitted": self._admitted,
            "refused": self._refused,
            "evicted": self._evicted,
            "purged": self._purged,
        }

    def start(self) -> None:
        """Nothing has to be opened."""

    def stop(self) -> None:
        """Nothing is kept, and nothing waits any more."""
        self._sweep.stop()
        self._slots = {}
        self._policy = S3Fifo(self._limit)
        self._keys = [b"", b""]
        self._entries = [b"", b""]
        self._judged = array("Q", [0, 0])
        self._uris = Uris()
        self._ready.clear()
        self._objects = 0

    def get(self, key: bytes) -> tuple[Stored, ...]:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        ready = self._ready.newer.get(key)
        if ready is None or ready.judged < self._ledger.last:
            return self._find(key)
        uses = self._policy.uses
        used = uses[ready.slot]
        if used < MAX_USES:
            uses[ready.slot] = used + 1
        return ready.found

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> MemoryWriter | None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        if not self.room(0, max(size, 0)):
            self._refused += 1
            return None
        writer = MemoryWriter(self, key, stored, size)
        if not writer.judge(self._ledger):
            self._purged += 1
            return None
        self._writers.add(writer)
        return writer

    def put(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        body = stored.body
        if not isinstance(body, bytes | Chunks) or stored.size > self.largest:
            self._refused += 1
            return
        verdict = self._ledger.arriving(key, stored)
        if verdict == GONE:
            self._purged += 1
            return
        self._keep(key, stored, body, stored.flags | SOFT_PURGED if verdict == SOFT else stored.flags)

    def drop(self, key: bytes, stored: Stored) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        slot = self._slots.get(key)
        if slot is not None:
            self._replace(slot, [kept for kept in variants_of(self._entries[slot]) if not _same(kept, stored)])

    def discard(self, key: bytes) -> None:
        """Let go of whatever is under this key."""
        slot = self._slots.get(key)
        if slot is not None:
            self._replace(slot, [])

    def remove(self, uri: bytes, soft: bool) -> int:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        count = 0
        for key in self._uris.keys(uri, self._slots):
            slot = self._judged_slot(key)
            if slot:
                variants = variants_of(self._entries[slot])
                count += len(variants)
                self._replace(slot, _all_soft(variants) if soft else [])
        self._ledger.removed(uri, soft)
        self._purged += count
        return count

    def purge(self, purge: Purge) -> None:
        """See :class:`~balancer.interfaces.ICacheStore`."""
        self._ledger.add(purge)
        self._sweep.wake()

    def room(self, size: int, more: int) -> bool:
        """Whether a body of so many bytes may have so many more. Half the store is for what is complete."""
        return size + more <= self.largest and (self._writing + more) * 2 <= self._limit

    def wrote(self, cost: int) -> None:
        """See :class:`~balancer.stores.memory_writer.Taker`."""
        self._writing += cost
        self._evict()

    def ended(self, writer: MemoryWriter, complete: bool) -> None:
        """See :class:`~balancer.stores.memory_writer.Taker`."""
        self._writers.discard(writer)
        self._writing -= writer.body.cost
        if not complete:
            return
        if writer.judge(self._ledger):
            self._keep(writer.key, writer.stored, writer.body, writer.stored.flags)
        else:
            self._purged += 1

    def _find(self, key: bytes) -> tuple[Stored, ...]:
        slot = self._judged_slot(key)
        if not slot:
            return ()
        judged = self._judged[slot]
        ready = self._ready.find(key)
        if ready is None:
            found, size = self._unpack(slot, judged)
            again = self._policy.uses[slot] > 0
            self._policy.use(slot)
            if not again or size > READY_SIZE:
                return found
            ready = Ready(found, slot, judged)
        ready.judged = judged
        self._ready.keep(key, ready)
        return ready.found

    def _unpack(self, slot: int, judged: int) -> tuple[tuple[Stored, ...], int]:
        """The responses of a slot, and the bytes their heads and packed bodies have."""
        entry = self._entries[slot]
        if isinstance(entry, bytes):
            return (unpacked(entry, judged, None),), len(entry)
        found = []
        size = 0
        for kept in variants_of(entry):
            found.append(stored_of(kept, judged))
            size += len(head_of(kept))
        return tuple(found), size

    def _judged_slot(self, key: bytes) -> int:
        """The slot of a key, whose responses no purge met; 0 for none."""
        slot = self._slots.get(key, 0)
        if slot and self._judged[slot] < self._ledger.last:
            self._judge(slot)
            slot = self._slots.get(key, 0)
        return slot

    def _judge(self, slot: int) -> None:
        key, since = self._keys[slot], self._judged[slot]
        self._judged[slot] = self._ledger.last
        variants = variants_of(self._entries[slot])
        kept: list[Variant] = []
        changed = False
        for one in variants:
            verdict = self._ledger.met(key, tags_of(head_of(one)), since)
            if verdict == SOFT and not is_soft(one):
                one = soft(one)
                changed = True
            if verdict != GONE:
                kept.append(one)
        if changed or len(kept) < len(variants):
            self._purged += len(variants) - len(kept)
            self._replace(slot, kept)

    def _judge_some(self, place: int, count: int) -> int:
        """See :class:`~balancer.stores.sweep.Sweep`."""
        if place == 0:
            for writer in self._writers:
                writer.judge(self._ledger)
            place = 2
        end = min(place + count, len(self._keys))
        for slot in range(place, end):
            if self._entries[slot] and self._judged[slot] < self._ledger.last:
                self._judge(slot)
        return end if end < len(self._keys) else 0

    def _keep(self, key: bytes, stored: Stored, body: bytes | Chunks, flags: int) -> None:
        head = packed(stored)
        if head is None:
            self._refused += 1
            return
        self._admitted += 1
        new = variant(head if flags == stored.flags else flagged(head, flags), body)
        slot = self._judged_slot(key)
        if slot:
            variants = variants_of(self._entries[slot])
            nominated = stored.nominated
            self._replace(slot, [new, *[kept for kept in variants if nominated_of(head_of(kept)) != nominated]])
        else:
            slot = self._insert(key, new)
            excess = self._uris.excess(key)
            if excess:
                self.discard(excess)
        self._judged[slot] = self._ledger.serial
        self._evict()

    def _insert(self, key: bytes, new: Variant) -> int:
        cost = KEY_COST + len(key) + self._uris.add(key) + cost_of([new])
        slot = self._policy.add(hash(key), cost)
        self._slots[key] = slot
        self._objects += 1
        if slot < len(self._keys):
            self._keys[slot] = key
            self._entries[slot] = new
        else:
            self._keys.append(key)
            self._entries.append(new)
            self._judged.append(0)
        return slot

    def _replace(self, slot: int, variants: list[Variant]) -> None:
        """These are the responses of a key now; none: the key leaves."""
        old = variants_of(self._entries[slot])
        if not variants:
            self._release(slot)
            self._policy.remove(slot)
            return
        self._ready.forget(self._keys[slot])
        self._objects += len(variants) - len(old)
        self._policy.resize(slot, cost_of(variants) - cost_of(old))
        self._entries[slot] = entry_of(variants)

    def _release(self, slot: int) -> None:
        key = self._keys[slot]
        self._ready.forget(key)
        self._objects -= len(variants_of(self._entries[slot]))
        del self._slots[key]
        self._uris.discard(key)
        self._keys[slot] = b""
        self._entries[slot] = b""

    def _evict(self) -> None:
        while self._policy.used + self._writing > self._limit:
            slot = self._policy.victim()
            if not slot:
                return
            key = self._keys[slot]
            self._evicted += len(variants_of(self._entries[slot]))
            self._release(slot)
            self._policy.left(slot, hash(key))


def _all_soft(variants: list[Variant]) -> list[Variant]:
    return [soft(kept) for kept in variants]


def _same(kept: Variant, stored: Stored) -> bool:
    """Whether it is that response, whatever purges made of its flags."""
    one = stored_of(kept, 0)
    return (
        one.nominated == stored.nominated
        and one.arrived == stored.arrived
        and one.lines == stored.lines
        and one.size == stored.size
    )


class MemoryPlugin:
    """See :class:`~balancer.interfaces.ICacheStorePlugin`."""

    def __init__(self) -> None:
        self.name = "memory"
        self.settings = MemorySettings

    def store(self, settings: object, reactor: object, others: Callable[[str], ICacheStore]) -> MemoryStore:
        """A store in memory."""
        assert isinstance(settings, MemorySettings)
        return MemoryStore(settings, reactor)


classImplements(MemoryStore, ICacheStore)
classImplements(MemoryPlugin, ICacheStorePlugin)

MEMORY = MemoryPlugin()
