"""A body that is being written: what is in its file is read there, what is not there yet is still in memory.

It never writes; :mod:`balancer.stores.disk_writer` does, and says what went into the file.
"""

from collections import deque

from twisted.internet.defer import Deferred

from balancer.cache.stored import BodyReader
from balancer.errors import StoreError
from balancer.stores.disk_body import FileBody, Handle, Keeper, read_exactly, read_now
from balancer.stores.disk_index import Entry


class GrowingBody:
    """A :class:`~balancer.cache.stored.StoredBody` of what was written so far.

    Its users are its writer, until that is done, and its readers. While there are any the file stays open, whatever
    becomes of its name. When there are none any more, it is the body of the entry that it became.

    :ivar size: bytes written.
    :ivar filed: how many of them are in the file.
    :ivar entry: what it became, from the moment it is found.
    :ivar became: the body of that, once the file has its name.
    """

    __slots__ = ("_handle", "_keeper", "_rest", "_users", "became", "entry", "filed", "size")

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._handle: Handle | None = None
        self._rest: deque[bytes] = deque()
        self._users = 1
        self.entry: Entry | None = None
        self.became: FileBody | None = None
        self.filed = 0
        self.size = 0

    def __repr__(self) -> str:
        return f"<GrowingBody {self.filed} of {self.size} bytes in its file>"

    # -- for its writer ------------------------------------------------------------------------------------------

    def append(self, data: bytes) -> None:
        """Some more."""
        self._rest.append(data)
        self.size += len(data)

    def rest(self) -> bytes:
        """What is not in the file."""
        return b"".join(self._rest)

    def opened(self, file: int) -> None:
        """There is a file now."""
        self._handle = Handle(file)

    def moved(self, size: int) -> None:
        """So many bytes more are in the file, whole pieces as they were appended."""
        self.filed += size
        while size:
            size -= len(self._rest.popleft())
        assert not size

    def leave(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users and self._handle is not None:
            self._handle.give()
            self._handle = None

    # -- for its readers -----------------------------------------------------------------------------------------

    def open(self) -> BodyReader:
        """See :class:`~balancer.cache.stored.StoredBody`."""
        if not self._users and self.filed:
            if self.became is None:
                raise StoreError("the response was not completed, and is not in the cache")
            return self.became.open()
        self._users += 1
        return GrowingReader(self)

    def read(self, offset: int, size: int) -> "bytes | Deferred[bytes]":
        """For an open reader: as :meth:`~balancer.cache.stored.BodyReader.read`."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        if offset >= self.filed:
            return self._from_rest(offset - self.filed, size)
        handle = self._handle
        assert handle is not None
        within = min(size, self.filed - offset)
        behind = self._from_rest(0, size - within) if within < size else b""
        try:
            data = read_now(handle.file, within, offset)
        except OSError as error:
            raise StoreError(f"a body of the cache cannot be read: {error.strerror}") from error
        if data is not None:
            return data + behind
        return self._later(handle.take(), within, offset, behind)

    def _later(self, handle: Handle, size: int, offset: int, behind: bytes) -> "Deferred[bytes]":
        def over(result: object) -> bytes:
            handle.give()
            if isinstance(result, bytes):
                return result + behind
            raise StoreError(f"a body of the cache cannot be read: {result}")

        return self._keeper.reading.run(read_exactly, handle.file, size, offset).addBoth(over)

    def _from_rest(self, offset: int, size: int) -> bytes:
        parts = []
        for piece in self._rest:
            if offset < len(piece):
                parts.append(piece[offset : offset + size])
                size -= len(parts[-1])
                offset = len(piece)
            offset -= len(piece)
            if not size:
                break
        return b"".join(parts)

    @property
    def file(self) -> tuple[int, int] | None:
        """The descriptor, when all is in the file and no more is to come."""
        if self._handle is None or self.became is None:
            return None
        return self._handle.file, 0


class GrowingReader:
    """A :class:`~balancer.cache.stored.BodyReader` of a body that grows."""

    __slots__ = ("_body",)

    def __init__(self, body: GrowingBody) -> None:
        self._body: GrowingBody | None = body

    def __repr__(self) -> str:
        return f"<GrowingReader of {self._body!r}>"

    def read(self, offset: int, size: int) -> "bytes | Deferred[bytes]":
        """See :class:`~balancer.cache.stored.BodyReader`."""
        if self._body is None:
            raise StoreError("a reader that was closed")
        return self._body.read(offset, size)

    @property
    def file(self) -> tuple[int, int] | None:
        """The descriptor, when all is in the file."""
        return None if self._body is None else self._body.file

    def close(self) -> None:
        """See :class:`~balancer.cache.stored.BodyReader`."""
        if self._body is not None:
            self._body.leave()
            self._body = None
