"""Discovery of servers written as names."""

from random import Random

from twisted.internet.defer import TimeoutError
from twisted.internet.task import Clock
from twisted.names.error import DNSNameError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.core.model import BackendSpec
from balancer.core.resolving import ResolvePolicy
from balancer.core.tls import BackendTls
from balancer.discovery.dns import DnsDiscovery
from balancer.discovery.names import Names
from balancer.interfaces import IDiscovery
from balancer.registry import Registry
from balancer.testing.resolver import ScriptedResolver


def servers(*addresses: str) -> tuple[ServerConfig, ...]:
    return tuple(ServerConfig(address=address) for address in addresses)


class DnsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = ScriptedResolver()
        self.names = Names(self.resolver, self.clock, Random(1), ResolvePolicy(jitter=0))
        self.sets: list[list[str]] = []

    def publish(self, specs: tuple[BackendSpec, ...]) -> None:
        self.sets.append([spec.address for spec in specs])

    def discovery(self, *addresses: str, tls: BackendTls | None = None) -> DnsDiscovery:
        return DnsDiscovery(servers(*addresses), self.names, tls)


class Sets(DnsCase):
    def test_it_is_a_discovery(self) -> None:
        """It provides IDiscovery whole."""
        verifyObject(IDiscovery, self.discovery("a.example:80"))

    def test_addresses_are_published_at_once_and_names_when_known(self) -> None:
        """What is written as an IP address does not wait for a name; each set is whole and in the written order."""
        discovery = self.discovery("a.example:80", "10.0.0.1:80")
        discovery.start(self.publish)
        self.assertEqual(self.sets, [["10.0.0.1:80"]])
        self.assertNoResult(discovery.ready)
        self.resolver.give("a.example", "10.0.0.7", "fd00::7")
        self.assertEqual(self.sets[1:], [["10.0.0.7:80", "[fd00::7]:80", "10.0.0.1:80"]])
        self.assertIsNone(self.successResultOf(discovery.ready))

    def test_a_change_at_the_ttl_is_published_whole(self) -> None:
        """After the TTL the new addresses replace the old ones."""
        self.resolver.give("a.example", "10.0.0.7", ttl=20)
        self.discovery("a.example:80").start(self.publish)
        self.resolver.give("a.example", "10.0.0.8", ttl=20)
        self.clock.advance(20)
        self.clock.advance(20)
        self.assertEqual(self.sets, [["10.0.0.7:80"], ["10.0.0.8:80"]])

    def test_names_that_fail_make_it_ready_and_publish_nothing(self) -> None:
        """A service that waits for every name does not wait for ever, and no empty set is ever published."""
        self.resolver.fail("a.example", DNSNameError())
        discovery = self.discovery("a.example:80", "b.example:80")
        discovery.start(self.publish)
        self.assertNoResult(discovery.ready)
        self.resolver.fail("b.example", TimeoutError())
        self.successResultOf(discovery.ready)
        self.assertEqual(self.sets, [])

    def test_stop_ends_everything(self) -> None:
        """No timer is left, nothing is published, and whoever waits for ready is let go."""
        discovery = self.discovery("a.example:80")
        discovery.start(self.publish)
        discovery.stop()
        self.successResultOf(discovery.ready)
        self.assertEqual((self.clock.getDelayedCalls(), self.names.watched), ([], ()))
        self.resolver.give("a.example", "10.0.0.7")
        self.assertEqual(self.sets, [])

    def test_one_name_in_two_upstreams_is_asked_for_once(self) -> None:
        """Names are shared by all discoveries."""
        for port in (80, 81):
            self.discovery(f"a.example:{port}").start(self.publish)
        self.resolver.give("a.example", "10.0.0.7")
        self.assertEqual(self.sets, [["10.0.0.7:80"], ["10.0.0.7:81"]])
        self.assertEqual(len(self.resolver.asked), 2)

    def test_the_tls_name_is_the_host_as_written(self) -> None:
        """An address that a name resolves to is verified by the name."""
        specs: list[BackendSpec] = []
        self.resolver.give("a.example", "10.0.0.7")
        self.discovery("a.example:443", tls=BackendTls()).start(specs.extend)
        self.assertEqual([spec.tls_name for spec in specs], ["a.example"])


class WithARegistry(DnsCase):
    def setUp(self) -> None:
        super().setUp()
        self.registry = Registry(self.clock.seconds, Random(1))
        config = UpstreamConfig(servers=servers("a.example:80"), check=None)
        self.registry.apply(Configuration(upstream={"web": config}))

    def publish(self, specs: tuple[BackendSpec, ...]) -> None:
        self.registry.publish("web", specs)

    def test_a_survivor_of_a_new_answer_is_the_same_backend(self) -> None:
        """Addresses that stay keep their backend, with its counters and verdicts."""
        self.resolver.give("a.example", "10.0.0.1", "10.0.0.2", ttl=10)
        self.discovery("a.example:80").start(self.publish)
        survivor = self.registry.find("10.0.0.2:80")[0]
        self.resolver.give("a.example", "10.0.0.2", "10.0.0.3", ttl=10)
        self.clock.advance(10)
        members = [member.backend for member in self.registry.upstream("web").members]
        self.assertEqual([member.address for member in members], ["10.0.0.2:80", "10.0.0.3:80"])
        self.assertIs(members[0], survivor)

    def test_a_replaced_discovery_loses_nobody(self) -> None:
        """Started before the old one stops, a new discovery publishes the known addresses at once."""
        self.resolver.give("a.example", "10.0.0.1")
        old = self.discovery("a.example:80")
        old.start(self.publish)
        new = self.discovery("a.example:80", "10.0.0.9:80")
        changes: list[str] = []
        self.registry.subscribe(lambda event: changes.append(event.reason))
        self.resolver.silence("a.example")
        new.start(self.publish)
        old.stop()
        self.assertEqual(changes, ["added 10.0.0.9:80"])
        self.successResultOf(new.ready)
