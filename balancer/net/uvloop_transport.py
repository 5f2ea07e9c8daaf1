"""What TCP and UNIX add to a stream of uvloop's: addresses, socket options, TLS that starts later, file descriptors.

Nothing of this is on the path of a chunk.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from mypy_extensions import mypyc_attr
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    ILoggingContext,
    IProtocol,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import classImplements, directlyProvides

from balancer.net.proxied import Proxied
from balancer.net.uvloop_consumer import nothing
from balancer.net.uvloop_stream import UvloopStream, unless_aborted


def internet_address(address: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """A socket's address in Twisted's words: where IPv6 has a scope, the host says so (``fe80::1%eth0``)."""
    if len(address) == 2:
        return IPv4Address("TCP", *address)
    host, port, flow, scope = address
    if scope and "%" not in host:
        host = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return IPv6Address("TCP", host, port, flow, scope)


def set_option(descriptor: int, level: int, option: int, value: int) -> None:
    """Set an option of a socket that somebody else owns."""
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        sock.setsockopt(level, option, value)
    finally:
        sock.detach()


@mypyc_attr(allow_interpreted_subclasses=True)
class UvloopTransport(UvloopStream):
    """A TCP connection; see :class:`~balancer.net.uvloop_stream.UvloopStream`."""

    __slots__ = ("_address",)

    def __init__(self, reactor: Any, sock: socket.socket | None, peer: Any) -> None:
        super().__init__(reactor, sock, peer)
        self._address: Any = None  # the peer's, once it was asked for

    def getPeer(self) -> Any:
        """The other end."""
        address = self._address
        if address is None:
            address = self._address = internet_address(self._peer)
        return address

    def peer_name(self) -> tuple[str, int] | None:
        """The other end (see :func:`balancer.net.flow.peer_name`)."""
        if len(self._peer) == 2:
            host, port = self._peer
            return host, port
        address = self.getPeer()
        return None if isinstance(address, UNIXAddress) else (address.host, address.port)

    def getHost(self) -> Any:
        """This end."""
        host = self._host
        if host is None:
            host = self._host = self._uv.get_extra_info("sockname")
        return host.host if isinstance(host, Proxied) else internet_address(host)

    def introduce(self, client: Proxied) -> None:
        """Answer for the client that a proxy introduced (see :mod:`balancer.net.proxied`)."""
        self._host = client
        self._address = peer = client.peer
        self._peer = () if isinstance(peer, UNIXAddress) else (peer.host, peer.port)

    @property
    def proxied(self) -> Proxied | None:
        """The introduction, if there was one."""
        return self._host if isinstance(self._host, Proxied) else None

    def getHandle(self) -> socket.socket:
        """The socket. It is uvloop's: look at it, but neither read nor write nor close."""
        sock: socket.socket = self.socket
        return sock

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed."""
        descriptor: int = self.socket.fileno()
        return descriptor

    def unwritten(self) -> int:
        """Bytes taken and not yet given to the socket (see :mod:`balancer.net.splice`)."""
        self._outbox.flush()
        size: int = self._uv.get_write_buffer_size()
        return size

    def getTcpNoDelay(self) -> bool:
        """Whether small writes leave at once."""
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Let small writes leave at once, as they do unless this says otherwise."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes an idle peer."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Have the kernel probe an idle peer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def tuned(self) -> None:
        """Have TCP_NODELAY, which uvloop has set, and keep-alive probes (see :func:`balancer.net.flow.tune`)."""
        set_option(self.socket.fileno(), socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """Speak TLS from here on: what is written through this transport is encrypted.

        :param normal: whether who connected is the TLS client.
        """
        client = self._tlsClientDefault if normal else not self._tlsClientDefault
        producer, streaming = self.producer, self.streamingProducer
        if producer is not None:
            self.unregisterProducer()
        factory = TLSMemoryBIOFactory(contextFactory, client, Factory())
        tls = factory.protocol(factory, self._protocol, False)
        self._below = Below(self, tls, self._named())
        self.protocol = tls
        leaf = cast(Any, self)  # it has room for what Twisted assigns here, too
        leaf.getHandle = tls.getHandle
        leaf.getPeerCertificate = tls.getPeerCertificate
        directlyProvides(self, ISSLTransport)
        leaf.TLS = True
        self.write = tls.write
        tls.makeConnection(self._below)
        if producer is not None:
            self.registerProducer(producer, streaming)

    def logPrefix(self) -> str:
        """What log lines about this connection begin with."""
        return self._named()

    def _named(self) -> str:
        if self._below is not None:  # TLS that started later changes no name
            name: str = self._below.name
            return name
        context = ILoggingContext(self._protocol, None)
        return str(context.logPrefix()) if context is not None else type(self._protocol).__name__


classImplements(UvloopTransport, ITLSTransport, ITCPTransport, ISystemHandle)


class Below:
    """The transport as TLS that was started later sees it: the same, without the TLS.

    :param tls: the TLS that writes here.
    :param name: what the log called the protocol before.
    """

    def __init__(self, transport: UvloopTransport, tls: Any, name: str) -> None:
        self._transport = transport
        self.name = name
        self.write = unless_aborted(tls, transport.write)
        self.writeSequence = transport.write_sequence
        self.loseConnection = transport.lose
        self.registerProducer = transport.register
        self.unregisterProducer = transport.unregister

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def mute(self) -> None:
        """Nothing is written any more."""
        self.write = nothing


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerTransport(UvloopTransport):
    """A connection that was accepted, or adopted.

    :param make: the factory's ``buildProtocol``.
    :param port: the listening port, if any.
    :param number: counts the port's connections.
    """

    __slots__ = ("_make", "server", "sessionno")

    def __init__(self, reactor: Any, sock: socket.socket, peer: Any, make: Any, port: Any, number: int) -> None:
        super().__init__(reactor, sock, peer)
        self._make: Callable[[Any], IProtocol | None] | None = make
        self.server = port
        self.sessionno = number

    def build(self) -> IProtocol | None:
        """The factory's protocol for this peer."""
        make, self._make = self._make, None
        assert make is not None  # a connection is made once
        try:
            return make(self._address_asked())
        except BaseException:
            log.err()
            return None

    def _address_asked(self) -> Any:
        """What the factory gets."""
        return self.getPeer()

    def tuned(self) -> None:
        """The port may have set it for all."""
        if self.server is None or not self.server.keep_alive:
            super().tuned()

    def logPrefix(self) -> str:
        """What log lines about this connection begin with."""
        return f"{self._named()},{self.sessionno},{self.hostname}"

    def connectionLost(self, reason: Failure) -> None:
        """An adopted descriptor may have copies elsewhere: like Twisted, end the connection and not only our copy."""
        if self.server is None and not self.disconnected and not self.aborting:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        super().connectionLost(reason)

    def _local(self) -> object:
        """Where it was adopted, for people."""
        return self.getHost().port if self.connected else None

    @property
    def logstr(self) -> str:
        """The same."""
        return self.logPrefix()

    @property
    def client(self) -> Any:
        """``getpeername()``."""
        return self._peer

    @property
    def hostname(self) -> str:
        """The peer's IP address."""
        name = self.peer_name()
        return "" if name is None else name[0]

    def __repr__(self) -> str:
        port = self.server._realPortNumber if self.server is not None else self._local()
        return f"<{type(self._protocol).__name__} #{self.sessionno} on {port}>"


class BareServer(ServerTransport):
    """A TCP connection that was accepted for a factory that is ``bare`` (see :mod:`balancer.net.uvloop_port`)."""

    __slots__ = ()

    def _address_asked(self) -> Any:
        return None


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientTransport(UvloopTransport):
    """A connection we asked for.

    :param connector: its ``IConnector``, which makes the protocol and hears of the end.
    """

    __slots__ = ("connector",)

    _tlsClientDefault = True

    def __init__(self, reactor: Any, sock: socket.socket | None, peer: Any, connector: Any) -> None:
        super().__init__(reactor, sock, peer)
        self.connector = connector

    def build(self) -> IProtocol | None:
        """The client factory's protocol."""
        self.connector.transport = self
        try:
            protocol: IProtocol | None = self.connector.buildProtocol(self.getPeer())
        except BaseException:
            log.err()
            connector, self.connector = self.connector, None
            connector.connectionFailed(Failure(ConnectError(string=Failure())))
            return None
        return protocol

    def connectionLost(self, reason: Failure) -> None:
        """The protocol hears of it, then the factory."""
        if not self.disconnected:
            super().connectionLost(reason)
            if self.connector is not None:
                self.connector.connectionLost(reason)

    def logPrefix(self) -> str:
        """What log lines about this connection begin with."""
        return f"{self._named()},client"

    def __repr__(self) -> str:
        return f"<{type(self)} to {self.addr} at {id(self):x}>"

    @property
    def addr(self) -> tuple[str, int]:
        """What was asked for."""
        return self.connector.host, self.connector.port

    @property
    def realAddress(self) -> Any:
        """What that was resolved to."""
        return self._peer

    def failIfNotConnected(self, error: Exception) -> None:
        """The timeout of connecting came too late: it is connected."""
