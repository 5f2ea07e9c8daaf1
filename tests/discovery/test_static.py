"""Discovery of servers written as addresses."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import ServerConfig
from balancer.core.model import BackendSpec
from balancer.discovery.static import StaticDiscovery
from balancer.interfaces import IDiscovery


class Static(SynchronousTestCase):
    def test_the_set_is_published_once_whole(self) -> None:
        """All servers, in the written order, at start; it is ready from the beginning."""
        published: list[tuple[BackendSpec, ...]] = []
        discovery = StaticDiscovery([ServerConfig(address="10.0.0.2:80"), ServerConfig(address="[fd00::1]:80")])
        verifyObject(IDiscovery, discovery)
        self.successResultOf(discovery.ready)
        discovery.start(published.append)
        discovery.stop()
        self.assertEqual([[spec.address for spec in specs] for specs in published], [["10.0.0.2:80", "[fd00::1]:80"]])

    def test_a_host_name_is_refused(self) -> None:
        """A name would never be resolved here: that is an error of whoever asks."""
        with self.assertRaisesRegex(ValueError, "db.example"):
            StaticDiscovery([ServerConfig(address="db.example:80")])
