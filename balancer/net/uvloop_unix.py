"""UNIX sockets on the uvloop reactor: as TCP, and file descriptors may be sent along.

A protocol that *receives* descriptors (``IFileDescriptorReceiver``) gets Twisted's own transport: uvloop reads with
read(2), which drops them.
"""

import socket
from array import array
from typing import Any

from twisted.internet import unix
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionLost, FileDescriptorOverrun
from twisted.internet.interfaces import IFileDescriptorReceiver, IProtocol, IUNIXTransport
from zope.interface import implementer

from balancer.net.proxied import Proxied
from balancer.net.uvloop_port import UvloopPort
from balancer.net.uvloop_stream import UvloopStream
from balancer.net.uvloop_transport import ClientTransport, ServerTransport

DESCRIPTORS = 64
"""Descriptors that wait above which a producer is paused: that of ``twisted.internet.unix``."""

RETRY = 0.01
"""Seconds until a descriptor for which the kernel had no room is tried again."""


def receives_descriptors(protocol: object) -> bool:
    """Whether it is to have Twisted's own transport. (Said apart, for the type checker narrows ``providedBy``.)"""
    return bool(IFileDescriptorReceiver.providedBy(protocol))


class Descriptors(UvloopStream):
    """What UNIX connections have beyond TCP: each descriptor travels with one byte that is written."""

    _descriptors: list[int]
    _held: bytearray

    def _holding(self) -> None:
        """The children call it where they are made: a compiled parent of theirs knows nothing of this class."""
        self._descriptors = []
        self._held = bytearray()

    def sendFileDescriptor(self, fileno: int) -> None:
        """Send this with the next byte that is written."""
        if not self.connected:
            return
        self._outbox.flush()
        self._descriptors.append(fileno)
        self.write = self._write_along
        if len(self._descriptors) > DESCRIPTORS:
            self.pause_writing()
        self.reactor.loop.call_soon(self._check)

    def _check(self) -> None:
        if self.connected and self._descriptors and not self._held:
            self.abort_for(FileDescriptorOverrun())

    def _write_along(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > self._buffer_size:
            self.pause_writing()
        self._send()

    def _send(self) -> None:
        if not self.connected or self.aborting:
            return
        try:
            while self._descriptors and self._held:
                if self._uv.get_write_buffer_size():
                    raise BlockingIOError
                rights = array("i", self._descriptors[:1])
                self.socket.sendmsg([self._held[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                del self._held[:1], self._descriptors[:1]
        except BlockingIOError:
            self.reactor.loop.call_later(RETRY, self._send)
            return
        except OSError:
            self.abort_for(ConnectionLost())
            return
        if not self._descriptors:
            self.write = self.post
            held, self._held = bytes(self._held), bytearray()
            self.write(held)
            self._await_drain()

    def _drained(self) -> None:
        if not self._held:  # else _send comes here again
            super()._drained()


@implementer(IUNIXTransport)
class UnixServerTransport(ServerTransport, Descriptors):
    """A connection that was accepted, or adopted."""

    _introduced: Proxied | None = None

    def __init__(self, reactor: Any, sock: socket.socket, peer: Any, make: Any, port: Any, number: int) -> None:
        super().__init__(reactor, sock, peer, make, port, number)
        self._holding()

    def getTcpNoDelay(self) -> bool:
        """There is no TCP here."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP here."""

    def tuned(self) -> None:
        """There is no TCP here."""

    def peer_name(self) -> None:
        """There is no IP address."""

    def getPeer(self) -> Any:
        """Clients seldom have a path."""
        return UNIXAddress(self._peer or None)

    def getHost(self) -> Any:
        """The path it listens at."""
        if self._host is None:
            self._host = self.socket.getsockname()
        return UNIXAddress(self._host)

    def _local(self) -> object:
        return self._host or self.socket.getsockname()

    def introduce(self, client: Proxied) -> None:
        """Answer for the client that a proxy introduced: it may have an IP address."""
        leaf: Any = self
        name = None if isinstance(client.peer, UNIXAddress) else (client.peer.host, client.peer.port)
        leaf.getPeer = lambda: client.peer
        leaf.getHost = lambda: client.host
        leaf.peer_name = lambda: name
        self._introduced = client

    @property
    def proxied(self) -> Proxied | None:
        """The introduction, if there was one."""
        return self._introduced

    @property
    def hostname(self) -> str:
        """The peer's path."""
        path: Any = self._peer if self.server is not None else self._local()
        return str(path)


@implementer(IUNIXTransport)
class UnixClientTransport(ClientTransport, Descriptors):
    """A connection we asked for."""

    def __init__(self, reactor: Any, sock: socket.socket | None, peer: Any, connector: Any) -> None:
        super().__init__(reactor, sock, peer, connector)
        self._holding()

    def getTcpNoDelay(self) -> bool:
        """There is no TCP here."""
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no TCP here."""

    def tuned(self) -> None:
        """There is no TCP here."""

    def build(self) -> IProtocol | None:
        """The protocol, which :class:`UnixClient` made."""
        self.connector.transport = self
        protocol: IProtocol | None = self.connector.protocol
        return protocol

    @property
    def addr(self) -> Any:
        """The path that was asked for."""
        return self._peer

    def peer_name(self) -> None:
        """There is no IP address."""

    def getPeer(self) -> Any:
        """The path that was asked for."""
        return UNIXAddress(self._peer)

    def getHost(self) -> Any:
        """We have none."""
        return UNIXAddress(None)


class UnixPort(UvloopPort, unix.Port):
    """``listenUNIX`` makes it."""

    def accepted(self, sock: Any, peer: Any) -> None:
        """One client."""
        factory: Any = self.factory
        protocol: Any = factory.buildProtocol(self._buildAddr(peer))
        if protocol is None:
            sock.close()
            return
        number, self.sessionno = self.sessionno, self.sessionno + 1
        if receives_descriptors(protocol):
            protocol.makeConnection(unix.Server(sock, protocol, peer, self, number, self.reactor))
        else:
            UnixServerTransport(self.reactor, sock, peer, lambda _: protocol, self, number).open()


class UnixClient(unix.Client):
    """A connection that is not made yet."""

    _transport: UnixClientTransport | None = None

    def _connectDone(self) -> None:
        protocol: Any = self.connector.buildProtocol(self.getPeer())
        self.connector.protocol = protocol
        if receives_descriptors(protocol):
            self.protocol = protocol
            self.connected = 1
            self.logstr = f"{self._getLogPrefix(protocol)},client"
            self.startReading()
            protocol.makeConnection(self)
            return
        self._transport = UnixClientTransport(self.reactor, self.socket, self.realAddress, self.connector)
        self._transport.open()

    def failIfNotConnected(self, err: Any) -> None:
        """It was given up, also while uvloop is about to tell of it."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cancel()
        super().failIfNotConnected(err)


class UnixConnector(unix.Connector):
    """``connectUNIX`` makes it."""

    protocol: Any = None

    def _makeTransport(self) -> Any:
        return UnixClient(self.address, self, self.reactor, self.checkPID)


def adopt(reactor: Any, sock: socket.socket, factory: Any) -> Any:
    """Make a transport of a connected UNIX socket; ``None`` where the factory does not want it."""
    protocol: Any = factory.buildProtocol(UNIXAddress(sock.getsockname()))
    if protocol is None:
        sock.close()
        return None
    if receives_descriptors(protocol):
        stock = unix.Server(sock, protocol, sock.getpeername(), None, 0, reactor)
        stock.repstr = f"<{type(protocol).__name__} #0 on {sock.getsockname()!r}>"
        protocol.makeConnection(stock)
        return stock
    transport = UnixServerTransport(reactor, sock, sock.getpeername(), lambda _: protocol, None, 0)
    transport.open()
    return transport
