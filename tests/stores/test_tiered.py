"""Memory over another store."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.cache.purges import Purge
from balancer.cache.stored import Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheStore, ICacheStorePlugin, ICacheWriter
from balancer.plugins import named
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings, TieredSettings, UpperSettings
from balancer.stores.tiered import MAX_READING
from balancer.testing.stored import REST, URI, StoreCase, a_stored
from balancer.testing.stores import CacheStoreContract

KEY = URI + REST
SMALL = UpperSettings(size=2**20, max_object=64 * 2**10)


class SlowBody:
    """A body that is read by Deferreds, a part at a time."""

    def __init__(self, data: bytes, reads: list[Any]) -> None:
        self.data = data
        self.size = len(data)
        self.reads = reads
        self.closed = False
        self.file = None

    def open(self) -> "SlowBody":
        """Reads itself."""
        return self

    def read(self, offset: int, size: int) -> Any:
        """A Deferred that the store's `answer` fires."""
        waiting: Deferred[bytes] = Deferred()
        self.reads.append((waiting, self.data[offset : offset + min(size, 100)]))
        return waiting

    def close(self) -> None:
        """No more."""
        self.closed = True


@implementer(ICacheStore)
class SlowStore:
    """Another store's contents, each answer and each read a Deferred that waits for :meth:`answer`."""

    def __init__(self, below: MemoryStore) -> None:
        self.below = below
        self.waiting: list[Any] = []
        self.bodies: list[SlowBody] = []
        self.asked = 0

    serial = property(lambda self: self.below.serial)
    counters = property(lambda self: self.below.counters)

    def start(self) -> None:
        """At once."""

    def stop(self) -> None:
        """At once."""

    def get(self, key: bytes) -> Deferred[Any]:
        """What is there now, later."""
        self.asked += 1
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, [self.slow(stored) for stored in self.below.get(key)]))
        return waiting

    def slow(self, stored: Stored) -> Stored:
        """The same with a body that is slow to read."""
        if not isinstance(stored.body, bytes):
            return stored
        self.bodies.append(SlowBody(stored.body, self.waiting))
        return stored.with_body(self.bodies[-1])

    def answer(self) -> None:
        """What waits is answered, and what is asked for then."""
        while self.waiting:
            waiting, value = self.waiting.pop(0)
            waiting.callback(value)

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> ICacheWriter | None:
        """As below."""
        return self.below.begin(key, stored, size, resume)

    def put(self, key: bytes, stored: Stored) -> None:
        """As below."""
        body = stored.body.data if isinstance(stored.body, SlowBody) else stored.body
        self.below.put(key, stored.with_body(body))

    def drop(self, key: bytes, stored: Stored) -> None:
        """As below."""
        self.below.drop(key, stored)

    def remove(self, uri: bytes, soft: bool) -> Deferred[int]:
        """Later."""
        waiting: Deferred[int] = Deferred()
        self.waiting.append((waiting, self.below.remove(uri, soft)))
        return waiting

    def purge(self, purge: Purge) -> None:
        """As below."""
        self.below.purge(purge)


class OverMemory(CacheStoreContract, SynchronousTestCase):
    """Over a store that answers at once it keeps the contract."""

    plugin = named(ICacheStorePlugin, "tiered")
    settings = TieredSettings(over="other", memory=SMALL)
    too_large = 2**20 + 1

    def others(self, name: str) -> Any:
        """The store below, which has had purges before."""
        self.assertEqual(name, "other")
        self.below = MemoryStore(MemorySettings(size=8 * 2**20), self.reactor)
        self.addCleanup(self.below.stop)
        for _ in range(5):
            self.below.purge(Purge(kind="all"))
        return self.below


class OverSlow(OverMemory):
    """Over a store whose answers take time it keeps the contract, too."""

    def others(self, name: str) -> Any:
        """The store below."""
        self.slow = SlowStore(super().others(name))
        return self.slow

    def turn(self) -> None:
        """What waits is answered."""
        super().turn()
        self.slow.answer()


class Promotions(StoreCase, SynchronousTestCase):
    """What is in memory."""

    plugin = named(ICacheStorePlugin, "tiered")
    settings = TieredSettings(over="other", memory=SMALL)

    def others(self, name: str) -> Any:
        """The store below."""
        self.slow = SlowStore(MemoryStore(MemorySettings(size=8 * 2**20), Clock()))
        return self.slow

    def turn(self) -> None:
        """What waits is answered."""
        self.slow.answer()

    def promote(self, key: bytes = KEY) -> None:
        """Ask twice."""
        for _ in range(2):
            self.get(key)
            self.turn()

    def found_below(self, key: bytes = KEY) -> int:
        """How often the store below was asked for one lookup."""
        before = self.slow.asked
        self.get(key)
        self.turn()
        return self.slow.asked - before

    def test_second(self) -> None:
        """What is asked for a second time is found in memory from then on, all variants in their order."""
        for number in range(3):
            self.put(body=b"%d" % number * 1000, nominated=b"%d" % number)
        self.assertEqual([self.found_below() for _ in range(4)], [1, 1, 0, 0])
        self.assertEqual([stored.nominated for stored in self.get()], [b"2", b"1", b"0"])
        self.assertEqual(self.bodies(), [b"2" * 1000, b"1" * 1000, b"0" * 1000])
        self.assertEqual((self.store.counters["promoted"], self.store.counters["memory_objects"]), (3, 3))
        self.assertTrue(all(body.closed for body in self.slow.bodies[3:6]))

    def test_large(self) -> None:
        """A key with one body that is too large for memory stays below with all its variants."""
        self.put(body=b"x" * (64 * 2**10 + 1), nominated=b"1")
        self.put(body=b"small")
        self.assertEqual([self.found_below() for _ in range(4)], [1, 1, 1, 1])
        self.assertEqual(self.store.counters["memory_objects"], 0)

    def test_changes(self) -> None:
        """Whatever changes a key drops it from memory: what is found is what is below."""
        for change in ("put", "write", "drop", "remove", "purge"):
            self.put(body=b"old")
            self.put(body=b"more", nominated=b"1")
            self.promote()
            self.assertEqual(self.found_below(), 0)
            if change == "put":
                self.put(body=b"new")
            elif change == "write":
                writer = self.begin()
                writer.write(b"new")
                self.assertEqual(self.found_below(), 0)
                writer.commit()
            elif change == "drop":
                self.store.drop(KEY, self.get()[1])
            elif change == "remove":
                self.result(self.store.remove(URI, True))
            else:
                self.store.purge(Purge(kind="all"))
            self.assertEqual(self.found_below(), 1)
            expected = {"drop": [b"more"], "remove": [b"more", b"old"], "purge": []}.get(change, [b"new", b"more"])
            self.assertEqual(self.bodies(), expected)
            self.result(self.store.remove(URI, False))

    def test_changed_while_read(self) -> None:
        """What is changed while it is read into memory does not come there."""
        for change in ("put", "remove", "purge", "stop"):
            uri = URI + change.encode()
            key = uri + REST
            self.put(key, b"old" * 100)
            self.get(key)
            asked = self.store.get(key)
            if change == "put":
                self.put(key, b"new")
            elif change == "remove":
                self.store.remove(uri, False)
            elif change == "purge":
                self.store.purge(Purge(kind="tag", what=b"other"))
                self.store.purge(Purge(kind="url", what=uri))
            else:
                self.store.stop()
            self.turn()
            self.assertEqual(len(self.successResultOf(asked)), 1)
            self.assertEqual(self.store.counters["memory_objects"], 0, change)
            self.assertEqual(self.bodies(key), {"put": [b"new"], "stop": [b"old" * 100]}.get(change, []))
            self.result(self.store.remove(uri, False))

    def test_unread(self) -> None:
        """A body that cannot be read, or ends too early, does not come into memory, and is counted."""
        for number, spoiled in enumerate((StoreError("corrupt"), b"")):
            key = b"%s%d%s" % (URI, number, REST)
            self.put(key, b"x" * 300)
            self.get(key)
            self.store.get(key)
            waiting, value = self.slow.waiting.pop(0)
            waiting.callback(value)
            waiting, _ = self.slow.waiting.pop(0)
            waiting.callback(spoiled) if spoiled == b"" else waiting.errback(spoiled)
            self.assertEqual((self.store.counters["unread"], self.store.counters["memory_objects"]), (number + 1, 0))
            self.assertTrue(self.slow.bodies[-1].closed)
            self.assertEqual(self.found_below(key), 1)
            self.result(self.store.remove(URI + b"%d" % number, False))

    def test_unread_variant(self) -> None:
        """Where one of a key's bodies cannot be read, none of them comes into memory."""
        self.put(body=b"1", nominated=b"1")
        self.put(body=b"2", nominated=b"2")
        self.get()
        self.store.get(KEY)
        for outcome in (None, None, StoreError("corrupt")):
            waiting, value = self.slow.waiting.pop(0)
            waiting.callback(value) if outcome is None else waiting.errback(outcome)
        self.assertEqual((self.store.counters["unread"], self.store.counters["memory_objects"]), (1, 0))
        self.assertEqual(self.bodies(), [b"2", b"1"])

    def test_bounded(self) -> None:
        """Only so many keys are read at one time."""
        keys = [b"http://a.org/%d\n" % number for number in range(MAX_READING + 10)]
        for key in keys:
            self.put(key)
            self.get(key)
        for key in keys:
            self.store.get(key)
        self.turn()
        self.assertEqual(self.store.counters["memory_objects"], MAX_READING)

    def test_serials(self) -> None:
        """A response whose serial is too old to be known is not kept below, where anything was purged."""
        self.store.purge(Purge(kind="all"))
        self.store.put(KEY, a_stored(serial=-5))
        self.assertEqual(self.get(), [])
        self.put()
        self.assertEqual(len(self.get()), 1)
        self.assertIn("<TieredStore <MemoryStore ", repr(self.store))
