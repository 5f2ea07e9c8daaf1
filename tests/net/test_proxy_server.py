"""PROXY headers in front of a listener: who must send one, who must not, and what the protocol behind it sees."""

import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.core.guard import Refusal
from balancer.core.guard_policy import GuardPolicy
from balancer.core.proxy_header import LOCAL, Inet, ProxyHeader, Unix
from balancer.core.proxy_policy import AcceptProxy
from balancer.core.proxy_protocol import encode
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.core.tls import ListenerTls
from balancer.net.certificates import ServerTls
from balancer.net.flow import IConnection, peer_name
from balancer.net.guard import Guard, Visit
from balancer.net.listen import ConnectionLimit
from balancer.net.proxied import proxied
from balancer.net.proxy_server import TOLD_EVERY, ProxyFactory
from balancer.net.timers import TimerWheel
from balancer.net.tls_server import TlsFactory
from balancer.testing.certificates import Authority
from balancer.testing.proxy_headers import SAMPLES, V4, V6
from balancer.testing.transports import Wire, flush

V1 = encode(ProxyHeader(1, False, *V4))
V2 = encode(ProxyHeader(2, False, *V4))
STRANGER = "203.0.113.9"


class Inner(Protocol):
    """What is behind: remembers what it saw at each moment."""

    transport: IConnection

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[str] = []
        self.ended = self.flushed = 0
        self.stopped: list[tuple[Termination, str]] = []
        self.name: tuple[str, int] | None = None
        self.host: Any = None

    def connectionMade(self) -> None:
        self.name = peer_name(self.transport)
        self.peer: Any = self.transport.getPeer()
        self.host = self.transport.getHost()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(str(reason.value))


@implementer(IHalfCloseableProtocol)
class Halves(Inner):
    """One that understands an end."""

    def readConnectionLost(self) -> None:
        self.ended += 1

    def writeConnectionLost(self) -> None:
        self.flushed += 1


class Stoppable(Halves):
    """One that keeps a record of its own."""

    def stop(self, cause: Termination, reason: str) -> None:
        self.stopped.append((cause, reason))


class Listener:
    """The factory behind."""

    def __init__(self, kind: type[Inner]) -> None:
        self.limit = ConnectionLimit("web", 2)
        self.draining = False
        self.guard: Guard | None = None
        self.kind = kind
        self.made: list[Inner] = []

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        self.made.append(self.kind())
        self.visit = visit
        return self.made[-1]


class Sender(Protocol):
    """The peer."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type.__name__)


class ProxyTestCase(SynchronousTestCase):
    """A listener that trusts one network."""

    def setUp(self) -> None:
        self.listen()

    def listen(self, kind: type[Inner] = Halves, **changes: Any) -> None:
        self.clock = Clock()
        self.records: list[ConnectionRecord] = []
        self.inner = Listener(kind)
        chosen = AcceptProxy(**{"trusted": ("192.0.2.0/24",), "timeout": 3.0, **changes})
        self.factory = ProxyFactory(
            chosen, self.inner, TimerWheel(self.clock), wall=lambda: 1000.0, log=self.records.append
        )

    def connect(self, host: str = "192.0.2.1") -> Wire:
        self.peer = Sender()
        protocol = self.factory.buildProtocol(None)
        wire = Wire(protocol, self.peer, host=host)
        return wire.open()

    def send(self, wire: Wire, *parts: bytes) -> None:
        for part in parts:
            wire.right.write(part)
            flush(wire)

    @property
    def made(self) -> Inner:
        (made,) = self.inner.made
        return made

    def refused(self, wire: Wire, word: str, cause: Termination = Termination.CLIENT_PROXY_REFUSED) -> None:
        """It was reset, one record says why, and nothing is left."""
        flush(wire)
        self.assertEqual(self.peer.lost, ["ConnectionLost"])
        (record,) = self.records
        self.assertEqual((record.termination, record.listener), (cause, "web"))
        self.assertIn(word, record.reason)
        self.nothing_left()

    def nothing_left(self) -> None:
        self.assertEqual((self.factory.waiting, self.inner.limit.active), (0, 0))
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TrustedTests(ProxyTestCase):
    """Peers that have to send a header."""

    def test_introduced(self) -> None:
        """From connectionMade on the protocol sees the client, not the proxy; what follows the header is its first."""
        for header in (V1, V2):
            self.listen()
            wire = self.connect()
            self.assertEqual((self.inner.made, self.factory.waiting), ([], 1))
            self.send(wire, header + b"hello", b" there")
            self.assertEqual(self.made.data, b"hello there")
            self.assertEqual(self.made.peer, IPv4Address("TCP", "192.0.2.7", 56324))
            self.assertEqual(self.made.name, ("192.0.2.7", 56324))
            self.assertEqual(self.made.host, IPv4Address("TCP", "198.51.100.1", 443))
            self.assertEqual(self.factory.waiting, 0)

    def test_out_of_the_way(self) -> None:
        """Once the header was read the transport's protocol is the one behind: no byte passes here any more."""
        wire = self.connect()
        self.send(wire, V2)
        self.assertIs(wire.left.protocol, self.made)
        stranger = self.connect(STRANGER)
        self.send(stranger, b"GET")
        self.assertIs(stranger.left.protocol, self.inner.made[1])

    def test_addresses(self) -> None:
        """IPv6, UNIX and UDP come as such; what introduces nobody leaves the connection's own ends."""
        self.send(self.connect(), encode(ProxyHeader(2, False, *V6)))
        self.assertEqual(self.made.peer, IPv6Address("TCP", "2001:db8::7", 4124))
        self.listen()
        self.send(self.connect(), encode(ProxyHeader(2, False, Unix(b"/a"), Unix(b""))))
        self.assertEqual(
            (self.made.peer, self.made.name, self.made.host), (UNIXAddress(b"/a"), None, UNIXAddress(None))
        )
        self.listen()
        self.send(self.connect(), encode(ProxyHeader(2, False, *V4, True)))
        self.assertEqual((self.made.peer.type, self.made.name), ("UDP", ("192.0.2.7", 56324)))
        for nobody in (encode(LOCAL), b"PROXY UNKNOWN\r\n", encode(ProxyHeader())):
            self.listen()
            self.send(self.connect(), nobody + b"x")
            self.assertEqual((self.made.name, self.made.data), (("192.0.2.1", 40000), b"x"))
            self.assertIsNone(proxied(self.made.transport))

    @given(st.sampled_from(SAMPLES), st.binary(max_size=40), st.lists(st.integers(0, 300)))
    @settings(max_examples=60)
    def test_cut_anywhere(self, header: bytes, body: bytes, cuts: list[int]) -> None:
        """However header and bytes are cut, the protocol behind gets exactly what followed."""
        self.listen()
        wire = self.connect()
        data = header + body
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        self.send(wire, *(data[one:other] for one, other in zip(places, places[1:], strict=False)))
        self.assertEqual(self.made.data, body)

    def test_no_header(self) -> None:
        """Bytes that are no header, and wrong headers, are refused at once, and one record says why."""
        for data, word in (
            (b"GET / HTTP/1.1\r\n", "does not begin with a PROXY header"),
            (b"PROXY TCP4 1 2 3 4\r\n", "a wrong PROXY line"),
            (V2[:12] + b"\x31\x11\0\x0c" + V2[16:], "version 3"),
        ):
            self.listen()
            wire = self.connect()
            self.send(wire, data)
            self.refused(wire, word)
            self.assertEqual(self.inner.made, [])
        self.assertEqual(self.factory.refused, 1)

    def test_too_long(self) -> None:
        """A header above the limit is refused before it came."""
        self.listen(limit=256)
        wire = self.connect()
        self.send(wire, V2[:14] + b"\xff\xff")
        self.refused(wire, "the limit is 256")

    def test_late(self) -> None:
        """A header that is not complete in time is refused, however many bytes came meanwhile."""
        wire = self.connect()
        for byte in V1[:5]:
            self.send(wire, bytes([byte]))
            self.clock.advance(0.5)
        self.assertEqual(self.records, [])
        self.clock.advance(1.5)
        self.refused(wire, "not complete within 3 s")

    def test_leaves(self) -> None:
        """One that says nothing and closes was a look at the port; one that stops in its header is refused."""
        wire = self.connect()
        wire.right.loseConnection()
        flush(wire)
        self.assertEqual([record.termination for record in self.records], [Termination.CLIENT_LEFT])
        self.nothing_left()
        self.listen()
        wire = self.connect()
        self.send(wire, V1[:9])
        wire.right.loseWriteConnection()
        self.refused(wire, "before its PROXY header was complete")

    def test_ends_behind_the_header(self) -> None:
        """Half-close reaches the protocol behind, and so does the end."""
        wire = self.connect()
        self.send(wire, V2)
        wire.right.loseWriteConnection()
        flush(wire)
        self.assertEqual((self.made.ended, self.made.lost), (1, []))
        self.made.transport.loseWriteConnection()
        flush(wire)
        self.assertEqual(self.made.flushed, 1)
        self.made.transport.loseConnection()
        flush(wire)
        self.assertEqual(self.made.lost, ["Connection was closed cleanly."])

    def test_limits(self) -> None:
        """A client that waits with its header counts against max_connections, and a draining listener takes none."""
        self.connect(), self.connect()
        third = self.connect()
        flush(third)
        self.assertEqual((self.peer.lost, self.inner.limit.refused), (["ConnectionLost"], 1))
        self.listen()
        self.inner.draining = True
        wire = self.connect()
        flush(wire)
        self.assertEqual(self.peer.lost, ["ConnectionLost"])

    def test_guarded(self) -> None:
        """A guard judges the client that the header names, not the proxy that sends it."""
        timers = TimerWheel(self.clock)
        self.inner.guard = Guard("web", GuardPolicy(deny=("192.0.2.1",), connections=1), timers)
        self.send(self.connect(), V2 + b"hello")
        self.assertEqual(self.made.data, b"hello")
        visit = self.inner.visit
        assert visit is not None
        self.assertEqual((self.peer.lost, sum(self.inner.guard.refused.values())), ([], 0))
        self.send(self.connect(), V2 + b"hello")  # a second one of the same client
        self.assertEqual(self.peer.lost, ["ConnectionLost"])
        self.assertEqual((self.inner.guard.refused[Refusal.CONNECTIONS], self.inner.limit.active), (1, 1))
        self.assertEqual((len(self.inner.made), self.factory.waiting), (1, 0))
        visit.end()
        self.inner.guard.stop()

    def test_guarded_strangers(self) -> None:
        """Who is to send no header is judged by its own address."""
        self.inner.guard = Guard("web", GuardPolicy(deny=(STRANGER,)), TimerWheel(self.clock))
        flush(self.connect(STRANGER))
        self.assertEqual(self.peer.lost, ["ConnectionLost"])
        self.assertEqual((self.inner.guard.refused[Refusal.DENIED], self.inner.limit.active), (1, 0))
        self.assertEqual(self.inner.made, [])
        self.inner.guard.stop()

    def test_stopped(self) -> None:
        """A listener that stops resets those who wait."""
        wire = self.connect()
        self.factory.abort_all()
        self.refused(wire, "the balancer was stopped", Termination.SHUTDOWN)

    def test_others_settings(self) -> None:
        """Other settings count for the clients to come."""
        self.factory.configure(AcceptProxy(trusted=(STRANGER,)))
        self.send(self.connect(), b"GET")
        self.assertEqual(self.made.data, b"GET")
        wire = self.connect(STRANGER)
        self.send(wire, b"GET")
        self.assertEqual([record.termination for record in self.records], [Termination.CLIENT_PROXY_REFUSED])

    def test_told_once(self) -> None:
        """The event log hears of refusals once in a while, with how many there were."""
        for _ in range(3):
            wire = self.connect()
            self.send(wire, b"GET")
        self.clock.advance(TOLD_EVERY)
        wire = self.connect()
        self.send(wire, b"GET")
        self.assertEqual((self.factory.refused, len(self.records)), (4, 4))
        self.assertEqual(repr(self.factory), "<ProxyFactory web waiting=0 refused=4>")


class StrangerTests(ProxyTestCase):
    """Everybody else."""

    def test_served_at_once(self) -> None:
        """The protocol is connected before a byte came, for its server may speak first."""
        wire = self.connect(STRANGER)
        self.assertEqual((self.made.name, self.factory.waiting), ((STRANGER, 40000), 0))
        self.made.transport.write(b"220 welcome\r\n")
        self.send(wire, b"EHLO")
        self.assertEqual(self.made.data, b"EHLO")

    def test_header_refused(self) -> None:
        """A header of either version, cut anywhere, is refused; no byte of it reaches the protocol."""
        for header in (V1, V2):
            for cut in range(13):
                self.listen()
                wire = self.connect(STRANGER)
                self.send(wire, *(part for part in (header[:cut], header[cut:]) if part))
                self.assertEqual(self.made.data, b"")
                self.assertIn("accept_proxy.trusted", self.made.lost[0])
                self.assertEqual([record.termination for record in self.records], [Termination.CLIENT_PROXY_REFUSED])

    def test_one_record(self) -> None:
        """A protocol that keeps a record itself is told why, and there is no other."""
        self.listen(Stoppable)
        wire = self.connect(STRANGER)
        self.send(wire, V1)
        ((cause, reason),) = self.made.stopped
        self.assertEqual((cause, self.records), (Termination.CLIENT_PROXY_REFUSED, []))
        self.assertIn("accept_proxy.trusted", reason)

    def test_no_byte_is_lost(self) -> None:
        """Bytes that begin as a header does and are none arrive: with what follows, at the end, or in time."""
        for rest, word in ((b"OST /", b"POST /"), (b"ROXX", b"PROXX")):
            self.listen()
            self.send(self.connect(STRANGER), b"P", rest)
            self.assertEqual(self.made.data, word)
        self.listen()
        wire = self.connect(STRANGER)
        self.send(wire, b"PRO")
        self.assertEqual(self.made.data, b"")
        wire.right.loseWriteConnection()
        flush(wire)
        self.assertEqual((self.made.data, self.made.ended), (b"PRO", 1))
        self.listen()
        self.send(self.connect(STRANGER), b"\r\n")
        self.clock.advance(3.5)
        self.assertEqual(self.made.data, b"\r\n")

    def test_leaves(self) -> None:
        """Its end is the protocol's, whether it understands halves or not."""
        wire = self.connect(STRANGER)
        wire.right.loseWriteConnection()
        flush(wire)
        self.assertEqual((self.made.ended, self.made.lost), (1, []))
        self.made.transport.loseConnection()
        flush(wire)
        self.assertEqual(self.made.lost, ["Connection was closed cleanly."])
        self.listen(Inner)
        wire = self.connect(STRANGER)
        wire.right.loseConnection()
        flush(wire)
        self.assertEqual(self.made.lost, ["Connection was closed cleanly."])


class TlsTests(ProxyTestCase):
    """TLS behind the header."""

    def test_header_first(self) -> None:
        """The header comes before the handshake; the stream inside knows the client; a failed handshake is its own."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        tls = ServerTls(ListenerTls(certificate=Authority(directory.name).issue("a.example")))
        timers = TimerWheel(self.clock)
        behind = TlsFactory(tls, self.inner, timers, timeout=5, wall=lambda: 1000.0, log=self.records.append)
        self.factory = ProxyFactory(
            AcceptProxy(trusted=("192.0.2.1",)), behind, timers, wall=lambda: 1000.0, log=self.records.append
        )
        wire = self.connect()
        self.assertEqual((self.factory.waiting, behind.handshakes), (1, 0))
        self.send(wire, V2)
        self.assertEqual((self.factory.waiting, behind.handshakes), (0, 1))
        stream: Any = wire.left.protocol
        self.assertEqual((peer_name(stream), stream.getPeer().host), (("192.0.2.7", 56324), "192.0.2.7"))
        found = proxied(stream)
        assert found is not None
        self.assertEqual(found.header.source, Inet("192.0.2.7", 56324))
        self.send(wire, b"no TLS at all, and long enough to tell")
        (record,) = self.records
        self.assertEqual((record.termination, record.client), (Termination.CLIENT_TLS_FAILED, "192.0.2.7"))
        self.assertEqual(self.inner.limit.active, 0)

    def test_stranger(self) -> None:
        """A stranger's header in front of TLS is refused with one record."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        tls = ServerTls(ListenerTls(certificate=Authority(directory.name).issue("a.example")))
        timers = TimerWheel(self.clock)
        behind = TlsFactory(tls, self.inner, timers, timeout=5, wall=lambda: 1000.0, log=self.records.append)
        self.factory = ProxyFactory(
            AcceptProxy(trusted=("192.0.2.1",)), behind, timers, wall=lambda: 1000.0, log=self.records.append
        )
        wire = self.connect(STRANGER)
        self.send(wire, V1)
        self.refused(wire, "accept_proxy.trusted")
        self.assertEqual(behind.handshakes, 0)
