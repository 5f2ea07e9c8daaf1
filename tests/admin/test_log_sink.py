"""Where log lines go."""

import errno
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.log_sink import FileSink, StreamSink


class FileSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.enterContext(TemporaryDirectory())) / "log"
        self.directory.mkdir()
        self.path = self.directory / "access.log"
        self.sink = FileSink(str(self.path))
        self.addCleanup(self.sink.close)

    def test_lines_are_appended(self) -> None:
        """What the file had stays, and others cannot read it."""
        self.path.write_bytes(b"old\n")
        self.sink.open()
        self.assertEqual(self.sink.write(b"new\n"), 4)
        self.assertEqual(self.path.read_bytes(), b"old\nnew\n")
        self.path.unlink()
        self.sink.write(b"x\n")
        self.assertEqual(self.path.stat().st_mode & 0o007, 0)

    def test_a_file_moved_away_is_followed_by_a_new_one(self) -> None:
        """Rotation by renaming or removing loses no line."""
        self.sink.open()
        self.sink.write(b"1\n")
        self.path.rename(self.directory / "access.log.1")
        self.sink.write(b"2\n")
        self.path.unlink()
        self.sink.write(b"3\n")
        self.assertEqual((self.directory / "access.log.1").read_bytes(), b"1\n")
        self.assertEqual(self.path.read_bytes(), b"3\n")

    def test_a_file_replaced_by_another_is_followed(self) -> None:
        """A new file at the path gets the lines, whoever created it."""
        self.sink.open()
        other = self.directory / "other"
        other.write_bytes(b"")
        other.rename(self.path)
        self.sink.write(b"1\n")
        self.assertEqual(self.path.read_bytes(), b"1\n")

    def test_when_no_new_file_can_be_made_the_old_one_is_used(self) -> None:
        """A directory that is gone costs no line while the old file is open, and is said once."""
        self.sink.open()
        moved = self.directory.with_name(self.directory.name + "-moved")
        self.directory.rename(moved)
        with capturedLogs() as events:
            for _ in range(3):
                self.assertEqual(self.sink.write(b"1\n"), 2)
        self.assertEqual(len(events), 1)
        self.assertEqual((moved / "access.log").read_bytes(), b"1\n" * 3)
        with capturedLogs() as events:
            self.directory.mkdir()
            self.sink.write(b"2\n")
        self.assertEqual(len(events), 1)
        self.assertEqual(self.path.read_bytes(), b"2\n")

    def test_a_file_that_cannot_be_opened_takes_nothing(self) -> None:
        """Opening raises at the start; later nothing is written, nothing raises and it is said once."""
        sink = FileSink(str(self.directory / "no" / "such"))
        self.assertRaises(OSError, sink.open)
        with capturedLogs() as events:
            self.assertEqual([sink.write(b"1\n"), sink.write(b"1\n")], [0, 0])
        self.assertEqual(len(events), 1)

    def test_a_full_disk_is_said_once_and_raises_nothing(self) -> None:
        """ENOSPC is trouble to report, not an exception for traffic."""
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full on this system")
        sink = FileSink("/dev/full")
        self.addCleanup(sink.close)
        with capturedLogs() as events:
            self.assertEqual([sink.write(b"1\n"), sink.write(b"1\n")], [0, 0])
        self.assertEqual(len(events), 1)
        self.assertIn(os.strerror(errno.ENOSPC), repr(sink))

    def test_a_fifo_whose_reader_stalls_blocks_nobody(self) -> None:
        """What the reader does not take is given back."""
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        sink = FileSink(str(fifo))
        self.addCleanup(sink.close)
        data = b"0123456789\n" * 100_000
        written = sink.write(data)
        self.assertTrue(0 < written < len(data))
        self.assertEqual(sink.write(data[written:]), 0)
        self.assertEqual(os.read(reader, 11), b"0123456789\n")


class StreamSinkTests(SynchronousTestCase):
    def test_a_stalled_reader_of_standard_output_blocks_nobody(self) -> None:
        """A pipe takes what fits, the rest is given back, and every byte arrives in order."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        sink = StreamSink(writer)
        data = os.urandom(300_000)
        received = b""
        done = 0
        while done < len(data):
            written = sink.write(data[done:])
            done += written
            received += os.read(reader, 1 << 20)
        self.assertEqual(received, data)
        self.assertTrue(os.get_blocking(writer))

    def test_a_regular_file_takes_everything(self) -> None:
        """``> file`` is written at once."""
        path = Path(self.enterContext(TemporaryDirectory())) / "file"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        data = b"x" * 100_000
        self.assertEqual(StreamSink(fd).write(data), len(data))
        self.assertEqual(path.read_bytes(), data)

    def test_a_reader_that_left_is_said_once(self) -> None:
        """A broken pipe raises nothing."""
        near, far = socket.socketpair()
        far.close()
        self.addCleanup(near.close)
        sink = StreamSink(near.fileno())
        with capturedLogs() as events:
            self.assertEqual([sink.write(b"1\n"), sink.write(b"1\n")], [0, 0])
        self.assertEqual(len(events), 1)
        self.assertIn("broken", repr(sink))
