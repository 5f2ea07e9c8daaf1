"""The TCP forwarding factory: give it to any stream endpoint and its clients are forwarded to an upstream.

It works without the rest of the balancer too: see :func:`forward` and docs/tcp.md. It never looks into the bytes.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from zope.interface import implementer

from balancer.config.schema import SPLICES, Configuration, UpstreamConfig
from balancer.core.forwarded import random_ids
from balancer.core.model import BackendSpec, is_literal, split_address
from balancer.core.termination import Termination
from balancer.core.upstream import Upstream
from balancer.net.connector import Connector
from balancer.net.guard import Guard, Visit, enter, host_of
from balancer.net.listen import ClosedAtOnce, ConnectionLimit
from balancer.net.proxy_backend import ProxySender
from balancer.net.splice import Splicer
from balancer.net.timers import TimerWheel
from balancer.net.tls import TlsClients
from balancer.registry import Registry
from balancer.tcp.connection import Connection
from balancer.tcp.settings import TcpSettings


@implementer(IProtocolFactory)
class ClientFactory:
    """Takes clients, up to a limit, and knows those that are connected; :meth:`connection` makes of one what it is.

    :param timers: the wheel of the idle timeouts, and the clock of every duration.
    :param wall: seconds since the epoch, for records; the reactor's clock where none is given.
    :ivar settings: how; connections keep those they began with (see :meth:`configure`).
    :ivar limit: how many clients there are, were and were refused.
    :ivar guard: which clients are let in at all; ``None``, as it begins, for no guard.
    """

    keep_alive = True  # the uvloop reactor's ports set it for all connections
    bare = True  # and need no address and nothing assigned (balancer.net.uvloop_port)

    def __init__(
        self,
        connector: Connector,
        timers: TimerWheel,
        settings: TcpSettings | None = None,
        *,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.connector = connector
        self.timers = timers
        self.settings = settings or TcpSettings()
        self.wall = wall or timers.seconds
        self.limit = ConnectionLimit(self.settings.name, self.settings.max_connections)
        self.draining = False  # a port that is stopped brings no more clients; those who are connected go on
        self.guard: Guard | None = None
        self._connections: dict[Connection, Visit | None] = {}
        self._waiting: list[Deferred[None]] = []

    @property
    def connections(self) -> int:
        """Clients connected now, those who still wait for a backend included."""
        return len(self._connections)

    def take(self, settings: TcpSettings) -> None:
        """Take other settings, for the clients that come from now on."""
        self.settings = settings
        self.limit.name, self.limit.maximum = settings.name, settings.max_connections

    def connection(self) -> Connection:
        """A connection for the next client."""
        raise NotImplementedError

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def doStart(self) -> None:
        """A port listens."""

    def doStop(self) -> None:
        """A port was stopped; the connections go on."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        """A client is there (called by Twisted)."""
        if self.guard is not None:
            return self.welcome(self.guard, host_of(addr))
        if not self.limit.enter():
            return ClosedAtOnce()
        return self.admitted()

    def welcome(self, guard: Guard, host: str | None, _address: object = None) -> IProtocol:
        """A client is there, where there is a guard (the uvloop reactor's ports call it by themselves)."""
        visit = enter(guard, self.limit, host)
        return ClosedAtOnce() if visit is None else self.admitted(visit)

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        """A connection for a client that :attr:`limit` has let in (TLS asks for it after the handshake)."""
        connection = self.connection()
        self._connections[connection] = visit
        if visit is not None:
            visit.begin(partial(connection.stop, Termination.MAX_LIFETIME))
        return connection.client

    def ended(self, connection: Connection) -> None:
        """A connection is over, on both sides (called by the connection)."""
        visit = self._connections.pop(connection, None)
        if visit is not None:
            visit.end()
        self.limit.leave()
        if not self._connections:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    # -- shutdown: stop the port, wait for drained, abort what is left --------------------------------------------

    def drained(self) -> Deferred[None]:
        """Fires when no connection is left; the port is to be stopped before."""
        if not self._connections:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._waiting.append(deferred)
        return deferred

    def abort_all(self, reason: str = "the balancer was stopped") -> None:
        """Reset every connection that is left."""
        for connection in tuple(self._connections):
            connection.stop(Termination.SHUTDOWN, reason)


class ForwardingFactory(ClientFactory):
    """Forwards each client to a backend of one upstream.

    :param tls: TLS to the backends, ``None`` for plain TCP.
    """

    def __init__(
        self,
        upstream: Upstream,
        connector: Connector,
        timers: TimerWheel,
        settings: TcpSettings | None = None,
        *,
        tls: TlsClients | None = None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(connector, timers, settings, wall=wall)
        self.upstream = upstream
        self.tls = tls

    def __repr__(self) -> str:
        return f"<ForwardingFactory {self.settings.name} to {self.upstream.name} connections={self.connections}>"

    def configure(self, upstream: Upstream, settings: TcpSettings, tls: TlsClients | None) -> None:
        """Take a new configuration, for the clients that come from now on."""
        self.upstream, self.tls = upstream, tls
        self.take(settings)

    def connection(self) -> Connection:
        """A connection for the next client."""
        return Connection(self)


def forward(
    reactor: Any,
    *servers: str,
    balance: str = "leastconn",
    settings: TcpSettings | None = None,
    policy: UpstreamConfig | None = None,
) -> ForwardingFactory:
    """A forwarding factory by itself, without configuration file, service or health monitor.

    Backends that fail in a row are ejected for a while all the same, for that comes from the traffic.

    :param servers: ``"10.0.0.1:5432"``, ``"[2001:db8::1]:5432"``; addresses, for nothing is resolved here.
    :param policy: everything else an upstream may have; its ``servers`` are those above and its ``balance`` counts.
    :raises ValueError: a server is no ``ADDRESS:PORT``.
    """
    specs = [BackendSpec(host=host, port=port) for host, port in map(split_address, servers)]
    for spec in specs:
        if not is_literal(spec.host):
            raise ValueError(f"{spec.address!r}: an IP address is expected; BalancerService resolves names")
    settings = settings or TcpSettings()
    if settings.splicer is None:
        settings = replace(settings, splicer=Splicer(reactor, SPLICES))
    registry = Registry(reactor.seconds, Random())
    upstream = policy or UpstreamConfig(servers=(), balance=balance)
    registry.apply(Configuration(upstream={settings.name: upstream}))
    registry.publish(settings.name, specs)
    if settings.sender is None and upstream.send_proxy is not None:
        settings = replace(settings, sender=ProxySender(upstream.send_proxy, random_ids(Random())))
    timers = TimerWheel(reactor)
    tls = None if upstream.tls is None else TlsClients(upstream.tls)
    return ForwardingFactory(registry.upstream(settings.name), Connector(reactor, timers), timers, settings, tls=tls)
