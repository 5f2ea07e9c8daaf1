"""Who gets a session, and how a listener ends."""

from collections.abc import Iterator
from dataclasses import replace

from twisted.logger import globalLogPublisher

from balancer.core.datagrams import QUIET, Drop, UdpPolicy
from balancer.core.model import Member
from balancer.core.termination import Termination
from balancer.core.traits import Traits
from balancer.testing.fakes import InOrder, make_upstream
from tests.udp.stage import ALICE, BOB, FakePort, StageTestCase


class Broken(InOrder):
    """A selector of a plugin that fails."""

    def candidates(self, traits: Traits) -> Iterator[Member]:
        raise ZeroDivisionError


class LimitTests(StageTestCase):
    def test_session_limit(self) -> None:
        """Above the limit a client without a session is not heard, and one with a session is."""
        self.stage(max_sessions=1)
        sock = self.ask(b"1")
        self.forwarder.received(b"2", BOB)
        self.ask(b"3")
        self.assertEqual((sock.sent, len(self.sockets)), ([b"1", b"3"], 1))
        self.assertEqual(self.forwarder.drops.counts[Drop.SESSION_LIMIT], 1)

    def test_room_again(self) -> None:
        """When a session has ended there is room for another."""
        self.stage(max_sessions=1, responses=1)
        self.answer(self.ask(), b"answer")
        self.assertEqual(self.ask(b"2", BOB).sent, [b"2"])
        self.assertEqual(self.forwarder.total, 2)

    def test_no_limit(self) -> None:
        """0 is no limit."""
        self.stage(max_sessions=0)
        for port in range(1, 50):
            self.ask(client=("192.0.2.1", port))
        self.assertEqual(self.forwarder.connections, 49)

    def test_logged_now_and_then(self) -> None:
        """Drops are logged once, and again after a while with their number; a flood of datagrams is none of lines."""
        self.stage(max_sessions=1)
        self.ask()
        events: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: events.append(f"{event.get('count')}"))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for _ in range(100):
            self.forwarder.received(b"x", BOB)
        self.clock.advance(QUIET)
        self.forwarder.received(b"x", BOB)
        self.assertEqual(events, ["1", "100"])

    def test_no_source_port(self) -> None:
        """Who sends from port 0 cannot be answered."""
        self.forwarder.received(b"x", ("192.0.2.1", 0))
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_SOURCE_PORT], 1)

    def test_loops(self) -> None:
        """A datagram with a forged sender, the listener itself or a backend, would be answered in circles: dropped."""
        self.forwarder.received(b"x", FakePort.address)
        self.forwarder.received(b"x", ("10.0.0.2", 80))
        self.assertEqual((self.forwarder.drops.counts[Drop.LOOP], self.sockets), (2, []))
        self.ask(client=("10.0.0.2", 81))
        self.assertEqual(len(self.sockets), 1)

    def test_a_selector_that_fails(self) -> None:
        """A plugin's mistake costs the datagram, is logged with its traceback, and ends nothing else."""
        self.stage(make_upstream(3, build_selector=Broken))
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.forwarder.drops.counts[Drop.INTERNAL], 1)
        self.assertEqual(self.forwarder.connections, 0)


class LifeTests(StageTestCase):
    def test_configure(self) -> None:
        """A new configuration is for the sessions to come; those there are keep theirs."""
        first = self.ask(b"1")
        other = make_upstream(1, name="other")
        self.forwarder.configure(other, replace(self.settings, policy=UdpPolicy(responses=1, receive_buffer=9000)))
        self.assertEqual(self.port.buffers, [(9000, 0)])
        self.assertIs(self.ask(b"2"), first)
        self.answer(first, b"answer", b"more")
        self.assertEqual(self.records, [])
        self.ask(b"3", BOB)
        self.assertEqual((self.upstream.active, other.active), (1, 1))

    def test_drain(self) -> None:
        """While it drains, sessions go on in both directions and none begins; after the last the port closes."""
        self.stage(responses=1)
        sock = self.ask(b"1")
        self.forwarder.drain()
        self.forwarder.received(b"2", BOB)
        self.assertEqual(self.forwarder.drops.counts[Drop.DRAINING], 1)
        self.ask(b"3")
        self.answer(sock, b"a")
        self.assertTrue(self.port.open)
        self.answer(sock, b"b")
        self.assertEqual(self.port.replies, [(b"a", ALICE), (b"b", ALICE)])
        self.assertEqual((self.port.open, self.watch.closed), (False, True))

    def test_drain_without_sessions(self) -> None:
        """Without any it closes at once."""
        self.forwarder.drain()
        self.assertFalse(self.port.open)

    def test_abort(self) -> None:
        """What is left in the end is ended, and recorded as such."""
        self.ask()
        self.forwarder.drain()
        self.forwarder.abort_all()
        self.assertIs(self.over().termination, Termination.SHUTDOWN)
        self.assertFalse(self.port.open)

    def test_close_and_open_again(self) -> None:
        """A listener that could not move takes its place again."""
        self.ask()
        self.forwarder.close()
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.DRAINING], 1)
        self.forwarder.attach(FakePort())
        self.ask()
        self.assertEqual(self.forwarder.connections, 1)
