"""A file sent into a socket, turned by hand: what is sent, what it waits for, and every way it is over."""

import errno
import os
import random
import select
import socket
import tempfile
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.sendfile import CHUNK, KERNEL, ROUNDS, FileSender, Sending
from tests.net.stage import Plain, Turns, reset, tcp_pair

SIZE = 8 << 20
"""More than the buffers of a socket take."""


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

    def done(self) -> None:
        self.events.append("done")

    def lost(self, words: str) -> None:
        self.events.append(("lost", words))

    def short(self) -> None:
        self.events.append("short")


class SendfileTestCase(SynchronousTestCase):
    """A file, and a receiver whose other end it is sent to."""

    pair = staticmethod(tcp_pair)

    def setUp(self) -> None:
        if KERNEL is None:
            self.skipTest("there is no sendfile(2) here")
        self.reactor = Turns()
        self.owner = Told()
        self.sender = FileSender(self.reactor, 4)
        target, self.receiver = self.pair()
        self.target = Plain(target)
        for end in (target, self.receiver):
            end.setblocking(False)
            self.addCleanup(end.close)
        self.data = random.Random(5).randbytes(SIZE)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the test is over
        self.addCleanup(self.file.close)
        self.file.write(self.data)
        self.file.flush()

    def begin(self, offset: int = 0, size: int = SIZE) -> Sending:
        sending = self.sender.begin(self.target, self.file.fileno(), offset, size, self.owner)
        assert sending is not None
        return sending

    def receive(self) -> bytes:
        parts = []
        try:
            while part := self.receiver.recv(1 << 20):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts)

    def carry(self, size: int) -> bytes:
        """Turn and receive until so many bytes are there, or nothing comes any more."""
        got = b""
        while len(got) < size:
            self.reactor.turn()
            got += self.receive()
            over = not self.reactor.writers
            if len(got) < size and not any(
                select.select([self.receiver], self.reactor.writers, [], 0.5 if over else 10)
            ):
                break
        return got

    def fill(self) -> None:
        """Turn until the receiver's buffers are full."""
        while self.reactor.turn() or select.select([], self.reactor.writers, [], 0.1)[1]:
            pass

    def assert_over(self, *events: Any) -> None:
        self.assertEqual([event for event in self.owner.events if event not in ("blocked", "unblocked")], [*events])
        self.assertEqual((self.reactor.readers, self.reactor.writers, self.sender.active), ([], [], 0))


class SendingTests(SendfileTestCase):
    """Bytes."""

    def test_a_file_arrives_identical(self) -> None:
        """Megabytes arrive byte for byte, the owner is told of each byte once, and then that it is done."""
        self.begin()
        self.assertTrue(self.carry(SIZE) == self.data)
        self.assertEqual(sum(self.owner.sizes), SIZE)
        self.assert_over("done")

    def test_it_is_not_blocked_when_it_is_done(self) -> None:
        """An owner that was told it is blocked is told that it is not before it is done, however it went."""
        for taken in ([CHUNK - 1, 1], [CHUNK], [1] * 5 + [CHUNK - 5]):
            takes = list(taken)
            self.owner.events.clear()
            self.sender.send = lambda target, file, offset, count, takes=takes: takes.pop(0)
            self.begin(0, CHUNK)
            while self.reactor.turn():
                pass
            told = [event for event in self.owner.events if event != "done"]
            self.assertEqual((told[-1], self.owner.events[-1]), ("unblocked", "done"), taken)

    def test_a_range(self) -> None:
        """Of a range the bytes from its offset on are sent, and none more."""
        self.begin(1_000_001, 300_003)
        self.assertTrue(self.carry(300_003) == self.data[1_000_001:1_300_004])
        self.assert_over("done")
        self.assertEqual(self.receive(), b"")

    def test_ranges_one_after_another(self) -> None:
        """Another range may follow as soon as one is done."""
        self.begin(0, 1000)
        self.assertEqual(self.carry(1000), self.data[:1000])
        self.begin(5000, 1000)
        self.assertEqual(self.carry(1000), self.data[5000:6000])
        self.assert_over("done", "done")
        self.assertEqual(self.sender.begun, 2)

    def test_it_waits_for_what_the_transport_has_to_write(self) -> None:
        """Nothing is sent before the transport has written what it holds."""
        self.target.waiting = 1
        self.begin(0, 1000)
        self.reactor.turn()
        self.assertEqual((self.receive(), self.owner.sizes, self.owner.events), (b"", [], []))
        self.target.waiting = 0
        self.assertEqual(self.carry(1000), self.data[:1000])
        self.assertEqual(self.owner.events, ["unblocked", "done"])

    def test_a_turn_is_bounded(self) -> None:
        """One turn of the reactor sends a few chunks at most."""
        calls = []

        def send(target: int, file: int, offset: int, count: int) -> int:
            calls.append(count)
            return count  # a socket that takes everything

        self.sender.send = send
        self.begin()
        self.reactor.turn()
        self.assertEqual(calls, [CHUNK] * ROUNDS)

    def test_a_receiver_that_stops(self) -> None:
        """Where the receiver takes nothing, sending stops and the owner is told; it goes on where it stopped."""
        sending = self.begin()
        self.fill()
        self.assertEqual(self.owner.events[-1], "blocked")
        self.assertEqual(sending.left, SIZE - sum(self.owner.sizes))
        self.assertTrue(0 < sending.left < SIZE)
        self.assertTrue(self.carry(SIZE) == self.data)
        self.assertEqual((self.owner.events.count("done"), self.owner.events[-2:]), (1, ["unblocked", "done"]))
        self.assertIn("unblocked", self.owner.events[self.owner.events.index("blocked") :])

    def test_the_file_may_be_closed_and_unlinked(self) -> None:
        """A file that its owner closed, and that nobody can find any more, is sent to its end."""
        self.begin()
        self.file.close()
        self.assertTrue(self.carry(SIZE) == self.data)


class UnixTests(SendingTests):
    """The same into UNIX sockets."""

    pair = staticmethod(socket.socketpair)


class OverTests(SendfileTestCase):
    """How it ends."""

    def test_a_file_that_is_too_short(self) -> None:
        """What there is of a file that ends too early is sent, and then the owner is told."""
        self.begin(SIZE - 1000, 2000)
        self.assertEqual(self.carry(1000), self.data[-1000:])
        self.reactor.turn()
        self.assert_over("short")

    def test_a_file_that_is_cut_meanwhile(self) -> None:
        """A file that is truncated while it is sent is too short."""
        self.begin()
        self.fill()
        os.ftruncate(self.file.fileno(), 0)
        self.carry(SIZE)
        self.assert_over("short")

    def test_a_disk_that_fails(self) -> None:
        """An error of the file is the file's: too short. It is logged, and the next one may be sent all the same."""

        def send(*_: int) -> int:
            raise OSError(errno.EIO, "broken")

        self.sender.send = send
        self.begin()
        self.reactor.turn()
        self.assert_over("short")
        self.assertIs(self.sender.send, send)

    def test_sendfile_that_does_not_work(self) -> None:
        """A kernel or file system that cannot do it is not asked again."""

        def send(*_: int) -> int:
            raise OSError(errno.EINVAL, "cannot")

        self.sender.send = send
        self.begin()
        self.reactor.turn()
        self.assert_over("short")
        self.assertIsNone(self.sender.begin(self.target, self.file.fileno(), 0, SIZE, self.owner))

    def test_a_reset(self) -> None:
        """A reset of the receiver is told."""
        self.begin()
        self.fill()
        reset(self.receiver)
        self.fill()
        self.assert_over(("lost", os.strerror(errno.ECONNRESET)))

    def test_the_reactor_finds_it_hung_up(self) -> None:
        """A descriptor that the reactor found hung up, and watches no longer, is lost, whatever it waited for."""
        for turns in (0, 1):
            with self.subTest(turns=turns):
                self.owner.events.clear()
                self.begin()
                for _ in range(turns):
                    self.fill()
                (watch,) = self.reactor.writers
                watch.connectionLost(Failure(ConnectionDone()))
                self.assert_over(("lost", "hung up"))

    def test_stopped(self) -> None:
        """Stopped, it leaves no descriptor and calls nobody; stopping twice is once."""
        before = len(os.listdir("/proc/self/fd"))
        sending = self.begin()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2)
        sending.stop()
        sending.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assert_over()

    def test_an_owner_that_stops_it(self) -> None:
        """An owner may stop it from within any call."""
        for call in ("moved", "blocked", "unblocked"):
            with self.subTest(call=call):
                sending = self.begin()
                setattr(self.owner, call, lambda *_, sending=sending: sending.stop())
                self.fill()
                self.assert_over()
                self.owner = Told()
                self.receive()


class BeginTests(SendfileTestCase):
    """Where none begins."""

    def test_no_more_than_the_limit(self) -> None:
        """Over the limit none begins; when one is over another may."""
        sendings = [self.begin() for _ in range(4)]
        self.assertIsNone(self.sender.begin(self.target, self.file.fileno(), 0, SIZE, self.owner))
        sendings.pop().stop()
        sendings.append(self.begin())
        for sending in sendings:
            sending.stop()
        self.assertEqual((self.sender.active, self.sender.begun), (0, 5))

    def test_closed_just_now(self) -> None:
        """Into a socket that is closed nothing can be sent, and no descriptor is left over."""
        self.target.socket.close()
        before = len(os.listdir("/proc/self/fd"))
        self.assertIsNone(self.sender.begin(self.target, self.file.fileno(), 0, SIZE, self.owner))
        self.assertEqual((self.sender.active, len(os.listdir("/proc/self/fd"))), (0, before))

    def test_only_plain_sockets(self) -> None:
        """Into what is no plain socket, TLS for one, nothing is sent."""
        self.assertIsNone(self.sender.begin(StringTransport(), self.file.fileno(), 0, SIZE, self.owner))

    def test_elsewhere(self) -> None:
        """Without sendfile(2), or on a reactor that watches no descriptors, nothing is sent."""
        for sender in (FileSender(self.reactor, 4, None), FileSender(object(), 4)):  # type: ignore[arg-type]  # such a one
            self.assertIsNone(sender.begin(self.target, self.file.fileno(), 0, SIZE, self.owner))
