"""The directory of a disk store: who may use it, and what it must not touch."""

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from balancer.errors import StoreError
from balancer.stores.disk_directory import Directory, create, unlink_all
from balancer.stores.disk_index import Entry, name_of


class DirectoryTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.path = os.path.join(self.mktemp(), "deep", "cache")
        self.directory = Directory(self.path)
        self.addCleanup(self.directory.close)

    def refused(self, path: str) -> str:
        """Why it cannot be used."""
        with self.assertRaises(StoreError) as caught:
            Directory(path).open()
        return str(caught.exception)

    def mode(self, path: str) -> int:
        return os.stat(path).st_mode & 0o777

    def test_made(self) -> None:
        """It is made where it is not there, with all above it, and for its user alone."""
        self.directory.open()
        self.assertEqual(self.mode(self.path), 0o700)
        self.assertEqual({self.mode(f"{self.path}/{name}") for name in os.listdir(self.path)}, {0o700, 0o600})
        os.close(create(f"{self.path}/new/x"))
        self.assertEqual(self.mode(f"{self.path}/new/x"), 0o600)

    def test_closed_to_others(self) -> None:
        """One that others could read is closed to them."""
        os.makedirs(self.path)
        os.chmod(self.path, 0o755)
        self.directory.open()
        self.assertEqual(self.mode(self.path), 0o700)

    def test_one_at_a_time(self) -> None:
        """While it is open nobody else opens it, in this process or another one; who has it is told."""
        self.directory.open()
        self.assertIn(f"in use by process {os.getpid()}", self.refused(self.path))
        program = f"from balancer.stores.disk_directory import Directory; Directory({self.path!r}).open()"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertIn("needs a directory of its own", done.stderr)
        self.directory.close()
        subprocess.run([sys.executable, "-c", program], check=True)  # it ended, and left no lock
        self.directory.open()

    def test_not_ours(self) -> None:
        """A directory that holds something else is refused, and nothing in it is touched."""
        os.makedirs(self.path)
        for name in ("photo.jpg", "new"):
            with open(f"{self.path}/{name}", "w"):
                pass
        self.assertIn("'photo.jpg'", self.refused(self.path))
        self.assertEqual(sorted(os.listdir(self.path)), ["new", "photo.jpg"])

    def test_cannot_be_used(self) -> None:
        """What is no directory, or cannot be made, is told with its name."""
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w"):
            pass
        self.assertIn(self.path, self.refused(self.path))
        self.assertIn("Not a directory", self.refused(f"{self.path}/under"))
        self.assertIn("cannot be used", self.refused("/proc/cache"))

    def test_emptied(self) -> None:
        """What was being written when the last process ended is removed."""
        self.directory.open()
        os.close(create(self.directory.temporary()))
        self.directory.close()
        self.directory.open()
        self.assertEqual(os.listdir(f"{self.path}/new"), [])

    def test_listing(self) -> None:
        """Files of responses are listed, the latest first; everything else is foreign."""
        self.directory.open()
        entries = [Entry(name_of(b"a\n", b"%d" % number), number, 5) for number in range(3)]
        for entry in entries:
            file = create(self.directory.file_of(entry))
            os.write(file, b"x" * entry.version)
            os.close(file)
            os.utime(self.directory.file_of(entry), (50, 100 * (entry.version + 1)))
        os.utime(self.directory.file_of(entries[0]), (1000, 100))
        shard = entries[0].name[0]
        folder = f"{self.path}/{shard:02x}"
        foreign = [f"{folder}/x", f"{folder}/{entries[0].name.hex()}.1", f"{folder}/{'zz' * 24}.{0:016x}"]
        for path in foreign:
            os.close(create(path))
        os.symlink("/etc/passwd", f"{folder}/{entries[1].name.hex()}.{77:016x}")
        found, strange = self.directory.listing(shard)
        self.assertEqual(
            [(one.name, one.version, one.size, one.used) for one in found],
            [(entry.name, entry.version, entry.version, entry.version == 0) for entry in reversed(entries)],
        )
        self.assertEqual(sorted(strange), sorted([*foreign, f"{folder}/{entries[1].name.hex()}.{77:016x}"]))

    def test_unlink(self) -> None:
        """What is gone already is no mistake; what cannot be removed is told."""
        self.directory.open()
        wrong = unlink_all([f"{self.path}/nothing", f"{self.path}/new"])
        self.assertEqual([error.filename for error in wrong], [f"{self.path}/new"])
