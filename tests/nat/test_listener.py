"""A listener of mode nat in a whole service, on a kernel in memory."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.reader import reads
from balancer.core.advice import Advice
from balancer.core.traffic import Traffic
from balancer.errors import ListenError
from balancer.listeners import OpenListener
from balancer.nat import ability, table
from balancer.nat.listener import NatListener
from balancer.nat.rendering import removal
from balancer.service import BalancerService, vocabulary
from tests.nat.stage import FakeNft, counter

CONFIG = """
[upstream.web]
servers = [{ address = "10.0.0.1:80", weight = 2 }, "10.0.0.2:80"]
check = "none"
slow_start = 10
[listener.web]
listen = "tcp:80:interface=192.0.2.1"
mode = "nat"
to = "web"
"""


class ListenerCase(SynchronousTestCase):
    """A service whose kernel can do all."""

    problem = ""

    def setUp(self) -> None:
        self.nft = FakeNft()
        self.patch(table, "Nft", lambda *_: self.nft)
        self.patch(ability, "inability", lambda _policy: self.problem)
        self.reactor = MemoryReactorClock()

    def service(self, text: str = CONFIG) -> BalancerService:
        """Not started."""
        self.made = BalancerService(reads(text, "b.toml", vocabulary()), self.reactor)
        return self.made

    def started(self, text: str = CONFIG) -> BalancerService:
        """Started, its first rules in the kernel."""
        service = self.service(text)
        service.privilegedStartService()
        service.startService()
        self.reactor.advance(0)
        self.nft.answer()
        self.nft.answer()
        return service

    def slots(self) -> list[str]:
        """Whom the transaction that is under way lets draw."""
        self.reactor.advance(0)
        commands = self.nft.answer()
        rules: list[Any] = [command["add"]["rule"] for command in commands if "rule" in command.get("add", {})]
        (drawing,) = [rule["expr"][0] for rule in rules if rule["chain"] == "listen/web"]
        return sorted(slot[1]["goto"]["target"].split("/")[2] for slot in drawing["vmap"]["data"]["set"])


class LifeTests(ListenerCase):
    """From the start to the end."""

    def test_open(self) -> None:
        """It is open when the kernel has the rules, without a port of ours."""
        service = self.started()
        listener = service.listeners["web"]
        self.assertIsInstance(listener, NatListener)
        self.assertEqual((listener.address, listener.connections, listener.tls), ("192.0.2.1:80", 0, None))
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertIn("10.0.0.1", str(service.nat.applied))

    def test_cannot(self) -> None:
        """Where the kernel cannot, the start is refused with the cause and the way around."""
        self.problem = "the privilege is missing"
        with self.assertRaisesRegex(ListenError, '"web": the privilege is missing; .*nat.fallback = "tcp"'):
            self.service().privilegedStartService()
        self.assertEqual(self.nft.asked, [])

    def test_fallback(self) -> None:
        """Or this process listens."""
        self.problem = "the privilege is missing"
        service = self.service(CONFIG + 'nat = { fallback = "tcp" }')
        service.privilegedStartService()
        self.assertIsInstance(service.listeners["web"], OpenListener)
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface, self.nft.asked), (80, "192.0.2.1", []))

    def test_stop(self) -> None:
        """A stop takes the table out."""
        service = self.started()
        stopped = service.stopService()
        self.nft.answer()
        self.assertEqual(self.nft.answer(), removal("twistd_balancer"))
        self.successResultOf(stopped)

    def test_reload(self) -> None:
        """Another place and another selector are other rules, of the same listener."""
        service = self.started()
        listener = service.listeners["web"]
        text = CONFIG.replace("tcp:80:", "tcp:81:").replace("slow_start", 'balance = "random"\nslow_start')
        reloaded = service.reload(reads(text, "b.toml", vocabulary()))
        self.successResultOf(reloaded)
        self.reactor.advance(0)
        commands = str(self.nft.answer())
        self.assertIs(service.listeners["web"], listener)
        self.assertIn("'right': 81", commands)
        self.assertIn("'random'", commands)

    def test_python(self) -> None:
        """A configuration that Python built is held to what the kernel can do, too."""
        service = self.started()
        configuration = service.configuration
        wrong = reads(CONFIG.replace('"nat"', '"tcp"').replace("slow_start", 'balance = "first"\nslow_start'), "b",
                      vocabulary())  # fmt: skip
        with self.assertRaisesRegex(ValueError, "the kernel can do"):
            BalancerService(type(configuration)(upstream=wrong.upstream, listener=configuration.listener), self.reactor)


class VerdictTests(ListenerCase):
    """What the registry says becomes rules."""

    def test_drain(self) -> None:
        """A drain is a transaction in the next turn, and so is the end of it; slow start is one a step."""
        service = self.started()
        service.drain("10.0.0.1:80")
        self.assertEqual(self.slots(), ["10.0.0.2"])
        service.enable("10.0.0.1:80")
        self.assertEqual(self.slots(), ["10.0.0.1"] + ["10.0.0.2"] * 5)
        self.reactor.pump([1, 1])  # the first step is the tenth it has already
        self.assertEqual(self.slots(), ["10.0.0.1"] * 2 + ["10.0.0.2"] * 5)
        self.assertEqual(self.nft.asked, [])

    def test_agents(self) -> None:
        """A percentage that an agent says is drawn by; a server with 0 % gets no new connection."""
        service = self.started(CONFIG.replace("slow_start = 10\n", ""))
        first, second = (member.backend for member in service.registry.upstream("web").members)
        first.advise("agent", Advice(percent=50), "half of it", self.reactor.seconds())
        slots = self.slots()
        self.assertEqual(slots.count("10.0.0.1"), slots.count("10.0.0.2"))
        self.assertTrue(slots)
        second.advise("agent", Advice(percent=0), "none of it", self.reactor.seconds())
        self.assertEqual(set(self.slots()), {"10.0.0.1"})

    def test_nothing_new(self) -> None:
        """An event that changes nothing for the kernel costs no transaction."""
        service = self.started()
        service.registry.upstream("web").tick(0.0)
        service.nat.changed()
        self.reactor.advance(0)
        self.assertEqual(self.nft.asked, [])

    def test_counted(self) -> None:
        """What the kernel counted is the backend's, apart from leases; refusals are the listener's."""
        service = self.started()
        self.assertEqual({backend.translated for backend in service.registry.backends.values()}, {None})
        self.reactor.advance(5)
        self.nft.answer(counter("new/tcp/10.0.0.1/80", 3), counter("in/tcp/10.0.0.1/80", 4, 400),
                        counter("refused/web", 2))  # fmt: skip
        (backend,) = service.registry.find("10.0.0.1:80")
        self.assertEqual((backend.translated, backend.total), (Traffic(3, 4, 400), 0))
        self.assertEqual(service.listeners["web"].refused, 2)  # type: ignore[union-attr]

    def test_other_family(self) -> None:
        """Servers that turn out to have no address of the listener's family are left out, and that is logged; the
        kernel hears nothing of them."""
        service = self.started()
        specs = [member.spec for member in service.registry.upstream("web").members]
        with capturedLogs() as logged:
            service.registry.publish("web", [*specs, type(specs[0])(host="fd00::1", port=80)])
            self.reactor.advance(0)
        self.assertEqual(self.nft.asked, [])
        told = [formatEvent(event) for event in logged]
        self.assertEqual(len([line for line in told if "1 server(s) get nothing" in line]), 1)
