"""The PROXY protocol over real sockets in this process: transports answer for the client, and bulk behind a header goes
through the kernel as before, on epoll here, and on the uvloop reactor in test_proxy_reactors."""

import random
import socket
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from balancer.core.proxy_header import Inet, ProxyHeader, Unix
from balancer.core.proxy_policy import AcceptProxy, SendProxy
from balancer.core.proxy_protocol import ProxyDecoder, encode
from balancer.core.record import ConnectionRecord
from balancer.net.flow import peer_name
from balancer.net.listen import ConnectionLimit, listen
from balancer.net.proxied import proxied
from balancer.net.proxy_backend import ProxySender
from balancer.net.proxy_server import ProxyFactory
from balancer.net.splice import KERNEL, Splicer
from balancer.net.timers import TimerWheel
from balancer.tcp.factory import forward
from balancer.tcp.settings import TcpSettings
from balancer.testing.bulk import MEGA, PATIENCE, receive
from balancer.testing.peers import SocketServer
from balancer.testing.proxy_headers import V4, V6


class Asked(Protocol):
    """Tells what its transport answers when it is connected, and what came first."""

    def __init__(self, told: "Deferred[Any]") -> None:
        self.told = told

    def connectionMade(self) -> None:
        transport: Any = self.transport
        found = proxied(transport)
        self.answers = (transport.getPeer(), peer_name(transport), transport.getHost(), found and found.header)
        str(transport), transport.logPrefix(), transport.hostname  # what logs ask for is answered, too

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        protocol, self.told = self.told, Deferred()
        protocol.callback((*self.answers, data, transport.protocol is self))
        transport.abortConnection()


class Listener:
    """A factory behind."""

    def __init__(self) -> None:
        self.limit = ConnectionLimit("asked", 100)
        self.draining = False
        self.guard = None
        self.told: Deferred[Any] = Deferred()

    def admitted(self, visit: object = None) -> IProtocol:
        return Asked(self.told)


class StreamTests(TestCase):
    """A listener that trusts loopback and UNIX sockets."""

    timeout = 120

    def setUp(self) -> None:
        self.records: list[ConnectionRecord] = []
        self.timers = TimerWheel(reactor)  # type: ignore[arg-type]  # the reactor is declared as its interfaces

    async def listen(self, inner: Any, endpoint: str) -> Any:
        settings = AcceptProxy(trusted=("127.0.0.1", "::1", "unix"))
        front = ProxyFactory(settings, inner, self.timers, wall=lambda: 0.0, log=self.records.append)
        port: IListeningPort = await listen(reactor, "proxied", endpoint, front)
        self.addCleanup(port.stopListening)
        return port.getHost()

    async def ask(self, family: int, where: Any, inner: Listener, header: ProxyHeader) -> Any:
        inner.told = Deferred()

        def visit() -> None:
            with socket.socket(family) as client:
                client.settimeout(PATIENCE)
                client.connect(where)
                client.sendall(encode(header))
                client.sendall(b"first")
                try:
                    while client.recv(100):
                        pass
                except ConnectionResetError:
                    pass

        visiting = deferToThread(visit)
        told = await inner.told
        await visiting
        return told

    async def answers(self, family: int, where: Any, inner: Listener) -> None:
        for ends, peer, name, host in (
            (V4, IPv4Address("TCP", "192.0.2.7", 56324), ("192.0.2.7", 56324), IPv4Address("TCP", "198.51.100.1", 443)),
            (
                V6,
                IPv6Address("TCP", "2001:db8::7", 4124),
                ("2001:db8::7", 4124),
                IPv6Address("TCP", "2001:db8::1", 443),
            ),
            ((Unix(b"/a"), Unix(b"")), UNIXAddress(b"/a"), None, UNIXAddress(None)),
        ):
            header = ProxyHeader(2, False, *ends)  # type: ignore[arg-type]  # mypy joins the tuples
            told = await self.ask(family, where, inner, header)
            self.assertEqual(told, (peer, name, host, header, b"first", True))
        *_, header, data, direct = await self.ask(family, where, inner, ProxyHeader())
        self.assertEqual((header, data, direct), (None, b"first", True))

    async def test_tcp(self) -> None:
        """TCP transports answer for the client, over IPv4 and IPv6, from connectionMade on."""
        inner = Listener()
        host = await self.listen(inner, "tcp:0:interface=127.0.0.1")
        await self.answers(socket.AF_INET, ("127.0.0.1", host.port), inner)
        inner = Listener()
        host = await self.listen(inner, r"tcp6:0:interface=\:\:1")
        await self.answers(socket.AF_INET6, ("::1", host.port), inner)

    async def test_unix(self) -> None:
        """So do those of UNIX sockets, on which the client may have an IP address."""
        inner = Listener()
        path = "proxied.sock"
        await self.listen(inner, f"unix:{path}")
        await self.answers(socket.AF_UNIX, path, inner)

    async def test_bulk(self) -> None:
        """Behind a header that came, and behind one that was sent, both directions are spliced; all bytes are there."""
        if KERNEL is None:
            self.skipTest("there is no splice(2) here")
        size = 8 * MEGA
        up, down = random.randbytes(size), random.randbytes(size)
        heard: list[ProxyHeader] = []

        def serve(connection: socket.socket) -> None:
            decoder, header = ProxyDecoder(), None
            while header is None:
                header = decoder.feed(connection.recv(100))
            heard.append(header)
            assert decoder.rest + receive(connection, size - len(decoder.rest)) == up
            connection.sendall(down)

        server = SocketServer(serve).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        splicer = Splicer(reactor, 8)  # type: ignore[arg-type]  # the reactor is declared as its interfaces
        sender = ProxySender(SendProxy(version="v2", tlvs=("crc32c",)), lambda: b"id")
        settings = TcpSettings(log=self.records.append, splicer=splicer, sender=sender)
        factory = forward(reactor, server.address, settings=settings)
        host = await self.listen(factory, "tcp:0:interface=127.0.0.1")

        def visit() -> bytes:
            with socket.create_connection(("127.0.0.1", host.port), PATIENCE) as client:
                client.sendall(encode(ProxyHeader(1, False, *V4)) + up[:100])
                client.sendall(up[100:])
                return receive(client, size)

        got = await deferToThread(visit)
        self.assertTrue(got == down)
        self.assertGreaterEqual(splicer.begun, 2)
        while factory.connections:
            await deferLater(reactor, 0.005)
        (record,) = self.records
        self.assertEqual((record.client, record.client_port), ("192.0.2.7", 56324))
        self.assertEqual((record.bytes_in, record.bytes_out), (size, size))  # the headers are not the client's
        self.assertEqual([header.source for header in heard], [Inet("192.0.2.7", 56324)])
        self.assertEqual(server.errors, [])
