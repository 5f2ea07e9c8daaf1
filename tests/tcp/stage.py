"""A forwarding factory on a fake reactor, with clients and backends that a test moves by hand."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.core.record import ConnectionRecord
from balancer.core.upstream import Upstream
from balancer.net.connector import Connector
from balancer.net.timers import TimerWheel
from balancer.tcp.factory import ForwardingFactory
from balancer.tcp.settings import TcpSettings
from balancer.testing.fakes import make_upstream
from balancer.testing.transports import MemoryTransport, Wire, flush


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """A client or a backend: remembers what it got and how that ended (``end``, ``closed`` or ``reset``)."""

    transport: MemoryTransport

    def __init__(self) -> None:
        self.data = b""
        self.fate = ""

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def readConnectionLost(self) -> None:
        self.fate = "end"

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        names = {"ConnectionDone": "closed", "ConnectionLost": "reset", "ConnectionAborted": "aborted"}
        self.fate = names[reason.type.__name__]


class StageTestCase(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.stage()

    def stage(self, upstream: Upstream | None = None, **changes: Any) -> None:
        """Begin anew, with another upstream or other settings."""
        self.reactor = MemoryReactorClock()
        self.timers = TimerWheel(self.reactor)
        self.connector = Connector(self.reactor, self.timers)
        self.upstream = upstream or make_upstream(3)
        self.records: list[ConnectionRecord] = []
        self.settings = TcpSettings(name="tcp", log=self.records.append, **changes)
        self.factory = ForwardingFactory(self.upstream, self.connector, self.timers, self.settings)
        self.wires: list[Wire] = []

    # -- moving --------------------------------------------------------------------------------------------------

    def client(self, port: int = 40000) -> Peer:
        """A client arrives."""
        peer = Peer()
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", port))
        wire = Wire(protocol, peer, port=port)
        wire.left.protocol, wire.right.protocol = protocol, peer
        self.wires.append(wire.open())
        return peer

    def accept(self, attempt: int = -1) -> Peer:
        """The backend of that attempt accepts."""
        peer = Peer()
        host, port, factory, _, _ = self.reactor.tcpClients[attempt]
        wire = Wire(peer, factory.buildProtocol(IPv4Address("TCP", host, port)))
        self.wires.append(wire.open())
        return peer

    def refuse(self, attempt: int = -1) -> None:
        """The backend of that attempt refuses."""
        factory = self.reactor.tcpClients[attempt][2]
        factory.clientConnectionFailed(self.reactor.connectors[attempt], Failure(ConnectionRefusedError()))

    def pair(self) -> tuple[Peer, Peer]:
        """A client and the backend it was connected to."""
        client = self.client()
        return client, self.accept()

    def flush(self) -> None:
        """Let bytes move until they rest."""
        flush(*self.wires)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds * 20) if seconds < 100 else 20):
            self.reactor.advance(0.05 if seconds < 100 else seconds / 20)
            self.flush()

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def tried(self) -> list[str]:
        """Where connects were begun, in order."""
        return [attempt[0] for attempt in self.reactor.tcpClients]

    def over(self) -> ConnectionRecord:
        """The record of the one connection there was; nothing of it is left."""
        self.flush()
        (record,) = self.records
        self.assert_nothing_left()
        return record

    def assert_nothing_left(self) -> None:
        """No connection, lease, waiter, timer or half-open socket is left."""
        self.assertEqual(self.factory.connections, 0)
        self.assertEqual(self.factory.limit.active, 0)
        self.assertEqual(self.upstream.active, 0)
        self.assertEqual([member.backend.active for member in self.upstream.members if member.backend.active], [])
        self.assertEqual(len(self.upstream.line), 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        for wire in self.wires:
            self.assertTrue(wire.left.disconnected and wire.right.disconnected, wire)
