"""The resolver against a real name server on loopback, over UDP and TCP."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.task import deferLater
from twisted.names import dns
from twisted.names.error import DNSNameError
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from balancer.config.schema import ServerConfig
from balancer.core.resolving import ResolvePolicy
from balancer.discovery.answers import answer
from balancer.discovery.dns import DnsDiscovery
from balancer.discovery.names import Names
from balancer.discovery.resolver import make_resolver
from balancer.testing.peers import PATIENCE
from balancer.testing.resolver import ScriptedResolver


class NamesTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.zone = ScriptedResolver()
        factory = DNSServerFactory(clients=[self.zone])
        tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
        port = tcp.getHost().port
        udp = reactor.listenUDP(port, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        conf = Path(directory.name, "resolv.conf")
        conf.write_text("nameserver 127.0.0.1\nsearch in.example\n")
        self.resolver = make_resolver(reactor, str(conf), str(Path(directory.name, "hosts")), port)
        self.addCleanup(udp.stopListening)
        self.addCleanup(tcp.stopListening)
        self.addCleanup(self.closed, factory)
        self.addCleanup(self.resolver.stop)

    async def closed(self, factory: DNSServerFactory) -> None:
        await self.until(lambda: not factory.connections)

    async def until(self, condition: Callable[[], bool]) -> None:
        begun = reactor.seconds()
        while not condition():
            self.assertLess(reactor.seconds() - begun, PATIENCE)
            await deferLater(reactor, 0.005)

    async def test_a_name_is_followed_through_its_changes(self) -> None:
        """Both families by UDP, completed by the search list, asked for again at the TTL."""
        self.zone.give("db.in.example", "127.0.0.2", "fd00::2", ttl=1)
        names = Names(self.resolver, reactor, Random(1), ResolvePolicy(min_ttl=0.05, max_ttl=0.05))
        self.addCleanup(names.stop)
        discovery = DnsDiscovery((ServerConfig(address="db:5432"),), names)
        sets: list[list[str]] = []
        discovery.start(lambda specs: sets.append([spec.address for spec in specs]))
        await discovery.ready
        self.assertEqual(sets, [["127.0.0.2:5432", "[fd00::2]:5432"]])
        self.zone.give("db.in.example", "127.0.0.3", ttl=1)
        await self.until(lambda: len(sets) == 2)
        self.assertEqual(sets[1], ["127.0.0.3:5432"])
        discovery.stop()
        self.assertEqual(names.watched, ())

    async def test_an_answer_too_long_for_udp_comes_by_tcp(self) -> None:
        """A name with a hundred addresses has a hundred backends."""
        many = [f"10.1.{number // 200}.{number % 200 + 1}" for number in range(100)]
        self.zone.give("many.example", *many, ttl=5)
        found = answer(await self.resolver.lookupAddress("many.example"), dns.A)
        self.assertEqual(sorted(found.addresses), sorted(many))

    async def test_a_name_that_does_not_exist_is_told_from_one_without_an_address(self) -> None:
        """NXDOMAIN is a failure of its own, no data an empty answer."""
        for name in ("gone.example", "gone.example.in.example"):
            self.zone.fail(name, DNSNameError())
        with self.assertRaises(DNSNameError):
            await self.resolver.lookupAddress("gone.example")
        self.zone.give("empty.example")
        self.zone.fail("empty.example.in.example", DNSNameError())
        self.assertEqual(answer(await self.resolver.lookupAddress("empty.example"), dns.A).addresses, ())
