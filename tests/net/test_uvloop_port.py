"""Accepting on the uvloop reactor, with real sockets: what connections inherit, and who may not be let in."""

import asyncio
import socket

import uvloop
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.flow import tune
from balancer.net.uvloop_port import TcpPort
from balancer.net.uvloop_reactor import UvloopReactor
from balancer.net.uvloop_transport import ServerTransport

PATIENCE = 10.0


class Collecting(Factory):
    """Keeps the protocols it made; ends the run when there are enough."""

    noisy = False

    def __init__(self, reactor: UvloopReactor, enough: int) -> None:
        self.reactor, self.enough = reactor, enough
        self.keeps: list[tuple[bool, bool]] = []

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        factory = self

        class Looking(Protocol):
            def connectionMade(self) -> None:
                transport = self.transport
                assert isinstance(transport, ServerTransport)
                before = transport.getTcpKeepAlive()
                tune(transport)
                factory.keeps.append((before, transport.getTcpKeepAlive()))
                assert transport.getPeer() is transport.getPeer()
                if len(factory.keeps) == factory.enough:
                    factory.reactor.stop()

        return Looking()


class KeepingAlive(Collecting):
    """Says that all its connections are to have probes."""

    keep_alive = True


class AcceptingTests(SynchronousTestCase):
    """Each test has a reactor of its own."""

    def setUp(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.addCleanup(asyncio.set_event_loop, None)
        self.addCleanup(self.loop.close)
        self.reactor = UvloopReactor(self.loop)

    def visit(self, factory: Collecting, port: TcpPort) -> None:
        """So many clients as the factory waits for, at one time."""
        late = self.reactor.callLater(PATIENCE, self.reactor.stop)
        clients = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(factory.enough)]
        self.reactor.run(installSignalHandlers=False)
        late.cancel()
        for client in clients:
            client.close()

    def test_probes_are_inherited_where_the_factory_says_so(self) -> None:
        """Every connection has them from the beginning, and no option is set for each."""
        factory = KeepingAlive(self.reactor, 3)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.assertTrue(port.keep_alive)
        self.visit(factory, port)
        self.assertEqual(factory.keeps, [(True, True)] * 3)

    def test_else_they_are_set_where_they_are_asked_for(self) -> None:
        """A connection has none until it is tuned."""
        factory = Collecting(self.reactor, 2)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.visit(factory, port)
        self.assertEqual(factory.keeps, [(False, True)] * 2)

    def test_a_socket_that_was_passed_on_inherits_nothing(self) -> None:
        """It may have clients already, so that each is asked."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            factory = KeepingAlive(self.reactor, 1)
            port = self.reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, factory)
            self.assertFalse(port.keep_alive)
            self.visit(factory, port)
        self.assertEqual(factory.keeps, [(False, True)])

    def test_more_than_come_at_one_time(self) -> None:
        """All are accepted, however many a turn takes."""
        factory = Collecting(self.reactor, 250)
        port = self.reactor.listenTCP(0, factory, 512, interface="127.0.0.1")
        port.numberAccepts = 1
        self.visit(factory, port)
        self.assertEqual(len(factory.keeps), 250)
