"""Connections that uvloop makes itself, to an IP address, for a connector of Twisted's or for a bare owner.

They end as Twisted's do: the same errors for the same reasons. No timeout is kept and nothing is tried twice here.
"""

from asyncio import Future
from contextlib import suppress
from errno import EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM
from functools import lru_cache
from os import strerror
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any
from typing import Protocol as Structure

from mypy_extensions import mypyc_attr
from twisted.internet.error import ConnectBindError, ConnectError, UserError, getConnectError
from twisted.internet.interfaces import IProtocol
from twisted.python import log
from twisted.python.failure import Failure

from balancer.net.uvloop_stream import UvloopStream, conclude
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


@mypyc_attr(allow_interpreted_subclasses=True)
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
            conclude(opening)

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


@mypyc_attr(allow_interpreted_subclasses=True)
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
