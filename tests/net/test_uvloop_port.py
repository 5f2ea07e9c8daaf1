"""Accepting on the uvloop reactor, with real sockets: what connections inherit, and who may not be let in."""

import asyncio
import socket
from collections.abc import Callable

import uvloop
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.flow import peer_name, tune
from balancer.net.uvloop_port import TcpPort, TcpServerTransport
from balancer.net.uvloop_reactor import UvloopReactor
from balancer.net.uvloop_transport import BareServer, ServerTransport

PATIENCE = 10.0


class Collecting(Factory):
    """Keeps the protocols it made; ends the run when there are enough."""

    noisy = False

    def __init__(self, reactor: UvloopReactor, enough: int) -> None:
        self.reactor, self.enough = reactor, enough
        self.keeps: list[tuple[bool, bool]] = []
        self.kinds: list[type] = []
        self.named: list[bool] = []
        self.look: Callable[[], None] = lambda: None

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
                factory.kinds.append(type(transport))
                factory.named.append(peer_name(transport) == (transport.getPeer().host, transport.getPeer().port))
                factory.look()
                if len(factory.keeps) == factory.enough:
                    factory.reactor.stop()

        return Looking()


class KeepingAlive(Collecting):
    """Says that all its connections are to have probes."""

    keep_alive = True


class Bare(Collecting):
    """Says that it needs no address."""

    bare = True

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        assert addr is None
        return super().buildProtocol(addr)


class AcceptingTests(SynchronousTestCase):
    """Each test has a reactor of its own."""

    def setUp(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.addCleanup(asyncio.set_event_loop, None)
        self.addCleanup(self.loop.close)
        self.reactor = UvloopReactor(self.loop)

    def visit(self, factory: Collecting, port: TcpPort, host: str = "127.0.0.1") -> None:
        """So many clients as the factory waits for, at one time."""
        late = self.reactor.callLater(PATIENCE, self.reactor.stop)
        clients = [socket.create_connection((host, port.getHost().port)) for _ in range(factory.enough)]
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

    def test_a_bare_factory(self) -> None:
        """It is given no address; its protocols can ask for it all the same."""
        factory = Bare(self.reactor, 2)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.visit(factory, port)
        self.assertEqual(factory.kinds, [BareServer] * 2)
        self.assertEqual(factory.named, [True] * 2)

    def test_whom_a_guard_refuses_gets_no_transport(self) -> None:
        """It is reset where it was accepted; who is let in is told to the factory by its address."""
        factory = Bare(self.reactor, 1)
        asked: list[str] = []

        class Second:
            def refuses(self, host: str) -> bool:
                asked.append(host)
                return len(asked) == 1

        guard = Second()

        def welcome(asking: object, host: str, _address: object) -> IProtocol:
            self.assertIs(asking, guard)
            asked.append(f"welcome {host}")
            return factory.buildProtocol(None)

        factory.guard, factory.welcome = guard, welcome  # type: ignore[attr-defined]
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as refused:
            self.visit(factory, port)
            self.assertRaises(ConnectionResetError, refused.recv, 1)
        self.assertEqual(asked, ["127.0.0.1", "127.0.0.1", "welcome 127.0.0.1"])
        self.assertEqual(factory.kinds, [BareServer])

    def test_else_there_is_room_for_what_people_assign(self) -> None:
        """The transport is a class of Python's, and names its peer as accept(2) gave it."""
        factory = Collecting(self.reactor, 1)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.visit(factory, port)
        self.assertEqual((factory.kinds, factory.named), ([TcpServerTransport], [True]))

    def test_ipv6_peers(self) -> None:
        """The four values that the system has of an IPv6 peer are two for us."""
        factory = Bare(self.reactor, 1)
        port = self.reactor.listenTCP(0, factory, interface="::1")
        self.visit(factory, port, "::1")
        self.assertEqual(factory.named, [True])

    def test_uvloop_still_refuses_a_descriptor_that_has_a_transport(self) -> None:
        """Two readers of one socket would be a mistake; what the loop remembers for that is ours (``Transports``)."""
        factory = Collecting(self.reactor, 1)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        refused: list[str] = []

        def look() -> None:
            (transport,) = self.reactor.transports
            assert isinstance(transport, ServerTransport)
            try:
                self.loop.add_reader(transport.fileno(), lambda: None)
            except RuntimeError as error:
                refused.append(str(error))

        factory.look = look
        self.visit(factory, port)
        self.assertEqual(len(refused), 1)
        self.assertIn("is used by transport", refused[0])
