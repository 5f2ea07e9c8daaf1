"""PROXY protocol headers in front of a listener's factory: who is trusted must send one, who is not must not.

From a trusted peer the header is read before anything else, TLS included, within its own time limit and size; then the
transport is the factory's, and bytes pass here no more. Anybody else is served at once, and only the first bytes are
looked at: who begins as a header does is refused. It never writes a byte.
Source: HAProxy's doc/proxy-protocol.txt, sections 2 and 5 ("the receiver must not try to guess").
"""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol, IProtocolFactory, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements, implementer

from balancer.core.addresses import TrustedProxies, parsed
from balancer.core.proxy_policy import AcceptProxy
from balancer.core.proxy_protocol import ProxyDecoder, begins_one
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.errors import BadProxyHeader
from balancer.net.flow import IConnection, peer_name
from balancer.net.listen import ClosedAtOnce
from balancer.net.proxied import introduce, introduction
from balancer.net.timers import Timer, TimerWheel
from balancer.net.tls_server import Admitting

TOLD_EVERY = 10.0
"""Seconds between two lines of the event log about clients of one listener that were refused here: one is enough to
act on, and any client can cause them. The access log has them all."""


@implementer(IProtocolFactory)
class ProxyFactory:
    """See the module.

    :param settings: for the clients to come; :meth:`configure` replaces them.
    :param inner: gets the clients.
    :param wall: seconds since the epoch, for records.
    :param log: takes a record of each client that was refused.
    :ivar refused: how many were.
    """

    noisy = False
    keep_alive = True  # as the factories behind it
    bare = True

    def __init__(
        self,
        settings: AcceptProxy,
        inner: Admitting,
        timers: TimerWheel,
        *,
        wall: Callable[[], float],
        log: Callable[[ConnectionRecord], None],
    ) -> None:
        self.inner = inner
        self.timers = timers
        self.refused = 0
        self._wall = wall
        self._log = log
        self._waiting: set[ProxyClient] = set()
        self._told: float | None = None
        self.configure(settings)

    def __repr__(self) -> str:
        return f"<ProxyFactory {self.inner.limit.name} waiting={self.waiting} refused={self.refused}>"

    def configure(self, settings: AcceptProxy) -> None:
        """Take other settings, for the clients that come from now on."""
        self.settings = settings
        self._trusted = TrustedProxies(settings.trusted)

    @property
    def waiting(self) -> int:
        """Clients whose header is not complete."""
        return len(self._waiting)

    def trusts(self, transport: ITransport) -> bool:
        """Whether the peer has to send a header."""
        peer = peer_name(cast(IConnection, transport))
        return self._trusted.trusts(None if peer is None else parsed(peer[0]))

    def abort_all(self, reason: str = "the balancer was stopped") -> None:
        """Reset every client whose header is not complete."""
        for client in tuple(self._waiting):
            client.stop(Termination.SHUTDOWN, reason)

    # -- what clients tell ---------------------------------------------------------------------------------------

    def waits(self, client: "ProxyClient") -> None:
        """Its header is waited for."""
        self._waiting.add(client)

    def admitted(self, client: "ProxyClient") -> IProtocol:
        """There is nothing to wait for any more: whom is it for? (Nobody, where the guard refuses who it is by now.)"""
        self._waiting.discard(client)
        guard = self.inner.guard
        if guard is None:
            return self.inner.admitted()
        host, _ = peer_name(client.transport) or (None, 0)
        visit = guard.admit(host)
        if visit is None:
            self.inner.limit.leave()
            return ClosedAtOnce()
        return self.inner.admitted(visit)

    def ended(self, client: "ProxyClient", cause: Termination, reason: str) -> None:
        """It is gone, or was refused, before it was admitted."""
        self._waiting.discard(client)
        self.inner.limit.leave()
        self.record(client, cause, reason)

    def record(self, client: "ProxyClient", cause: Termination, reason: str) -> None:
        """Leave a word of one that nobody else heard of."""
        host, port = peer_name(client.transport) or ("", 0)
        passed = self.timers.seconds() - client.started
        record = ConnectionRecord(self._wall() - passed, self.inner.limit.name, host, port)
        record.end(cause, passed, reason)
        self._log(record)

    def tell(self, client: "ProxyClient", reason: str) -> None:
        """Count one that was refused, and say so now and then."""
        self.refused += 1
        now = self.timers.seconds()
        if self._told is None or now - self._told >= TOLD_EVERY:
            self._told = now
            host, _ = peer_name(client.transport) or ("a UNIX socket", 0)
            _logger.warn(
                "listener {name}: refused a connection from {host}: {reason} ({refused} refused so far)",
                name=self.inner.limit.name, host=host, reason=reason, refused=self.refused,
            )  # fmt: skip

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def doStart(self) -> None:
        """A port listens."""

    def doStop(self) -> None:
        """A port was stopped; the connections go on."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        """A client is there."""
        if self.inner.draining or not self.inner.limit.enter():
            return ClosedAtOnce()
        return ProxyClient(self)


class ProxyClient:
    """The beginning of one client's connection.

    :ivar started: when it was accepted, by the wheel's clock.
    """

    __slots__ = ("_cause", "_decoder", "_factory", "_held", "_inner", "_timer", "started", "transport")

    transport: IConnection

    def __init__(self, factory: ProxyFactory) -> None:
        self._factory = factory
        self._inner: IProtocol | None = None
        self._decoder: ProxyDecoder | None = None  # of a peer that is trusted
        self._held: bytes | None = None  # of one that is not: what may be the beginning of a header
        self._timer: Timer | None = None
        self._cause: tuple[Termination, str] | None = None
        self.started = factory.timers.seconds()

    def __repr__(self) -> str:
        state = "passed on" if self._decoder is None and self._held is None else "waiting"
        return f"<ProxyClient {state}>"

    def stop(self, cause: Termination, reason: str) -> None:
        """End it."""
        self._cause = self._cause or (cause, reason)
        # Transports of other people's endpoints may be without it.
        getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected."""
        self.transport = cast(IConnection, transport)
        if self._factory.trusts(transport):
            self._decoder = ProxyDecoder(self._factory.settings.limit)
            self._factory.waits(self)
            self._wait()
        else:
            # Its server may be the one that speaks first, so nothing is waited for.
            self._held = b""
            self._inner = self._factory.admitted(self)
            self._inner.makeConnection(transport)

    def connectionMade(self) -> None:
        """:meth:`makeConnection` does it."""

    def dataReceived(self, data: bytes) -> None:
        """The first bytes. (Later ones come here only through transports that keep their protocol.)"""
        if self._cause is not None:
            return
        if self._decoder is not None:
            self._read(self._decoder, data)
        elif self._held is not None:
            self._look(self._held + data)
        elif self._inner is not None:
            self._inner.dataReceived(data)

    def readConnectionLost(self) -> None:
        """The end of what it sends."""
        if self._decoder is not None:
            words = "it ended before its PROXY header was complete" if self._decoder.waiting else "it sent nothing"
            self.stop(Termination.CLIENT_PROXY_REFUSED if self._decoder.waiting else Termination.CLIENT_LEFT, words)
            return
        if self._held is not None:
            self._pass(self._held)
        half = IHalfCloseableProtocol(self._inner, None)
        if half is not None:
            half.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """All is written, and the end with it."""
        half = IHalfCloseableProtocol(self._inner, None)
        if half is not None:
            half.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """It is gone."""
        self._forget_time()
        if self._inner is None:
            waiting = self._decoder is not None and self._decoder.waiting
            left = Termination.CLIENT_PROXY_REFUSED if waiting else Termination.CLIENT_LEFT
            self._factory.ended(self, *self._cause or (left, "it closed before its PROXY header was complete"))
            return
        inner, self._inner = self._inner, None
        inner.connectionLost(reason if self._cause is None else Failure(ConnectionLost(self._cause[1])))

    # -- inside --------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._timer = self._factory.timers.schedule(self._factory.settings.timeout, self._expired)

    def _forget_time(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self) -> None:
        if self._held is not None:
            self._pass(self._held)  # whatever it waits for, that is no header
        else:
            self._refuse(f"its PROXY header was not complete within {self._factory.settings.timeout:g} s")

    def _read(self, decoder: ProxyDecoder, data: bytes) -> None:
        try:
            header = decoder.feed(data)
        except BadProxyHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        introduced = introduction(header)
        if introduced is not None:
            introduce(self.transport, introduced)
        self._decoder = None
        inner = self._inner = self._factory.admitted(self)
        self._leave(inner)
        inner.makeConnection(self.transport)
        if decoder.rest:
            inner.dataReceived(decoder.rest)

    def _look(self, held: bytes) -> None:
        """At what somebody sends who is not to send a header."""
        found = begins_one(held)
        if found is None:
            self._held = held
            if self._timer is None:
                self._wait()
        elif found:
            self._refuse("it sent a PROXY header and is none of accept_proxy.trusted")
        else:
            self._pass(held)

    def _pass(self, held: bytes) -> None:
        inner = self._inner
        assert inner is not None  # who is not trusted was admitted at once
        self._held = None
        self._leave(inner)
        if held:
            inner.dataReceived(held)

    def _leave(self, inner: IProtocol) -> None:
        """From now on the transport is the factory's."""
        self._forget_time()
        leaf = cast(Any, self.transport)
        leaf.protocol = inner

    def _refuse(self, reason: str) -> None:
        cause = Termination.CLIENT_PROXY_REFUSED
        self._factory.tell(self, reason)
        stop = getattr(self._inner, "stop", None)
        if self._inner is not None and stop is None:
            self._factory.record(self, cause, reason)  # who was admitted has no record of its own yet
        self.stop(cause, reason)
        if stop is not None:
            stop(cause, reason)


classImplements(ProxyClient, IProtocol, IHalfCloseableProtocol)


_logger = Logger()
