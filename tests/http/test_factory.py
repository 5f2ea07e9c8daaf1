"""A listener: its limit, its drain, new settings under way; settings that cannot be."""

from dataclasses import replace

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.guard import Refusal
from balancer.core.guard_policy import GuardPolicy
from balancer.core.route_spec import RouteSpec
from balancer.core.routing import RouteTable
from balancer.errors import UnknownName
from balancer.http1.limits import HttpLimits
from balancer.net.guard import Guard
from balancer.testing.fakes import make_specs, make_upstream
from balancer.testing.http import Bench
from balancer.testing.transports import Wire, flush

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


class FactoryTests(SynchronousTestCase):
    """The factory of channels."""

    def test_limit(self) -> None:
        """A client that is one too many is closed at once; when another leaves there is room again."""
        bench = Bench(max_connections=1)
        first, second = bench.client(), bench.client()
        bench.run()
        self.assertEqual((first.closed, second.closed), ("open", "reset"))
        self.assertEqual((bench.factory.connections, bench.factory.limit.refused), (1, 1))
        bench.close(first)
        third = bench.client(GET)
        bench.send(bench.accept(), OK)
        self.assertEqual(third.received, OK)

    def test_a_guard_limits_how_long_a_connection_lives(self) -> None:
        """At its age an idle connection is closed; one that is in use answers, says so and closes; one that left
        before leaves no timer."""
        bench = Bench()
        bench.factory.guard = Guard("test", GuardPolicy(max_lifetime=5), bench.timers)
        idle, busy, gone = bench.client(GET), bench.client(), bench.client()
        bench.close(gone)
        backend = bench.accept()
        bench.send(backend, OK)
        bench.advance(4)
        bench.send(busy, GET)
        bench.advance(2)
        self.assertEqual((idle.closed, busy.closed), ("fin", "open"))
        bench.send(backend, OK)
        self.assertIn(b"\r\nConnection: close\r\n", busy.received)
        self.assertEqual((busy.closed, bench.factory.connections), ("fin", 0))

    def test_a_guard_refuses_before_anything_is_read(self) -> None:
        """A source at its limit is reset; when it has room again it is served."""
        bench = Bench()
        bench.factory.guard = guard = Guard("test", GuardPolicy(connections=1), bench.timers)
        address = IPv4Address("TCP", "192.0.2.7", 1)
        wires = [Wire(bench.factory.buildProtocol(address), Protocol()).open() for _ in range(2)]
        flush(*wires)
        self.assertEqual([wire.right.disconnected for wire in wires], [False, True])
        self.assertEqual((guard.refused[Refusal.CONNECTIONS], bench.factory.connections), (1, 1))
        wires[0].right.loseConnection()
        flush(*wires)
        self.assertEqual((guard.sources.connections, bench.factory.limit.active), (0, 0))
        guard.stop()

    def test_drain(self) -> None:
        """Idle connections close at once; one in use after its present response, which says so."""
        bench = Bench()
        idle, busy, begun = bench.client(GET), bench.client(), bench.client(b"GET / HT")
        backend = bench.accept()
        bench.send(backend, OK)
        bench.send(busy, GET)
        bench.factory.drain()
        bench.run()
        self.assertEqual((idle.closed, busy.closed, begun.closed), ("fin", "open", "open"))
        bench.send(backend, OK)
        self.assertIn(b"\r\nConnection: close\r\n", busy.received)
        self.assertTrue(busy.received.endswith(b"ok"))
        bench.send(begun, b"TP/1.1\r\nHost: a\r\n\r\n")
        bench.send(backend, OK)
        self.assertIn(b"\r\nConnection: close\r\n", begun.received)
        self.assertEqual((busy.closed, begun.closed), ("fin", "fin"))
        self.assertEqual(bench.factory.connections, 0)

    def test_drain_in_the_response(self) -> None:
        """A response whose head was sent before the drain is finished, then the connection closes."""
        bench = Bench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        bench.factory.drain()
        bench.send(backend, b"k")
        self.assertTrue(client.received.endswith(b"ok"))
        self.assertEqual(client.closed, "fin")

    def test_new_settings(self) -> None:
        """A request uses the settings it began with, the next one on the same connection those of then."""
        other = make_upstream(make_specs(1), name="other")
        bench = Bench(more={"other": other})
        client = bench.client(GET)
        bench.factory.settings = replace(bench.settings, name="new", default="other")
        bench.send(bench.accept(), OK)
        self.assertEqual((client.received, bench.records[0].upstream), (OK, "web"))
        bench.send(client, GET)
        bench.send(bench.accept(), OK)
        self.assertEqual((bench.records[1].upstream, bench.records[1].listener), ("other", "new"))

    def test_routes(self) -> None:
        """Routes choose the upstream; the path goes on as it came."""
        other = make_upstream(make_specs(1), name="other")
        route = RouteSpec(path_prefix="/api", to="other")
        bench = Bench(more={"other": other}, routes=[route])
        bench.client(GET.replace(b"GET /", b"GET /api/%7Ex?a=%20"))
        backend = bench.accept()
        self.assertTrue(backend.received.startswith(b"GET /api/%7Ex?a=%20 HTTP/1.1\r\n"))
        bench.send(backend, OK)
        self.assertEqual((bench.records[0].upstream, bench.records[0].route), ("other", str(route)))

    def test_ambiguous_path(self) -> None:
        """A path that servers read differently, so that it would slip past a route, is refused."""
        other = make_upstream(make_specs(1), name="other")
        bench = Bench(more={"other": other}, routes=[RouteSpec(path_prefix="/admin", to="other")])
        client = bench.client(GET.replace(b"GET /", b"GET //admin"))
        self.assertTrue(client.received.startswith(b"HTTP/1.1 400 "), client.received)
        self.assertEqual(bench.connects, [])

    def test_unknown_upstream(self) -> None:
        """Settings that name an upstream that is not there are refused when they are made."""
        with self.assertRaisesRegex(UnknownName, "nowhere.*web"):
            Bench(default="nowhere")
        with self.assertRaisesRegex(UnknownName, "lost"):
            Bench(routes=[RouteSpec(path="/x", to="lost")])
        self.assertEqual(len(RouteTable(()).routes), 0)

    def test_limits_are_the_listeners(self) -> None:
        """The listener's limits are enforced."""
        bench = Bench(limits=HttpLimits(request_line=30))
        client = bench.client(GET.replace(b"/", b"/" + b"x" * 40, 1))
        self.assertTrue(client.received.startswith(b"HTTP/1.1 414 "), client.received)
