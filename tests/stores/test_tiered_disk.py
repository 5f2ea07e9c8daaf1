"""Memory over the disk store keeps the contract of stores."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import ICacheStorePlugin
from balancer.plugins import named
from balancer.stores.disk import DISK, DiskSettings
from balancer.stores.settings import TieredSettings, UpperSettings
from balancer.testing.stores import CacheStoreContract
from balancer.testing.threads import ThreadlessClock


class OverDisk(CacheStoreContract, SynchronousTestCase):
    """With threads that are turned by hand."""

    plugin = named(ICacheStorePlugin, "tiered")
    settings = TieredSettings(over="files", memory=UpperSettings(size=2**20))
    too_large = 1 << 20

    def setUp(self) -> None:
        self.reactor = ThreadlessClock()
        super().setUp()

    def others(self, name: str) -> Any:
        """The store on the disk."""
        self.assertEqual(name, "files")
        settings = DiskSettings(path=self.mktemp(), size=8 << 20, max_object=self.too_large - 1)
        disk = DISK.store(settings, self.reactor, self.fail)
        self.result(disk.start())
        self.addCleanup(lambda: self.result(disk.stop()))
        return disk

    def test_promoted(self) -> None:
        """What is asked for a second time is in memory from then on."""
        for size in (100, 5000, 60000):
            key = b"http://a.org/%d\nmain" % size
            self.put(key, b"x" * size)
            for _ in range(3):
                self.turn()
                self.assertEqual(self.bodies(key), [b"x" * size])
            self.assertIsInstance(self.get(key)[0].body, bytes)
        self.assertEqual((self.store.counters["promoted"], self.store.counters["unread"]), (3, 0))
