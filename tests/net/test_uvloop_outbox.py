"""What is written at the end of a turn: all of it, in order, whatever becomes of one of the streams."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from balancer.net.uvloop_outbox import FEW, LOOK, MOST, Outbox


class Stream:
    """A stream that notes what reaches it; or that cannot be written."""

    def __init__(self, written: list[tuple[str, bytes]], name: str) -> None:
        self.written, self.name = written, name
        self.failing = False
        self.aborted: BaseException | None = None

    @property
    def _out(self) -> "Stream":
        return self

    def write(self, data: bytes) -> None:
        if self.failing:
            raise ConnectionError("it cannot be written")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError("bytes, please")
        self.written.append((self.name, bytes(data)))

    def shut(self) -> None:
        self.written.append((self.name, b"end"))

    def abort_for(self, reason: BaseException | None) -> None:
        self.aborted = reason


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.written: list[tuple[str, bytes]] = []
        self.calls: list[Callable[[], None]] = []
        self.outbox = Outbox(self.calls.append)
        self.a, self.b = Stream(self.written, "a"), Stream(self.written, "b")

    def turn(self) -> None:
        """The events of a turn are worked off."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()

    def test_at_the_end_of_the_turn(self) -> None:
        """Nothing is written before the turn's end; then all of it, in the order it came, by one call."""
        for data in (b"1", b"2", b"3"):
            self.outbox.post(self.a, data)
            self.outbox.post(self.b, data)
        self.assertEqual((self.written, len(self.calls)), ([], 1))
        self.turn()
        self.assertEqual(self.written, [(name, data) for data in (b"1", b"2", b"3") for name in "ab"])
        self.turn()
        self.assertEqual(len(self.written), 6)

    def test_close(self) -> None:
        """A stream is closed after what was written to it in the turn, and at once where nothing waits."""
        self.outbox.post(self.a, b"1")
        self.outbox.close(self.a)
        self.outbox.post(self.b, b"2")
        self.assertEqual(self.written, [])
        self.turn()
        self.assertEqual(self.written, [("a", b"1"), ("a", b"end"), ("b", b"2")])
        self.outbox.close(self.b)
        self.assertEqual(self.written[-1], ("b", b"end"))

    def test_where_there_is_little(self) -> None:
        """After a turn of few writes the next ones go out at once; then it is looked again."""
        for _ in range(FEW - 1):
            self.outbox.post(self.a, b"x")
        self.turn()
        for number in range(LOOK):
            self.outbox.post(self.a, b"y")
            self.assertEqual(self.written.count(("a", b"y")), number + 1)
        self.outbox.post(self.a, b"z")
        self.assertNotIn(("a", b"z"), self.written)
        self.turn()
        self.assertEqual(self.written[-1], ("a", b"z"))

    def test_flush(self) -> None:
        """Asked for, all is written before the turn's end, which says nothing of how much comes in a turn."""
        self.outbox.post(self.a, b"1")
        self.outbox.flush()
        self.assertEqual(self.written, [("a", b"1")])
        self.turn()
        self.outbox.post(self.a, b"2")
        self.assertEqual(self.written, [("a", b"1")])

    def test_bound(self) -> None:
        """No more is held than the bound: beyond it all is written at once, a large write itself included."""
        self.outbox.post(self.b, b"1")
        self.outbox.post(self.a, b"x" * MOST)
        self.assertEqual([len(data) for _, data in self.written], [1, MOST])
        self.outbox.post(self.a, b"2")
        self.assertEqual(len(self.outbox.waiting), 1)
        self.turn()
        self.assertEqual(self.written[-1], ("a", b"2"))

    def test_other_than_bytes(self) -> None:
        """What is no data is told to who writes it; what may change is written at once, after what waits."""
        self.outbox.post(self.a, b"1")
        self.outbox.post(self.a, bytearray(b"2"))
        self.outbox.post(self.a, memoryview(b"3"))
        self.assertEqual(self.written, [("a", b"1"), ("a", b"2"), ("a", b"3")])
        with self.assertRaises(TypeError):
            self.outbox.post(self.a, "text")  # type: ignore[arg-type]

    def test_one_that_fails(self) -> None:
        """A stream that cannot be written is aborted for that, with a log line; the others' writes go on."""
        self.a.failing = True
        for stream in (self.b, self.a, self.b):
            self.outbox.post(stream, b"x")
        self.turn()
        self.assertEqual(self.written, [("b", b"x")] * 2)
        self.assertIsInstance(self.a.aborted, ConnectionError)
        self.assertEqual(len(self.flushLoggedErrors(ConnectionError)), 1)
