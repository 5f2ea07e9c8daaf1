"""The disk store and its files: restarts, kills, corruption, full disks, sweeps and bounds."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.stores import disk_body, disk_directory, disk_files, disk_purges
from balancer.stores.disk import DISK, DiskSettings
from balancer.stores.disk_index import charge
from balancer.stores.disk_purging import FORGET_AFTER, SWEEP_AFTER
from balancer.stores.disk_record import BLOCK
from balancer.stores.disk_recovery import RETRY
from balancer.stores.disk_shelf import HEADS, VARIANTS
from balancer.testing.stored import REST, URI, StoreCase, a_stored, head_of
from balancer.testing.threads import ThreadlessClock

BODIES = {
    b"http://a.org/empty\n": b"", b"http://a.org/small\n": b"small", b"http://a.org/kilos\n": Random(1).randbytes(3000),
    b"http://a.org/large\n": Random(2).randbytes(70_000), b"http://a.org/larger\n": Random(3).randbytes(700_000),
}  # fmt: skip


class DiskCase(StoreCase, SynchronousTestCase):
    """A store whose directory is opened again and again, and whose threads are turned by hand."""

    plugin = DISK

    def setUp(self) -> None:
        self.reactor = ThreadlessClock()
        self.path = self.mktemp()
        self.settings = self.made()
        super().setUp()

    def made(self, **changes: Any) -> DiskSettings:
        return DiskSettings(**{"path": self.path, "size": 16 << 20, **changes})

    def settle(self) -> None:
        """Let the threads do all they have."""
        while self.reactor.waiting:
            self.turn()

    def restart(self, **changes: Any) -> None:
        """Stop it in order, and open another one."""
        self.result(self.store.stop())
        self.settings = self.made(**changes)
        self.store = self.open()

    def killed(self) -> None:
        """What the next process finds if this one is killed now: the threads do nothing more."""
        self.reactor.waiting.clear()
        store: Any = self.store
        store._purging.stop()
        store._directory.close()
        store.stop = lambda: None
        self.reactor = ThreadlessClock()
        self.store = self.open()

    def files(self) -> list[Path]:
        """Those of responses."""
        return sorted(path for path in Path(self.path).glob("??/*"))

    def fill(self) -> None:
        for key, body in BODIES.items():
            self.put(key, body, tags=[b"tag"])
        self.settle()


class RestartTests(DiskCase):
    """What the next process finds."""

    def test_everything(self) -> None:
        """After a restart every response is found as it was, whatever its size, and so is what was freshened."""
        self.fill()
        for key in BODIES:
            (old,) = self.get(key)
            self.store.put(key, a_stored(old.body, lifetime=77.0, serial=self.store.serial, tags=[b"tag"]))
        before = {key: [head_of(stored) for stored in self.get(key)] for key in BODIES}
        self.restart()
        self.assertEqual({key: [head_of(stored) for stored in self.get(key)] for key in BODIES}, before)
        self.assertEqual({key: self.bodies(key) for key in BODIES}, {key: [body] for key, body in BODIES.items()})
        self.assertEqual(self.store.counters["corrupt"], 0)

    def test_stop_writes_what_came(self) -> None:
        """What was put or committed just before the end is written; what was not committed leaves nothing."""
        self.put(body=b"put")
        writer = self.begin(URI + b"2\n")
        self.write(writer, BODIES[b"http://a.org/larger\n"], key=URI + b"2\n")
        writer.commit()
        self.write(self.begin(URI + b"3\n"), BODIES[b"http://a.org/larger\n"], key=URI + b"3\n")
        self.restart()
        self.assertEqual(self.bodies(), [b"put"])
        self.assertEqual(self.bodies(URI + b"2\n"), [BODIES[b"http://a.org/larger\n"]])
        self.assertEqual((self.get(URI + b"3\n"), len(self.files())), ([], 2))
        self.assertEqual(os.listdir(f"{self.path}/new"), [])

    def test_purges_are_kept(self) -> None:
        """Each kind of purge and removal, hard and soft, holds after a kill at once."""
        for kind, what in (("url", URI), ("prefix", URI[:9]), ("host", b"example.org"), ("tag", b"t"), ("all", b"")):
            for soft in (False, True):
                self.put(tags=[b"t"])
                self.settle()
                self.store.purge(Purge(kind=kind, what=what, soft=soft))  # type: ignore[arg-type]  # one of those
                self.killed()
                self.assertEqual(self.flags(), [True] if soft else [], (kind, soft))
        for soft in (False, True):
            self.put()
            self.settle()
            self.result(self.store.remove(URI, soft))
            self.killed()
            self.assertEqual(self.flags(), [True] if soft else [], soft)

    def test_what_comes_after_a_purge_stays(self) -> None:
        """What was stored after a purge is found after a kill, however many of them there were."""
        for _ in range(3):
            self.store.purge(Purge(kind="all"))
            self.put(body=b"later")
            self.settle()
            self.killed()
            self.assertEqual(self.bodies(), [b"later"])

    def test_what_was_dropped_stays_away(self) -> None:
        """What was dropped is not found after a kill, nor what it had replaced, written or not."""
        self.put(body=b"first")
        self.settle()
        self.put(body=b"second")
        for _ in range(2):
            self.store.drop(URI + REST, self.get()[0]) if self.get() else None
            self.killed()
            self.assertEqual(self.get(), [])
        self.put(body=b"third")
        self.settle()
        self.killed()
        self.assertEqual(self.bodies(), [b"third"])

    def test_of_two_files_the_later_counts(self) -> None:
        """A kill between writing a response and removing what it replaces leaves two; the later one is found."""
        self.put(body=b"first")
        self.settle()
        (first,) = self.files()
        content = first.read_bytes()
        self.put(body=b"second")
        self.settle()
        first.write_bytes(content)
        self.killed()
        self.assertEqual(self.bodies(), [b"second"])
        self.settle()
        self.assertEqual(len(self.files()), 1)

    def test_while_it_is_loading(self) -> None:
        """Before all is known what comes is kept, and replaces, purges, drops and removes what is not known yet."""
        keys = [b"http://a.org/%d\n" % number for number in range(6)]
        for key in keys:
            self.put(key, b"old")
        self.result(self.store.stop())
        self.store = self.plugin.store(self.settings, self.reactor, self.others)
        started = self.store.start()
        self.addCleanup(lambda: self.result(self.store.stop()))
        self.assertEqual([self.get(key) for key in keys], [[]] * 6)
        self.put(keys[0], b"new")
        self.store.remove(keys[1].strip(), False)
        self.store.remove(keys[2].strip(), True)
        self.store.purge(Purge(kind="url", what=keys[3].strip()))
        self.put(keys[4], b"new")
        self.store.drop(keys[4], self.get(keys[4])[0])
        assert isinstance(started, Deferred)
        self.assertNoResult(started)
        self.result(started)
        self.assertEqual([self.bodies(key) for key in keys], [[b"new"], [], [b"old"], [], [], [b"old"]])
        self.assertEqual((self.flags(keys[2]), self.flags(keys[5])), ([True], [False]))
        self.settle()
        self.assertEqual((len(self.files()), self.store.counters["corrupt"]), (3, 0))
        self.restart()
        self.assertEqual([self.bodies(key) for key in keys], [[b"new"], [], [b"old"], [], [], [b"old"]])

    def test_a_smaller_size(self) -> None:
        """With a smaller size what is too much goes."""
        self.fill()
        self.restart(size=512 << 10)
        self.settle()
        self.assertLessEqual(self.store.counters["bytes"], 512 << 10)
        self.assertGreater(self.store.counters["evicted"], 0)
        self.assertEqual(sum(charge(path.stat().st_size) for path in self.files()), self.store.counters["bytes"])

    def test_in_use(self) -> None:
        """Two stores cannot have one directory, and the second is told why."""
        with self.assertRaises(StoreError) as caught:
            self.plugin.store(self.settings, self.reactor, self.others).start()
        self.assertIn("in use by process", str(caught.exception))


class CorruptionTests(DiskCase):
    """Files that are not what was written."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()
        self.store.purge(Purge(kind="url", what=b"http://a.org/purged"))
        self.put(b"http://a.org/purged\n", b"new")
        self.result(self.store.stop())
        self.store.stop = lambda: None  # type: ignore[method-assign]  # it is
        self.pristine = {path: path.read_bytes() for path in [*self.files(), *Path(self.path).glob("purges.*")]}

    def restore(self) -> None:
        for path in [*self.files(), *Path(self.path).glob("purges.*")]:
            path.unlink()
        for path, content in self.pristine.items():
            path.write_bytes(content)

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_the_right_answer_or_none(self, data: Any) -> None:
        """Whatever happens to any one file, each body is found exactly as it was or not at all, and that is counted."""
        self.restore()
        path = data.draw(st.sampled_from(sorted(self.pristine)))
        content = bytearray(self.pristine[path])
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(("flip", "cut", "zeros", "more", "other")))
        if kind == "flip":
            content[place] ^= data.draw(st.integers(1, 255))
        elif kind == "cut" and "purges" not in path.name:
            del content[place:]
        elif kind == "zeros":
            content[place:] = bytes(len(content) - place)
        elif kind == "more":
            content += data.draw(st.binary(min_size=1))
        else:
            content = bytearray(self.pristine[data.draw(st.sampled_from(sorted(self.pristine)))])
        path.write_bytes(content)
        self.store = self.open()
        try:
            found = {key: self.all_of(key) for key in BODIES}
            for key, bodies in found.items():
                self.assertIn(bodies, ([], [BODIES[key]]), key)
            whole = found == {key: [body] for key, body in BODIES.items()}
            self.assertIn(self.bodies(b"http://a.org/purged\n"), ([], [b"new"]))
            if not whole:
                self.assertGreater(self.store.counters["corrupt"], 0)
        finally:
            self.result(self.store.stop())
            self.store.stop = lambda: None  # type: ignore[method-assign]  # it is

    def all_of(self, key: bytes) -> list[bytes]:
        """Bodies, read in pieces as deliveries read them; and once more, from the descriptor where there is one."""
        bodies = []
        for stored in self.get(key):
            try:
                bodies.append(self.piecewise(stored))
            except StoreError:
                self.assertEqual(self.get(key), [])  # it is dropped
        return bodies

    def piecewise(self, stored: Stored) -> bytes:
        if isinstance(stored.body, bytes):
            return stored.body
        reader = stored.body.open()
        try:
            self.assertEqual(reader.file is None, stored.size > BLOCK)  # the first block is proven
            data = b""
            while len(data) < stored.size:
                data += self.result(reader.read(len(data), 65536))
            assert reader.file is not None
            self.assertEqual(os.pread(reader.file[0], len(data), reader.file[1]), data)
            return data
        finally:
            reader.close()

    def test_foreign_files(self) -> None:
        """What is none of the store's files, in its directories, goes and is counted."""
        self.restore()
        folder = Path(self.path) / "00"
        (folder / "foreign").write_bytes(b"x")
        self.store = self.open()
        self.settle()
        self.assertEqual((self.store.counters["corrupt"], list(folder.glob("foreign"))), (1, []))
        self.assertEqual({key: self.bodies(key) for key in BODIES}, {key: [body] for key, body in BODIES.items()})

    def test_a_file_of_another_key(self) -> None:
        """A good file under a wrong name is never found under that name."""
        self.restore()
        one, two = self.files()[:2]
        one.write_bytes(two.read_bytes())
        self.store = self.open()
        for key, body in BODIES.items():
            self.assertIn(self.bodies(key), ([], [body]))
        self.get(b"http://a.org/purged\n")
        self.assertEqual(self.store.counters["corrupt"], 1)

    def test_purges_that_are_lost(self) -> None:
        """Where nobody knows what was purged, nothing of before is found, and the store works."""
        self.restore()
        for path in Path(self.path).glob("purges.*"):
            path.unlink()
        self.store = self.open()
        self.assertEqual([self.get(key) for key in BODIES], [[]] * len(BODIES))
        self.assertEqual(self.files(), [])
        self.put(body=b"new")
        self.restart()
        self.assertEqual(self.bodies(), [b"new"])

    def test_what_cannot_be_emptied(self) -> None:
        """Where what may not be used cannot be removed, the store does not start, and says why."""
        self.restore()
        for path in Path(self.path).glob("purges.*"):
            path.unlink()
        folder = Path(self.path) / "7f" / "folder"
        folder.mkdir()
        with self.assertRaises(StoreError) as caught:
            self.result(self.plugin.store(self.settings, self.reactor, self.others).start())
        self.assertIn(str(folder), str(caught.exception))
        folder.rmdir()
        self.store = self.open()
        self.assertEqual(self.files(), [])


class TroubleTests(DiskCase):
    """Disks that are full, broken or slow."""

    def broken(self, *_: object) -> Any:
        raise OSError(28, "No space left on device")

    def test_a_full_disk(self) -> None:
        """What cannot be written is not found afterwards, is counted and logged once; what was there stays."""
        self.put(body=b"there")
        self.settle()
        self.patch(disk_files, "write_all", self.broken)
        for number in range(5):
            self.put(b"http://b.org/%d\n" % number)
            self.settle()
            self.assertEqual(self.get(b"http://b.org/%d\n" % number), [])
        self.assertEqual((self.bodies(), self.store.counters["errors"]), ([b"there"], 5))
        self.assertEqual(os.listdir(f"{self.path}/new"), [])
        self.patch(disk_files, "write_all", disk_directory.write_all)
        self.put(b"http://b.org/\n", b"again")
        self.restart()
        self.assertEqual(self.bodies(b"http://b.org/\n"), [b"again"])

    def test_a_full_disk_while_it_is_written(self) -> None:
        """Who writes a large body is told with the next piece, or never hears of it where it was complete already."""
        for complete in (False, True):
            writer = self.begin()
            piece = b"x" * 300_000
            writer.write(piece)
            self.patch(disk_files, "write_all", self.broken)
            reader = writer.body.open()
            if complete:
                writer.commit()
            self.settle()
            if not complete:
                with self.assertRaises(StoreError):
                    writer.write(piece)
                with self.assertRaises(StoreError):
                    writer.commit()
                writer.abort()
            self.settle()
            self.assertEqual(self.read(reader, 0, len(piece)), piece)
            reader.close()
            self.assertEqual((self.get(), self.files(), os.listdir(f"{self.path}/new")), ([], [], []))
            self.patch(disk_files, "write_all", disk_directory.write_all)

    def test_a_writer_that_waits_is_told(self) -> None:
        """A writer that was full when the disk failed is resumed, and then told."""
        writer = self.begin()
        self.patch(disk_files, "write_all", self.broken)
        while writer.write(b"x" * 200_000):
            pass
        self.settle()
        self.assertEqual(self.resumed, [URI + REST])
        with self.assertRaises(StoreError):
            writer.write(b"x")
        writer.abort()

    def test_a_purge_that_cannot_be_written(self) -> None:
        """It holds, and the next process, which cannot know of it, begins empty."""
        self.fill()
        self.patch(disk_purges, "write_all", self.broken)
        self.store.purge(Purge(kind="tag", what=b"tag"))
        self.patch(disk_purges, "write_all", disk_directory.write_all)
        self.assertEqual(([self.get(key) for key in BODIES], self.store.counters["errors"]), ([[]] * len(BODIES), 1))
        self.put(body=b"new")
        self.reactor.advance(SWEEP_AFTER)
        self.settle()
        self.restart()
        self.assertEqual(self.get(), [])

    def test_a_file_that_is_gone(self) -> None:
        """A file that somebody removed is absent, whether it was to be found or to be opened."""
        self.fill()
        (large,) = self.get(b"http://a.org/large\n")
        for path in self.files():
            path.unlink()
        with self.assertRaises(StoreError):
            large.body.open()  # type: ignore[union-attr]  # it is large
        self.assertEqual([self.get(key) for key in BODIES], [[]] * len(BODIES))
        self.assertEqual((self.store.counters["corrupt"], self.store.counters["objects"]), (len(BODIES), 0))

    def test_a_first_block_that_is_damaged(self) -> None:
        """Of an earlier process's response nothing is found where its first block is not what was written: a miss, and
        no answer that breaks off; whether the page cache has it or not."""
        key = b"http://a.org/larger\n"
        for cold in (False, True):
            self.put(key, BODIES[key])
            self.restart()
            (path,) = self.files()
            content = bytearray(path.read_bytes())
            content[1000] ^= 1
            path.write_bytes(content)
            with self.subTest(cold=cold):
                self.patch(disk_body, "NOWAIT", 0 if cold else os.RWF_NOWAIT)
                self.assertEqual((self.get(key), self.store.counters["corrupt"]), ([], 1))
            self.patch(disk_body, "NOWAIT", os.RWF_NOWAIT)
            self.settle()

    def test_a_file_that_was_cut_off(self) -> None:
        """A body whose file has another size than it had is not opened, though this process has written it."""
        self.fill()
        key = b"http://a.org/larger\n"
        (large,) = self.get(key)
        (path,) = [path for path in self.files() if path.stat().st_size > len(BODIES[key])]
        os.truncate(path, len(BODIES[key]) - 1)
        with self.assertRaises(StoreError):
            large.body.open()  # type: ignore[union-attr]  # it is large
        self.assertEqual((self.get(key), self.store.counters["corrupt"]), ([], 1))

    def test_freshened_before_it_is_written(self) -> None:
        """A response that is freshened between its end and its last byte on the disk is found, and opened, as it is."""
        key, body = b"http://a.org/larger\n", BODIES[b"http://a.org/larger\n"]
        writer = self.begin(key)
        writer.write(body)
        writer.commit()  # a thread has its first part
        (found,) = self.get(key)
        self.store.put(key, a_stored(found.body, lifetime=77.0, serial=self.store.serial))
        self.assertEqual(self.bodies(key), [body])
        self.settle()
        for _ in range(2):
            (found,) = self.get(key)
            self.assertEqual((found.lifetime, self.content(found)), (77.0, body))
            self.restart()
        self.assertEqual(self.store.counters["corrupt"], 0)

    def test_a_cold_disk(self) -> None:
        """What is not in the page cache is read by a thread, and what happens to the entry meanwhile counts."""
        self.fill()
        self.patch(disk_body, "NOWAIT", 0)
        for key, body in BODIES.items():
            self.assertIsInstance(self.store.get(key), Deferred)
            self.settle()
            self.assertEqual(self.bodies(key), [body])
        key = b"http://a.org/large\n"
        for change in (lambda: self.result(self.store.remove(key.strip(), False)), lambda: self.put(key, b"new")):
            self.put(key, BODIES[key])
            self.settle()
            waiting = self.store.get(key)
            change()
            self.assertNotIn(BODIES[key], [self.content(stored) for stored in self.result(waiting)])
        self.assertEqual(self.store.counters["corrupt"], 0)

    def test_a_reader_that_is_closed_while_a_thread_reads(self) -> None:
        """Its descriptor stays open until the thread is done, and is closed then."""
        self.fill()
        self.patch(disk_body, "NOWAIT", 0)
        (large,) = self.get(b"http://a.org/large\n")
        before = len(os.listdir("/proc/self/fd"))
        reader: Any = large.body.open()  # type: ignore[union-attr]  # it is large
        waiting = reader.read(5, 10)
        reader.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 1)
        self.assertEqual(self.result(waiting), BODIES[b"http://a.org/large\n"][5:15])
        self.assertEqual((len(os.listdir("/proc/self/fd")), reader.file), (before, None))
        with self.assertRaises(StoreError):
            reader.read(0, 1)


class EmptiedTests(DiskCase):
    """A directory that somebody empties, or removes, while the store is in use."""

    KEY = b"http://a.org/larger\n"

    def empty(self, how: str = "*") -> None:
        """Do as ``rm -rf`` or ``find -type f -delete``."""
        for path in [Path(self.path)] if how == "all" else list(Path(self.path).iterdir()):
            if how == "files":
                for file in [path] if path.is_file() else list(path.iterdir()):
                    file.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def notice(self) -> None:
        """Let it see that, and do what it does."""
        for _ in range(20):
            self.turn()
        self.settle()

    def test_noticed(self) -> None:
        """However it was emptied and whatever is asked for next, it is noticed, told once, made again, and used."""
        asks: tuple[Callable[[], object], ...] = (
            lambda: self.get(self.KEY), self.put, lambda: self.store.begin(self.KEY, a_stored(), -1, lambda: None),
            lambda: self.store.purge(Purge(kind="tag", what=b"no")), lambda: self.store.remove(URI, False),
        )  # fmt: skip
        for how in ("*", "files", "all"):
            for number, ask in enumerate(asks):
                with self.subTest(how=how, ask=number), capturedLogs() as logs:
                    self.fill()
                    self.empty(how)
                    ask()
                    self.notice()
                    self.assertEqual((self.store.counters["objects"], self.files()), (0, []))
                    self.fill()
                    self.assertEqual([self.bodies(key) for key in BODIES], [[body] for body in BODIES.values()])
                    self.assertEqual(len([event for event in logs if event["log_level"].name == "error"]), 1)
                    self.restart()
                    self.assertEqual([self.bodies(key) for key in BODIES], [[body] for body in BODIES.values()])

    def test_what_was_being_written(self) -> None:
        """What was on its way when that happened is given up, its readers go on, and nothing of it is found."""
        body = BODIES[self.KEY]
        writer = self.begin(self.KEY)
        self.write(writer, body, key=self.KEY)
        reader = writer.body.open()
        self.put()
        self.empty()
        self.put(b"http://b.org/\n")
        self.notice()
        with self.assertRaises(StoreError):
            writer.commit()
        self.assertEqual(self.read(reader, 0, len(body)), body)
        reader.close()
        self.assertEqual((self.get(self.KEY), self.get(), self.files()), ([], [], []))

    def test_purges_hold(self) -> None:
        """What was asked for before a purge and comes after the emptying is not kept, nor after a kill; purges made
        while the directory is made again are as good as others."""
        asked = self.store.serial
        self.store.purge(Purge(kind="host", what=b"example.org"))
        self.empty()
        self.get()
        self.put(b"http://b.org/\n")  # noticed
        self.store.purge(Purge(kind="host", what=b"a.org"))
        self.notice()
        self.put(serial=asked)
        self.put(self.KEY, serial=asked)
        self.put(b"http://c.org/\n", serial=asked)
        self.assertEqual([len(self.get(key)) for key in (URI + REST, self.KEY, b"http://c.org/\n")], [0, 0, 1])
        self.settle()
        self.store.purge(Purge(kind="host", what=b"c.org"))
        self.killed()
        self.assertEqual(self.get(b"http://c.org/\n"), [])

    def test_only_the_purges(self) -> None:
        """Where the file of purges alone was removed, nothing of before counts any more: nobody else knows of it."""
        self.fill()
        for path in Path(self.path).glob("purges.*"):
            path.unlink()
        self.store.purge(Purge(kind="tag", what=b"no"))
        self.notice()
        self.assertEqual((self.store.counters["objects"], self.files()), (0, []))
        self.put()
        self.restart()
        self.assertEqual(self.bodies(), [b"hello"])

    def test_another_process(self) -> None:
        """Nobody else gets a directory that was emptied; one that was removed, and made by another, is the other's as
        long as it uses it, and nothing of the other's is touched."""
        self.empty()
        with self.assertRaises(StoreError):
            self.plugin.store(self.settings, self.reactor, self.others).start()
        self.empty("all")
        mine, self.store = self.store, self.open()
        self.fill()
        other, self.store = self.store, mine
        self.put()
        self.notice()
        self.assertEqual((self.get(), self.store.begin(URI + REST, a_stored(), 1, lambda: None)), ([], None))
        self.store = other
        self.assertEqual([self.bodies(key) for key in BODIES], [[body] for body in BODIES.values()])
        self.result(other.stop())
        other.stop = lambda: None  # type: ignore[method-assign]  # it is
        self.store = mine
        self.reactor.advance(RETRY)
        self.notice()
        self.put()
        self.settle()
        self.assertEqual((self.bodies(), len(self.files())), ([b"hello"], 1))

    def test_stopped_meanwhile(self) -> None:
        """It may be stopped at any moment of that."""
        for turns in range(8):
            self.fill()
            self.empty()
            self.put()
            for _ in range(turns):
                self.turn()
            self.restart()
            self.assertEqual(self.get(), [])


class SweepTests(DiskCase):
    """What is given back after a purge."""

    def sweep(self) -> None:
        self.reactor.advance(SWEEP_AFTER)
        for _ in range(300):
            self.turn()
        self.settle()

    def forget(self) -> None:
        self.reactor.advance(FORGET_AFTER)
        self.settle()

    def test_the_room_is_given_back(self) -> None:
        """A sweep removes what was purged though nobody asked for it, and then the purge is forgotten."""
        self.fill()
        for number in range(100):
            self.put(b"http://b.org/%d\n" % number, tags=[b"other"])
        self.settle()
        self.store.purge(Purge(kind="tag", what=b"other"))
        self.assertEqual(self.store.counters["objects"], len(BODIES) + 100)
        self.sweep()
        self.assertEqual((self.store.counters["objects"], len(self.files())), (len(BODIES),) * 2)
        self.assertEqual(len(list(Path(self.path).glob("purges.*"))), 2)
        self.forget()
        self.assertEqual(len(list(Path(self.path).glob("purges.*"))), 1)
        self.restart()
        self.assertEqual({key: self.bodies(key) for key in BODIES}, {key: [body] for key, body in BODIES.items()})

    def test_soft_ones_are_marked(self) -> None:
        """What a soft purge met is marked in its file, and stays stale when the purge is forgotten."""
        self.fill()
        self.put(b"http://b.org/\n", b"other")
        self.result(self.store.remove(b"http://b.org/", True))
        self.store.purge(Purge(kind="tag", what=b"tag", soft=True))
        self.sweep()
        self.forget()
        self.restart()
        for key in [*BODIES, b"http://b.org/\n"]:
            (stored,) = self.get(key)
            self.assertEqual((stored.flags, self.content(stored)), (SOFT_PURGED, BODIES.get(key, b"other")))
        self.assertEqual([path.stat().st_size for path in Path(self.path).glob("purges.*")], [28])

    def test_one_page_needs_no_sweep(self) -> None:
        """Purges of single pages are worked off at once, and no sweep is begun for them."""
        self.fill()
        self.store.purge(Purge(kind="url", what=b"http://a.org/small"))
        self.store.purge(Purge(kind="url", what=b"http://a.org/large", soft=True))
        self.settle()
        self.assertEqual((len(self.files()), self.reactor.getDelayedCalls()), (len(BODIES) - 1, []))
        self.assertEqual(self.flags(b"http://a.org/large\n"), [True])

    def test_after_a_kill(self) -> None:
        """A sweep that a kill cut short is made by the next process."""
        self.fill()
        self.store.purge(Purge(kind="tag", what=b"tag"))
        self.killed()
        self.assertEqual(self.store.counters["objects"], len(BODIES))
        self.sweep()
        self.assertEqual((self.store.counters["objects"], self.files()), (0, []))

    def test_what_was_asked_for_long_ago(self) -> None:
        """What was asked for before a purge, and comes when that is forgotten, is not kept."""
        asked = self.store.serial
        writer = self.begin(serial=asked)
        self.store.purge(Purge(kind="tag", what=b"tag"))
        self.sweep()
        self.put(b"http://b.org/\n", serial=asked)
        self.assertEqual(self.bodies(b"http://b.org/\n"), [b"hello"])
        self.forget()
        self.put(b"http://c.org/\n", serial=asked)
        writer.commit()
        self.assertEqual((self.get(b"http://c.org/\n"), self.get()), ([], []))


class BoundsTests(DiskCase):
    """What there may be at most."""

    def test_the_disk_is_what_is_counted(self) -> None:
        """After any history the files take what the counter says, and no more than the size."""
        chance = Random(9)
        self.restart(size=2 << 20, max_object=1 << 20)
        for number in range(400):
            key = b"http://a.org/%d\n" % chance.randrange(200)
            if chance.random() < 0.5:
                self.put(key, b"x" * chance.choice((10, 5000, 70_000, 300_000)))
            else:
                self.settle()
                writer = self.begin(key)
                self.write(writer, b"x" * chance.choice((10, 5000, 70_000, 300_000)), key=key)
                writer.commit() if chance.random() < 0.9 else writer.abort()
            self.assertLessEqual(self.store.counters["bytes"], 2 << 20, number)
            if not number % 20:
                self.settle()
                sizes = sum(charge(path.stat().st_size) for path in self.files())
                self.assertEqual(sizes, self.store.counters["bytes"])
        self.assertGreater(self.store.counters["evicted"], 100)
        self.assertEqual(os.listdir(f"{self.path}/new"), [])

    def test_objects(self) -> None:
        """There are no more responses than that."""
        self.restart(objects=10)
        for number in range(20):
            self.put(b"http://a.org/%d\n" % number)
        self.settle()
        self.assertEqual((self.store.counters["objects"], len(self.files())), (10, 10))

    def test_variants(self) -> None:
        """Of one key there are so many variants, the most recent ones."""
        for number in range(VARIANTS + 5):
            self.put(body=b"%d" % number, nominated=b"%d" % number)
        self.settle()
        self.assertEqual(self.bodies(), [b"%d" % number for number in range(VARIANTS + 4, 4, -1)])

    def test_heads(self) -> None:
        """A file does not grow for ever by being freshened: it is fetched anew then."""
        key, body = b"http://a.org/large\n", BODIES[b"http://a.org/large\n"]
        self.put(key, body)
        self.settle()
        lines = b"X: %s\r\n" % (b"y" * 30_000)
        for _ in range(HEADS // 30_000 + 1):
            found = self.get(key)
            if not found:
                break
            self.store.put(key, a_stored(found[0].body, lines=lines, serial=self.store.serial))
            self.settle()
        self.assertEqual((self.get(key), self.store.counters["evicted"]), ([], 1))

    def test_memory(self) -> None:
        """What waits for threads that do not come is bounded; what is more is refused."""
        self.restart(size=1 << 30)
        body = b"x" * (1 << 20)
        for number in range(100):
            self.put(b"http://a.org/%d\n" % number, body)
        self.assertEqual((self.store.counters["objects"], self.store.counters["refused"]), (32, 68))
        self.settle()
        self.assertEqual(self.bodies(b"http://a.org/7\n"), [body])
        self.assertIsNone(self.store.begin(URI + REST, a_stored(), 1 << 28, lambda: None))

    def test_closed(self) -> None:
        """A store that is not open finds and keeps nothing, and nothing is wrong."""
        self.put()
        self.result(self.store.stop())
        self.assertEqual((self.get(), self.store.begin(URI + REST, a_stored(), 1, lambda: None)), ([], None))
        self.store.put(URI + REST, a_stored())
        self.assertEqual(self.store.counters["refused"], 2)
        self.store.purge(Purge(kind="all"))
        self.assertEqual(self.store.remove(URI, False), 0)
        store = self.plugin.store(self.settings, self.reactor, self.others)
        self.assertEqual((list(store.get(URI + REST)), store.serial), ([], 0))  # type: ignore[arg-type]  # at once
        self.store = self.open()
        self.assertEqual(self.bodies(), [b"hello"])

    def test_stopped_while_it_starts(self) -> None:
        """A store may be stopped while it is starting, from whatever state; the directory is free then, and whole."""
        self.put()
        self.result(self.store.stop())
        purges = list(Path(self.path).glob("purges.*"))
        for kept in (True, False):
            if not kept:
                for path in purges:
                    path.unlink()
            store = self.plugin.store(self.settings, self.reactor, self.others)
            started = store.start()
            stopped = store.stop()
            self.settle()
            self.assertEqual((self.successResultOf(started), self.successResultOf(stopped)), (None, None))
            purges = list(Path(self.path).glob("purges.*"))
            self.assertEqual(list(store.get(URI + REST)), [])
        self.store = self.open()
        self.assertEqual(self.get(), [])
