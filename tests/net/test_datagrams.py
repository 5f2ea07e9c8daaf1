"""UDP sockets on loopback, read by hand: what is sent there is there at once."""

import socket
from typing import Any

from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.errors import ListenError
from balancer.net.datagrams import BATCH, AnyAddressPort, Key, UdpPort, connected, listen_udp
from tests.net.test_watch import Readers


class PortTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Readers()
        self.got: list[tuple[bytes, Key]] = []

    def open(self, description: str, buffers: tuple[int, int] = (0, 0)) -> UdpPort:
        opening = listen_udp(self.reactor, "dns", description, buffers, lambda data, key: self.got.append((data, key)))
        port = self.successResultOf(opening)
        self.addCleanup(port.stopListening)
        return port

    def client(self, port: UdpPort, host: str = "127.0.0.1", source: str = "") -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.settimeout(30)
        if source:
            sock.bind((source, 0))
        sock.connect((host, port.port))
        return sock


class UdpPortTests(PortTestCase):
    def test_interfaces(self) -> None:
        """It is a Twisted port, and what a reactor reads."""
        port = self.open("udp:0:interface=127.0.0.1")
        verifyObject(IListeningPort, port)
        verifyObject(IReadDescriptor, port)
        self.assertEqual(self.reactor.readers, {port})
        self.assertEqual((port.getHost().type, port.getHost().host), ("UDP", "127.0.0.1"))

    def test_there_and_back(self) -> None:
        """Datagrams arrive one by one, with whom to answer, on IPv4 and IPv6, at one address or at all of them."""
        for description, host in (
            ("udp:0:interface=127.0.0.1", "127.0.0.1"),
            (r"udp6:0:interface=\:\:1", "::1"),
            ("udp:0", "127.0.0.1"),
            ("udp6:0", "::1"),
        ):
            port, self.got = self.open(description), []
            client = self.client(port, host)
            sent = [b"", b"one", b"x" * 65507, b""]
            for data in sent:
                client.send(data)
            port.doRead()
            self.assertEqual([data for data, _ in self.got], sent)
            for data, key in self.got:
                self.assertEqual(port.client(key), client.getsockname()[:2])
                port.reply(data, key)
            self.assertEqual([client.recv(70000) for _ in sent], sent)

    def test_the_address_that_was_asked(self) -> None:
        """At every address of the machine, the answer comes from the one that was asked: a client that is connected to
        127.0.0.2 would not hear another."""
        port = self.open("udp:0")
        self.assertIsInstance(port, AnyAddressPort)
        client = self.client(port, "127.0.0.2", "127.0.0.1")
        client.send(b"?")
        port.doRead()
        port.reply(b"!", self.got[0][1])
        self.assertEqual(client.recv(10), b"!")

    def test_one_client_at_two_addresses(self) -> None:
        """One socket of a client that asks at two addresses has two keys, as each has its answers from another."""
        port = self.open("udp:0")
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        for host in ("127.0.0.1", "127.0.0.2"):
            client.sendto(b"?", (host, port.port))
        port.doRead()
        (one, other) = [key for _, key in self.got]
        self.assertNotEqual(one, other)
        self.assertEqual(port.client(one), port.client(other))

    def test_both_families(self) -> None:
        """One port number serves udp and udp6 at one time."""
        port = self.open("udp:0")
        self.assertEqual(self.open(f"udp6:{port.port}").port, port.port)

    def test_own(self) -> None:
        """A datagram that claims to come from the port itself is recognized."""
        port = self.open("udp:0:interface=127.0.0.1")
        self.assertTrue(port.own(("127.0.0.1", port.port)))
        self.assertFalse(port.own(("127.0.0.1", port.port ^ 1)))
        for description, host in (("udp:0", "127.0.0.1"), ("udp6:0", "::1")):
            port, self.got = self.open(description), []
            port.reply(b"to itself", ((host, port.port), b""))
            self.client(port, host).send(b"another's")
            port.doRead()
            self.assertEqual([port.own(key) for _, key in self.got], [True, False])

    def test_turns(self) -> None:
        """One turn reads a bounded number of datagrams, empty ones too."""
        port = self.open("udp:0:interface=127.0.0.1")
        client = self.client(port)
        for _ in range(BATCH + 5):
            client.send(b"")
        port.doRead()
        self.assertEqual(len(self.got), BATCH)
        port.doRead()
        self.assertEqual(len(self.got), BATCH + 5)

    def test_stop(self) -> None:
        """Stopped in the middle of a turn it reads no more; stopping it again does nothing."""
        port = self.open("udp:0:interface=127.0.0.1")
        client = self.client(port)
        port._received = lambda data, key: port.stopListening()
        client.send(b"1")
        client.send(b"2")
        port.doRead()
        self.successResultOf(port.stopListening())
        self.assertEqual((port.fileno(), self.reactor.readers), (-1, set()))

    def test_a_mistake_of_ours(self) -> None:
        """What goes wrong with one datagram is logged, and the next is taken."""
        port = self.open("udp:0:interface=127.0.0.1")
        client = self.client(port)
        got: list[bytes] = []

        def fail_first(data: bytes, key: Any) -> None:
            got.append(data)
            if data == b"1":
                raise ZeroDivisionError

        port._received = fail_first
        client.send(b"1")
        client.send(b"2")
        port.doRead()
        self.assertEqual(got, [b"1", b"2"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_reactor_stops(self) -> None:
        """A reactor that stops closes it."""
        port = self.open("udp:0:interface=127.0.0.1")
        port.connectionLost(Failure(ConnectionError()))
        self.assertEqual(port.fileno(), -1)

    def test_buffers(self) -> None:
        """The kernel's buffers are set; a wish it does not grant is logged with the limit to raise."""
        events: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: events.append(str(event.get("limit", ""))))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.open("udp:0", (16384, 16384))
        self.assertEqual(events, [])
        self.open("udp:0", (2**30, 0))
        self.assertEqual(events, ["net.core.rmem_max"])

    def test_taken(self) -> None:
        """A port that is taken, or an address that is not here, is an error that names listener, place and key."""
        taken = self.open("udp:0:interface=127.0.0.1").port
        for description, words in (
            (f"udp:{taken}:interface=127.0.0.1", "in use"),
            ("udp:0:interface=192.0.2.1", "no such address"),
        ):
            failure = self.failureResultOf(listen_udp(self.reactor, "dns", description, (0, 0), print), ListenError)
            text = failure.getErrorMessage()
            for part in (words, 'listener "dns"', description, '"listen" of listener.dns'):
                self.assertIn(part, text)


class ConnectedTests(SynchronousTestCase):
    def test_refusal_is_told(self) -> None:
        """Nobody at the port: the ICMP message is an error of the next read."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            address = gone.getsockname()
        sock = connected(*address)
        self.addCleanup(sock.close)
        sock.send(b"x")
        with self.assertRaises(ConnectionRefusedError):
            sock.recv(10)

    def test_it_never_blocks(self) -> None:
        """It does not block, whatever the family; and has the buffers asked for."""
        for host in ("127.0.0.1", "::1"):
            sock = connected(host, 9, (16384, 16384))
            self.addCleanup(sock.close)
            self.assertEqual(sock.gettimeout(), 0)
            self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 2 * 16384)
