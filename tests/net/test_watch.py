"""Sockets that are read, seen by the reactor as one."""

import socket

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.watch import READY, EachWatch, EpollWatch, Readable, make_watch


class Readers:
    """A reactor that only knows who is to be read."""

    def __init__(self) -> None:
        self.readers: set[object] = set()

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)


class Ear:
    """A socket with a port of its own, and how often it was told to read.

    :ivar reads: whether it does read.
    """

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.told = 0
        self.reads = True
        self.fails = False

    def fileno(self) -> int:
        return self.sock.fileno()

    def readable(self) -> None:
        self.told += 1
        if self.fails:
            raise ZeroDivisionError
        if self.reads:
            self.sock.recv(100)

    def shout(self) -> None:
        """Have something to read."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(b"x", self.sock.getsockname())


class EpollTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Readers()
        self.watch = make_watch(self.reactor)
        if not isinstance(self.watch, EpollWatch):
            self.skipTest("this system has no epoll")
        self.addCleanup(self.watch.close)

    def ear(self) -> Ear:
        ear = Ear()
        self.addCleanup(ear.sock.close)
        self.watch.add(ear)
        return ear

    def turn(self) -> None:
        """The reactor found the set readable."""
        assert isinstance(self.watch, EpollWatch)
        self.watch.doRead()

    def test_nothing_at_first(self) -> None:
        """Before a socket comes there is no descriptor and the reactor knows of nothing; afterwards, of one reader."""
        assert isinstance(self.watch, EpollWatch)
        self.assertEqual((self.watch.fileno(), self.reactor.readers), (-1, set()))
        self.ear()
        self.ear()
        self.assertGreaterEqual(self.watch.fileno(), 0)
        self.assertEqual(self.reactor.readers, {self.watch})

    def test_who_has_something(self) -> None:
        """Only the sockets with something to read are read."""
        ears = [self.ear() for _ in range(3)]
        ears[1].shout()
        self.turn()
        self.turn()
        self.assertEqual([ear.told for ear in ears], [0, 1, 0])

    def test_turns(self) -> None:
        """One turn reads a bounded number of sockets, and no socket is read again before the others."""
        ears = [self.ear() for _ in range(READY + 10)]
        for ear in ears:
            ear.reads = False
            ear.shout()
        self.turn()
        self.assertEqual(sum(ear.told for ear in ears), READY)
        self.turn()
        self.assertEqual({ear.told for ear in ears}, {1, 2})

    def test_removed(self) -> None:
        """What was removed is not read any more, though something is there; removing it again does nothing."""
        ear = self.ear()
        ear.shout()
        self.watch.remove(ear.fileno())
        self.watch.remove(ear.fileno())
        self.turn()
        self.assertEqual(ear.told, 0)

    def test_removed_by_another(self) -> None:
        """What one removes while it is read is not read in that turn either."""
        first, second = self.ear(), self.ear()
        for ear, other in ((first, second), (second, first)):
            ear.shout()
            ear.readable = lambda ear=ear, other=other: (  # type: ignore[method-assign,misc]
                setattr(ear, "told", ear.told + 1),
                self.watch.remove(other.fileno()),
            )
        self.turn()
        self.assertEqual(first.told + second.told, 1)

    def test_a_reader_that_fails(self) -> None:
        """A reader that raises is logged, and the others are read."""
        ears = [self.ear(), self.ear()]
        ears[0].fails = True
        for ear in ears:
            ear.shout()
        self.turn()
        self.assertEqual([ear.told for ear in ears], [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_closed(self) -> None:
        """Closed, it has no descriptor; a socket that comes later opens it again."""
        assert isinstance(self.watch, EpollWatch)
        self.ear()
        self.watch.connectionLost(Failure(ConnectionError()))
        self.assertEqual((self.watch.fileno(), self.reactor.readers), (-1, set()))
        self.turn()
        ear = self.ear()
        ear.shout()
        self.turn()
        self.assertEqual(ear.told, 1)


class EachTests(SynchronousTestCase):
    def test_each(self) -> None:
        """Without epoll the reactor watches each socket, until it is removed or all are."""
        reactor = Readers()
        watch = EachWatch(reactor)
        ears: list[Readable] = [Ear(), Ear(), Ear()]
        for ear in ears:
            assert isinstance(ear, Ear)
            self.addCleanup(ear.sock.close)
            watch.add(ear)
        self.assertEqual(len(reactor.readers), 3)
        watch.remove(ears[0].fileno())
        (one, two) = reactor.readers
        assert isinstance(ears[1], Ear) and isinstance(ears[2], Ear)
        ears[1].reads = ears[2].reads = False
        one.doRead()  # type: ignore[attr-defined]
        two.connectionLost(Failure(ConnectionError()))  # type: ignore[attr-defined]
        self.assertEqual((ears[1].told, ears[2].told), (1, 1))
        watch.close()
        self.assertEqual(reactor.readers, set())
