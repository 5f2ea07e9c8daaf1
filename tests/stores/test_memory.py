"""The store in memory."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import ICacheStorePlugin
from balancer.plugins import named
from balancer.stores.settings import MemorySettings
from balancer.testing.stores import CacheStoreContract


class Contract(CacheStoreContract, SynchronousTestCase):
    """It keeps the contract of stores."""

    plugin = named(ICacheStorePlugin, "memory")
    settings = MemorySettings(size=8 * 2**20)
    too_large = 2**20 + 1


class Bounds(CacheStoreContract, SynchronousTestCase):
    """It keeps the contract with little room, too."""

    plugin = named(ICacheStorePlugin, "memory")
    settings = MemorySettings(size=4 * 2**20, max_object=400000)
    too_large = 400001
    capacity = 4 * 2**20
