"""The access log: what waits, when it is written, what is dropped."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.access_log import AccessLog, AccessLogSettings, sink_for
from balancer.admin.log_sink import FileSink, StreamSink
from balancer.core.record import OVERHEAD, ConnectionRecord


class Paper:
    """A sink that takes ``room`` bytes at a time."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.data = b""
        self.calls: list[str] = []
        self.batches: list[int] = []

    @property
    def listeners(self) -> list[str]:
        """The listeners of the lines, in order; the tests number them."""
        return [line.split(b"listener=")[1].split()[0].decode() for line in self.data.splitlines()]

    def open(self) -> None:
        self.calls.append("open")

    def write(self, data: bytes) -> int:
        self.calls.append("write")
        self.batches.append(data.count(b"\n"))
        self.data += data[: self.room]
        return len(data[: self.room])

    def close(self) -> None:
        self.calls.append("close")


class AccessLogTests(SynchronousTestCase):
    def made(self, paper: Paper | None = None, **keys: object) -> tuple[AccessLog, Paper, Clock]:
        paper = paper or Paper()
        clock = Clock()
        log = AccessLog(AccessLogSettings(**keys), clock, paper)  # type: ignore[arg-type]  # keys are each test's
        log.start()
        return log, paper, clock

    def fill(self, log: AccessLog, numbers: range) -> None:
        for number in numbers:
            log.log(ConnectionRecord(0.0, listener=str(number)))

    def test_lines_wait_for_the_interval_and_are_written_at_once(self) -> None:
        """Records are not formatted or written before the interval is over, and then together."""
        log, paper, clock = self.made(flush_interval=2.0)
        self.fill(log, range(3))
        clock.advance(1.9)
        self.assertEqual(paper.calls, ["open"])
        clock.advance(0.1)
        self.assertEqual(paper.calls, ["open", "write"])
        self.assertEqual(paper.listeners, ["0", "1", "2"])
        self.assertEqual(log.lines, 3)

    def test_a_log_without_records_has_no_timer(self) -> None:
        """Nothing runs while nothing happens."""
        log, _, clock = self.made()
        self.assertEqual(clock.getDelayedCalls(), [])
        self.fill(log, range(1))
        clock.advance(1.0)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_full_batch_is_written_without_waiting(self) -> None:
        """Full batches go out in the next turns of the reactor, never inside ``log``; the rest waits its time."""
        log, paper, clock = self.made(batch=10)
        self.fill(log, range(25))
        self.assertEqual(paper.calls, ["open"])
        clock.advance(0)
        self.assertEqual(paper.batches, [10, 10])
        clock.advance(0.9)
        self.assertEqual(paper.batches, [10, 10])
        clock.advance(0.1)
        self.assertEqual(paper.batches, [10, 10, 5])
        self.assertEqual(paper.listeners, [str(n) for n in range(25)])

    def test_what_does_not_fit_is_dropped_counted_and_said_once(self) -> None:
        """A stalled reader costs lines beyond the buffer, one event when that begins and one when it is over."""
        log, paper, clock = self.made(Paper(room=0), buffer=10 * OVERHEAD, batch=4)
        with capturedLogs() as events:
            self.fill(log, range(50))
            clock.advance(1.0)
            self.fill(log, range(50, 60))
            clock.advance(1.0)
        self.assertEqual(len(events), 1)
        self.assertEqual(log.dropped, 50)
        with capturedLogs() as events:
            paper.room = 1 << 30
            clock.pump([1.0] * 5)
        self.assertEqual(len(events), 1)
        self.assertEqual(paper.listeners, [str(n) for n in range(10)])
        self.fill(log, range(60, 61))
        clock.advance(1.0)
        self.assertEqual(paper.listeners[-1], "60")
        self.assertEqual(log.dropped, 50)

    def test_the_buffer_is_measured_in_bytes(self) -> None:
        """A batch that was formatted and not yet taken still counts."""
        log, _, clock = self.made(Paper(room=0), buffer=4 * OVERHEAD, batch=2)
        self.fill(log, range(4))
        clock.advance(0)
        self.fill(log, range(4, 6))
        self.assertEqual(log.dropped, 2)

    def test_stop_writes_what_waits_and_closes(self) -> None:
        """No line is left behind, no timer either, and a record that comes later is counted as dropped."""
        log, paper, clock = self.made(batch=10)
        self.fill(log, range(25))
        log.stop()
        self.assertEqual(len(paper.listeners), 25)
        self.assertEqual(paper.calls[-1], "close")
        self.fill(log, range(1))
        self.assertEqual((log.lines, log.dropped), (25, 1))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_stop_does_not_wait_for_a_reader(self) -> None:
        """What cannot be written at once is dropped and counted."""
        log, paper, clock = self.made(Paper(room=150), batch=2)
        self.fill(log, range(5))
        log.stop()
        self.assertEqual(log.lines + log.dropped, 5)
        self.assertEqual(log.lines, paper.data.count(b"\n"))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_reopen_finishes_the_old_file_first(self) -> None:
        """Records from before the signal are in the old file."""
        log, paper, _ = self.made()
        self.fill(log, range(2))
        log.reopen()
        self.assertEqual(paper.calls, ["open", "write", "open"])

    def test_reopen_never_raises(self) -> None:
        """A file that cannot be opened again is said, and the old one stays."""
        path = Path(self.enterContext(TemporaryDirectory())) / "log"
        path.mkdir()
        log = AccessLog(AccessLogSettings(), Clock(), FileSink(str(path / "log")))
        log.start()
        self.addCleanup(log.stop)
        path.rename(path.with_name(path.name + "-moved"))
        with capturedLogs() as events:
            log.reopen()
        self.assertEqual(len(events), 1)

    def test_rotation_is_noticed_at_the_next_flush(self) -> None:
        """A file renamed by logrotate gets no further line, without any signal."""
        path = Path(self.enterContext(TemporaryDirectory())) / "file"
        clock = Clock()
        log = AccessLog(AccessLogSettings(str(path), "json"), clock, FileSink(str(path)))
        log.start()
        self.addCleanup(log.stop)
        self.fill(log, range(2))
        clock.advance(1.0)
        old = path.rename(path.with_name(path.name + ".1"))
        self.fill(log, range(2, 5))
        clock.advance(1.0)
        self.assertEqual((old.read_bytes().count(b"\n"), path.read_bytes().count(b"\n")), (2, 3))

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.integers(0, 30) | st.sampled_from(["tick", "flush", "reopen"]), max_size=20),
        st.lists(st.sampled_from([0, 1, 70, 150, 100_000]), min_size=1, max_size=5), st.integers(1, 12),
    )  # fmt: skip
    def test_every_record_is_a_line_or_counted(self, acts: list[int | str], rooms: list[int], batch: int) -> None:
        """In any interleaving with a sink of any mood, lines come out whole, in order, and the counters add up."""
        log, paper, clock = self.made(buffer=20 * OVERHEAD, batch=batch)
        logged = 0
        for turn, act in enumerate(acts):
            paper.room = rooms[turn % len(rooms)]
            if isinstance(act, int):
                self.fill(log, range(logged, logged + act))
                logged += act
            else:
                {"tick": lambda: clock.advance(1.0), "flush": log.flush, "reopen": log.reopen}[act]()
        paper.room = 1 << 30
        log.stop()
        numbers = [int(number) for number in paper.listeners]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(len(numbers), log.lines)
        self.assertEqual(log.lines + log.dropped, logged)


class SettingsTests(SynchronousTestCase):
    def test_keys_of_a_file(self) -> None:
        """Durations and sizes are written as people write them; other keys and formats are refused."""
        adapter = TypeAdapter(AccessLogSettings)
        made = adapter.validate_python({"path": "a.log", "format": "json", "flush_interval": "250ms", "buffer": "1MiB"})
        self.assertEqual(made, AccessLogSettings("a.log", "json", 0.25, buffer=2**20))
        for keys in ({"format": "xml"}, {"batch": 0}, {"file": "x"}, {"flush_interval": 0}):
            self.assertRaises(ValidationError, adapter.validate_python, keys)

    def test_the_path_decides_the_sink(self) -> None:
        """A hyphen is standard output, anything else a file."""
        self.assertIsInstance(sink_for(AccessLogSettings(), 1), StreamSink)
        self.assertIsInstance(sink_for(AccessLogSettings("x.log"), 1), FileSink)
