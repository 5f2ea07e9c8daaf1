"""The disk store keeps the contract of stores."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.disk import DISK, DiskSettings
from balancer.testing.stores import CacheStoreContract
from balancer.testing.threads import ThreadlessClock


class DiskContract(CacheStoreContract, SynchronousTestCase):
    """With threads that are turned by hand."""

    plugin = DISK
    capacity = 8 << 20
    too_large = 1 << 20

    def setUp(self) -> None:
        self.reactor = ThreadlessClock()
        self.settings = DiskSettings(path=self.mktemp(), size=self.capacity, max_object=self.too_large - 1)
        super().setUp()
