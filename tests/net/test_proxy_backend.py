"""PROXY headers towards servers: what they say, and that they come first."""

import tempfile
from typing import Any, cast

from OpenSSL.crypto import FILETYPE_PEM, load_certificate
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.core.proxy_header import (
    ALPN,
    AUTHORITY,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    SSL,
    SSL_CIPHER,
    SSL_CN,
    SSL_VERSION,
    UNIQUE_ID,
    Inet,
    ProxyHeader,
    ssl_info,
)
from balancer.core.proxy_policy import SendProxy
from balancer.core.proxy_protocol import ProxyDecoder, encode
from balancer.core.tls import BackendTls
from balancer.net.connector import Connector
from balancer.net.proxied import introduce, introduction
from balancer.net.proxy_backend import CARRIED, UNVERIFIED, Preface, ProxySender, tls_value
from balancer.net.tls import TlsClient
from balancer.testing.certificates import Authority
from balancer.testing.proxy_headers import TLVS, V4, decoded
from balancer.testing.transports import MemoryTransport, Wire, flush

ALL = ("authority", "alpn", "unique-id", "ssl", "crc32c")


class Remembering(Protocol):
    """Remembers what came, and how it ended."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.data = b""
        self.lost: list[str] = []

    def connectionMade(self) -> None:
        if self.first:
            assert self.transport is not None
            self.transport.write(self.first)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.type.__name__)


def client(peer: Any = None, host: Any = None) -> MemoryTransport:
    here = host or IPv4Address("TCP", "198.51.100.1", 443)
    return MemoryTransport(here, peer or IPv4Address("TCP", "192.0.2.7", 56324))


def said(header: ProxyHeader | None) -> ProxyHeader:
    assert header is not None
    return header


class SenderTests(SynchronousTestCase):
    """What a header says."""

    def sender(self, version: Any = "v2", tlvs: Any = ()) -> ProxySender:
        return ProxySender(SendProxy(version=version, tlvs=tlvs), lambda: b"a new one")

    def header(self, transport: MemoryTransport, tlvs: Any = (), unique_id: bytes = b"") -> ProxyHeader:
        return said(ProxyDecoder(65000).feed(self.sender(tlvs=tlvs).preface(transport, unique_id)))

    def test_addresses(self) -> None:
        """Who is connected here, in both versions; UNIX sockets in version 2; a zone is not part of an address."""
        self.assertEqual(self.sender("v1").preface(client()), encode(ProxyHeader(1, False, *V4)))
        self.assertEqual(self.sender().preface(client()), encode(ProxyHeader(2, False, *V4)))
        paths = client(UNIXAddress(None), UNIXAddress("/run/b.sock"))
        found = self.header(paths)
        self.assertEqual(repr(found.source), "Unix(path=b'')")
        self.assertEqual(self.sender("v1").preface(paths), b"PROXY UNKNOWN\r\n")
        v6 = client(IPv6Address("TCP", "fe80::7%eth0", 1), IPv6Address("TCP", "fe80::1%eth0", 2))
        self.assertEqual(self.header(v6).source, Inet("fe80::7", 1))
        self.assertIsNone(self.header(client(UNIXAddress(None))).source)  # no word for such a pair

    def test_version_1_says_no_more(self) -> None:
        """Who asks version 1 for more is told when the sender is made, not when a client is there."""
        with self.assertRaises(ValueError):
            self.sender("v1", ("ssl",))

    def test_introduced(self) -> None:
        """A client that a proxy introduced is passed on, with where it connected to, and UDP stays UDP."""
        for datagram in (False, True):
            transport = client(IPv4Address("TCP", "10.0.0.1", 1))
            found = introduction(ProxyHeader(2, False, *V4, datagram))
            assert found is not None
            introduce(transport, found)
            self.assertEqual(self.header(transport), ProxyHeader(2, False, *V4, datagram))

    def test_values(self) -> None:
        """What the proxy in front said of name, protocol, id and TLS is passed on, and nothing else."""
        transport = client()
        found = introduction(ProxyHeader(2, False, *V4, False, TLVS))
        assert found is not None
        introduce(transport, found)
        header = self.header(transport, ALL, b"of the request")
        self.assertEqual(dict(header.tlvs), {kind: dict(TLVS)[kind] for kind in (ALPN, AUTHORITY, UNIQUE_ID, SSL)})
        self.assertEqual(self.header(transport, ("alpn",)).tlvs, ((ALPN, b"h2"),))

    def test_unique_id(self) -> None:
        """The proxy's, else the request's, else a new one; an id that is too long for a header is not cut."""
        for given, expected in ((b"", b"a new one"), (b"mine", b"mine"), (b"x" * 129, b"a new one")):
            self.assertEqual(self.header(client(), ALL, given).tlvs, ((UNIQUE_ID, expected),))

    def test_large_values(self) -> None:
        """A proxy in front cannot make our header too large."""
        transport = client()
        large = tuple((kind, b"x" * (CARRIED + (kind == ALPN))) for kind in (ALPN, AUTHORITY))
        found = introduction(ProxyHeader(2, False, *V4, False, large))
        assert found is not None
        introduce(transport, found)
        self.assertEqual([kind for kind, _ in self.header(transport, ALL).tlvs], [AUTHORITY, UNIQUE_ID])

    def test_tls(self) -> None:
        """TLS is told with version and cipher, and with the name in the client's certificate, if it showed one."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        with open(Authority(directory.name).issue("client.example"), "rb") as file:
            certificate = load_certificate(FILETYPE_PEM, file.read())

        class Tls:
            def __init__(self, shown: Any) -> None:
                self.get_peer_certificate = lambda: shown

            def get_protocol_version_name(self) -> str:
                return "TLSv1.3"

            def get_cipher_name(self) -> str:
                return "TLS_AES_128_GCM_SHA256"

        common = ((SSL_VERSION, b"TLSv1.3"), (SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"))
        info = ssl_info(tls_value(cast(Any, Tls(None))))
        self.assertEqual((info.client, info.verify, info.tlvs), (CLIENT_SSL, UNVERIFIED, common))
        info = ssl_info(tls_value(cast(Any, Tls(certificate))))
        named = (*common, (SSL_CN, b"client.example"))
        self.assertEqual((info.client, info.verify, info.tlvs), (CLIENT_SSL | CLIENT_CERT_SESS, 0, named))


class OrderTests(SynchronousTestCase):
    """The header comes before everything."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.connector = Connector(self.reactor)
        self.failures: list[Outcome] = []
        self.header = encode(ProxyHeader(2, False, *V4))

    def accept(self, protocol: Protocol, tls: TlsClient | None = None) -> tuple[Wire, Remembering]:
        self.attempt = self.connector.connect(
            "127.0.0.1",
            80,
            protocol,
            lambda outcome, _: self.failures.append(outcome),
            timeout=3,
            tls=tls,
            tls_timeout=2,
            preface=self.header,
        )
        server = Remembering()
        wire = Wire(server, self.reactor.tcpClients[-1][2].buildProtocol(None))
        return wire.open(), server

    def test_before_bytes(self) -> None:
        """The header, then what the protocol writes; then the transport is the protocol's own."""
        protocol = Remembering(b"hello")
        wire, server = self.accept(protocol)
        flush(wire)
        self.assertEqual(server.data, self.header + b"hello")
        self.assertIs(wire.right.protocol, protocol)
        self.assertEqual((self.attempt.pending, self.failures), (False, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_before_tls(self) -> None:
        """The header in the clear, then the handshake, whose time limit counts; the protocol is not connected yet."""
        protocol = Remembering(b"hello")
        wire, server = self.accept(protocol, TlsClient(BackendTls(), "a.example"))
        flush(wire)
        self.assertTrue(server.data.startswith(self.header + b"\x16\x03"))
        self.assertTrue(self.attempt.pending and self.attempt.handshaking)
        self.reactor.advance(2.5)
        flush(wire)
        self.assertEqual(self.failures, [Outcome.CONNECT_TIMEOUT])
        self.assertIsNone(protocol.transport)

    def test_cancelled(self) -> None:
        """A connect that is given up sends nothing."""
        attempt = self.connector.connect(
            "127.0.0.1", 80, Remembering(), lambda *_: None, timeout=3, preface=self.header
        )
        attempt.cancel()
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)

    def test_transports_that_keep_their_protocol(self) -> None:
        """Behind those of other people's endpoints everything is passed on."""
        protocol = Remembering()

        class Owner:
            def connected(self) -> Protocol:
                return protocol

        preface = Preface(cast(Any, Owner()), b"header")
        preface.makeConnection(client())
        preface.dataReceived(b"answer")
        preface.connectionLost(Failure(ConnectionError()))
        self.assertEqual((protocol.data, protocol.lost), (b"answer", ["ConnectionError"]))
        self.assertIsInstance(decoded([self.header]), tuple)
