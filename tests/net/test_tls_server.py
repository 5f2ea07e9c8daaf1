"""TLS in front of a listener: handshakes that fail, and the stream in between, against the standard library's TLS."""

import contextlib
import ssl
import tempfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.core.guard import Refusal
from balancer.core.guard_policy import GuardPolicy
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.core.tls import ListenerTls
from balancer.net.certificates import ServerTls
from balancer.net.flow import IConnection, can_half_close
from balancer.net.guard import Guard, Visit
from balancer.net.listen import ConnectionLimit
from balancer.net.timers import TimerWheel
from balancer.net.tls import is_tls
from balancer.net.tls_server import TlsFactory
from balancer.testing.certificates import Authority
from balancer.testing.transports import Wire, flush

BIG = bytes(range(256)) * 1200  # 300 KiB: many records
DIRECTORY = tempfile.TemporaryDirectory()
AUTHORITY = Authority(DIRECTORY.name)
TLS = ServerTls(ListenerTls(certificate=AUTHORITY.issue("a.example")))


class Inner(Protocol):
    """What is behind the TLS: remembers."""

    transport: IConnection

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.lost: list[str] = []
        self.ended = 0
        self.answer: Callable[[bytes], None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)
        if self.answer is not None:
            self.answer(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type.__name__)

    @property
    def all(self) -> bytes:
        return b"".join(self.data)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Inner):
    """One that understands an end."""

    flushed = 0

    def readConnectionLost(self) -> None:
        self.ended += 1

    def writeConnectionLost(self) -> None:
        self.flushed += 1


class Listener:
    """A factory behind the TLS."""

    def __init__(self, kind: Callable[[], Inner]) -> None:
        self.limit = ConnectionLimit("secure", 2)
        self.guard: Guard | None = None
        self.draining = False
        self.kind = kind
        self.made: list[Inner] = []
        self.visits: list[Visit | None] = []

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        self.visits.append(visit)
        self.made.append(self.kind())
        return self.made[-1]


class Client(Protocol):
    """A TLS client; what it sends is cut as a test wants."""

    def __init__(self, tls12: bool = False) -> None:
        context = ssl.create_default_context(cafile=AUTHORITY.file)
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a.example")
        self.data = b""
        self.notified = False
        self.shaken = False
        self.lost: list[str] = []
        self.cut: Callable[[bytes], list[bytes]] = lambda data: [data]

    def connectionMade(self) -> None:
        self.work()

    def dataReceived(self, data: bytes) -> None:
        self.incoming.write(data)
        self.work()

    def work(self) -> None:
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while got := self.tls.read(65536):
                self.data += got
            self.notified = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.notified = True
        self.move()

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.move()

    def notify(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self.tls.unwrap()
        self.move()

    def move(self) -> None:
        if self.outgoing.pending:
            for piece in self.cut(self.outgoing.read()):
                self.transport.write(piece)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type.__name__)


@implementer(IHalfCloseableProtocol)
class Patient(Client):
    """One that does not close because we do."""

    def readConnectionLost(self) -> None:
        pass

    def writeConnectionLost(self) -> None:
        pass


class StreamTestCase(SynchronousTestCase):
    """A listener with TLS."""

    def setUp(self) -> None:
        self.stage(Inner)

    def stage(self, kind: Callable[[], Inner]) -> None:
        self.clock = Clock()
        self.records: list[ConnectionRecord] = []
        self.listener = Listener(kind)
        self.factory = TlsFactory(
            TLS, self.listener, TimerWheel(self.clock), timeout=5.0, wall=lambda: 1000.0, log=self.records.append
        )

    def arrive(self, client: Protocol) -> Wire:
        wire = Wire(self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000)), client).open()
        flush(wire)
        return wire

    def joined(self, client: Client | None = None) -> tuple[Client, Inner, Wire]:
        client = client or Client()
        wire = self.arrive(client)
        return client, self.listener.made[-1], wire


class BytesTests(StreamTestCase):
    """Both ways."""

    def test_both_ways(self) -> None:
        """What one side writes the other gets, in TLS 1.2 and 1.3, small and large."""
        for tls12 in (False, True):
            self.stage(Inner)
            client, inner, wire = self.joined(Client(tls12))
            for data in (b"x", BIG):
                client.send(data)
                inner.transport.writeSequence([data, data])
                flush(wire)
                self.assertTrue(inner.all.endswith(data) and client.data.endswith(data + data))
            self.assertEqual((len(inner.all), len(client.data)), (len(BIG) + 1, 2 * len(BIG) + 2))

    def test_byte_by_byte(self) -> None:
        """A client whose bytes come one at a time is understood."""
        client = Client()
        client.cut = lambda data: [data[place : place + 1] for place in range(len(data))]
        wire = Wire(self.factory.buildProtocol(None), client).open()
        wire.left.bufferSize = 1
        flush(wire)
        client.send(b"hello")
        flush(wire)
        self.assertEqual(self.listener.made[0].all, b"hello")

    @settings(max_examples=15, deadline=None)
    @given(st.integers(1, 70000), st.lists(st.binary(min_size=1, max_size=20000), max_size=5))
    def test_cut_anywhere(self, read: int, parts: list[bytes]) -> None:
        """However reads fall, the bytes are the same."""
        self.stage(Inner)
        client, inner, wire = self.joined()
        wire.left.bufferSize = read
        for part in parts:
            client.send(part)
        flush(wire)
        self.assertEqual(inner.all, b"".join(parts))

    def test_one_read_is_handed_on_once(self) -> None:
        """Several records of one read are one call, and what it causes to be written is one write below."""
        client, inner, wire = self.joined()
        inner.answer = inner.transport.write
        writes: list[bytes] = []
        write = wire.left.write
        wire.left.write = lambda data: (writes.append(data), write(data))[1]  # type: ignore[method-assign]
        for number in range(5):
            client.send(b"%d" % number)
        flush(wire)
        self.assertEqual((inner.data, len(writes), client.data), ([b"01234"], 1, b"01234"))

    def test_back_pressure_is_that_of_the_transport_below(self) -> None:
        """A client that does not read pauses the producer of the protocol above; pausing it stops reading below."""
        client, inner, wire = self.joined()
        calls: list[str] = []

        class Source:
            def pauseProducing(self) -> None:
                calls.append("pause")

            def resumeProducing(self) -> None:
                calls.append("resume")

            def stopProducing(self) -> None:
                calls.append("stop")

        wire.left.registerProducer = lambda producer, streaming: setattr(wire.left, "producer", producer)  # type: ignore[method-assign]
        inner.transport.registerProducer(Source(), True)
        wire.right.pauseProducing()
        inner.transport.write(BIG)
        self.assertEqual(calls, ["pause"])
        wire.right.resumeProducing()
        flush(wire)
        self.assertEqual((calls, client.data), (["pause", "resume"], BIG))
        inner.transport.unregisterProducer()
        inner.transport.pauseProducing()
        client.send(b"later")
        flush(wire)
        self.assertEqual(inner.all, b"")
        inner.transport.resumeProducing()
        flush(wire)
        self.assertEqual(inner.all, b"later")


class EndTests(StreamTestCase):
    """Every way to end."""

    def test_we_close(self) -> None:
        """All that was written arrives, then close_notify; the client's own ends the connection in order."""
        client, inner, wire = self.joined()
        inner.transport.write(BIG)
        inner.transport.loseConnection()
        inner.transport.write(b"too late")
        flush(wire)
        self.assertEqual((client.data, client.notified), (BIG, True))
        self.assertEqual(inner.lost, ["ConnectionDone"])

    def test_we_wait_for_the_clients_end(self) -> None:
        """A client that goes on sending is read, not reset, until it ends; with close_notify or without."""
        for way in ("notify", "close", "abort"):
            with self.subTest(way=way):
                self.stage(HalfCloseable)
                client, inner, wire = self.joined(Patient())
                assert isinstance(inner, HalfCloseable)
                inner.transport.loseConnection()
                self.assertEqual(inner.flushed, 0)
                flush(wire)
                self.assertEqual(inner.flushed, 1)  # all is written: from now on the wait is the client's fault
                client.send(b"still")
                flush(wire)
                self.assertEqual((inner.lost, wire.left.disconnected), ([], False))
                if way == "abort":
                    inner.transport.abortConnection()
                elif way == "notify":
                    client.notify()
                else:
                    wire.right.loseConnection()
                flush(wire)
                self.assertEqual(inner.lost, ["ConnectionAborted" if way == "abort" else "ConnectionDone"])

    def test_the_client_closes(self) -> None:
        """A close_notify ends a protocol that knows no half-close, in order, and is answered."""
        client, inner, wire = self.joined()
        client.send(b"bye")
        client.notify()
        flush(wire)
        self.assertEqual((inner.all, inner.lost, client.notified), (b"bye", ["ConnectionDone"], True))

    def test_the_client_half_closes(self) -> None:
        """After the client's close_notify an answer still goes to it, and then our end."""
        self.stage(HalfCloseable)
        client, inner, wire = self.joined()
        client.send(b"question")
        client.notify()
        flush(wire)
        self.assertEqual((inner.all, inner.ended, inner.lost), (b"question", 1, []))
        inner.transport.write(b"answer")
        inner.transport.loseConnection()
        flush(wire)
        self.assertEqual(inner.lost, ["ConnectionDone"])
        self.assertTrue(wire.left.half_closed or wire.left.disconnected)

    def test_we_half_close(self) -> None:
        """After our close_notify the client still sends, and its end is told."""
        self.stage(HalfCloseable)
        client, inner, wire = self.joined()
        inner.transport.write(b"all")
        inner.transport.loseWriteConnection()
        inner.transport.loseWriteConnection()
        flush(wire)
        self.assertEqual((client.data, client.notified), (b"all", True))
        client.send(b"more")
        flush(wire)
        client.notify()
        flush(wire)
        self.assertEqual((inner.all, inner.ended), (b"more", 1))
        self.assertTrue(can_half_close(inner.transport) and is_tls(inner.transport))

    def test_an_end_without_close_notify_is_a_loss(self) -> None:
        """A TCP end in the middle is ConnectionLost, never an end: the stream may have been cut."""
        for kind in (Inner, HalfCloseable):
            self.stage(kind)
            client, inner, wire = self.joined()
            client.send(b"part")
            wire.right.loseConnection()
            flush(wire)
            self.assertEqual((inner.all, inner.lost, inner.ended), (b"part", ["ConnectionLost"], 0))

    def test_a_reset_says_nothing(self) -> None:
        """abortConnection sends no close_notify, so that nothing that was cut looks finished; twice is once."""
        client, inner, wire = self.joined()
        inner.transport.write(b"part")
        flush(wire)
        inner.transport.abortConnection()
        inner.transport.abortConnection()
        inner.transport.write(b"too late")
        flush(wire)
        self.assertEqual((client.data, client.notified, client.lost), (b"part", False, ["ConnectionLost"]))
        self.assertEqual(inner.lost, ["ConnectionAborted"])

    def test_damaged_bytes(self) -> None:
        """A record that does not decrypt loses the connection, and nothing of it is handed on."""
        client, inner, wire = self.joined()
        wire.right.write(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        flush(wire)
        self.assertEqual((inner.all, len(inner.lost)), (b"", 1))
        self.assertTrue(wire.left.disconnected)

    def test_renegotiation_is_refused(self) -> None:
        """The context refuses it, so no write ever waits for a read."""
        client, inner, _ = self.joined(Client(tls12=True))
        with contextlib.suppress(Exception):
            inner.transport.getHandle().renegotiate()  # type: ignore[attr-defined]
        self.assertEqual(inner.transport.getHandle().total_renegotiations(), 0)  # type: ignore[attr-defined]


class HandshakeTests(StreamTestCase):
    """Clients that never get through."""

    def ended(self) -> ConnectionRecord:
        """The one record; nobody is connected any more."""
        self.assertEqual((self.listener.made, self.factory.handshakes, self.listener.limit.active), ([], 0, 0))
        (record,) = self.records
        self.assertEqual((record.listener, record.client, record.client_port), ("secure", "192.0.2.1", 40000))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return record

    def test_a_silent_client(self) -> None:
        """Who says nothing is reset after the time limit, and recorded once."""
        wire = self.arrive(Protocol())
        self.clock.advance(4.9)
        self.assertEqual((self.records, self.factory.handshakes), ([], 1))
        self.clock.advance(0.3)
        flush(wire)
        record = self.ended()
        self.assertIs(record.termination, Termination.CLIENT_TLS_FAILED)
        self.assertEqual(record.reason, "the handshake was not done within 5 s")
        self.assertTrue(wire.right.disconnected)
        assert record.total is not None
        self.assertAlmostEqual(record.started, 1000.0 - record.total)

    def test_it_speaks_something_else(self) -> None:
        """Plain HTTP and noise are told apart by OpenSSL's word for them, and end at once."""
        for said, words in (
            (b"GET / HTTP/1.1\r\n\r\n", "http request"),
            (b"\x16\x03\x01\x00\x04\x63\x00\x00\x00", ""),
            (b"SSH-2.0-x\r\n", ""),
        ):
            with self.subTest(said=said):
                self.stage(Inner)
                client = Inner()
                wire = self.arrive(client)
                client.transport.write(said)
                flush(wire)
                record = self.ended()
                self.assertIn(words, record.reason)
                self.assertTrue(wire.left.disconnected)

    def test_it_leaves(self) -> None:
        """A client that closes, or resets, before the end of the handshake is recorded, with its words."""
        for way in ("loseConnection", "abortConnection"):
            self.stage(Inner)
            wire = self.arrive(Protocol())
            getattr(wire.right, way)()
            flush(wire)
            self.assertEqual(self.ended().reason, "it closed the connection")

    def test_it_does_not_trust_us(self) -> None:
        """A client that refuses our certificate says so with its alert, which is the reason."""
        context = ssl.create_default_context()
        client = Client()
        client.tls = context.wrap_bio(client.incoming, client.outgoing, server_hostname="a.example")
        client.work = lambda: self.refuse(client)  # type: ignore[method-assign]
        self.arrive(client)
        self.assertIn("unknown ca", self.ended().reason)

    def refuse(self, client: Client) -> None:
        with contextlib.suppress(ssl.SSLError):
            client.tls.do_handshake()
        client.move()

    def test_they_count(self) -> None:
        """A handshake under way counts against max_connections; one more is closed at once."""
        self.arrive(Protocol())
        self.joined()
        wire = self.arrive(Protocol())
        self.assertTrue(wire.right.disconnected)
        self.assertEqual((self.listener.limit.active, self.listener.limit.refused), (2, 1))

    def test_a_guard(self) -> None:
        """It is asked before the handshake; who fails that no longer counts, and who does not is passed on counted."""
        guard = self.listener.guard = Guard("secure", GuardPolicy(connections=1), self.factory.timers)
        wire = self.arrive(Protocol())
        self.assertEqual(guard.sources.connections, 1)
        self.assertTrue(self.arrive(Protocol()).right.disconnected)
        wire.right.write(b"no TLS")
        flush(wire)
        self.assertEqual((guard.sources.connections, guard.refused[Refusal.CONNECTIONS]), (0, 1))
        self.joined()
        (visit,) = self.listener.visits
        assert visit is not None
        self.assertEqual(guard.sources.connections, 1)
        guard.stop()

    def test_stopped(self) -> None:
        """abort_all resets handshakes under way and no client beyond them; a draining listener takes nobody."""
        _, inner, _ = self.joined()
        wire = self.arrive(Protocol())
        self.factory.abort_all()
        flush(wire)
        self.assertEqual((self.factory.handshakes, inner.lost), (0, []))
        self.assertIs(self.records[0].termination, Termination.SHUTDOWN)
        self.listener.draining = True
        self.assertTrue(self.arrive(Protocol()).right.disconnected)

    def test_new_certificates(self) -> None:
        """Other certificates count for the handshakes to come; connections go on."""
        client, inner, wire = self.joined()
        self.factory.tls = ServerTls(ListenerTls(certificate=AUTHORITY.issue("b.example")))
        self.assertRaises(ssl.SSLCertVerificationError, self.arrive, Client())
        client.send(b"still here")
        flush(wire)
        self.assertEqual(inner.all, b"still here")
