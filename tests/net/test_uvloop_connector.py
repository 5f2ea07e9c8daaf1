"""Connecting to IP addresses on the uvloop reactor, with real sockets: success, each failure, giving up at any time."""

import asyncio
import errno
import gc
import os
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from time import sleep
from types import SimpleNamespace
from weakref import ReferenceType, ref

import uvloop
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.net.connector import Attempt, Connector
from balancer.net.timers import Timer, nothing
from balancer.net.uvloop_client import DirectClient, is_literal
from balancer.net.uvloop_connector import TcpClient, TcpClientTransport, TcpDirectTransport
from balancer.net.uvloop_reactor import UvloopReactor
from balancer.testing.blackhole import Blackhole

PATIENCE = 10.0


class Watching(Protocol):
    """Tells what happens to it."""

    bare = False

    def __init__(self, made: Callable[[], None]) -> None:
        self.made = made
        self.lost = False

    def connectionMade(self) -> None:
        self.made()

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class Ready:
    """A descriptor that is readable: its callback comes in the same turn as what else is ready then."""

    def __init__(self, reactor: UvloopReactor, call: Callable[[], None]) -> None:
        self.reactor, self.call = reactor, call
        self.here, self.there = socket.socketpair()
        self.there.send(b"x")
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.here.fileno()

    def logPrefix(self) -> str:
        return "ready"

    def connectionLost(self, reason: object) -> None:
        """It is closed already."""

    def doRead(self) -> None:
        self.reactor.removeReader(self)
        self.here.close()
        self.there.close()
        self.call()


class LiteralTests(SynchronousTestCase):
    """Each test has a reactor of its own, which runs until the test says so."""

    def setUp(self) -> None:
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.addCleanup(asyncio.set_event_loop, None)
        self.addCleanup(self.loop.close)
        self.reactor = UvloopReactor(self.loop)
        self.connector = Connector(self.reactor)
        self.failures: list[tuple[Outcome, str]] = []
        self.protocol = Watching(self.reactor.stop)

    def failed(self, outcome: Outcome, reason: str) -> None:
        self.failures.append((outcome, reason))
        if self.reactor.running:
            self.reactor.stop()

    def server(self, host: str = "127.0.0.1") -> tuple[str, int]:
        """A listening socket; where it is."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, 0), family=family)
        self.addCleanup(listening.close)
        return listening.getsockname()[:2]

    def begin(self, host: str, port: int, timeout: float = PATIENCE, **more: object) -> Attempt:
        return self.connector.connect(host, port, self.protocol, self.failed, timeout=timeout, **more)  # type: ignore[arg-type]

    def run_with(self, act: Callable[[], object]) -> None:
        """Run the reactor until something stops it."""
        late = self.reactor.callLater(PATIENCE, self.fail_late)
        self.reactor.callLater(0, act)
        self.late = False
        self.reactor.run(installSignalHandlers=False)
        self.assertFalse(self.late, "nothing stopped it in time")
        late.cancel()

    def fail_late(self) -> None:
        self.late = True
        self.reactor.stop()

    def stop_later(self, turns: int = 3) -> None:
        """Stop when so many turns are over."""
        if turns:
            self.loop.call_soon(self.stop_later, turns - 1)
        else:
            self.reactor.stop()

    def told(self) -> tuple[Outcome, str]:
        (told,) = self.failures
        self.assertEqual(self.reactor.transports, set())
        return told

    def test_ipv4(self) -> None:
        """The protocol is connected by the short way, and the transport knows both addresses."""
        host, port = self.server()
        peers: list[object] = []

        def made() -> None:
            transport = self.protocol.transport
            assert isinstance(transport, DirectClient)
            peers.extend((transport.getPeer(), transport.getHost().host, transport.addr, transport.getTcpNoDelay()))
            transport.tuned()
            peers.append(transport.getTcpKeepAlive())
            self.reactor.stop()

        self.protocol.made = made
        self.run_with(lambda: self.begin(host, port))
        self.assertEqual(peers, [IPv4Address("TCP", host, port), "127.0.0.1", (host, port), True, True])
        self.assertEqual(self.failures, [])

    def test_only_who_is_bare_gets_a_transport_without_room(self) -> None:
        """Who says nothing may assign to its transport, which is a class of Python's; who is bare has the plain one."""
        kinds: list[type] = []
        for bare in (False, True):
            self.protocol.bare = bare
            self.protocol.made = lambda: (kinds.append(type(self.protocol.transport)), self.reactor.crash())[1]
            host, port = self.server()
            self.run_with(lambda host=host, port=port: self.begin(host, port))  # type: ignore[misc]
        self.assertEqual(kinds, [TcpDirectTransport, DirectClient])
        TcpDirectTransport(self.reactor, None, (host, port), None).anything = 1
        with self.assertRaises(AttributeError):
            DirectClient(self.reactor, None, (host, port), None).anything = 1

    def test_ipv6(self) -> None:
        """An IPv6 address is a literal too, and its peer is an IPv6 address."""
        host, port = self.server("::1")
        peers: list[object] = []

        def made() -> None:
            transport = self.protocol.transport
            assert isinstance(transport, DirectClient)
            peers.extend((transport.getPeer(), transport.addr))
            self.reactor.stop()

        self.protocol.made = made
        self.run_with(lambda: self.begin(host, port))
        self.assertEqual(peers, [IPv6Address("TCP", "::1", port, 0, 0), ("::1", port)])

    def test_a_local_address_goes_the_way_of_twisted(self) -> None:
        """Where a local address is asked for the connection comes from it."""
        host, port = self.server()
        kinds: list[type] = []
        self.protocol.made = lambda: (kinds.append(type(self.protocol.transport)), self.reactor.stop())[1]
        self.run_with(lambda: self.begin(host, port, bind_address=("127.0.0.1", 0)))
        self.assertEqual(kinds, [TcpClientTransport])

    def test_what_is_no_literal(self) -> None:
        """Names, zones, octal digits and ports that there are not go the way of Twisted."""
        self.assertTrue(is_literal("127.0.0.1", 80))
        self.assertTrue(is_literal("2001:db8::1", 65535))
        for host, port in (
            ("localhost", 80),
            ("fe80::1%lo", 80),
            ("127.0.0.010", 80),
            ("", 80),
            ("\0", 80),
            ("127.0.0.1", 65536),
        ):
            self.assertFalse(is_literal(host, port), (host, port))
        self.assertIs(self.reactor.connect_literal("localhost", 80, SimpleNamespace()), None)  # type: ignore[arg-type]  # not asked

    def test_refused(self) -> None:
        """A refusal is told as such."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            host, port = listening.getsockname()
        self.run_with(lambda: self.begin(host, port))
        self.assertEqual(self.told(), (Outcome.CONNECT_REFUSED, f"{host}:{port} refused the connection"))

    def test_unreachable(self) -> None:
        """What connect(2) answers at once is told in a later turn, in the system's words."""
        begun: list[bool] = []
        # A TCP connection to a multicast address cannot be (RFC 9293 section 3.9.2.3).
        self.run_with(lambda: begun.append(self.begin("224.0.0.1", 80).pending))
        self.assertEqual(begun, [True])
        outcome, reason = self.told()
        self.assertIs(outcome, Outcome.CONNECT_FAILED)
        self.assertIn(os.strerror(errno.ENETUNREACH), reason)

    def test_no_descriptor_is_left(self) -> None:
        """That is no fault of the backend."""
        host, port = self.server()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with ExitStack() as held:

            def act() -> None:
                highest = max(int(number) for number in os.listdir("/proc/self/fd"))
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
                held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
                try:
                    while True:
                        held.callback(os.close, os.dup(0))
                except OSError:
                    self.begin(host, port)

            self.run_with(act)
        outcome, reason = self.told()
        self.assertIs(outcome, Outcome.UNUSED)
        self.assertIn(os.strerror(errno.EMFILE), reason)

    def test_timeout(self) -> None:
        """The wheel's timeout closes the socket and is told."""
        with Blackhole() as hole:
            self.run_with(lambda: self.begin(hole.host, hole.port, timeout=0.2))
            self.assertEqual(hole.half_open(), 0)
            self.assertEqual(self.told(), (Outcome.CONNECT_TIMEOUT, f"{hole.address} did not accept within 0.2 s"))

    def test_a_late_loop_is_not_a_timeout(self) -> None:
        """Where the loop comes to look at its sockets only after the timeout, a connection that was made in time is
        one."""
        host, port = self.server()

        def act() -> None:
            self.begin(host, port, timeout=0.1)
            sleep(0.5)  # not synchronisation: it is the turn that takes so long

        self.run_with(lambda: Ready(self.reactor, act))  # from within the look, so that the next one is a turn away
        self.assertEqual(self.failures, [])
        self.assertIsInstance(self.protocol.transport, DirectClient)

    def test_cancelled(self) -> None:
        """After a cancel nothing is called and no socket is left; twice is once."""
        with Blackhole() as hole:

            def act() -> None:
                attempt = self.begin(hole.host, hole.port)
                self.assertEqual(hole.half_open(), 1)
                attempt.cancel()
                attempt.cancel()
                self.stop_later()

            self.run_with(act)
            self.assertEqual(hole.half_open(), 0)
        self.assertEqual((self.failures, self.reactor.transports), ([], set()))

    def test_cancelled_while_it_is_being_connected(self) -> None:
        """Given up in the turn in which it is connected, before or after uvloop knows, it is closed."""
        host, port = self.server()
        self.protocol.made = lambda: self.fail("it was given up")

        def act() -> None:
            first: list[Attempt] = []
            Ready(self.reactor, lambda: first[0].cancel())
            first.append(self.begin(host, port))
            second = self.begin(host, port)
            Ready(self.reactor, second.cancel)
            self.stop_later(9)

        self.run_with(act)
        self.assertEqual((self.failures, self.reactor.transports), ([], set()))

    def test_cancelled_the_way_of_twisted_while_it_is_being_connected(self) -> None:
        """The same for a connection that Twisted made and uvloop is about to tell of."""
        host, port = self.server()
        self.protocol.made = lambda: self.fail("it was given up")

        attempts: list[Attempt] = []
        connect_done = TcpClient._connectDone

        def connected(client: TcpClient) -> None:
            connect_done(client)
            attempts[0].cancel()
            self.stop_later()

        self.patch(TcpClient, "_connectDone", connected)
        self.run_with(lambda: attempts.append(self.begin(host, port, bind_address=("127.0.0.1", 0))))
        self.assertEqual((self.failures, self.reactor.transports), ([], set()))

    def test_the_reactor_stops(self) -> None:
        """A connect that is pending then fails, as in Twisted."""
        with Blackhole() as hole:

            def act() -> None:
                self.begin(hole.host, hole.port)
                self.reactor.stop()

            self.run_with(act)
        outcome, _ = self.told()
        self.assertIs(outcome, Outcome.CONNECT_FAILED)

    def test_nothing_is_left_for_the_garbage_collector(self) -> None:
        """Both ends of a connection that is over are gone without it."""
        ends: list[ReferenceType[object]] = []

        class Ending(Watching):
            def connectionLost(self, reason: object = None) -> None:
                ends.append(ref(self.transport))
                del self.transport
                self.made()

        def over() -> None:
            if len(ends) == 2:
                self.stop_later()

        server = Factory()
        server.noisy = False
        server.buildProtocol = lambda addr: Ending(over)  # type: ignore[method-assign]
        self.protocol = Ending(over)

        def act() -> None:
            port = self.reactor.listenTCP(0, server, interface="127.0.0.1").getHost().port
            self.begin("127.0.0.1", port)
            self.reactor.callLater(0, self.end)

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.run_with(act)
        self.assertEqual([end() for end in ends], [None, None])

    def end(self) -> None:
        """Close it as soon as it is there."""
        if self.protocol.transport is None:
            self.reactor.callLater(0, self.end)
        else:
            self.protocol.transport.loseConnection()

    def test_a_timer_that_was_lent(self) -> None:
        """It is at rest and calls nobody when the attempt is over, however that ended."""
        host, port = self.server()
        timer = Timer(self.connector.timers, nothing)
        states: list[tuple[bool, bool]] = []

        def made() -> None:
            states.append((timer.active, timer.callback is nothing))
            self.reactor.stop()

        self.protocol.made = made
        self.run_with(lambda: (self.begin(host, port, timer=timer), states.append((timer.active, False))))
        self.assertEqual(states, [(True, False), (False, True)])
        timer.cancel()
        self.assertEqual(len(self.connector.timers), 0)
