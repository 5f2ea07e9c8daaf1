"""TLS in front of a listener's factory: a client that fails the handshake never reaches it.

A client counts against ``max_connections`` from its accept. Its handshake has a time limit, and one that does not
succeed leaves one record. It never reads a file: see :mod:`balancer.net.certificates`.
"""

from collections.abc import Callable
from typing import Protocol as Structure

from OpenSSL.SSL import Connection
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.net.certificates import ServerTls
from balancer.net.guard import Guard, Visit, enter, host_of
from balancer.net.listen import ClosedAtOnce, ConnectionLimit
from balancer.net.timers import Timer, TimerWheel
from balancer.net.tls import tls_words
from balancer.net.tls_stream import TlsStream


class Admitting(Structure):
    """A listener's factory, as what stands in front of it sees it."""

    @property
    def limit(self) -> ConnectionLimit:
        """How many clients there may be."""

    @property
    def guard(self) -> Guard | None:
        """Which clients are let in at all."""

    @property
    def draining(self) -> bool:
        """Whether no more are served."""

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        """The protocol for a client that :attr:`limit` has let in."""


@implementer(IProtocolFactory)
class TlsFactory:
    """See the module.

    :param tls: certificates and keys; assign to use others for the handshakes to come.
    :param inner: gets the clients whose handshake succeeded.
    :param timeout: seconds for a handshake; assign to change.
    :param wall: seconds since the epoch, for records.
    :param log: takes a record of each handshake that failed.
    """

    noisy = False

    def __init__(
        self,
        tls: ServerTls,
        inner: Admitting,
        timers: TimerWheel,
        *,
        timeout: float,
        wall: Callable[[], float],
        log: Callable[[ConnectionRecord], None],
    ) -> None:
        self.tls = tls
        self.inner = inner
        self.timeout = timeout
        self.timers = timers
        self._wall = wall
        self._log = log
        self._shaking: dict[ClientTls, Visit | None] = {}

    def __repr__(self) -> str:
        return f"<TlsFactory {self.inner.limit.name} handshakes={self.handshakes}>"

    @property
    def limit(self) -> ConnectionLimit:
        """That of the listener."""
        return self.inner.limit

    @property
    def draining(self) -> bool:
        """Whether the listener is."""
        return self.inner.draining

    @property
    def handshakes(self) -> int:
        """Clients whose handshake is under way."""
        return len(self._shaking)

    def abort_all(self, reason: str = "the balancer was stopped") -> None:
        """Reset every client whose handshake is under way."""
        for client in tuple(self._shaking):
            client.stop(Termination.SHUTDOWN, reason)

    # -- what clients tell ---------------------------------------------------------------------------------------

    def secured(self, client: "ClientTls") -> IProtocol:
        """The handshake is done."""
        visit = self._shaking.pop(client, None)
        return self.inner.admitted() if visit is None else self.inner.admitted(visit)

    def unsecured(self, client: "ClientTls", cause: Termination, reason: str) -> None:
        """It failed, or was ended."""
        visit = self._shaking.pop(client, None)
        if visit is not None:
            visit.end()
        self.inner.limit.leave()
        host, port = client.peer_name() or ("", 0)
        passed = self.timers.seconds() - client.started
        record = ConnectionRecord(
            self._wall() - passed,
            listener=self.inner.limit.name,
            client=host,
            client_port=port,
        )
        record.end(cause, passed, reason)
        self._log(record)

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def doStart(self) -> None:
        """A port listens."""

    def doStop(self) -> None:
        """A port was stopped; the connections go on."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        """A client is there: its handshake first."""
        if self.inner.guard is not None:
            return self.welcome(self.inner.guard, host_of(addr))
        if self.inner.draining or not self.inner.limit.enter():
            return ClosedAtOnce()
        return self.admitted()

    @property
    def guard(self) -> Guard | None:
        """Which clients are let in at all."""
        return self.inner.guard

    def welcome(self, guard: Guard, host: str | None, _address: object = None) -> IProtocol:
        """A client is there, where there is a guard (the uvloop reactor's ports call it by themselves)."""
        if self.inner.draining:
            return ClosedAtOnce()
        visit = enter(guard, self.inner.limit, host)
        return ClosedAtOnce() if visit is None else self.admitted(visit)

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        """The handshake of a client that :attr:`limit` has let in."""
        client = ClientTls(self)
        self._shaking[client] = visit
        return client


class ClientTls(TlsStream):
    """The TLS of one client.

    :ivar started: when it was accepted, by the wheel's clock.
    """

    __slots__ = ("_cause", "_factory", "_timer", "started")

    def __init__(self, factory: TlsFactory) -> None:
        super().__init__()
        self._factory = factory
        self._cause: tuple[Termination, str] | None = None
        self._timer: Timer = factory.timers.schedule(factory.timeout, self._expired)
        self.started = factory.timers.seconds()

    def tls_side(self) -> Connection:
        """By the certificates of this moment."""
        return self._factory.tls.connection()

    def secured(self) -> IProtocol:
        """The handshake is done."""
        self._forget_time()
        return self._factory.secured(self)

    def unsecured(self, reason: Failure) -> None:
        """It failed, or was ended."""
        self._forget_time()
        closed = reason.check(ConnectionLost, ConnectionDone) is not None
        words = "it closed the connection" if closed else tls_words(reason.value)
        self._factory.unsecured(self, *self._cause or (Termination.CLIENT_TLS_FAILED, words))

    def stop(self, cause: Termination, reason: str) -> None:
        """End the handshake."""
        self._cause = cause, reason
        self.abortConnection()

    def _forget_time(self) -> None:
        self._timer.cancel()
        del self._timer  # it holds us, and we it

    def _expired(self) -> None:
        seconds = self._factory.timeout
        self.stop(Termination.CLIENT_TLS_FAILED, f"the handshake was not done within {seconds:g} s")
