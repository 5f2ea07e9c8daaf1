"""The store in memory."""

import sys
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheStorePlugin
from balancer.plugins import named
from balancer.stores.chunks import Chunks
from balancer.stores.memory import LARGEST_SHARE
from balancer.stores.settings import MemorySettings
from balancer.stores.sweep import GRACE, PAUSE, SLICE
from balancer.stores.uris import MAX_COMMON, MAX_LISTED
from balancer.stores.variants import LARGEST_JOINED, LARGEST_PACKED
from balancer.testing.stored import REST, URI, StoreCase, a_stored
from balancer.testing.stores import CacheStoreContract

MEMORY = named(ICacheStorePlugin, "memory")


class Contract(CacheStoreContract, SynchronousTestCase):
    """It keeps the contract of stores."""

    plugin = MEMORY
    settings = MemorySettings(size=8 * 2**20)
    too_large = 2**20 + 1


class Narrow(CacheStoreContract, SynchronousTestCase):
    """It keeps the contract with little room, too."""

    plugin = MEMORY
    settings = MemorySettings(size=4 * 2**20, max_object=400000)
    too_large = 400001
    capacity = 4 * 2**20


def key(number: int) -> bytes:
    """One of many keys."""
    return b"http://example.org/%d\nmain" % number


class Bodies(StoreCase, SynchronousTestCase):
    """How bodies are kept."""

    plugin = MEMORY
    settings = MemorySettings(size=8 * 2**20)

    def test_large(self) -> None:
        """A large body is read in pieces, and the pieces are those that were written."""
        pieces = [bytes([number]) * 50000 for number in range(3)]
        writer = self.begin(size=150000)
        for piece in pieces:
            self.assertTrue(writer.write(piece))
        writer.commit()
        (found,) = self.get()
        self.assertIs(found.body, writer.body)
        reader = writer.body.open()
        for number in range(3):
            self.assertIs(reader.read(50000 * number, 10**6), pieces[number])
        self.put(body=b"x" * (LARGEST_JOINED + 1))
        self.assertIsInstance(self.get()[0].body, Chunks)

    def test_small(self) -> None:
        """A small body is one bytes object, put or written."""
        for size in (0, LARGEST_PACKED, LARGEST_PACKED + 1, LARGEST_JOINED):
            writer = self.begin(nominated=b"written")
            self.write(writer, b"x" * size)
            writer.commit()
            self.put(body=b"x" * size)
            self.assertEqual([stored.body for stored in self.get()], [b"x" * size] * 2)

    def test_not_copied(self) -> None:
        """Freshening does not copy a body, but for those that are smaller than their head may be; nor does finding."""
        for size in (LARGEST_PACKED + 1, LARGEST_JOINED, LARGEST_JOINED + 1):
            self.put(body=b"x" * size)
            (old,) = self.get()
            before = self.store.counters["bytes"]
            self.put(body=old.body, lifetime=99.0)
            (found,) = self.get()
            self.assertEqual((found.lifetime, self.store.counters["bytes"]), (99.0, before))
            self.assertIs(found.body, old.body)

    def test_ready(self) -> None:
        """What is asked for often is found as the same objects each time, until it changes."""
        self.put()
        for change in ("freshen", "remove", "purge", "drop"):
            for _ in range(2):
                self.get()
            (ready,) = self.get()
            self.assertIs(self.get()[0], ready)
            self.store.purge(Purge(kind="tag", what=b"other"))
            self.assertIs(self.get()[0], ready)
            if change == "freshen":
                self.put(lifetime=99.0)
                self.assertEqual(self.get()[0].lifetime, 99.0)
            elif change == "remove":
                self.result(self.store.remove(URI, True))
                self.assertTrue(self.get()[0].flags & SOFT_PURGED)
                self.assertFalse(ready.flags & SOFT_PURGED)
                self.put()
            elif change == "purge":
                self.store.purge(Purge(kind="url", what=URI, soft=True))
                self.assertTrue(self.get()[0].flags & SOFT_PURGED)
                self.put()
            else:
                self.store.drop(URI + REST, ready)
                self.assertEqual(self.get(), [])

    def test_not_ready(self) -> None:
        """What is asked for once is not kept ready, nor is what has a large head."""
        self.put()
        once, twice, thrice = self.get()[0], self.get()[0], self.get()[0]
        self.assertIsNot(once, twice)
        self.assertIs(twice, thrice)
        self.put(lines=b"X: y\r\n" * 1000)
        self.assertEqual(len({id(stored) for stored in [self.get()[0] for _ in range(3)]}), 3)

    def test_ready_is_bounded(self) -> None:
        """What is ready is a small part of what is there, and what leaves is not found there either."""
        for number in range(3000):
            self.put(key(number), b"x" * 1000)
            for _ in range(3):
                self.assertEqual(len(self.get(key(number))), 1)
        for number in range(3000):
            found = self.get(key(number))
            self.result(self.store.remove(key(number).partition(b"\n")[0], False))
            self.assertEqual((len(found), self.get(key(number))), (1, []))
        self.assertEqual(self.store.counters["bytes"], 0)

    def test_impossible(self) -> None:
        """A response with numbers that cannot be, or a body of another store, is refused, and what was there stays."""
        self.put(body=b"old")
        self.store.put(URI + REST, Stored(200, b"", b"", 0.0, 0.0, 0.0, total=2**70, body=b""))
        self.store.put(URI + REST, a_stored(self))  # type: ignore[arg-type]  # any body that is not ours
        writer = self.store.begin(URI + REST, Stored(200, b"", b"", 0.0, 0.0, 0.0, total=2**70), 0, self.fail)
        assert writer is not None
        writer.commit()
        self.assertEqual((self.bodies(), self.store.counters["refused"]), ([b"old"], 3))

    size = 5


class Writing(StoreCase, SynchronousTestCase):
    """Bodies on their way."""

    plugin = MEMORY
    settings = MemorySettings(size=2**20)

    def test_done(self) -> None:
        """A writer that is done takes nothing more, whichever way it ended."""
        for end in ("commit", "abort"):
            writer = self.begin()
            getattr(writer, end)()
            self.assertRaises(StoreError, writer.write, b"more")
            self.assertRaises(StoreError, writer.commit)
            writer.abort()
        self.assertEqual(self.store.counters["writing"], 0)

    def test_announced(self) -> None:
        """A body of another size than was announced is not kept."""
        for size, data in ((3, b"ab"), (1, b"ab")):
            writer = self.begin(size=size)
            writer.write(data)
            with self.assertRaises(StoreError) as caught:
                writer.commit()
            self.assertEqual(str(caught.exception), f"a body of 2 bytes where {size} were announced")
        self.assertEqual((self.get(), self.store.counters["bytes"]), ([], 0))

    def test_half(self) -> None:
        """What is being written takes half the store at most; the rest is for what can be found."""
        for number in range(700):
            self.put(key(number), b"x" * 1000)
        writers = [self.begin(key(1000 + number)) for number in range(5)]
        for writer in writers[:4]:
            writer.write(b"y" * 100000)
        self.assertLessEqual(self.store.counters["bytes"], 2**20)
        with self.assertRaises(StoreError):
            writers[4].write(b"y" * 100000)
        self.assertIsNone(self.store.begin(key(0), a_stored(), 100000, self.fail))
        self.assertGreater(self.store.counters["objects"], 250)
        for writer in writers:
            writer.abort()
        self.assertEqual(self.store.counters["writing"], 0)

    def test_share(self) -> None:
        """A body is never more than a part of the store, whatever `max_object` says."""
        self.assertIsNone(self.store.begin(key(0), a_stored(), 2**20 // LARGEST_SHARE + 1, self.fail))
        self.put(body=b"x" * (2**20 // LARGEST_SHARE + 1))
        self.assertEqual((self.get(), self.store.counters["refused"]), ([], 2))


class Room(StoreCase, SynchronousTestCase):
    """Who leaves, and what is given back."""

    plugin = MEMORY
    settings = MemorySettings(size=2**20)

    def test_scan(self) -> None:
        """A scan of ten times the size of the store leaves what is asked for often."""
        for _ in range(3):
            for number in range(400):
                if not self.get(key(number)):
                    self.put(key(number), b"x" * 1000)
        for number in range(1000, 9000):
            self.put(key(number), b"x" * 1000)
        kept = sum(bool(self.get(key(number))) for number in range(400))
        self.assertGreater(self.store.counters["evicted"], 7000)
        self.assertGreaterEqual(kept, 390)

    def test_ready_is_used(self) -> None:
        """What is found ready counts as used: it stays, whatever else is asked for twice."""
        for _ in range(3):
            for number in range(5):
                if not self.get(key(number)):
                    self.put(key(number), b"x" * 1000)
        for number in range(1000, 6000):
            self.put(key(number), b"x" * 1000)
            self.get(key(number))
            if number % 50 == 0:
                self.assertEqual([len(self.get(key(hot))) for hot in range(5)], [1] * 5, number)

    def test_comes_back(self) -> None:
        """What left and comes back soon is not swept out by the next scan."""
        for number in range(900):
            self.put(key(number), b"x" * 1000)
        self.assertEqual(self.get(key(100)), [])
        self.put(key(100), b"x" * 1000)
        for number in range(1000, 1000 + 900):
            self.put(key(number), b"x" * 1000)
        self.assertEqual(len(self.get(key(100))), 1)

    def test_small_things_count(self) -> None:
        """What is counted is what is used: keys and heads too, so that entries without a body do not go unbounded."""
        for number in range(5000):
            self.put(key(number), b"")
        objects = self.store.counters["objects"]
        self.assertLess(objects * (sys.getsizeof(key(5000)) + sys.getsizeof(self.get(key(4999))[0].lines)), 2**20)
        self.assertLess(objects, 3500)
        self.assertGreater(objects, 1500)

    def test_odd_rests(self) -> None:
        """Keys with many different rests cost what listing them takes."""
        for number in range(5000):
            self.put(b"%s\n%d" % (URI, number), b"")
        objects = self.store.counters["objects"]
        self.assertLess(objects, 1700)
        self.assertEqual(self.result(self.store.remove(URI, False)), objects)
        self.assertEqual((self.store.counters["objects"], self.store.counters["bytes"]), (0, 0))

    def test_crowd(self) -> None:
        """One URI has so many keys at most, so that what removes them all takes bounded time; the oldest leaves."""
        store = MEMORY.store(MemorySettings(size=16 * 2**20), self.reactor, self.others)
        tried = MAX_COMMON - 1  # and one more: that of the other keys
        for number in range(tried + MAX_LISTED + 10):
            store.put(b"%s\n%d" % (URI, number), a_stored(b""))
            store.put(key(number), a_stored(b""))
        self.assertEqual(store.counters["objects"], 2 * (tried + MAX_LISTED) + 10)
        found = [len(store.get(b"%s\n%d" % (URI, number))) for number in (tried - 1, tried, tried + 9, tried + 10)]
        self.assertEqual(found, [1, 0, 0, 1])
        self.assertEqual(store.remove(URI, False), tried + MAX_LISTED)

    def test_swept(self) -> None:
        """A purge gives the room back little by little, without anybody asking; and then nothing waits any more."""
        for number in range(600):
            self.put(key(number), b"", tags=[b"red" if number % 2 else b"blue"])
        self.store.purge(Purge(kind="tag", what=b"red"))
        self.assertEqual(self.store.counters["objects"], 600)
        left = []
        for _ in range(600 // SLICE + 2):
            self.reactor.advance(PAUSE)
            left.append(self.store.counters["objects"])
        self.assertEqual(left[:4], [500, 400, 300, 300])
        self.assertEqual(self.store.counters["purged"], 300)
        self.reactor.advance(GRACE)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.get(key(0))), 1)

    def test_late(self) -> None:
        """What is being written is met by a purge that was forgotten meanwhile; what was asked for before and begins
        after that is not kept."""
        asked = self.store.serial
        writer = self.begin(key(1), tags=[b"red"])
        other = self.begin(key(2), tags=[b"blue"])
        self.store.purge(Purge(kind="tag", what=b"red"))
        for _ in range(3):
            self.reactor.advance(GRACE)
        self.store.purge(Purge(kind="tag", what=b"green"))
        writer.commit()
        other.commit()
        self.assertEqual((self.get(key(1)), len(self.get(key(2)))), ([], 1))
        self.put(key(3), serial=asked)
        self.assertEqual(self.get(key(3)), [])
        self.assertIsNone(self.store.begin(key(3), a_stored(serial=asked), -1, self.fail))

    def test_stop(self) -> None:
        """After its stop nothing is kept, and nothing waits."""
        store = MEMORY.store(self.settings, clock := Clock(), self.others)
        for number in range(10):
            store.put(key(number), a_stored())
        store.purge(Purge(kind="tag", what=b"red"))
        self.assertEqual(repr(store), f"<MemoryStore 10 objects, {store.counters['bytes']} of 983040 bytes>")
        store.stop()
        self.assertEqual((store.counters["objects"], store.counters["bytes"]), (0, 0))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_count(self) -> None:
        """After any history what is counted is what is found."""
        chance = Random(3)
        for _ in range(3000):
            number = chance.randrange(300)
            if chance.random() < 0.1:
                self.result(self.store.remove(key(number).partition(b"\n")[0], False))
            else:
                self.put(key(number), b"x" * chance.choice((10, 3000, 100000)), nominated=b"%d" % chance.randrange(2))
        found = [stored for number in range(300) for stored in self.get(key(number))]
        self.assertEqual(self.store.counters["objects"], len(found))
        self.assertLessEqual(sum(stored.size for stored in found), self.store.counters["bytes"])
        for number in range(300):
            self.result(self.store.remove(key(number).partition(b"\n")[0], False))
        self.assertEqual((self.store.counters["objects"], self.store.counters["bytes"]), (0, 0))
