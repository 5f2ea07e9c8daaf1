"""Bodies that are in files: read at once from the page cache where they are there, else in a thread.

What is guaranteed: no byte is handed out that was not proven by its checksum since this process began, or written by
this process. A file of an earlier process is proven block by block: the first when the response is found, so that what
is wrong there is a miss, the others as they are read, in a thread. Only when every block was is its descriptor handed
out for ``sendfile``, and bytes are read without proving them again: from then on the page cache and the disk are
believed, as they are by every file server. It never decides whether an entry goes.
"""

import os
from collections.abc import Callable, Iterable
from errno import EAGAIN, EOPNOTSUPP
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from balancer.errors import StoreError
from balancer.stores.disk_index import Entry
from balancer.stores.disk_record import BLOCK, Corrupt, prove, table_size
from balancer.stores.work import Work

T = TypeVar("T")

NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)
"""Linux: read what is in the page cache, or say that it is not there (preadv2(2))."""


class Keeper(Protocol):
    """Who has the files."""

    reading: Work

    def file_of(self, entry: Entry) -> str:
        """Where an entry's file is."""

    def spoiled(self, entry: Entry, error: Exception) -> None:
        """An entry cannot be read, or is not what was written: it has to go."""


class Handle:
    """An open file with several users: closed when the last of them gives it back, so that no thread ever reads from a
    number that means another file by now."""

    __slots__ = ("_users", "file")

    def __init__(self, file: int) -> None:
        self.file = file
        self._users = 1

    def __repr__(self) -> str:
        return f"<Handle {self.file} users={self._users}>"

    def take(self) -> "Handle":
        """One user more."""
        self._users += 1
        return self

    def give(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users:
            os.close(self.file)
            self.file = -1


def read_now(file: int, size: int, offset: int) -> bytes | None:
    """So many bytes, all of them from the page cache; ``None`` where that has not all of them.

    :raises OSError: it cannot be read.
    """
    if not NOWAIT:
        return None
    data = bytearray(size)
    try:
        got = os.preadv(file, [data], offset, NOWAIT)
    except OSError as error:
        if error.errno in (EAGAIN, EOPNOTSUPP):
            return None
        raise
    return bytes(data) if got == size else None


def read_exactly(file: int, size: int, offset: int) -> bytes:
    """So many bytes, from wherever they are. (For a thread.)

    :raises Corrupt: the file is shorter.
    :raises OSError: it cannot be read.
    """
    parts = []
    while size:
        part = os.pread(file, size, offset)
        if not part:
            raise Corrupt("a file that is cut off")
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_proven(file: int, size: int, offset: int, body: int, table_check: int) -> bytes:
    """So many bytes of a body, with all blocks proven that they are in. (For a thread.)

    :param body: bytes of the whole body.
    :raises Corrupt: it is not what was written.
    :raises OSError: it cannot be read.
    """
    begin = offset // BLOCK * BLOCK
    end = min((offset + size + BLOCK - 1) // BLOCK * BLOCK, body)
    blocks = read_exactly(file, end - begin, begin)
    prove(blocks, begin // BLOCK, read_exactly(file, table_size(body), body), table_check)
    return blocks[offset - begin : offset - begin + size]


class FileBody:
    """The body of an entry. (A :class:`~balancer.cache.stored.StoredBody`.)"""

    __slots__ = ("_keeper", "_table_check", "entry", "size")

    def __init__(self, keeper: Keeper, entry: Entry, size: int, table_check: int) -> None:
        self._keeper = keeper
        self._table_check = table_check
        self.entry = entry
        self.size = size

    def __repr__(self) -> str:
        return f"<FileBody {self.size} bytes of {self.entry!r}>"

    def open(self) -> "FileReader":
        """See :class:`~balancer.cache.stored.StoredBody`. (The name of a file is looked up: what the listing at the
        start, or writing it, has left in the kernel's caches.)"""
        if self.entry.gone:
            raise StoreError("the response is not in the cache any more")
        try:
            file = os.open(self._keeper.file_of(self.entry), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._keeper.spoiled(self.entry, error)
            raise StoreError(f"a body of the cache cannot be opened: {error.strerror}") from error
        if not self._fits(os.fstat(file).st_size):
            os.close(file)
            cut = Corrupt("a file of another size than it had")
            self._keeper.spoiled(self.entry, cut)
            raise StoreError(f"a body of the cache cannot be opened: {cut}")
        return FileReader(self._keeper, self.entry, Handle(file), self.size, self._table_check)

    def _fits(self, size: int) -> bool:
        """Whether that is the size of the file; while a thread appends a head to it, no more is known than what is in
        front of that."""
        if self.entry.pending is None:
            return size == self.entry.size
        return size >= self.size + table_size(self.size)


class FileReader:
    """Reads the body of an entry. (A :class:`~balancer.cache.stored.BodyReader`.)"""

    __slots__ = ("_closed", "_entry", "_handle", "_keeper", "_size", "_table_check")

    def __init__(self, keeper: Keeper, entry: Entry, handle: Handle, size: int, table_check: int) -> None:
        self._keeper = keeper
        self._entry = entry
        self._handle = handle
        self._size = size
        self._table_check = table_check
        self._closed = False

    def __repr__(self) -> str:
        return f"<FileReader of {self._entry!r}>"

    @property
    def file(self) -> tuple[int, int] | None:
        """The descriptor, as soon as the whole body is proven."""
        return (self._handle.file, 0) if self._entry.proven and not self._closed else None

    def read(self, offset: int, size: int) -> "bytes | Deferred[bytes]":
        """See :class:`~balancer.cache.stored.BodyReader`."""
        if self._closed:
            raise StoreError("a reader that was closed")
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        file = self._handle.file
        if not self._proven(offset, size):
            done = self._later(lambda: read_proven(file, size, offset, self._size, self._table_check))
            return done.addCallback(self._proved, offset, size)
        try:
            data = read_now(file, size, offset)
        except OSError as error:
            raise self._failed(error) from error
        return data if data is not None else self._later(lambda: read_exactly(file, size, offset))

    def close(self) -> None:
        """See :class:`~balancer.cache.stored.BodyReader`."""
        if not self._closed:
            self._closed = True
            self._handle.give()

    def _later(self, call: Callable[[], bytes]) -> "Deferred[Any]":
        handle = self._handle.take()

        def over(result: T) -> T:
            handle.give()
            return result

        done = self._keeper.reading.run(call)
        return done.addBoth(over).addErrback(self._caught)

    def _caught(self, failure: Failure) -> bytes:
        failure.trap(OSError, Corrupt)
        error = failure.value
        assert isinstance(error, Exception)
        raise self._failed(error)

    def _failed(self, error: Exception) -> StoreError:
        self._keeper.spoiled(self._entry, error)
        return StoreError(f"a body of the cache cannot be read: {error}")

    def _proven(self, offset: int, size: int) -> bool:
        entry = self._entry
        if entry.proven:
            return True
        known = entry.blocks
        return known is not None and all(number in known for number in _blocks(offset, size))

    def _proved(self, data: bytes, offset: int, size: int) -> bytes:
        note(self._entry, _blocks(offset, size), self._size)
        return data


def note(entry: Entry, blocks: Iterable[int], body: int) -> None:
    """These blocks of a body of so many bytes are proven."""
    if entry.proven:
        return
    if entry.blocks is None:
        entry.blocks = set()
    entry.blocks.update(blocks)
    if len(entry.blocks) == (body + BLOCK - 1) // BLOCK:
        entry.blocks, entry.proven = None, True


def _blocks(offset: int, size: int) -> range:
    return range(offset // BLOCK, (offset + size - 1) // BLOCK + 1)
