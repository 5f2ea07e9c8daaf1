"""The HTTP engine on a virtual clock, with in-memory clients and backends that a test moves by hand.

Real channel, exchange, connector and timers; only the sockets are made up (:mod:`balancer.testing.transports`).
Nothing happens but by :meth:`Bench.run` and :meth:`Bench.advance`.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.forwarded import Forwarding
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.model import BackendSpec
from balancer.core.policies import PoolPolicy, UpstreamPolicy
from balancer.core.record import ExchangeRecord
from balancer.core.route_spec import RouteSpec
from balancer.core.routing import RouteTable
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.core.upstream import Upstream
from balancer.http.factory import ChannelFactory
from balancer.http.settings import HttpSettings
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Connector
from balancer.net.timers import TimerWheel
from balancer.testing.fakes import Backends, make_upstream
from balancer.testing.transports import MemoryTransport, Wire, flush

EPOCH = 784111777.0
"""The wall clock's beginning: Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples."""


@implementer(IHalfCloseableProtocol)
class Party(Protocol):
    """A client or a backend that does nothing by itself.

    :ivar received: all bytes so far; assign ``b""`` to forget them.
    :ivar ended: the other side sends no more (FIN).
    :ivar lost: why the connection is gone, ``None`` while it is not.
    """

    transport: MemoryTransport

    def __init__(self) -> None:
        self.received = b""
        self.ended = False
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def readConnectionLost(self) -> None:
        """Note it."""
        self.ended = True

    def writeConnectionLost(self) -> None:
        """Our own doing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost = reason

    @property
    def closed(self) -> str:
        """How the connection ended: ``open``, ``fin`` (in order) or ``reset``."""
        if self.lost is not None and "ConnectionDone" not in str(self.lost.type):
            return "reset"
        return "fin" if self.ended or self.lost is not None else "open"


class Bench:
    """A listener with one upstream named ``web`` of ``backends`` servers (10.0.0.1:80 and so on, taken in order).

    :param timeouts: of the upstream; ``clients``: of the listener.
    :param routes: none by default: all goes to ``web``.
    :param settings: further fields of :class:`HttpSettings`; ``limits`` count for responses too.
    :cvar wire: what joins a client or a backend with the engine.
    :ivar records: what was logged.
    """

    wire: type[Wire] = Wire

    def __init__(
        self,
        backends: Iterable[BackendSpec] | int = 1,
        *,
        policy: UpstreamPolicy | None = None,
        timeouts: BackendTimeouts | None = None,
        clients: ClientTimeouts | None = None,
        pool: PoolPolicy | None = None,
        routes: Iterable[RouteSpec] = (),
        more: Mapping[str, Upstream] | None = None,
        forwarded: ForwardedPolicy | None = None,
        max_connections: int = 100,
        **settings: Any,
    ) -> None:
        self.reactor = _reactor()
        self.timers = TimerWheel(self.reactor)
        self.connector = Connector(self.reactor, self.timers)
        self.backends = Backends()
        self.upstream = make_upstream(backends, policy, backends=self.backends)
        self.records: list[ExchangeRecord] = []
        self.wires: list[Wire] = []
        self._pool, self._timeouts, self._limits = pool, timeouts, settings.get("limits")
        groups = {"web": self.upstream, **(more or {})}
        self.http = {name: self.reach(upstream) for name, upstream in groups.items()}
        chosen: dict[str, Any] = {
            "name": "test",
            "routes": RouteTable(routes),
            "upstreams": self.http,
            "default": "web",
            "forwarding": Forwarding(forwarded or ForwardedPolicy(), lambda: b"id"),
            "timers": self.timers,
            "wall": lambda: EPOCH + self.reactor.seconds(),
            "random": Random(1),
            "log": self.records.append,
            "timeouts": clients or ClientTimeouts(),
        }
        self.settings = HttpSettings(**(chosen | settings))
        self.factory = ChannelFactory(self.settings, max_connections=max_connections)

    def reach(self, upstream: Upstream) -> HttpUpstream:
        """An upstream as the engine reaches it."""
        return HttpUpstream(
            upstream, self.connector, self.timers, timeouts=self._timeouts, pool=self._pool, limits=self._limits
        )

    # -- parties ----------------------------------------------------------------------------------------------------

    def client(self, data: bytes = b"", host: str = "192.0.2.1") -> Party:
        """A client that connects and sends this."""
        client = Party()
        self.wires.append(self.wire(self.factory.buildProtocol(None), client, host).open())
        if data:
            self.send(client, data)
        return client

    def send(self, party: Party, data: bytes) -> None:
        """Let it send this, and everything that follows happen."""
        party.transport.write(data)
        self.run()

    def close(self, party: Party) -> None:
        """Let it close in order."""
        party.transport.loseConnection()
        self.run()

    def end(self, party: Party) -> None:
        """Let it send its end, and read on."""
        party.transport.loseWriteConnection()
        self.run()

    def reset(self, party: Party) -> None:
        """Let it reset the connection."""
        party.transport.abortConnection()
        self.run()

    @property
    def connects(self) -> list[str]:
        """Where the engine tried to connect to so far."""
        return [f"{host}:{port}" for host, port, *_ in self.reactor.tcpClients]

    def accept(self, which: int = -1) -> Party:
        """The last connect is accepted."""
        host, port, factory, *_ = self.reactor.tcpClients[which]
        backend = Party()
        self.wires.append(self.wire(backend, factory.buildProtocol(None), host, port).open())
        self.run()
        return backend

    def refuse(self, which: int = -1) -> None:
        """The last connect is refused."""
        factory = self.reactor.tcpClients[which][2]
        factory.clientConnectionFailed(self.reactor.connectors[which], Failure(ConnectionRefusedError()))
        self.run()

    # -- time -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen that can."""
        flush(*self.wires)

    def advance(self, seconds: float) -> None:
        """Let time pass, a tick at a time."""
        end = self.reactor.seconds() + seconds
        while (left := end - self.reactor.seconds()) > 1e-9:
            self.reactor.advance(min(left, 0.1))
            self.run()


def _reactor() -> Any:
    return MemoryReactorClock()
