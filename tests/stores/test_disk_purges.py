"""The files of purges: what was purged is known to the next process, or it knows that it does not know."""

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import Purge
from balancer.stores import disk_directory, disk_purges
from balancer.stores.disk_directory import Directory, unlink_all
from balancer.stores.disk_purges import GAP, PurgeFiles, read
from balancer.stores.disk_record import Corrupt

PURGES = [
    Purge(kind="url", what=b"http://a.org/x?y"), Purge(kind="prefix", what=b"http://a.org/", soft=True),
    Purge(kind="host", what=b"a.org"), Purge(kind="tag", what=b"\xff\x00"), Purge(kind="all"),
]  # fmt: skip


class PurgeFilesTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.directory = Directory(self.mktemp())
        self.directory.open()
        self.addCleanup(self.directory.close)
        self.files = PurgeFiles(self.directory, sync=True)
        self.addCleanup(self.files.close)

    def test_what_is_written_is_read(self) -> None:
        """Every purge is read with its serial, in order, and numbers go on behind all that may have been given out."""
        self.files.begin(100, 7)
        for serial, purge in enumerate(PURGES, 101):
            self.files.add(serial, purge)
        self.files.add_dropped(b"n" * 24, 9)
        known = read(self.directory)
        self.assertEqual(known.purges, list(enumerate(PURGES, 101)))
        self.assertEqual((known.serial, known.version), (100 + len(PURGES) + GAP, 7 + GAP))
        self.assertEqual((known.dropped, known.records, self.files.records), ({b"n" * 24: 9}, 6, 6))

    def test_a_new_file(self) -> None:
        """A new file goes on behind the older ones, which count until they are given up."""
        self.files.begin(1, 1)
        self.files.add(2, PURGES[0])
        older = self.files.begin(2, 5)
        self.files.add(3, PURGES[1])
        self.assertEqual(read(self.directory).purges, [(2, PURGES[0]), (3, PURGES[1])])
        self.files.end(older, 1)
        known = read(self.directory)
        self.assertEqual((known.purges, known.serial, known.version), ([(3, PURGES[1])], 3 + GAP, 5 + GAP))
        self.assertEqual(self.files.records, 1)

    def test_order_of_numbers(self) -> None:
        """Ten comes after nine."""
        for number in range(1, 12):
            self.files.begin(number, number)
            self.files.add(number, PURGES[0])
        self.assertEqual([serial for serial, _ in read(self.directory).purges], list(range(1, 12)))

    def test_nothing_is_not_no_purge(self) -> None:
        """Where there is no file nobody knows what was purged."""
        with self.assertRaises(Corrupt):
            read(self.directory)

    @given(st.data())
    @settings(max_examples=50)
    def test_changed(self, data: Any) -> None:
        """With any byte changed, or cut off within a record, it is corrupt."""
        unlink_all(self.directory.purges())
        files = PurgeFiles(self.directory, sync=False)
        files.begin(1, 1)
        whole = [os.path.getsize(self.directory.purges()[0])]
        for serial, purge in enumerate(PURGES):
            files.add(serial, purge)
            whole.append(os.path.getsize(self.directory.purges()[0]))
        files.close()
        (path,) = self.directory.purges()
        with open(path, "r+b") as file:
            content = bytearray(file.read())
            if data.draw(st.booleans()):
                content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
            else:
                del content[data.draw(st.integers(0, len(content) - 1).filter(lambda size: size not in whole)) :]
            file.seek(0)
            file.truncate()
            file.write(content)
        with self.assertRaises(Corrupt):
            read(self.directory)

    def test_cannot_be_written(self) -> None:
        """A purge that cannot be written down is told, and the next process finds that it knows nothing."""
        self.files.begin(1, 1)
        self.files.add(1, PURGES[0])

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(disk_purges, "write_all", full)
        with self.assertRaises(OSError):
            self.files.add(2, PURGES[1])
        self.patch(disk_purges, "write_all", disk_directory.write_all)
        self.assertEqual(self.files.begin(3, 1), [])
        self.files.add(4, PURGES[1])
        with self.assertRaises(Corrupt):
            read(self.directory)

    def test_no_new_file(self) -> None:
        """Where no new file can be begun the older one goes on."""
        self.files.begin(1, 1)
        self.patch(disk_purges, "create", lambda path: os.open(f"{path}/nowhere", os.O_RDONLY))
        with self.assertRaises(OSError):
            self.files.begin(2, 1)
        self.files.add(2, PURGES[0])
        self.assertEqual(read(self.directory).purges, [(2, PURGES[0])])
