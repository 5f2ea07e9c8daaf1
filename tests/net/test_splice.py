"""A splice between two sockets, turned by hand: what it moves, what it waits for, and every way it is over."""

import contextlib
import errno
import os
import select
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.splice import KERNEL, PATIENCE, ROUNDS, Splice, Splicer, unwritten
from tests.net.stage import Plain, Turns, reset, tcp_pair

SIZE = 65536


class Told:
    """An owner that remembers what it was told."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.events: list[Any] = []

    def moved(self, size: int) -> None:
        self.sizes.append(size)

    def blocked(self) -> None:
        self.events.append("blocked")

    def unblocked(self) -> None:
        self.events.append("unblocked")

    def handed_back(self, rest: bytes) -> None:
        self.events.append(rest)

    def source_lost(self, words: str) -> None:
        self.events.append(("source", words))

    def target_lost(self, words: str) -> None:
        self.events.append(("target", words))


class SpliceTestCase(SynchronousTestCase):
    """A sender, whose other end is the source, and a receiver, whose other end is the target."""

    pair = staticmethod(tcp_pair)

    def setUp(self) -> None:
        if KERNEL is None:
            self.skipTest("there is no splice(2) here")
        self.reactor = Turns()
        self.owner = Told()
        self.splicer = Splicer(self.reactor, 4)
        self.sender, source = self.pair()
        target, self.receiver = self.pair()
        self.source, self.target = Plain(source), Plain(target)
        for end in (self.sender, source, target, self.receiver):
            end.setblocking(False)
            self.addCleanup(end.close)

    def begin(self, left: int | None = None, size: int = SIZE) -> Splice:
        splice = self.splicer.begin(self.source, self.target, self.owner, size, left)
        assert splice is not None
        return splice

    def turns(self, most: int = 200) -> None:
        for _ in range(most):
            if not self.reactor.turn():
                return

    def receive(self) -> bytes:
        parts = []
        try:
            while part := self.receiver.recv(1 << 20):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts)

    def receive_all(self, size: int) -> bytes:
        """So many bytes, that are on their way: on a busy machine the loopback takes its time."""
        got = self.receive()
        while len(got) < size and select.select([self.receiver], [], [], 10)[0]:
            more = self.receive()
            if not more:
                break
            got += more
        return got

    def carry(self, data: bytes) -> bytes:
        """Send everything while turning; what the receiver got."""
        got, rest = [], memoryview(data)
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.sender.send(rest) :]
            self.turns()
            got.append(self.receive())
        while not self.quiet():
            self.turns()
            got.append(self.receive())
        return b"".join(got)

    def quiet(self) -> bool:
        """Whether nothing more is under way: on a busy machine the loopback takes its time."""
        reactor = self.reactor
        return select.select([self.receiver, *reactor.readers], reactor.writers, [], 0.1) == ([], [], [])

    def assert_over(self, *events: Any) -> None:
        told = self.owner.events
        self.assertEqual(told[told[:1] == ["unblocked"] :], list(events))
        self.assertEqual((self.reactor.readers, self.reactor.writers, self.splicer.active), ([], [], 0))


class MovingTests(SpliceTestCase):
    """Bytes."""

    def test_bytes_arrive_identical_and_are_counted(self) -> None:
        """Megabytes arrive byte for byte, and the owner is told of each one once."""
        data = os.urandom(4 << 20)
        self.begin()
        self.assertEqual(self.carry(data), data)
        self.assertEqual(sum(self.owner.sizes), len(data))

    def test_it_waits_for_what_the_transport_has_to_write(self) -> None:
        """Nothing is moved before the target's transport has written what it holds."""
        self.target.waiting = 1
        self.begin()
        self.sender.send(b"x" * 1000)
        self.turns(5)
        self.assertEqual((self.receive(), self.owner.sizes, self.owner.events), (b"", [], []))
        self.target.waiting = 0
        self.turns(5)
        self.assertEqual((self.receive_all(1000), self.owner.events), (b"x" * 1000, ["unblocked"]))

    def test_a_number_of_bytes(self) -> None:
        """With ``left`` it moves so many bytes and no more, delivers them, and hands back."""
        self.begin(left=150_000)
        data = os.urandom(200_000)
        self.assertEqual(self.carry(data), data[:150_000])
        self.assertEqual(sum(self.owner.sizes), 150_000)
        self.assertEqual((self.owner.events.count(b""), self.owner.events[-1]), (1, b""))
        self.assertEqual(self.splicer.active, 0)
        rest = b""
        while len(rest) < 50_000:
            rest += self.source.socket.recv(1 << 20)
        self.assertEqual(rest, data[150_000:])

    def test_a_turn_is_bounded(self) -> None:
        """One turn of the reactor moves a few fills of the pipe at most."""
        self.begin(size=4096)
        self.sender.send(b"x" * 200_000)
        self.reactor.turn()  # nothing waits to be written: begins at once
        self.assertLessEqual(sum(self.owner.sizes), ROUNDS * 4096)
        self.turns(3)
        self.assertGreater(sum(self.owner.sizes), ROUNDS * 4096)

    def test_a_receiver_that_stops_stops_the_sender(self) -> None:
        """Where the receiver takes nothing, no more than the size is held, nothing is read, and the owner is told."""
        splice = self.begin()
        sent = 0
        for _ in range(10_000):
            try:
                sent += self.sender.send(b"x" * 65536)
            except BlockingIOError:
                break
            self.turns(20)
        self.turns(3)
        self.assertTrue(0 < splice.held <= SIZE, splice)
        self.assertEqual((self.reactor.readers, len(self.reactor.writers)), ([], 1))
        self.assertEqual(self.owner.events[-1], "blocked")
        got = 0
        while got < sent:
            got += len(self.receive())
            self.turns(20)
        self.assertEqual((got, sum(self.owner.sizes)), (sent, sent))
        self.assertEqual(self.owner.events[-1], "unblocked")

    def test_what_is_not_bulk_is_handed_back(self) -> None:
        """Many small pieces in a row are no bulk: reading is handed back, with nothing lost."""
        self.begin()
        for count in range(PATIENCE):
            self.assertNotIn(b"", self.owner.events, count)
            self.sender.send(b"small")
            self.turns(3)
        self.assert_over(b"")
        self.assertEqual(self.receive_all(5 * PATIENCE), b"small" * PATIENCE)

    def test_a_full_piece_forgives_small_ones(self) -> None:
        """Small pieces between full ones end nothing."""
        self.begin()
        for _ in range(4):
            for _ in range(PATIENCE - 4):
                self.sender.send(b"small")
                self.turns(3)
            self.carry(b"x" * SIZE)
        self.assertEqual(self.splicer.active, 1)


class UnixTests(MovingTests):
    """The same between UNIX sockets."""

    pair = staticmethod(socket.socketpair)


class OverTests(SpliceTestCase):
    """How it ends."""

    def test_the_end_is_left_to_the_transport(self) -> None:
        """At the source's end all is delivered and reading handed back: the transport reads the end again."""
        self.begin()
        self.sender.send(b"the last")
        self.sender.shutdown(socket.SHUT_WR)
        self.turns()
        self.assert_over(b"")
        self.assertEqual((self.receive_all(8), self.source.socket.recv(10)), (b"the last", b""))

    def test_a_reset_of_the_source(self) -> None:
        """A reset of the source is told, for reading it has taken it from the socket."""
        self.begin()
        self.turns(2)
        reset(self.sender)
        self.turns()
        self.assert_over(("source", os.strerror(errno.ECONNRESET)))

    def test_a_reset_of_the_target(self) -> None:
        """A reset of the target is told when the next bytes are written."""
        self.begin()
        self.turns(2)
        reset(self.receiver)
        self.sender.send(b"x")
        self.turns()
        self.assertEqual(self.owner.events[-1][0], "target")
        self.assertEqual((self.reactor.readers, self.reactor.writers, self.splicer.active), ([], [], 0))

    def test_the_reactor_finds_it_hung_up(self) -> None:
        """A descriptor that the reactor reports as hung up, and no longer watches, is read for the reason."""
        self.begin()
        self.turns(2)
        (watch,) = self.reactor.readers
        reset(self.sender)
        self.reactor.removeReader(watch)
        watch.connectionLost(Failure(ConnectionDone()))
        self.assert_over(("source", os.strerror(errno.ECONNRESET)))

    def test_hung_up_without_a_reason(self) -> None:
        """Hung up with nothing to read from the socket, before it began or later, hands back."""
        for turns in (0, 2):
            with self.subTest(turns=turns):
                self.owner.events.clear()
                self.begin()
                self.turns(turns)
                (watch,) = self.reactor.readers + self.reactor.writers
                watch.connectionLost(Failure(ConnectionDone()))
                self.assert_over(b"")

    def test_stopped(self) -> None:
        """Stopped, it leaves no descriptor and calls nobody; stopping twice is once."""
        before = len(os.listdir("/proc/self/fd"))
        splice = self.begin()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 4)
        splice.stop()
        splice.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assert_over()

    def test_given_back(self) -> None:
        """Given back while its receiver takes nothing, the owner gets what is in the pipe, and no byte is lost."""
        splice = self.begin()
        data = os.urandom(64 << 20)
        rest = memoryview(data)
        while self.owner.events[-1:] != ["blocked"] or self.reactor.turn():
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.sender.send(rest[: 1 << 20]) :]
            self.reactor.turn()
        held = splice.held
        splice.give_back()
        splice.give_back()
        *_, kept = self.owner.events
        self.assertEqual((len(kept), self.owner.events.count(kept)), (held, 1))
        self.assertEqual((self.reactor.readers, self.reactor.writers, self.splicer.active), ([], [], 0))
        moved = self.receive_all(sum(self.owner.sizes) - held) + kept
        self.assertEqual(moved, data[: len(moved)])
        self.assertEqual(len(moved), sum(self.owner.sizes))

    def test_the_pipe_is_given_back_where_writing_fails_by_our_fault(self) -> None:
        """An error that says nothing of a connection hands back what the pipe holds: no byte is lost."""

        def move(source: int, target: int, count: int, flags: int) -> int:
            if self.owner.sizes:
                raise OSError(errno.EINVAL, "cannot")
            return os.splice(source, target, count, flags=flags)

        self.splicer.move = move
        self.begin()
        self.sender.send(b"precious")
        self.turns()
        self.assert_over(b"precious")

    def test_splice_that_does_not_work(self) -> None:
        """An error before anything was moved hands back at once."""

        def move(*_: Any, flags: int) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        self.splicer.move = move
        self.begin()
        self.sender.send(b"x")
        self.turns()
        self.assert_over(b"")
        self.assertEqual(self.source.socket.recv(10), b"x")

    def test_an_owner_that_stops_it(self) -> None:
        """An owner may stop it from within any call."""
        splice = self.begin()
        self.owner.moved = lambda size: splice.stop()  # type: ignore[method-assign]  # to be called in the middle
        self.sender.send(b"x")
        self.turns()
        self.assert_over()


class BeginTests(SpliceTestCase):
    """Where none begins."""

    def test_no_more_than_the_limit(self) -> None:
        """Over the limit none begins; when one is over another may."""
        splices = [self.begin() for _ in range(4)]
        self.assertIsNone(self.splicer.begin(self.source, self.target, self.owner, SIZE))
        splices[0].stop()
        splices[0] = self.begin()
        for splice in splices:
            splice.stop()
        self.assertEqual((self.splicer.active, self.splicer.begun), (0, 5))

    def test_closed_just_now(self) -> None:
        """A socket that is closed already cannot be spliced, and no descriptor is left over."""
        self.target.socket.close()
        before = len(os.listdir("/proc/self/fd"))
        self.assertIsNone(self.splicer.begin(self.source, self.target, self.owner, SIZE))
        self.assertEqual((self.splicer.active, len(os.listdir("/proc/self/fd"))), (0, before))

    def test_only_plain_sockets(self) -> None:
        """What is no plain socket, at either end, is not spliced."""
        self.assertIsNone(self.splicer.begin(StringTransport(), self.target, self.owner, SIZE))
        self.assertIsNone(self.splicer.begin(self.source, StringTransport(), self.owner, SIZE))

    def test_elsewhere(self) -> None:
        """Without splice(2), or on a reactor that watches no descriptors, nothing is spliced."""
        for splicer in (Splicer(self.reactor, 4, None), Splicer(object(), 4)):  # type: ignore[arg-type]  # such a one
            self.assertIsNone(splicer.begin(self.source, self.target, self.owner, SIZE))

    def test_tls_and_wrappers_are_no_plain_sockets(self) -> None:
        """A stock transport is one unless it speaks TLS; a wrapper that passes names on is none."""
        transport = Connection(self.source.socket, Protocol(), self.reactor)
        transport.connected = 1
        told = unwritten(transport)
        assert told is not None
        self.assertEqual(told(), 0)
        transport.write(b"12345")
        self.assertEqual(told(), 5)
        transport.TLS = True
        self.assertIsNone(unwritten(transport))
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        wrapper.transport = self.source
        self.assertEqual((wrapper.unwritten(), unwritten(wrapper)), (0, None))
