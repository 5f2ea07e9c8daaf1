"""The directory of a disk store: one process's at a time, readable to its user alone. Where a file is, and which are.

    lock           held, with the directory itself, by the process that uses it
    purges.N       what was purged (:mod:`balancer.stores.disk_purges`)
    new/           files that are being written, and those on their way out; emptied at each start
    00/ ... ff/    the responses, by the first byte of their name

It never looks into a response's file, and never touches a directory that holds what is not the store's.
"""

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from errno import EAGAIN, ENOENT
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import count
from typing import Final, NamedTuple

from balancer.errors import StoreError
from balancer.stores.disk_index import DIGEST, Entry

SHARDS: Final = 256
"""Directories of responses: a million files are four thousand in each."""

_FOLDER, _FILE = 0o700, 0o600
_NAME = re.compile(rf"([0-9a-f]{{{6 * DIGEST}}})\.([0-9a-f]{{16}})")
_OURS = re.compile(r"lock|new|lost\+found|purges\.[0-9]+|[0-9a-f]{2}")


class Found(NamedTuple):
    """A file of a response.

    :ivar used: it was read since it was written, as far as the file system tells (``relatime`` tells the first time).
    :ivar written: when, in nanoseconds.
    """

    name: bytes
    version: int
    size: int
    used: bool
    written: int


class Directory:
    """See the module."""

    shards = tuple(f"{shard:02x}" for shard in range(SHARDS))

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = -1
        self._top = -1
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<Directory {self.path!r} {'open' if self._lock >= 0 else 'closed'}>"

    def open(self) -> None:
        """Make it where it is not there, check it, and lock it.

        :raises StoreError: it cannot be used; the message says what to change.
        """
        try:
            self._open()
        except OSError as error:
            self.close()
            raise StoreError(
                f"the cache directory {self.path!r} cannot be used: {error.strerror} ({error.filename}); "
                f"it has to be a directory that user {os.geteuid()} may write, on a file system that is there"
            ) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others use it."""
        for file in (self._lock, self._top):
            if file >= 0:
                os.close(file)
        self._lock = self._top = -1

    @property
    def emptied(self) -> bool:
        """Whether somebody removed it, or the lock in it, since it was opened: two system calls' worth of a look."""
        return self._lock >= 0 and not (os.fstat(self._lock).st_nlink and os.fstat(self._top).st_nlink)

    def whole(self) -> bool:
        """Whether it is what :meth:`open` has left: its folders are there, and nobody else's directory has its name."""
        try:
            lock = os.stat(f"{self.path}/lock")
        except OSError:
            return False
        return os.path.samestat(lock, os.fstat(self._lock)) and all(map(os.path.isdir, self._folders()))

    def renew(self) -> None:
        """Open it again, wherever it went, and empty it: nothing of before counts any more. (For a thread.)

        :raises StoreError: it cannot be used.
        """
        self.close()
        self.open()
        try:
            # The purges first: without them, a start trusts no response that is still there.
            for error in unlink_all(self.purges()):
                raise error
            self.empty(self.shards)
        except OSError as error:
            raise StoreError(f"the cache directory cannot be emptied: {error.strerror} ({error.filename})") from error

    def file_of(self, entry: Entry) -> str:
        """Where an entry's file is."""
        name = entry.name.hex()
        return f"{self.path}/{name[:2]}/{name}.{entry.version:016x}"

    def temporary(self) -> str:
        """A name that nothing has, for a file that is written or goes."""
        return f"{self.path}/new/{next(self._numbers):x}"

    def purges(self) -> list[str]:
        """The files of purges, in the order of their numbers."""
        names = [name for name in os.listdir(self.path) if name.startswith("purges.")]
        return [f"{self.path}/{name}" for name in sorted(names, key=lambda name: int(name[7:]))]

    def listing(self, shard: int) -> tuple[list[Found], list[str]]:
        """The responses' files of one shard, the latest first; and what is there and is none. (For a thread.)"""
        found, foreign = [], []
        with os.scandir(f"{self.path}/{shard:02x}") as items:
            for item in items:
                match = _NAME.fullmatch(item.name)
                status = item.stat(follow_symlinks=False)
                if match is None or not item.name.startswith(f"{shard:02x}") or not stat.S_ISREG(status.st_mode):
                    foreign.append(item.path)
                    continue
                used = status.st_atime_ns > status.st_mtime_ns
                name, version = bytes.fromhex(match[1]), int(match[2], 16)
                found.append(Found(name, version, status.st_size, used, status.st_mtime_ns))
        found.sort(key=lambda one: one.written, reverse=True)
        return found, foreign

    def empty(self, folders: Iterable[str] = ("new",)) -> None:
        """Remove every file of these. (For a thread, unless they are small.)

        :raises OSError: something cannot be removed.
        """
        for folder in folders:
            with os.scandir(f"{self.path}/{folder}") as items:
                for error in unlink_all(item.path for item in items):
                    raise error

    def sync(self) -> None:
        """Have the disk know which files there are at the top."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _open(self) -> None:
        with suppress(FileExistsError):
            os.makedirs(self.path, _FOLDER)
        status = os.stat(self.path)
        if stat.S_ISDIR(status.st_mode):
            strange = [name for name in os.listdir(self.path) if not _OURS.fullmatch(name)]
            if strange:
                raise StoreError(
                    f"the cache directory {self.path!r} holds what is not the cache's ({min(strange)!r}); "
                    "name an empty directory, or one that does not exist yet"
                )
        if status.st_uid != os.geteuid():
            raise StoreError(
                f"the cache directory {self.path!r} belongs to user {status.st_uid}, and this process is user "
                f"{os.geteuid()}; give it to this user (chown), or name another"
            )
        if status.st_mode & 0o077:
            os.chmod(self.path, _FOLDER)
        self._take()
        for folder in self._folders():
            with suppress(FileExistsError):
                os.mkdir(folder, _FOLDER)
        self.empty()

    def _folders(self) -> list[str]:
        return [f"{self.path}/{folder}" for folder in ("new", *self.shards)]

    def _take(self) -> None:
        # The directory too: a lock that somebody removed would keep nobody out.
        self._top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        lock = self._lock = os.open(f"{self.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE)
        try:
            flock(lock, LOCK_EX | LOCK_NB)
            flock(self._top, LOCK_EX | LOCK_NB)
        except OSError as error:
            if error.errno != EAGAIN:
                raise
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
            raise StoreError(
                f"the cache directory {self.path!r} is in use by process {holder}; each process, and each "
                "[store], needs a directory of its own"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def unlink_all(paths: Iterable[str]) -> list[OSError]:
    """Remove files, those that are gone already among them; what went wrong."""
    wrong = []
    for path in paths:
        try:
            os.unlink(path)
        except OSError as error:
            if error.errno != ENOENT:
                wrong.append(error)
    return wrong


def create(path: str) -> int:
    """A new file, open for reading and writing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)


def write_all(file: int, data: bytes) -> None:
    """Append all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def look(path: str) -> None:
    """See whether a store could have its directory there. Nothing is made and nothing is locked.

    :raises StoreError: it could not; the message says why.
    """
    place = os.path.abspath(path)
    while not os.path.lexists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise StoreError(f"the cache directory {path!r} cannot be used: {place!r} is no directory")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StoreError(f"the cache directory {path!r} cannot be used: user {os.geteuid()} may not write {place!r}")
