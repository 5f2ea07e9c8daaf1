"""Connecting on the uvloop reactor: uvloop's own way to an IP address, else Twisted's up to the connected socket.

An address literal needs nothing of what Twisted does around connect(2), which costs three times the connect. Names,
local addresses and IPv6 zones go Twisted's way; the transport that a connection gets is uvloop's in any case. Timeouts
and states are those of Twisted's connector, and errors are Twisted's own. Nothing is tried twice.
"""

from asyncio import Future
from contextlib import suppress
from errno import EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM
from functools import lru_cache
from os import strerror
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any
from typing import Protocol as Structure

from twisted.internet import tcp
from twisted.internet.error import ConnectBindError, ConnectError, UserError, getConnectError
from twisted.internet.interfaces import IProtocol
from twisted.python import log
from twisted.python.failure import Failure

from balancer.net.uvloop_stream import UvloopStream
from balancer.net.uvloop_transport import ClientTransport

OF_SOCKETS = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT})
"""Errors of socket(2), which Twisted tells as ``ConnectBindError``; connect(2) gave others before it."""


@lru_cache(maxsize=1024)
def is_literal(host: str, port: int) -> bool:
    """Whether uvloop takes it as it is: an IP address without a zone, and a port that there is. (The backends of a
    balancer are few and come again and again.)"""
    for family in (AF_INET, AF_INET6):
        with suppress(OSError, ValueError):  # ValueError: a NUL in it
            inet_pton(family, host)
            return 0 <= port <= 65535
    return False


class LiteralClient(ClientTransport):
    """A connection to an IP address: uvloop makes the socket, connects it and tells when it is done."""

    __slots__ = ("_waiter",)

    def connect(self) -> None:
        """Begin; nothing is told before the next turn."""
        reactor, (host, port) = self.reactor, self._peer
        reactor.transports.add(self)
        opening = reactor.loop.create_connection(self._itself, host, port)
        try:
            # It waits once, for a future that is done when the connection is made or has failed: no task is needed.
            self._waiter = waiter = opening.send(None)
        except OSError as error:
            reactor.loop.call_soon(self._refused, error, True)
            return
        self._opening = opening
        waiter.add_done_callback(self._settled)

    def _opened(self) -> None:
        """:meth:`_settled` sees to the coroutine."""
        if ":" in self._peer[0]:
            self._peer = self._uv.get_extra_info("peername") or (*self._peer, 0, 0)

    def _settled(self, waiter: "Future[Any]") -> None:
        opening, self._opening = self._opening, None
        assert opening is not None  # a future is done once
        if waiter.cancelled():
            opening.close()
            return
        error = waiter.exception()  # asked in any case, or asyncio complains
        if self._uv is None:
            opening.close()
            self._refused(error, False)
        else:
            # It returns the transport, which we have; or that was closed meanwhile, and heard of it.
            with suppress(StopIteration, RuntimeError):
                opening.send(None)

    def _refused(self, error: BaseException | None, at_once: bool) -> None:
        number = getattr(error, "errno", None)
        if number is None:
            self.failIfNotConnected(ConnectError(string=str(error)))
        elif at_once and number in OF_SOCKETS:
            self.failIfNotConnected(ConnectBindError(number, strerror(number)))
        else:
            self.failIfNotConnected(getConnectError((number, strerror(number))))

    def cancel(self) -> None:
        """Nothing more comes of it; the socket is closed in the next turn (see the parent)."""
        if self._opening is not None:
            self._waiter.cancel()
        self.disconnected = 1

    def failIfNotConnected(self, error: Exception) -> None:
        """It failed or was given up: close the socket and tell."""
        connector = self.connector
        if self._uv is not None or connector is None:
            return
        self.connector = None
        self.reactor.transports.discard(self)
        self.cancel()
        self._tell(connector, error)

    def _tell(self, connector: Any, error: Exception) -> None:
        connector.connectionFailed(Failure(error))

    def stopConnecting(self) -> None:
        """It is given up."""
        self.failIfNotConnected(UserError())

    def connectionLost(self, reason: Failure) -> None:
        """The protocol hears of it, then the factory; before there is one, the reactor stops and the factory hears."""
        if self._uv is None:
            self.failIfNotConnected(ConnectError(string=reason))
        else:
            super().connectionLost(reason)


class LiteralOwner(Structure):
    """Who has a :class:`DirectClient`."""

    def connected(self) -> IProtocol:
        """It is connected: for whom?"""

    def unconnected(self, error: Exception) -> None:
        """It cannot be, for this reason; not told after ``stopConnecting``."""


class DirectClient(LiteralClient):
    """``connect_literal`` makes it: a connection without a Twisted connector, for the owner given in its place."""

    __slots__ = ()

    def build(self) -> IProtocol | None:
        """The owner's protocol."""
        owner, self.connector = self.connector, None
        try:
            protocol: IProtocol = owner.connected()
        except BaseException:
            log.err()
            owner.unconnected(ConnectError(string=Failure()))
            return None
        return protocol

    def stopConnecting(self) -> None:
        """It is given up; the owner knows."""
        if self._uv is None and self.connector is not None:
            self.connector = None
            self.reactor.transports.discard(self)
            self.cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The protocol hears of it, and nobody else."""
        if self._uv is None:
            self.failIfNotConnected(ConnectError(string=reason))
        else:
            UvloopStream.connectionLost(self, reason)

    def _tell(self, connector: Any, error: Exception) -> None:
        connector.unconnected(error)

    @property
    def addr(self) -> tuple[str, int]:
        """What was asked for."""
        host, port, *_ = self._peer
        return host, port


class TcpClient(tcp.Client):
    """A connection that is not made yet, Twisted's way."""

    _transport: ClientTransport | None = None

    def _connectDone(self) -> None:
        """The socket is connected (Twisted's hook): hand it to uvloop."""
        self._transport = ClientTransport(self.reactor, self.socket, self.realAddress, self.connector)
        self._transport.open()

    def failIfNotConnected(self, err: Any) -> None:
        """It was given up, also while uvloop is about to tell of it."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cancel()
        super().failIfNotConnected(err)


class TcpConnector(tcp.Connector):
    """``connectTCP`` makes it."""

    def _makeTransport(self) -> Any:
        host, port = self.host, self.port
        if self.bindAddress is None and is_literal(host, port):
            transport = LiteralClient(self.reactor, None, (host, port), self)
            transport.connect()
            return transport
        return TcpClient(host, port, self.bindAddress, self, self.reactor)
