"""A stream of uvloop's, in front of a transport as strict as uvloop's: what stock Twisted ignores never reaches it."""

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.uvloop_outbox import Outbox
from balancer.net.uvloop_stream import UvloopStream


class StrictTransport:
    """What uvloop's does with writes: refuses them once the end was sent or the handle is closed, and ignores them
    between an abort and ``connection_lost``."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ended = self.aborted = self.closed = False
        self.reading = True

    def _alive(self) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")

    def write(self, data: bytes) -> None:
        self._alive()
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not self.aborted:
            self.written.append(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self._alive()
        self.ended = True

    def abort(self) -> None:
        self.aborted, self.reading = True, False

    close = abort

    def is_closing(self) -> bool:
        return self.aborted

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        if not self.aborted:
            self._alive()
            self.reading = False

    def resume_reading(self) -> None:
        if not self.aborted:
            self._alive()
            self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int, low: int = 0) -> None:
        self._alive()

    def set_protocol(self, protocol: object) -> None:
        pass


class NoSocket:
    """A socket of which only an option is set."""

    def setsockopt(self, *_: object) -> None:
        pass


class Turns:
    """The reactor and its loop, as far as a stream uses them."""

    def __init__(self) -> None:
        self.loop = self
        self.transports: set[object] = set()
        self.calls: list[Callable[[], object]] = []
        self.outbox = Outbox(self.call_soon)

    def call_soon(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        """One turn of the loop."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def opened(self, opening: object) -> None:
        pass


class Stream(UvloopStream):
    """A stream whose protocol does nothing."""

    __slots__ = ()

    def build(self) -> Any:
        return Protocol()


class Puller:
    """A pull producer that writes at each call, and knows how often it was called."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.asked = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        self.asked += 1
        self.stream.write(b"pulled")
        self.stream.writeSequence([b"pulled", b"too"])

    def stopProducing(self) -> None:
        self.stopped = True


class StreamTestCase(SynchronousTestCase):
    """A stream that is connected."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.uv = StrictTransport()
        socket: Any = NoSocket()
        self.stream = Stream(self.turns, socket, None)
        copy_context().run(self.stream.connection_made, self.uv)


class FinishTests(StreamTestCase):
    """Closing for who writes no more."""

    def test_uvloop_closes_in_this_turn(self) -> None:
        """It is told once, after what was written; it writes what the kernel does not take by itself."""
        self.stream.write(b"last")
        self.stream.finish()
        self.stream.finish()
        self.assertEqual(len(self.turns.outbox.waiting), 2)
        self.turns.turn()
        self.assertEqual((self.uv.written, self.uv.aborted, self.turns.calls), ([b"last"], True, []))
        self.stream.connection_lost(None)

    def test_what_was_given_up_is_closed_when_uvloop_tells_of_it(self) -> None:
        """No protocol is made for it, and its loss is nobody's."""
        uv, socket = StrictTransport(), NoSocket()
        stream = Stream(self.turns, socket, None)  # type: ignore[arg-type]  # only an option is set
        stream.cancel()
        copy_context().run(stream.connection_made, uv)
        self.assertTrue(uv.aborted)
        stream.connection_lost(None)
        self.assertEqual((stream.connected, stream.protocol), (0, None))


class LateWriteTests(StreamTestCase):
    """Writes that come too late."""

    def end(self) -> None:
        self.stream.loseWriteConnection()
        self.turn_twice()

    def abort(self) -> None:
        self.stream.abortConnection()

    def lose(self) -> None:
        self.stream.connection_lost(None)
        self.uv.closed = True

    def abort_and_lose(self) -> None:
        self.abort()
        self.lose()

    def turn_twice(self) -> None:
        self.turns.turn()
        self.turns.turn()

    def test_it_writes(self) -> None:
        """Before that, all of it is written: the other tests could fail."""
        self.stream.write(b"a")
        self.stream.writeSequence([b"b", b"c"])
        self.stream.registerProducer(Puller(self.stream), False)
        self.assertEqual(self.uv.written, [b"a", b"bc", b"pulled", b"pulledtoo"])
        self.turns.turn()
        self.assertEqual(len(self.uv.written), 6)

    def test_late(self) -> None:
        """After our end was sent, after an abort in the same turn, and once it is lost, nothing is written."""
        for happen in (self.end, self.abort, self.lose, self.abort_and_lose):
            with self.subTest(happen=happen.__name__):
                self.setUp()
                happen()
                self.stream.write(b"late")
                self.stream.writeSequence([b"too", b"late"])
                self.stream.bufferSize = 10
                self.stream.registerProducer(Puller(self.stream), False)
                self.turn_twice()
                self.stream.unregisterProducer()
                self.stream.write(b"later")
                self.stream.loseWriteConnection()
                self.stream.loseConnection()
                self.stream.abortConnection()
                self.turn_twice()
                self.assertEqual(self.uv.written, [])

    def test_kept(self) -> None:
        """A bound write that was kept is ignored, too."""
        for happen in (self.end, self.abort, self.lose, self.abort_and_lose):
            with self.subTest(happen=happen.__name__):
                self.setUp()
                write = self.stream.write
                happen()
                write(b"late")
                self.turn_twice()
                self.assertEqual(self.uv.written, [])
                self.assertIsNone(self.stream.reason if happen == self.end else None)

    def test_before_the_end(self) -> None:
        """What was written before the end, or before it closes, in the same turn is written before that."""
        for happen in ("loseWriteConnection", "loseConnection", "finish"):
            self.setUp()
            self.stream.write(b"a")
            getattr(self.stream, happen)()
            self.assertEqual((self.uv.ended, self.uv.aborted), (False, False))
            self.turn_twice()
            self.assertEqual((self.uv.written, self.uv.ended or self.uv.aborted), ([b"a"], True))

    def test_aborted_in_the_turn(self) -> None:
        """What waits for the end of the turn is dropped where the connection is aborted or lost before it."""
        for happen in (self.abort, self.lose, self.abort_and_lose):
            with self.subTest(happen=happen.__name__):
                self.setUp()
                self.stream.write(b"a")
                happen()
                self.turn_twice()
                self.assertEqual(self.uv.written, [])

    def test_reading(self) -> None:
        """Pausing and resuming do what they say, and nothing once the end was read, it closes, or is lost."""
        self.stream.pauseProducing()
        self.assertFalse(self.uv.reading)
        self.stream.resumeProducing()
        self.assertTrue(self.uv.reading)
        for happen in (lambda: self.stream.loseConnection(), self.abort, self.lose, self.abort_and_lose):
            self.setUp()
            self.stream.pauseProducing()
            happen()
            self.stream.resumeProducing()
            self.stream.pauseProducing()
            self.stream.resumeProducing()
            self.assertFalse(self.uv.reading)

    def test_before(self) -> None:
        """Before it is connected, all of this does nothing."""
        socket: Any = NoSocket()
        stream = Stream(self.turns, socket, None)
        stream.write(b"early")
        stream.pauseProducing()
        stream.resumeProducing()
        stream.loseConnection()
        stream.abortConnection()
        self.assertEqual(self.turns.calls, [])
