"""Caches and stores through starts, reloads and stops."""

from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer import caches
from balancer.cache.policy import CachePolicy
from balancer.caches import Caches
from balancer.config.chosen import StoreConfig
from balancer.config.schema import Configuration
from balancer.errors import StoreError, UnknownName
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings
from balancer.stores.tiered import TieredSettings

TWO = Configuration(
    cache={"pages": CachePolicy(), "images": CachePolicy(store="large")},
    store={"large": StoreConfig(type="memory", settings=MemorySettings(size=2**30))},
)


class Faulty:
    """A plugin whose stores note that they were stopped, and can be told to fail.

    :ivar stopped: those that were.
    :ivar tried: starts.
    """

    def __init__(self, starts: bool = True, stops: bool = True) -> None:
        self.starts = starts
        self.stops = stops
        self.stopped: list[Any] = []
        self.tried = 0

    def __call__(self, _interface: object, _name: str) -> "Faulty":
        """In place of :func:`balancer.plugins.named`."""
        return self

    def settings(self) -> MemorySettings:
        """Of any store."""
        return MemorySettings()

    def store(self, *_: object) -> "FaultyStore":
        """A store."""
        return FaultyStore(self)


class FaultyStore:
    """One of them."""

    def __init__(self, plugin: Faulty) -> None:
        self.plugin = plugin

    def start(self) -> "Deferred[None]":
        """Or fail."""
        self.plugin.tried += 1
        return succeed(None) if self.plugin.starts else fail(StoreError("no such place"))

    def stop(self) -> None:
        """Or fail, the first time."""
        self.plugin.stopped.append(self)
        if not self.plugin.stops and len(self.plugin.stopped) == 1:
            raise StoreError("cannot")


class CachesTests(SynchronousTestCase):
    """What a configuration makes, and another one makes of that."""

    def setUp(self) -> None:
        """None yet."""
        self.caches = Caches(Clock(), Random(1), lambda: 0.0)

    def configure(self, configuration: Configuration) -> None:
        """As a start or a reload does."""
        self.caches.configure(configuration)
        self.successResultOf(Deferred.fromCoroutine(self.caches.settle()))

    def test_made(self) -> None:
        """Each cache has its store; the one that is there without being written is made where it is used."""
        self.configure(TWO)
        self.assertEqual(sorted(self.caches.stores), ["large", "memory"])
        self.assertIs(self.caches.caches["images"].store, self.caches.stores["large"])
        self.assertIsInstance(self.caches.stores["memory"], MemoryStore)

    def test_the_same_again(self) -> None:
        """A reload that changes nothing of them changes nothing."""
        self.configure(TWO)
        before = dict(self.caches.caches)
        self.configure(replace(TWO, drain=1.0))
        self.assertEqual([self.caches.caches[name] is cache for name, cache in before.items()], [True, True])

    def test_another_policy(self) -> None:
        """Another policy is another cache on the same store, with the same counters."""
        self.configure(TWO)
        before = self.caches.caches["pages"]
        self.configure(replace(TWO, cache={**TWO.cache, "pages": CachePolicy(ttl=5.0)}))
        after = self.caches.caches["pages"]
        self.assertIsNot(after, before)
        self.assertIs(after.store, before.store)
        self.assertIs(after.counters, before.counters)
        self.assertEqual(after.policy.ttl, 5.0)

    def test_another_store(self) -> None:
        """Other settings of a store are another store; the old one is stopped, the others are not."""
        plugin = Faulty()
        self.patch(caches, "named", plugin)
        self.configure(TWO)
        old = self.caches.stores["large"]
        kept = self.caches.stores["memory"]
        other = StoreConfig(type="memory", settings=MemorySettings(size=2**20))
        self.configure(replace(TWO, store={"large": other}))
        self.assertEqual(plugin.stopped, [old])
        self.assertIsNot(self.caches.stores["large"], old)
        self.assertIs(self.caches.stores["memory"], kept)

    def test_one_store_for_several(self) -> None:
        """Caches of one store know each other, for a purge is of the store."""
        three = {**TWO.cache, "more": CachePolicy()}
        self.configure(replace(TWO, cache=three))
        found = {name: sorted(other.name for other in cache.sharing) for name, cache in self.caches.caches.items()}
        self.assertEqual(found, {"pages": ["more", "pages"], "images": ["images"], "more": ["more", "pages"]})

    def test_one_over_another(self) -> None:
        """The lower one is made for the upper one, though no cache names it, and with another one both are new."""
        tiered = StoreConfig(type="tiered", settings=TieredSettings(over="large"))
        both = Configuration(cache={"pages": CachePolicy(store="both")}, store={**TWO.store, "both": tiered})
        self.configure(both)
        lower, upper = self.caches.stores["large"], self.caches.stores["both"]
        self.assertEqual(sorted(self.caches.stores), ["both", "large"])
        other = StoreConfig(type="memory", settings=MemorySettings(size=2**20))
        self.configure(replace(both, store={"large": other, "both": tiered}))
        self.assertIsNot(self.caches.stores["large"], lower)
        self.assertIsNot(self.caches.stores["both"], upper)

    def test_no_such_store(self) -> None:
        """A store that is not there, and one that is over itself, are told by name."""
        with self.assertRaisesRegex(UnknownName, "no store is named 'nowhere'"):
            self.caches.configure(Configuration(cache={"pages": CachePolicy(store="nowhere")}))
        circle = {"ring": StoreConfig(type="tiered", settings=TieredSettings(over="ring"))}
        with self.assertRaisesRegex(UnknownName, "'ring' is over itself"):
            self.caches.configure(Configuration(cache={"pages": CachePolicy(store="ring")}, store=circle))

    def test_a_store_that_does_not_start(self) -> None:
        """It is told in the log, and nothing else fails."""
        self.patch(caches, "named", Faulty(starts=False))
        self.configure(TWO)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(sorted(self.caches.caches), ["images", "pages"])

    def test_a_store_that_starts_later(self) -> None:
        """It is tried again until it can, and no more once it has left."""
        plugin = Faulty(starts=False)
        self.patch(caches, "named", plugin)
        clock = Clock()
        self.caches = Caches(clock, Random(1), lambda: 0.0)
        self.configure(Configuration(cache={"pages": CachePolicy()}))
        clock.pump([caches.AGAIN] * 3)
        self.assertEqual(plugin.tried, 4)
        plugin.starts = True
        clock.pump([caches.AGAIN] * 3)
        self.assertEqual(plugin.tried, 5)
        plugin.starts = False
        self.configure(Configuration(cache={"pages": CachePolicy(store="large")}, store=TWO.store))
        self.configure(Configuration())
        clock.pump([caches.AGAIN] * 3)
        self.assertEqual((plugin.tried, clock.getDelayedCalls()), (6, []))

    def test_stopped(self) -> None:
        """Every store is stopped, whatever one of them does."""
        plugin = Faulty(stops=False)
        self.patch(caches, "named", plugin)
        self.configure(TWO)
        self.successResultOf(Deferred.fromCoroutine(self.caches.stop()))
        self.assertEqual(len(plugin.stopped), 2)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
