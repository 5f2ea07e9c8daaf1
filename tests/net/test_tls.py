"""TLS to backends, over in-memory transports: verification, names, files, and the half-close."""

import contextlib
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL.SSL import OP_NO_TLSv1_3
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.core.tls import BackendTls
from balancer.errors import TlsSettingsError
from balancer.net.connector import Attempt, Connector
from balancer.net.flow import can_half_close
from balancer.net.tls import TlsClient, TlsClients
from balancer.testing.certificates import Authority
from balancer.testing.transports import Wire, flush

ADDRESS = IPv4Address("TCP", "127.0.0.1", 443)


class Recorder(Protocol):
    """Remembers."""

    def __init__(self) -> None:
        self.made = 0
        self.data = b""
        self.lost: list[Failure] = []

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


class PlainTls(Protocol):
    """A TLS server that does as the standard says (the standard library's): on close_notify it may still send."""

    def __init__(self, pem: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.data = b""
        self.ended = False
        self.shaken = False

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self.move()

    def notify(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.move()

    def move(self) -> None:
        if self.outgoing.pending:
            self.transport.write(self.outgoing.read())

    def dataReceived(self, data: bytes) -> None:
        self.incoming.write(data)
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while not self.ended:
                got = self.tls.read(65536)
                self.data += got
                self.ended = not got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        self.move()


class TlsTestCase(SynchronousTestCase):
    """An authority, and a connector on a fake reactor."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(directory.name)
        self.trusted = BackendTls(ca=self.authority.file)
        self.reactor = MemoryReactorClock()
        self.connector = Connector(self.reactor)
        self.protocol = Recorder()
        self.failures: list[tuple[Outcome, str]] = []
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def connect(self, tls: TlsClient, server: Protocol) -> Wire:
        """Begin an attempt and let TCP connect to this server."""
        self.attempt: Attempt = self.connector.connect(
            "127.0.0.1", 443, self.protocol, lambda *told: self.failures.append(told), timeout=3.0, tls=tls
        )
        wire = Wire(server, self.attempt.buildProtocol(ADDRESS)).open()
        self.settle(wire)
        return wire

    def settle(self, wire: Wire) -> None:
        """Let bytes and due calls move until nothing does."""
        for _ in range(10):
            flush(wire)
            self.reactor.advance(0)

    def server(self, pem: str) -> "tuple[Recorder, Protocol]":
        """A Twisted TLS server, and what speaks on it."""
        recorder = Recorder()
        options: IOpenSSLServerConnectionCreator = PrivateCertificate.loadPEM(Path(pem).read_bytes()).options()
        factory = Factory.forProtocol(lambda: recorder)
        return recorder, TLSMemoryBIOFactory(options, False, factory, clock=Clock()).buildProtocol(None)


class VerificationTests(TlsTestCase):
    """Who is trusted."""

    def test_the_right_name_from_a_trusted_authority(self) -> None:
        """The protocol is connected only after the handshake, then speaks; no timer is left."""
        recorder, server = self.server(self.authority.issue("db.example"))
        wire = self.connect(TlsClient(self.trusted, "db.example"), server)
        self.assertEqual((self.protocol.made, self.failures), (1, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.protocol.transport.write(b"hello")
        self.reactor.advance(0)
        self.settle(wire)
        self.assertEqual(recorder.data, b"hello")

    def test_the_name_in_the_settings_counts(self) -> None:
        """A configured name replaces the server's own."""
        _, server = self.server(self.authority.issue("inner.example"))
        self.connect(TlsClient(BackendTls(ca=self.authority.file, name="inner.example"), "10.0.0.1"), server)
        self.assertEqual(self.protocol.made, 1)

    def test_an_address_is_verified_as_one(self) -> None:
        """A backend known by its address needs a certificate for that address."""
        _, server = self.server(self.authority.issue("127.0.0.1"))
        self.connect(TlsClient(self.trusted, "127.0.0.1"), server)
        self.assertEqual(self.protocol.made, 1)

    def test_another_name_is_refused(self) -> None:
        """A certificate for another name fails the attempt; the protocol never hears of it, the socket is closed."""
        _, server = self.server(self.authority.issue("other.example"))
        wire = self.connect(TlsClient(self.trusted, "db.example"), server)
        ((outcome, reason),) = self.failures
        self.assertIs(outcome, Outcome.CONNECT_FAILED)
        self.assertIn("the certificate is not for db.example", reason)
        self.assertTrue(self.attempt.handshaking)
        self.assertEqual(self.protocol.made, 0)
        self.assertTrue(wire.right.disconnected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_another_authority_is_refused(self) -> None:
        """The system's authorities do not know ours, so the default refuses it."""
        _, server = self.server(self.authority.issue("db.example"))
        wire = self.connect(TlsClient(BackendTls(), "db.example"), server)
        ((outcome, reason),) = self.failures
        self.assertIs(outcome, Outcome.CONNECT_FAILED)
        self.assertIn("certificate verify failed", reason)
        self.assertTrue(wire.right.disconnected)

    def test_unverified_on_request(self) -> None:
        """With verify = false anything is taken, and that is said once."""
        clients = TlsClients(BackendTls(verify=False))
        for _ in range(3):
            client = clients.client("db.example")
        warnings = [event for event in self.events if event.get("log_namespace") == "balancer.net.tls"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("NOT verified", repr(client))
        _, server = self.server(self.authority.issue("other.example"))
        self.connect(client, server)
        self.assertEqual(self.protocol.made, 1)

    def test_contexts_are_made_once(self) -> None:
        """One client per name; the file is not read again."""
        clients = TlsClients(self.trusted)
        Path(self.authority.file).unlink()
        self.assertIs(clients.client("a.example"), clients.client("a.example"))
        self.assertIsNot(clients.client("a.example"), clients.client("b.example"))

    def test_files_that_cannot_be_used_are_named(self) -> None:
        """A file that is not there, is no PEM, or has a broken certificate, is an error that names it."""
        where = Path(self.authority.file).parent
        (where / "empty.pem").write_text("nothing here")
        (where / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for name, words in (("absent", "No such file"), ("empty", "BEGIN CERTIFICATE"), ("broken", "cannot be read")):
            path = str(where / f"{name}.pem")
            error = self.assertRaises(TlsSettingsError, TlsClients, BackendTls(ca=path))
            self.assertIn(path, str(error))
            self.assertIn(words, str(error))

    def test_our_certificate_is_shown(self) -> None:
        """A server that demands a certificate gets ours, whether we verify its own or not; without one it refuses."""
        pem = self.authority.issue("client.example")
        own = Certificate.loadPEM(Path(self.authority.file).read_bytes())
        certificate = PrivateCertificate.loadPEM(Path(self.authority.issue("db.example")).read_bytes())
        for settings, made in (
            (BackendTls(ca=self.authority.file, certificate=pem), 1),
            (BackendTls(verify=False, certificate=pem), 2),
            (self.trusted, 2),
        ):
            options = certificate.options(own)
            options.getContext().set_options(OP_NO_TLSv1_3)  # where a client's handshake ends before it is refused
            factory = Factory.forProtocol(Recorder)
            server = TLSMemoryBIOFactory(options, False, factory, clock=Clock()).buildProtocol(None)
            self.connect(TlsClient(settings, "db.example"), server)
            self.assertEqual(self.protocol.made, made, settings)
        self.assertEqual(len(self.failures), 1)

    def test_our_certificate_is_read_with_its_key(self) -> None:
        """All that is wrong with the files is told at once; renewed contents change the fingerprint; times are told."""
        pem, other = self.authority.issue("client.example"), self.authority.issue("other.example")
        error = self.assertRaises(TlsSettingsError, TlsClients, BackendTls(ca="/none/a", certificate=pem, key=other))
        self.assertEqual(len(error.problems), 2)
        self.assertIn("has another key", error.problems[1])
        settings = BackendTls(certificate=pem)
        before = TlsClients(settings)
        self.assertEqual(before.fingerprint, TlsClients(settings).fingerprint)
        past = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
        self.authority.issue("client.example", valid=past)
        after = TlsClients(settings)
        self.assertNotEqual(before.fingerprint, after.fingerprint)
        now = datetime(2022, 1, 1, tzinfo=UTC).timestamp()
        self.assertEqual(before.remarks(now), ())
        self.assertIn("expired at 2021-01-01 00:00 UTC: servers will refuse it", after.remarks(now)[0])
        self.assertEqual(TlsClients(self.trusted).remarks(now), ())

    def test_a_name_that_is_none(self) -> None:
        """A name that cannot be one is an error of the settings, not of the connection."""
        self.assertRaises(TlsSettingsError, TlsClient, BackendTls(), "a" * 70 + ".example")


class HandshakeTests(TlsTestCase):
    """Ends during the handshake."""

    def test_a_silent_server_times_out(self) -> None:
        """A server that accepts and says nothing fails after the handshake's own timeout, and is reset."""
        wire = self.connect(TlsClient(self.trusted, "db.example"), Protocol())
        self.reactor.advance(4.9)
        self.assertEqual(self.failures, [])
        self.reactor.advance(0.3)
        ((outcome, reason),) = self.failures
        self.assertIs(outcome, Outcome.CONNECT_TIMEOUT)
        self.assertIn("TLS handshake with 127.0.0.1:443 was not done within 5 s", reason)
        self.settle(wire)
        self.assertTrue(wire.right.disconnected)
        self.assertEqual(len(self.failures), 1)

    def test_cancelled(self) -> None:
        """A cancel during the handshake resets the connection and tells nobody."""
        wire = self.connect(TlsClient(self.trusted, "db.example"), Protocol())
        self.attempt.cancel()
        self.settle(wire)
        self.assertTrue(wire.right.disconnected)
        self.assertEqual((self.failures, self.protocol.made, self.protocol.lost), ([], 0, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_not_tls_at_all(self) -> None:
        """A server that speaks something else, or closes, fails the attempt once."""
        for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b""):
            self.failures.clear()
            wire = self.connect(TlsClient(self.trusted, "db.example"), Protocol())
            if answer:
                wire.left.write(answer)
            else:
                wire.left.loseConnection()
            self.settle(wire)
            ((outcome, _),) = self.failures
            self.assertIs(outcome, Outcome.CONNECT_FAILED)
            self.assertTrue(wire.right.disconnected)


class HalfCloseTests(TlsTestCase):
    """close_notify one way."""

    def test_the_reply_comes_after_our_end(self) -> None:
        """After loseWriteConnection the server sees our end, still answers, and its end closes in order."""
        server = PlainTls(self.authority.issue("db.example"))
        wire = self.connect(TlsClient(self.trusted, "db.example"), server)
        self.protocol.transport.write(b"question")
        self.protocol.transport.loseWriteConnection()
        self.settle(wire)
        self.assertEqual((server.data, server.ended), (b"question", True))
        server.send(b"answer")
        self.settle(wire)
        self.assertEqual((self.protocol.data, self.protocol.lost), (b"answer", []))
        server.notify()
        self.settle(wire)
        (reason,) = self.protocol.lost
        self.assertIs(reason.type, type(connectionDone.value))

    def test_an_end_without_close_notify_is_no_end(self) -> None:
        """A TCP end in the middle of TLS is a lost connection: the stream may have been cut."""
        server = PlainTls(self.authority.issue("db.example"))
        wire = self.connect(TlsClient(self.trusted, "db.example"), server)
        server.send(b"part")
        wire.left.loseConnection()
        self.settle(wire)
        (reason,) = self.protocol.lost
        self.assertEqual((self.protocol.data, reason.type.__name__), (b"part", "ConnectionLost"))

    def test_who_can_half_close(self) -> None:
        """TCP can, our TLS can, Twisted's own TLS only seems to."""
        recorder, server = self.server(self.authority.issue("db.example"))
        wire = self.connect(TlsClient(self.trusted, "db.example"), server)
        self.assertTrue(can_half_close(wire.right))
        self.assertTrue(can_half_close(self.protocol.transport))
        self.assertTrue(hasattr(recorder.transport, "loseWriteConnection"))
        self.assertFalse(can_half_close(recorder.transport))
