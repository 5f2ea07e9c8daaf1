"""TLS that passes through: held until the ClientHello is whole, routed, passed on; and what else comes."""

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.core.client_hello import LIMIT, alert
from balancer.core.model import BackendSpec, Member
from balancer.core.proxy_header import AUTHORITY, Inet
from balancer.core.proxy_policy import SendProxy
from balancer.core.proxy_protocol import ProxyDecoder
from balancer.core.route_spec import RouteSpec
from balancer.core.selection.hashed import Hashed
from balancer.core.selection.keys import joined
from balancer.core.sni import SniTable
from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.core.upstream import Upstream
from balancer.interfaces import SelectionOptions
from balancer.net.proxy_backend import ProxySender
from balancer.tcp.passthrough import Passthrough, Target
from balancer.tcp.passthrough_factory import PassthroughFactory
from balancer.testing.fakes import make_upstream
from balancer.testing.hellos import alpn, extension, message, pieces, real, records, server_name, unwrapped

from .stage import Peer, StageTestCase

ROUTES = (
    RouteSpec(sni=("a.example",), to="a"),
    RouteSpec(sni=("*.b.example",), to="b", name="bees"),
    RouteSpec(sni=("only.example",), alpn=("h2",), to="a"),
)


def by_host(members: Sequence[Member]) -> Hashed:
    return Hashed(joined(["host"]), members, SelectionOptions(random=Random(1), seconds=float))


class PassthroughTestCase(StageTestCase):
    """A factory of two upstreams, whose backends are those of "a" and one more."""

    def stage(self, upstream: Upstream | None = None, default: str = "", limit: int = LIMIT, **changes: Any) -> None:
        """Begin anew."""
        super().stage(upstream, **changes)
        self.other = make_upstream([BackendSpec(host="10.0.9.1", port=80)], name="bees")
        self.passing = PassthroughFactory(
            self.routing(default, limit), self.connector, self.timers, self.settings, wall=self.reactor.seconds
        )
        self.factory = self.passing  # type: ignore[assignment]

    def routing(self, default: str = "", limit: int = LIMIT, routes: tuple[RouteSpec, ...] = ROUTES) -> Passthrough:
        targets = {"a": Target(self.upstream, self.settings), "b": Target(self.other, self.settings)}
        return Passthrough(SniTable(routes), targets, default, limit, Random(1))

    def say(self, *data: bytes) -> Peer:
        """A client that says this, each piece by itself."""
        client = self.client()
        for piece in data:
            client.transport.write(piece)
            self.flush()
        return client

    def assert_nothing_left(self) -> None:
        super().assert_nothing_left()
        self.assertEqual(self.other.active, 0)


class RoutingTests(PassthroughTestCase):
    """Who gets it."""

    def test_by_name_and_unmodified(self) -> None:
        """The name leads to its upstream; the backend gets every byte as it came, and answers."""
        hello = real("a.example", "h2")
        client = self.say(hello)
        backend = self.accept()
        client.transport.write(b"more")
        self.flush()
        backend.transport.write(b"answer")
        self.flush()
        self.assertEqual((backend.data, client.data), (hello + b"more", b"answer"))
        backend.transport.loseConnection()
        client.transport.loseConnection()
        record = self.over()
        self.assertEqual((record.sni, record.route, record.upstream), (b"a.example", "a.example", self.upstream.name))
        self.assertEqual((record.client, record.backend), ("192.0.2.1", "10.0.0.1:80"))
        self.assertEqual((record.bytes_in, record.bytes_out), (len(hello) + 4, 6))
        self.assertIs(record.termination, Termination.DONE)

    def test_wildcard_and_default(self) -> None:
        """A wildcard takes its names; what no route takes goes to the default."""
        self.stage(default="a")
        self.say(real("x.y.b.example"))
        self.say(real("z.example"))
        self.say(real(None))
        self.assertEqual(self.tried, ["10.0.9.1", "10.0.0.1", "10.0.0.1"])

    def test_nothing_is_asked_before_the_hello_is_whole(self) -> None:
        """While it is not whole no backend is connected."""
        hello = real("a.example")
        client = self.say(hello[:-1])
        self.assertEqual((self.tried, self.upstream.active), ([], 0))
        client.transport.write(hello[-1:])
        self.flush()
        self.assertEqual(self.accept().fate, "")

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 300), max_size=6), st.lists(st.integers(0, 700), max_size=8), st.binary(max_size=50))
    def test_any_cut_arrives_identical(self, sizes: list[int], marks: list[int], after: bytes) -> None:
        """However the ClientHello is split and cut, with bytes behind it or not: all of it arrives, once, in order."""
        self.stage()
        data = records(unwrapped(real("a.example")), sizes) + after
        self.say(*pieces(data, marks))
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.data, data)

    def test_a_header_names_what_was_asked_for(self) -> None:
        """A PROXY header in front of the TLS has the client's address and the name in its ClientHello."""
        sender = ProxySender(SendProxy(version="v2", tlvs=("authority", "ssl")), lambda: b"id")
        self.stage(sender=sender)
        hello = real("a.example")
        self.say(hello)
        backend = self.accept()
        self.flush()
        decoder = ProxyDecoder(4096)
        header = decoder.feed(backend.data)
        assert header is not None
        self.assertEqual(header.tlvs, ((AUTHORITY, b"a.example"),))
        self.assertEqual(header.source, Inet("192.0.2.1", 40000))
        self.assertEqual(decoder.rest, hello)

    def test_selectors_know_the_name(self) -> None:
        """The name is the host that a hash asks for, so that one name meets one backend."""
        self.stage(make_upstream(3, build_selector=by_host))
        routes = (RouteSpec(to="a"),)
        self.passing.configure(self.routing(routes=routes), self.settings)
        for name in ("a", "b", "c", "d"):
            for _ in range(3):
                self.say(real(name))
        self.assertEqual([len(set(self.tried[i : i + 3])) for i in (0, 3, 6, 9)], [1, 1, 1, 1])
        self.assertGreater(len(set(self.tried)), 1)

    def test_a_split_draws(self) -> None:
        """Several upstreams for one name share its clients by weight."""
        routes = (RouteSpec(sni=("s.example",), split={"a": 1, "b": 1}),)
        self.passing.configure(self.routing(routes=routes), self.settings)
        for _ in range(20):
            self.say(real("s.example"))
        self.assertTrue(self.other.active)
        self.assertEqual(self.other.active + self.upstream.active, 20)

    def test_a_new_configuration(self) -> None:
        """Clients that come later are routed by the new one; who is connected, or in the middle, goes on."""
        hello = real("a.example")
        early = self.say(hello[:50])
        self.passing.configure(self.routing(routes=(RouteSpec(sni=("a.example",), to="b"),)), self.settings)
        early.transport.write(hello[50:])
        self.flush()
        self.assertEqual((self.upstream.active, self.other.active), (1, 0))
        self.say(hello)
        self.assertEqual((self.upstream.active, self.other.active), (1, 1))

    def test_failover_and_no_backend(self) -> None:
        """A refused connect goes on to the next backend; where none is left the client is reset."""
        client = self.say(real("a.example"))
        for _ in range(3):
            self.refuse()
            self.flush()
        self.assertEqual((len(set(self.tried)), client.fate), (3, "reset"))
        self.assertIs(self.over().termination, Termination.CONNECT_REFUSED)

    def test_what_is_held_is_bounded(self) -> None:
        """A client that sends on before the backend accepts is paused, as in mode tcp; all arrives afterwards."""
        self.stage(buffer=70_000)
        hello = real("a.example")
        client = self.say(hello, b"x" * 400_000)
        held = self.wires[0].left
        self.assertFalse(held.reading)
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.data, hello + b"x" * 400_000)
        self.assertEqual(client.fate, "")


class RefusingTests(PassthroughTestCase):
    """Who gets no backend, and how that ends."""

    def refused(self, client: Peer, cause: Termination, words: str) -> None:
        """The client was closed in order; the record and the counter say why."""
        self.flush()
        self.assertEqual(client.fate, "end")
        client.transport.loseConnection()
        record = self.over()
        self.assertEqual(self.tried, [])
        self.assertIs(record.termination, cause)
        self.assertIn(words, record.reason)
        self.assertEqual(self.passing.refused, {cause: 1})

    def test_not_tls(self) -> None:
        """Bytes that are no TLS: closed in order, without an alert."""
        client = self.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(client.data, b"")
        self.refused(client, Termination.NOT_TLS, "HTTP request")

    def test_no_route(self) -> None:
        """A name that nobody has: unrecognized_name, and the name in the record."""
        client = self.say(real("z.example"))
        self.assertEqual(client.data, alert(112))
        self.assertEqual(self.records, [])
        self.refused(client, Termination.NO_ROUTE, '"z.example"')
        self.assertEqual(self.records[0].sni, b"z.example")

    def test_no_name(self) -> None:
        """No name where one is needed: missing_extension."""
        client = self.say(real(None))
        self.assertEqual(client.data, alert(109))
        self.refused(client, Termination.NO_ROUTE, "asks for no server name")

    def test_no_such_protocol(self) -> None:
        """The name with other protocols: no_application_protocol."""
        client = self.say(records(message(server_name(b"only.example"), alpn(b"x"))))
        self.assertEqual(client.data, alert(120))
        self.refused(client, Termination.NO_ROUTE, "offered: x")

    def test_malformed(self) -> None:
        """A ClientHello that is none: decode_error."""
        client = self.say(records(message(server_name(b""))))
        self.assertEqual(client.data, alert(50))
        self.refused(client, Termination.CLIENT_TLS_FAILED, "a server name of 0 bytes (RFC 6066 section 3)")

    def test_too_large(self) -> None:
        """Above the limit: illegal_parameter, before the rest has come."""
        self.stage(limit=1000)
        client = self.say(records(message(server_name(b"a.example"), extension(21, bytes(2000))))[:100])
        self.assertEqual(client.data, alert(47))
        self.refused(client, Termination.CLIENT_TLS_FAILED, "max_client_hello (1000)")

    def test_what_a_refused_client_still_sends(self) -> None:
        """It is read and dropped for as long as the lingering takes, and then the connection is closed."""
        client = self.say(b"x" * 100)
        client.transport.write(b"y" * 500_000)
        self.flush()
        self.assertEqual(self.records, [])
        self.wait(ClientTimeouts().linger + 1)
        client.transport.loseConnection()
        self.assertEqual(self.over().bytes_in, 500_100)

    def test_too_late(self) -> None:
        """A ClientHello that is not whole in time: reset, however many bytes still come."""
        client = self.say()
        for octet in real("a.example")[:40]:
            client.transport.write(bytes([octet]))
            self.wait(0.25)
        self.assertEqual(client.fate, "reset")
        record = self.over()
        self.assertIs(record.termination, Termination.CLIENT_TLS_FAILED)
        self.assertIn("not whole within 5 s (2", record.reason)
        self.assertEqual(self.passing.refused, {Termination.CLIENT_TLS_FAILED: 1})

    def test_in_time_the_deadline_is_over(self) -> None:
        """Once the hello was whole only the ordinary timeouts count."""
        client = self.say(real("a.example"))
        backend = self.accept()
        self.wait(60)
        self.assertEqual((client.fate, backend.fate), ("", ""))
        self.wait(ClientTimeouts().tunnel + 400)
        self.assertIs(self.over().termination, Termination.TUNNEL_IDLE)

    def test_it_leaves_before(self) -> None:
        """An end, a close and a reset in the middle of the hello; and of who said nothing."""
        for data in (b"", real("a.example")[:30]):
            for leave in ("loseWriteConnection", "loseConnection", "abortConnection"):
                self.stage()
                client = self.say(data)
                getattr(client.transport, leave)()
                self.flush()
                if leave == "loseWriteConnection":
                    client.transport.loseConnection()
                self.assertIs(self.over().termination, Termination.CLIENT_LEFT, (data, leave))
                self.assertEqual(self.passing.refused, {})

    def test_it_leaves_after(self) -> None:
        """After the hello it leaves as in mode tcp: the connect is given up, or its end is passed on."""
        client = self.say(real("a.example"))
        client.transport.abortConnection()
        self.assertIs(self.over().termination, Termination.CLIENT_LEFT)
        self.stage()
        client = self.say(real("a.example"))
        client.transport.loseWriteConnection()
        self.flush()
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.fate, "end")

    def test_shutdown(self) -> None:
        """Who is in the middle of the hello is reset at a shutdown."""
        client = self.say(b"\x16\x03")
        self.passing.abort_all()
        self.flush()
        self.assertEqual(client.fate, "reset")
        self.assertIs(self.over().termination, Termination.SHUTDOWN)

    def test_limit_of_clients(self) -> None:
        """A client in the middle of its hello counts."""
        self.stage(max_connections=1)
        self.say(b"\x16")
        self.assertEqual(self.say(b"\x16").fate, "reset")
        self.assertIn("connections=1", repr(self.passing))
