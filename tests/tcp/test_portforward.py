"""The replacement for Twisted's portforward: its classes in memory; real sockets are in tests/integration."""

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols import portforward as stock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.flow import Flow
from balancer.tcp import portforward
from balancer.tcp.portforward import Proxy, ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer
from balancer.testing.transports import Wire, flush

from .stage import Peer


class ClassesTests(SynchronousTestCase):
    """A factory towards a host name, or with classes of one's own."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.wires: list[Wire] = []

    def client(self, factory: ProxyFactory, port: int = 40000) -> Peer:
        """A client arrives."""
        factory.reactor = self.reactor
        return self.join(factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", port)))

    def accept(self) -> Peer:
        """The last connect is accepted."""
        return self.join(self.reactor.tcpClients[-1][2].buildProtocol(None))

    def join(self, ours: Protocol) -> Peer:
        """Connect it to a peer."""
        peer = Peer()
        wire = Wire(ours, peer)
        wire.left.protocol, wire.right.protocol = ours, peer
        self.wires.append(wire.open())
        self.flush()
        return peer

    def flush(self) -> None:
        flush(*self.wires)

    def test_the_names_are_those_of_twisted(self) -> None:
        """Every public name of the module is there, and every public attribute of its classes."""
        names = [name for name, value in vars(stock).items() if isinstance(value, type) and not name.startswith("_")]
        own = [name for name in names if getattr(stock, name).__module__ == stock.__name__]
        self.assertIn("ProxyFactory", own)
        for name in own:
            attributes = [key for key in vars(getattr(stock, name)) if not key.startswith("_")]
            for key in attributes:
                self.assertTrue(hasattr(getattr(portforward, name), key), f"{name}.{key}")

    def test_both_ways(self) -> None:
        """What each says reaches the other, and an end is passed on while the other direction goes on."""
        client = self.client(ProxyFactory("db.example", 5432))
        client.transport.write(b"early")
        self.flush()
        self.assertEqual(self.reactor.tcpClients[-1][:2], ("db.example", 5432))
        server = self.accept()
        server.transport.write(b"hello")
        client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((server.data, server.fate, client.data, client.fate), (b"early", "end", b"hello", ""))
        server.transport.write(b", and more")
        server.transport.loseConnection()
        self.flush()
        self.assertEqual((client.data, client.fate, server.fate), (b"hello, and more", "end", "closed"))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_reset_is_passed_on(self) -> None:
        """It is no end: nobody takes a part for the whole."""
        for which in (0, 1):
            client = self.client(ProxyFactory("db.example", 5432))
            server = self.accept()
            (client, server)[which].transport.abortConnection()
            self.flush()
            self.assertEqual((client, server)[1 - which].fate, "reset")

    def test_the_next_server(self) -> None:
        """Servers are tried in order, each once; without any left the client is reset."""
        client = self.client(ProxyFactory("a.example", 1, "b.example:2", "c.example:3"))
        for _ in range(2):
            self.reactor.tcpClients[-1][2].clientConnectionFailed(
                self.reactor.connectors[-1], Failure(ConnectionRefusedError())
            )
        self.assertEqual(
            [made[:2] for made in self.reactor.tcpClients], [("a.example", 1), ("b.example", 2), ("c.example", 3)]
        )
        self.assertEqual(client.fate, "")
        self.reactor.tcpClients[-1][2].clientConnectionFailed(
            self.reactor.connectors[-1], Failure(ConnectionRefusedError())
        )
        self.flush()
        self.assertEqual((client.fate, len(self.reactor.tcpClients)), ("reset", 3))

    def test_a_client_that_leaves_while_its_server_is_awaited(self) -> None:
        """The connect is given up, and no other is tried."""
        factory = ProxyFactory("a.example", 1, "b.example:2")
        self.client(factory)
        self.wires[-1].left.lose(ConnectionLost())
        self.flush()
        self.assertTrue(self.reactor.connectors[-1]._disconnected)
        self.reactor.tcpClients[-1][2].clientConnectionFailed(
            self.reactor.connectors[-1], Failure(ConnectionRefusedError())
        )
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_classes_of_ones_own(self) -> None:
        """Subclasses that change what is passed on, either way, do so as with Twisted's."""

        class Loud(ProxyClient):
            def dataReceived(self, data: bytes) -> None:
                Proxy.dataReceived(self, data.upper())

        class LoudFactory(ProxyClientFactory):
            protocol = Loud

        class Server(ProxyServer):
            clientProtocolFactory = LoudFactory

            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data[::-1])

        factory = ProxyFactory("10.0.0.1", 1)
        self.assertTrue(factory.as_it_is)
        factory.protocol = Server
        self.assertFalse(factory.as_it_is)
        client = self.client(factory)
        server = self.accept()
        client.transport.write(b"abc")
        server.transport.write(b"xyz")
        self.flush()
        self.assertEqual((server.data, client.data), (b"cba", b"XYZ"))

    def test_each_is_the_producer_of_the_other(self) -> None:
        """Whose bytes wait pauses the other's reading, and nothing is read before there is a server."""
        self.client(ProxyFactory("a.example", 1))
        left = self.wires[0].left
        ours = left.protocol
        assert isinstance(ours, ProxyServer)
        self.assertTrue(ours._flow.paused)
        self.accept()
        self.assertFalse(ours._flow.paused)
        self.assertIs(self.wires[1].left.producer, ours._flow)
        self.assertIsInstance(left.producer, Flow)

    def test_the_engine_forwards_where_nothing_is_changed(self) -> None:
        """Towards IP addresses the factory is the balancer's own, also after its host was changed."""
        factory = ProxyFactory("10.0.0.1", 1, "10.0.0.2:2")
        self.client(factory)
        self.assertEqual(self.reactor.tcpClients[-1][:2], ("10.0.0.1", 1))
        self.assertEqual(factory.forwarding(self.reactor).connections, 1)
        factory.host = "10.0.0.9"
        self.client(factory)
        self.assertEqual(self.reactor.tcpClients[-1][:2], ("10.0.0.9", 1))
        self.assertFalse(ProxyFactory("localhost", 1).as_it_is)
        self.assertIn("10.0.0.9:1, 10.0.0.2:2", repr(factory))
        for wire in self.wires:
            wire.right.abortConnection()
        self.flush()
