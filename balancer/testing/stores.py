"""The contract of a store of responses, as tests its author inherits; and what is needed to fill one without a cache.

    class RedisContract(CacheStoreContract, TestCase):
        plugin = redis_plugin.redis
        settings = RedisSettings(address="127.0.0.1:6379")

The balancer's own stores pass the same tests. A store whose answers need time overrides
:meth:`~balancer.testing.stored.StoreCase.turn`. Nothing here needs hypothesis, or a reactor that runs.
"""

from random import Random
from typing import Any

from zope.interface.verify import verifyObject

from balancer.cache.purges import Purge
from balancer.cache.stored import HEURISTIC, MUST_REVALIDATE, SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.interfaces import ICacheStore, ICacheStorePlugin, ICacheWriter
from balancer.testing.stored import LINES, REST, URI, StoreCase, a_stored, head_of


class CacheStoreContract(StoreCase):
    """What every store promises; :class:`~balancer.testing.stored.StoreCase` has the attributes to set."""

    def test_interfaces(self) -> None:
        """The plugin, the store and its writer are what their interfaces say."""
        verifyObject(ICacheStorePlugin, self.plugin)
        verifyObject(ICacheStore, self.store)
        writer = self.begin()
        verifyObject(ICacheWriter, writer)
        writer.abort()

    def test_nothing(self) -> None:
        """Nothing is found in a new store, and removing nothing counts nothing."""
        self.assertEqual(self.get(), [])
        self.assertEqual(self.result(self.store.remove(URI, False)), 0)
        self.store.drop(URI + REST, a_stored())
        self.store.purge(Purge(kind="all"))
        self.assertEqual(self.get(), [])

    def test_put(self) -> None:
        """What is put is found whole: the head as it was, every byte of the body, whatever its size."""
        everything = bytes(range(256))
        for number, size in enumerate((0, 1, 255, 1024, 70000, 300000)):
            key = b"%s%d%s" % (URI, number, REST)
            body = (everything * (size // 256 + 1))[:size]
            stored = self.put(key, body, nominated=everything, tags=[b"a", everything], flags=HEURISTIC)
            (found,) = self.get(key)
            self.assertEqual(head_of(found), head_of(stored))
            self.assertEqual(self.content(found), body)
            self.assertEqual(found.size, size)

    def test_odd_heads(self) -> None:
        """Partial content, odd statuses, odd numbers and no lines at all are found as they were."""
        heads = [
            Stored(206, b"", b"", 1e9, 0.0, 1e12, parts=((0, 3), (5, 7)), total=10, body=b"abcfg"),
            Stored(599, b"\xff", LINES * 50, 0.0, 2.0**31, 0.0, flags=MUST_REVALIDATE, body=b"x"),
            Stored(301, b"Moved", LINES, 1.25, 0.5, float("inf"), 0.0, float("inf"), total=2**40),
            Stored(200, b"OK", LINES, 1.25, 0.5, -5.0, tags=tuple(b"tag%d" % number for number in range(200))),
        ]
        for number, stored in enumerate(heads):
            key = b"%s%d%s" % (URI, number, REST)
            self.store.put(key, stored)
            (found,) = self.get(key)
            self.assertEqual((head_of(found), self.content(found)), (head_of(stored), stored.body))

    def test_keys(self) -> None:
        """Keys are told apart by every byte, the part behind the URI included."""
        keys = [URI + REST, URI + REST + b"2", URI + b"\n", URI + b"\nother\nfield: 1", URI + b"2" + REST]
        for key in keys:
            self.put(key, key)
        for key in keys:
            self.assertEqual(self.bodies(key), [key])

    def test_written(self) -> None:
        """What is written in pieces is found only when it is committed, and then whole."""
        data = Random(1).randbytes(300000)
        for size, known in ((5, True), (5, False), (len(data), True), (len(data), False)):
            key = b"%s%d%d%s" % (URI, size, known, REST)
            writer = self.begin(key, size if known else -1)
            self.write(writer, data[:size], key=key)
            self.assertEqual(self.get(key), [])
            writer.commit()
            self.assertEqual(self.bodies(key), [data[:size]])

    def test_written_empty(self) -> None:
        """A body without a byte can be written."""
        writer = self.begin(size=0)
        writer.commit()
        self.assertEqual(self.bodies(), [b""])

    def test_aborted(self) -> None:
        """What is aborted is never found, and leaves what was there."""
        self.put(body=b"old")
        writer = self.begin()
        writer.write(b"new")
        writer.abort()
        self.assertEqual(self.bodies(), [b"old"])

    def test_read_while_written(self) -> None:
        """Readers of a body that is being written read what was written so far, and go on after its end or abort."""
        for end in ("commit", "abort"):
            writer = self.begin()
            self.write(writer, b"ab" * 50000)
            reader = writer.body.open()
            self.assertEqual(self.read(reader, 0, 100000), b"ab" * 50000)
            self.write(writer, b"c" * 10)
            self.assertEqual(self.read(reader, 99999, 11), b"b" + b"c" * 10)
            getattr(writer, end)()
            self.assertEqual(self.read(reader, 0, 100010), b"ab" * 50000 + b"c" * 10)
            reader.close()
            reader.close()

    def test_variants(self) -> None:
        """Responses of one key that differ by what Vary names stand beside each other, the most recent first; one with
        the same takes the place of the other, put or written."""
        self.put(body=b"1", nominated=b"gzip")
        self.put(body=b"2", nominated=b"br")
        self.put(body=b"3")
        self.assertEqual(self.bodies(), [b"3", b"2", b"1"])
        self.put(body=b"4", nominated=b"gzip")
        self.assertEqual(self.bodies(), [b"4", b"3", b"2"])
        writer = self.begin(nominated=b"br")
        writer.write(b"5")
        writer.commit()
        self.assertEqual(self.bodies(), [b"5", b"4", b"3"])

    def test_drop(self) -> None:
        """One response is removed, and no other; one that was replaced is not there any more."""
        self.put(body=b"1", nominated=b"gzip")
        self.put(body=b"2", nominated=b"br")
        _, one = self.get()
        self.store.drop(URI + REST, one)
        self.assertEqual(self.bodies(), [b"2"])
        self.store.drop(URI + REST, one)
        self.assertEqual(self.bodies(), [b"2"])
        self.store.drop(URI + REST, self.get()[0])
        self.assertEqual(self.get(), [])

    def test_freshened(self) -> None:
        """A head may be replaced, with the body that is there."""
        for size in (0, 5, 300000):
            self.put(body=b"x" * size, nominated=b"n")
            self.put(body=b"other")
            (old,) = [stored for stored in self.get() if stored.nominated]
            fresh = a_stored(old.body, b"n", lifetime=99.0, serial=self.store.serial, lines=LINES + b"X: y\r\n")
            self.store.put(URI + REST, fresh)
            found = self.get()
            self.assertEqual([(stored.nominated, stored.lifetime) for stored in found], [(b"n", 99.0), (b"", 60.0)])
            self.assertEqual(found[0].lines, fresh.lines)
            self.assertEqual(self.bodies(), [b"x" * size, b"other"])

    def test_readers_survive(self) -> None:
        """A reader that is open goes on after its entry was replaced, dropped, removed or purged."""
        data = Random(2).randbytes(300000)
        for action in ("put", "drop", "remove", "purge"):
            self.put(body=data)
            (found,) = self.get()
            reader = None if isinstance(found.body, bytes) else found.body.open()
            if action == "put":
                self.put(body=b"new")
            elif action == "drop":
                self.store.drop(URI + REST, found)
            elif action == "remove":
                self.result(self.store.remove(URI, False))
            else:
                self.store.purge(Purge(kind="all"))
            for _ in range(20):
                self.turn()
            if reader is not None:
                self.assertEqual(self.read(reader, 0, len(data)), data)
                reader.close()

    def test_remove(self) -> None:
        """Everything under one URI is removed at once, and counted; URIs that begin alike stay."""
        self.put(body=b"1", nominated=b"gzip")
        self.put(body=b"2")
        self.put(URI + b"\nother", b"3")
        self.put(URI + b"x" + REST, b"4")
        self.assertEqual(self.result(self.store.remove(URI, False)), 3)
        self.assertEqual((self.get(), self.get(URI + b"\nother")), ([], []))
        self.assertEqual(self.bodies(URI + b"x" + REST), [b"4"])
        self.put(body=b"5")
        self.assertEqual(self.bodies(), [b"5"])

    def test_remove_soft(self) -> None:
        """Everything under one URI is made stale at once, and counted, until it is freshened."""
        self.put(body=b"1", nominated=b"gzip")
        self.put(body=b"2")
        self.put(URI + b"x" + REST, b"3")
        self.assertEqual(self.result(self.store.remove(URI, True)), 2)
        self.assertEqual((self.flags(), self.flags(URI + b"x" + REST)), ([True, True], [False]))
        self.store.put(URI + REST, a_stored(self.get()[0].body, serial=self.store.serial))
        self.assertEqual(self.flags(), [False, True])

    def test_purges(self) -> None:
        """Each kind of purge meets what it names, hard or soft, and nothing else; what comes later is not met."""
        for purge, keys in self._purges():
            for soft in (False, True):
                for key in keys:
                    self.put(key, b"body", tags=[b"red", b"blue"] if b"tagged" in key else [b"green"])
                serial = self.store.serial
                self.store.purge(Purge(kind=purge.kind, what=purge.what, soft=soft))
                self.assertEqual(self.store.serial, serial + 1)
                for key, met in keys.items():
                    expected = [] if met and not soft else [met]
                    self.assertEqual(self.flags(key), expected, (purge, soft, key))
                for key in keys:
                    self.put(key, b"body")
                    self.assertEqual(self.flags(key), [False], (purge, soft, key))

    def _purges(self) -> list[tuple[Purge, dict[bytes, bool]]]:
        a, b, other = b"http://a.org/x/1?q", b"https://a.org/x/2", b"http://b.org/a.org/tagged"
        return [
            (Purge(kind="url", what=a), {a + REST: True, a + b"\n": True, a + b"2" + REST: False, b + REST: False}),
            (Purge(kind="prefix", what=b"http://a.org/x/"), {a + REST: True, b + REST: False, other + REST: False}),
            (Purge(kind="prefix", what=b"http"), {a + REST: True, b + REST: True, other + REST: True}),
            (Purge(kind="host", what=b"a.org"), {a + REST: True, b + REST: True, other + REST: False}),
            (Purge(kind="tag", what=b"blue"), {other + REST: True, a + REST: False}),
            (Purge(kind="all"), {a + REST: True, b + REST: True, other + REST: True}),
        ]

    def test_soft_then_hard(self) -> None:
        """The strongest purge counts, in either order."""
        for order in ((True, False), (False, True)):
            self.put()
            for soft in order:
                self.store.purge(Purge(kind="url", what=URI, soft=soft))
            self.assertEqual(self.get(), [])

    def test_soft_until_freshened(self) -> None:
        """What was soft purged stays so at each lookup, until it is freshened by one asked for after the purge."""
        self.put(tags=[b"red"])
        before = self.store.serial
        self.store.purge(Purge(kind="tag", what=b"red", soft=True))
        for serial, expected in ((before, True), (self.store.serial, False)):
            self.assertEqual(self.flags() + self.flags(), [True, True])
            self.store.put(URI + REST, a_stored(self.get()[0].body, serial=serial, tags=[b"red"]))
            self.assertEqual(self.flags(), [expected])

    def test_purged_while_written(self) -> None:
        """A purge meets what is being written, and what was asked for before it and comes later."""
        for soft in (False, True):
            asked = self.store.serial
            writer = self.begin()
            writer.write(b"old")
            self.store.purge(Purge(kind="url", what=URI, soft=soft))
            for _ in range(20):
                self.turn()
            writer.commit()
            self.assertEqual(self.flags(), [True] if soft else [])
            self.result(self.store.remove(URI, False))
            self.put(serial=asked)
            self.assertEqual(self.get(), [])
            other = self.begin(b"http://c.org/\n", serial=self.store.serial)
            self.store.purge(Purge(kind="url", what=URI))
            other.commit()
            self.assertEqual(self.bodies(b"http://c.org/\n"), [b""])
            self.result(self.store.remove(b"http://c.org/", False))

    def test_too_large(self) -> None:
        """A body that is too large is not wanted where its size is known, and cannot be written where it is not; what
        was written stays readable until then, and what was there before is there still."""
        if not self.too_large:
            return
        self.put(body=b"old")
        self.assertIsNone(self.store.begin(URI + REST, a_stored(b""), self.too_large, lambda: None))
        writer = self.begin()
        reader = writer.body.open()
        with self.assertRaises(StoreError):
            self.write(writer, b"x" * self.too_large)
        size = writer.body.size
        self.assertEqual(self.read(reader, 0, size), b"x" * size)
        writer.abort()
        reader.close()
        self.assertEqual(self.bodies(), [b"old"])
        self.put(body=b"x" * self.too_large, nominated=b"n")
        self.assertEqual(self.bodies(), [b"old"])

    def test_bounded(self) -> None:
        """However much is put, it keeps no more than its size, and some of it."""
        if not self.capacity:
            return
        body = b"x" * max(self.capacity // 1000, 1)
        for number in range(2000):
            self.put(b"http://a.org/%d\n" % number, body)
            self.turn()
            self.assertLessEqual(self.store.counters["bytes"], self.capacity)
        kept = sum(bool(self.get(b"http://a.org/%d\n" % number)) for number in range(2000))
        self.assertGreater(kept, 200)
        self.assertEqual(self.store.counters["objects"], kept)

    def test_counters(self) -> None:
        """Objects are counted, and bytes."""
        counters = self.store.counters
        self.assertEqual((counters["objects"], counters["bytes"]), (0, 0))
        self.put(body=b"x" * 5000)
        self.put(URI + b"2" + REST)
        self.assertEqual(self.store.counters["objects"], 2)
        self.assertGreater(self.store.counters["bytes"], 5000)
        self.assertEqual({type(value) for value in self.store.counters.values()}, {int})
        self.result(self.store.remove(URI, False))
        self.result(self.store.remove(URI + b"2", False))
        self.assertEqual((self.store.counters["objects"], self.store.counters["bytes"]), (0, 0))

    def test_history(self) -> None:
        """After any history of puts, writes, drops, removals and purges just what is to be found is found."""
        for seed in range(5):
            self._history(Random(seed))
            self.store.purge(Purge(kind="all"))

    def _history(self, chance: Random) -> None:
        uris = [b"http://%s/%s" % (host, path) for host in (b"a.org", b"b.org:81") for path in (b"", b"x", b"xy", b"z")]
        model: dict[tuple[bytes, bytes], tuple[bytes, tuple[bytes, ...], bool]] = {}
        for step in range(200):
            uri = chance.choice(uris)
            key, nominated = uri + chance.choice((b"\n", b"\nm", b"\nm\nn")), chance.choice((b"", b"1", b"2"))
            action = chance.choice(("put", "put", "write", "freshen", "drop", "remove", "purge", "turn"))
            soft, tags = chance.random() < 0.5, tuple(chance.sample((b"r", b"g", b"b"), chance.randrange(3)))
            body = b"%d" % step * chance.choice((1, 1, 1000, 40000))
            if action == "put":
                self.put(key, body, nominated=nominated, tags=tags)
                model[key, nominated] = (body, tags, False)
            elif action == "write":
                writer = self.begin(key, nominated=nominated, tags=tags)
                self.write(writer, body, key=key)
                writer.commit()
                model[key, nominated] = (body, tags, False)
            elif action == "freshen":
                for stored in self.get(key):
                    self.store.put(key, a_stored(stored.body, stored.nominated, serial=self.store.serial, tags=tags))
                    model[key, stored.nominated] = (model[key, stored.nominated][0], tags, False)
            elif action == "drop":
                for stored in self.get(key)[:1]:
                    self.store.drop(key, stored)
                    del model[key, stored.nominated]
            elif action == "remove":
                met = [place for place in model if place[0].partition(b"\n")[0] == uri]
                self.assertEqual(self.result(self.store.remove(uri, soft)), len(met))
                _apply(model, met, soft)
            elif action == "purge":
                purge = _a_purge(chance, uri, soft)
                self.store.purge(purge)
                _apply(model, [place for place, entry in model.items() if _meets(purge, place[0], entry[1])], soft)
            else:
                self.turn()
            found = {
                (key, stored.nominated): (self.content(stored), stored.tags, bool(stored.flags & SOFT_PURGED))
                for key in {place[0] for place in model} | {key}
                for stored in self.get(key)
            }
            self.assertEqual(found, model, (step, action))


def _a_purge(chance: Random, uri: bytes, soft: bool) -> Purge:
    kinds = {
        "url": uri, "prefix": uri[: chance.randrange(len(uri))], "host": uri.split(b"/")[2],
        "tag": chance.choice((b"r", b"g", b"b")), "all": b"",
    }  # fmt: skip
    kind: Any = chance.choice(list(kinds))
    return Purge(kind=kind, what=kinds[kind], soft=soft)


def _meets(purge: Purge, key: bytes, tags: tuple[bytes, ...]) -> bool:
    uri = key.partition(b"\n")[0]
    return {
        "url": uri == purge.what, "prefix": uri.startswith(purge.what), "host": uri.split(b"/")[2] == purge.what,
        "tag": purge.what in tags, "all": True,
    }[purge.kind]  # fmt: skip


def _apply(model: dict[Any, Any], met: list[Any], soft: bool) -> None:
    for place in met:
        if soft:
            model[place] = (*model[place][:2], True)
        else:
            del model[place]
