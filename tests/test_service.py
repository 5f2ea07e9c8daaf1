"""The composition root on a reactor in memory: what is opened, probed, reloaded and closed, and in which order."""

from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.reader import reads
from balancer.core.model import AdminState
from balancer.errors import ListenError, TlsSettingsError, UnknownName
from balancer.service import BalancerService, vocabulary
from balancer.testing.transports import Wire, flush

TWO_DOORS = """
[upstream.web]
servers = ["10.0.0.1:80", "10.0.0.2:80"]
balance = "first"
check = { type = "tcp", start = "up" }
[listener.http]
listen = "tcp:8080"
to = "web"
[listener.tcp]
listen = "tcp:8081"
mode = "tcp"
to = "web"
"""


class Memory(MemoryReactorClock):
    """A reactor in memory whose listening ports know their address."""

    taken: frozenset[int] = frozenset()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As the real one where a port is taken."""
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        listening = super().listenTCP(port, factory, backlog, interface)
        listening.stopped = False

        def stop() -> None:
            listening.stopped = True

        listening.stopListening = stop
        return listening


class Case(SynchronousTestCase):
    """A service from a configuration's text, started."""

    def start(self, text: str) -> BalancerService:
        """Start it as twistd does."""
        self.reactor = Memory()
        service = BalancerService(self.configuration(text), self.reactor, random=Random(1), wall=lambda: 0.0)
        service.privilegedStartService()
        service.startService()
        return service

    def configuration(self, text: str) -> Any:
        """Read it as the command line does."""
        return reads(text, "test.toml", vocabulary())

    def connected_to(self) -> list[str]:
        """The hosts of all connects so far."""
        return [connect[0] for connect in self.reactor.tcpClients]

    def arrive(self, port: int) -> Wire:
        """A client of the listener on that port asks for something."""
        (factory,) = [server[1] for server in self.reactor.tcpServers if server[0] == port][-1:]
        server = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5000))
        wire = Wire(server, Protocol()).open()
        wire.right.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        flush(wire)
        return wire


class LifeTests(Case):
    """Start and stop."""

    def test_an_agent_is_no_check(self) -> None:
        """It has a table of its own, and stands beside the check."""
        self.assertNotIn("agent", vocabulary().checks)
        text = TWO_DOORS.replace("check = {", "agent = { port = 9777 }\ncheck = {")
        service = self.start(text)
        self.reactor.advance(0.2)
        self.assertEqual(sorted({connect[1] for connect in self.reactor.tcpClients}), [80, 9777])
        self.assertEqual(len(service.monitor.agents.streams), 2)
        self.successResultOf(service.reload(self.configuration(TWO_DOORS)))
        self.assertEqual(service.monitor.agents.streams, {})

    def test_it_is_a_service(self) -> None:
        """It provides IService, and building it opens nothing."""
        self.reactor = Memory()
        service = BalancerService(self.configuration(TWO_DOORS), self.reactor)
        verifyObject(IService, service)
        self.assertEqual((self.reactor.tcpServers, self.reactor.tcpClients), ([], []))

    def test_listeners_open_while_there_is_the_privilege(self) -> None:
        """privilegedStartService opens the listeners; only startService begins to probe."""
        self.reactor = Memory()
        service = BalancerService(self.configuration(TWO_DOORS), self.reactor, random=Random(1))
        service.privilegedStartService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081])
        self.assertEqual(self.reactor.tcpClients, [])
        service.startService()
        self.reactor.advance(0.2)
        self.assertEqual(sorted(self.connected_to()), ["10.0.0.1", "10.0.0.2"])

    def test_who_only_starts_it_has_listeners_too(self) -> None:
        """startService alone opens the listeners, once; after a stop it does again."""
        self.reactor = Memory()
        service = BalancerService(self.configuration(TWO_DOORS), self.reactor, random=Random(1))
        service.startService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081])
        self.successResultOf(service.stopService())
        service.startService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081] * 2)

    def test_one_listener_that_cannot_open_stops_the_start(self) -> None:
        """Where one port is taken the start fails with its name, and the others are closed again."""
        self.reactor = Memory()
        self.reactor.taken = frozenset({8081})
        service = BalancerService(self.configuration(TWO_DOORS), self.reactor)
        error = self.assertRaises(ListenError, service.privilegedStartService)
        self.assertIn("8081", str(error))
        self.assertIn("in use", str(error))
        self.assertEqual([listener.address for listener in service.listeners.values()], ["", ""])

    def test_stop_leaves_nothing(self) -> None:
        """After stopService no listener, probe or timer is left."""
        service = self.start(TWO_DOORS)
        self.reactor.advance(0.2)
        self.successResultOf(service.stopService())
        self.assertEqual([listener.address for listener in service.listeners.values()], ["", ""])
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])

    def test_what_runs_may_finish(self) -> None:
        """A connection under way holds the stop up to ``drain`` seconds, then it is aborted."""
        service = self.start("drain = 5\n" + TWO_DOORS)
        door = self.arrive(8080).left
        stopped = service.stopService()
        self.reactor.pump([0.05] * 90)
        self.assertNoResult(stopped)
        self.assertFalse(door.aborted)
        self.reactor.pump([0.05] * 12)
        self.assertTrue(door.aborted)
        self.successResultOf(stopped)

    def test_hurry_ends_the_drain(self) -> None:
        """An operator who does not want to wait aborts what is left."""
        service = self.start(TWO_DOORS)
        door = self.arrive(8080).left
        stopped = service.stopService()
        service.hurry()
        self.reactor.advance(0.05)
        self.assertTrue(door.aborted)
        self.assertNoResult(stopped)  # a reset takes Twisted another turn, and a stopped reactor closes in order
        self.reactor.advance(0.05)
        self.successResultOf(stopped)

    def test_a_listener_that_left_before_still_drains(self) -> None:
        """A stop waits for the connections of a listener that an earlier reload took away, too."""
        service = self.start("drain = 5\n" + TWO_DOORS)
        door = self.arrive(8080).left
        left = TWO_DOORS.replace("tcp:8080", "tcp:8082")
        self.successResultOf(service.reload(self.configuration("drain = 5\n" + left)))
        stopped = service.stopService()
        self.reactor.pump([0.05] * 20)
        self.assertNoResult(stopped)
        service.hurry()
        self.reactor.pump([0.05] * 2)
        self.assertTrue(door.aborted)
        self.successResultOf(stopped)

    def test_a_ca_file_that_is_missing_stops_the_start(self) -> None:
        """What TLS to the backends needs is looked for when the service is built, not at the first request."""
        text = TWO_DOORS.replace('balance = "first"', 'tls = { ca = "no-such-file.pem" }')
        error = self.assertRaises(TlsSettingsError, BalancerService, self.configuration(text), Memory())
        self.assertIn("no-such-file.pem", str(error))


class OperatorTests(Case):
    """Bar 6: the operator's word counts for every listener."""

    def test_one_drain_takes_a_server_out_of_both_listeners(self) -> None:
        """After one drain neither the HTTP nor the TCP listener sends to the server; after enable both do."""
        service = self.start(TWO_DOORS.replace('check = { type = "tcp", start = "up" }', 'check = "none"'))
        for expected, word in (("10.0.0.1", None), ("10.0.0.2", service.drain), ("10.0.0.1", service.enable)):
            if word is not None:
                (backend,) = word("10.0.0.1:80")
                self.assertEqual(backend.address, "10.0.0.1:80")
            for port in (8080, 8081):
                before = len(self.connected_to())
                client = self.arrive(port)
                self.assertEqual(self.connected_to()[before:], [expected])
                client.right.abortConnection()
                flush(client)
        self.assertEqual(
            [event.reason for event in backend.events], ["drained by the operator", "enabled by the operator"]
        )
        self.assertRaises(UnknownName, service.drain, "10.9.9.9:80")

    def test_a_server_of_five_listeners_is_probed_as_often_as_one_of_one(self) -> None:
        """Five listeners over five upstreams with one server: as many probes as one listener makes."""
        one = '[upstream.u{n}]\nservers = ["10.0.0.1:80"]\n[listener.l{n}]\nlisten = "tcp:{n}"\nto = "u{n}"\n'
        counts = []
        for listeners in (1, 5):
            service = self.start("".join(one.format(n=8000 + n) for n in range(listeners)))
            self.reactor.pump([0.1] * 300)
            (backend,) = service.registry.backends.values()
            self.assertEqual(len(self.connected_to()), service.monitor.probes_of(backend))
            counts.append(len(self.connected_to()))
            self.successResultOf(service.stopService())
        self.assertEqual(counts[0], counts[1])
        self.assertGreater(counts[0], 4)

    def test_maint_also_stops_the_probes(self) -> None:
        """A server in maintenance is neither served to nor probed."""
        service = self.start(TWO_DOORS)
        (backend,) = service.maint("10.0.0.1:80")
        self.assertIs(backend.admin, AdminState.MAINT)
        self.reactor.pump([0.1] * 100)
        self.assertNotIn("10.0.0.1", self.connected_to())


class ReloadTests(Case):
    """Another configuration while running."""

    def test_what_stays_is_not_touched(self) -> None:
        """A server that both configurations have keeps its identity and what the operator said of it."""
        service = self.start(TWO_DOORS)
        (drained,) = service.drain("10.0.0.1:80")
        self.successResultOf(service.reload(self.configuration(TWO_DOORS.replace('"10.0.0.2:80"', '"10.0.0.3:80"'))))
        self.assertIs(service.registry.find("10.0.0.1:80")[0], drained)
        self.assertIs(drained.admin, AdminState.DRAIN)
        self.assertRaises(UnknownName, service.registry.find, "10.0.0.2:80")
        self.assertEqual(len(self.reactor.tcpServers), 2)

    def test_a_guard_comes_changes_and_goes(self) -> None:
        """It holds for who comes from then on; its counts are readable, and survive a change of it."""
        service = self.start(TWO_DOORS)
        guarded = "guard = {{ connections = {} }}\n[listener.tcp]"
        listener = service.listeners["http"]
        self.assertEqual(listener.refused, {"max_connections": 0})
        for connections, refused in ((1, 1), (2, 2), (0, 2)):
            text = TWO_DOORS
            if connections:
                text = text.replace("[listener.tcp]", guarded.format(connections))
            self.successResultOf(service.reload(self.configuration(text)))
            wires = [self.arrive(8080) for _ in range(2)]
            if connections:
                self.assertEqual(listener.refused["source_connections"], refused)
            self.assertEqual([wire.right.disconnected for wire in wires], [False, connections > 0])
        self.assertEqual(listener.refused, {"max_connections": 0})

    def test_listeners_come_and_go(self) -> None:
        """A listener with another address is closed and opened there; one that left is closed; a new one opens."""
        service = self.start(TWO_DOORS)
        text = TWO_DOORS.replace("tcp:8080", "tcp:9090").replace("[listener.tcp]", "[listener.other]")
        text = text.replace("tcp:8081", "tcp:9091")
        self.successResultOf(service.reload(self.configuration(text)))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081, 9090, 9091])
        self.assertEqual(sorted(service.listeners), ["http", "other"])
        self.assertTrue(all(listener.address for listener in service.listeners.values()))

    def test_requests_after_a_reload_go_where_it_says(self) -> None:
        """The same open listener serves by the new configuration."""
        service = self.start(TWO_DOORS.replace('check = { type = "tcp", start = "up" }', 'check = "none"'))
        text = TWO_DOORS.replace('"10.0.0.1:80", "10.0.0.2:80"', '"10.0.0.7:80"')
        self.successResultOf(
            service.reload(self.configuration(text.replace('type = "tcp", start = "up"', 'type = "none"')))
        )
        for port in (8080, 8081):
            self.arrive(port)
        self.assertEqual(self.connected_to(), ["10.0.0.7", "10.0.0.7"])

    def test_proxy_headers(self) -> None:
        """Whom a listener trusts changes without another port; a client that waits with its header is connected, and is
        reset by a stop, which it does not hold up; to begin with headers takes the place of the old listener."""
        accepting = TWO_DOORS.replace('listen = "tcp:8080"', 'listen = "tcp:8080"\naccept_proxy = { trusted = ["%s"] }')
        service = self.start(accepting % "192.0.2.1")
        waiting = self.quiet(8080)
        self.assertEqual((service.listeners["http"].connections, self.connected_to()), (1, []))
        self.successResultOf(service.reload(self.configuration(accepting % "192.0.2.2")))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081])
        self.arrive(8080)
        self.assertEqual((len(self.connected_to()), service.listeners["http"].connections), (1, 2))
        self.successResultOf(service.reload(self.configuration(TWO_DOORS)))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8080, 8081, 8080])
        self.assertTrue(waiting.left.aborted)

    def quiet(self, port: int) -> Wire:
        """A client of that listener that says nothing."""
        (factory,) = [server[1] for server in self.reactor.tcpServers if server[0] == port][-1:]
        wire = Wire(factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5000)), Protocol()).open()
        flush(wire)
        return wire

    def test_a_listener_that_cannot_open_leaves_the_others(self) -> None:
        """A new listener whose port is taken is logged; the rest of the new configuration serves."""
        service = self.start(TWO_DOORS)
        self.reactor.taken = frozenset({7070})
        text = (
            TWO_DOORS
            + '[listener.third]\nlisten = "tcp:7070"\nto = "web"\n[listener.fourth]\nlisten = "tcp:7071"\nto = "web"\n'
        )
        self.successResultOf(service.reload(self.configuration(text)))
        self.assertEqual(service.listeners["third"].address, "")
        self.assertNotEqual(service.listeners["fourth"].address, "")

    def test_a_listener_that_cannot_move_stays(self) -> None:
        """Where the new port is taken the old one goes on listening, and serves by the new configuration."""
        service = self.start(TWO_DOORS.replace('check = { type = "tcp", start = "up" }', 'check = "none"'))
        self.reactor.taken = frozenset({9090})
        text = TWO_DOORS.replace("tcp:8080", "tcp:9090").replace('"10.0.0.1:80", "10.0.0.2:80"', '"10.0.0.7:80"')
        text = text.replace('type = "tcp", start = "up"', 'type = "none"')
        self.successResultOf(service.reload(self.configuration(text)))
        self.assertNotEqual(service.listeners["http"].address, "")
        self.assertEqual(service.listeners["http"].config.listen, "tcp:8080")
        self.arrive(8080)
        self.assertEqual(self.connected_to(), ["10.0.0.7"])
        # The next reload, with the port free, moves it.
        self.reactor.taken = frozenset()
        self.successResultOf(service.reload(self.configuration(text)))
        self.assertEqual([server[0] for server in self.reactor.tcpServers][-1], 9090)
        self.assertEqual(service.listeners["http"].config.listen, "tcp:9090")

    def test_the_new_port_opens_before_the_old_one_closes(self) -> None:
        """While a listener moves there is no moment without it; on one port with other options it is the shortest."""
        service = self.start(TWO_DOORS)
        order = []
        listen, first = self.reactor.listenTCP, self.reactor.tcpServers[0]
        old = service.listeners["http"]._port
        stop = old.stopListening
        old.stopListening = lambda: (order.append("closed"), stop())[1]

        def recorded(port: int, *rest: Any, **more: Any) -> Any:
            order.append(f"opened {port}")
            return listen(port, *rest, **more)

        self.reactor.listenTCP = recorded
        self.successResultOf(service.reload(self.configuration(TWO_DOORS.replace("tcp:8080", "tcp:9090"))))
        self.assertEqual((order, first[0]), (["opened 9090", "closed"], 8080))

    def test_a_bad_file_changes_nothing(self) -> None:
        """A configuration whose TLS file is missing is refused whole."""
        service = self.start(TWO_DOORS)
        text = TWO_DOORS.replace('"10.0.0.1:80"', '"10.0.0.9:80"').replace(
            'balance = "first"', 'tls = { ca = "no.pem" }'
        )
        self.assertRaises(TlsSettingsError, service.reload, self.configuration(text))
        self.assertEqual(len(service.registry.find("10.0.0.1:80")), 1)
        self.assertRaises(UnknownName, service.registry.find, "10.0.0.9:80")

    def test_the_access_log_moves(self) -> None:
        """Another path is opened and the old one closed; one that cannot be opened leaves it where it was."""
        old, new = self.mktemp(), self.mktemp()
        text = 'access_log = { path = "PATH", format = "common" }\n' + TWO_DOORS
        service = self.start(text.replace("PATH", old))
        self.successResultOf(service.reload(self.configuration(text.replace("PATH", new))))
        wire = self.arrive(8080)
        wire.right.abortConnection()
        flush(wire)
        self.successResultOf(service.reload(self.configuration(text.replace("PATH", "/no/such/directory/log"))))
        self.successResultOf(service.stopService())
        with open(old) as before, open(new) as after:
            self.assertEqual(before.read(), "")
            self.assertEqual(after.read().count("\n"), 1)
