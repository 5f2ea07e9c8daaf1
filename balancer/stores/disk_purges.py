"""The purges of a disk store, on the disk: a purge is in a file before whoever asked for it is told that it is done.

Records are appended to a numbered file. A sweep of all entries begins a new file, and removes the older ones when it
is over; so nothing is ever rewritten. Where these files are not what was written nobody knows what was purged: then
nothing that was stored before may be used, and :class:`~balancer.stores.disk_record.Corrupt` says so.

Beside its purges a file has what numbers go on from: the serial numbers of the ledger and the versions of files. Each
start leaves a gap of :data:`GAP`, far more than what one process counts without writing it down.
"""

import os
import struct
import zlib
from contextlib import suppress
from typing import Any, Final, NamedTuple

from balancer.cache.purges import Purge
from balancer.stores.disk_directory import Directory, create, unlink_all, write_all
from balancer.stores.disk_record import Corrupt

GAP: Final = 2**32
"""Serial numbers, and versions, that are left out at each start."""

MOST: Final = 2**16
"""Records until a sweep is begun for their sake: some megabytes, read within a second at the next start."""

FULL: Final = 2**20
"""Records that there are at most; then everything is purged, which is one record."""

_DROPPED: Final = b"d"
_KINDS: Final = (b"u", b"p", b"h", b"t", b"a")
_NAMES: Final[tuple[Any, ...]] = ("url", "prefix", "host", "tag", "all")
_HEADER = struct.Struct(">8sQQ")
_RECORD = struct.Struct(">QcBI")
_CHECK = struct.Struct(">I")
_MAGIC: Final = b"twpurge1"


class Known(NamedTuple):
    """What the files say.

    :ivar serial: where serial numbers go on.
    :ivar version: where versions go on.
    :ivar purges: the purges with their serials, ascending.
    :ivar dropped: of each name that was dropped the version; files of that name up to that one are not to be found.
    :ivar records: how many there are, of both.
    """

    serial: int
    version: int
    purges: list[tuple[int, Purge]]
    dropped: dict[bytes, int]
    records: int


def read(directory: Directory) -> Known:
    """What the files of a directory say.

    :raises Corrupt: there are none, or they are not what was written.
    :raises OSError: they cannot be read.
    """
    serial, version, records = 0, 0, 0
    purges: list[tuple[int, Purge]] = []
    dropped: dict[bytes, int] = {}
    paths = directory.purges()
    if not paths:
        raise Corrupt("no file of purges")
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        known = _parsed(data)
        serial, version = max(serial, known.serial), max(version, known.version)
        purges += known.purges
        dropped |= known.dropped  # versions count up
        records += known.records
    serial = max([serial, *[at for at, _ in purges]])
    return Known(serial + GAP, version + GAP, purges, dropped, records)


def _parsed(data: bytes) -> Known:
    purges: list[tuple[int, Purge]] = []
    dropped: dict[bytes, int] = {}
    records = 0
    try:
        magic, serial, version = _HEADER.unpack_from(data)
        _prove(data[: _HEADER.size], data[_HEADER.size : _HEADER.size + 4])
        place = _HEADER.size + 4
        while place < len(data):
            at, kind, soft, size = _RECORD.unpack_from(data, place)
            end = place + _RECORD.size + size
            _prove(data[place:end], data[end : end + 4])
            what = data[place + _RECORD.size : end]
            if kind == _DROPPED:
                dropped[what] = at
            else:
                purges.append((at, Purge(kind=_NAMES[_KINDS.index(kind)], what=what, soft=bool(soft))))
            place = end + 4
            records += 1
    except (struct.error, ValueError) as error:
        raise Corrupt(f"no purges: {error}") from None
    if magic != _MAGIC:
        raise Corrupt("no purges of ours")
    return Known(serial, version, purges, dropped, records)


def _prove(data: bytes, check: bytes) -> None:
    if _CHECK.pack(zlib.crc32(data)) != check:
        raise Corrupt("purges that are not what was written")


def _checked(data: bytes) -> bytes:
    return data + _CHECK.pack(zlib.crc32(data))


class PurgeFiles:
    """The files that this process writes.

    :param sync: whether a purge waits for the disk, and so survives a power failure too.
    :ivar records: purges in all files.
    """

    def __init__(self, directory: Directory, sync: bool) -> None:
        self.records = 0
        self._directory = directory
        self._sync = sync
        self._file = -1
        self._forsworn = False

    def __repr__(self) -> str:
        return f"<PurgeFiles records={self.records}>"

    def begin(self, serial: int, version: int) -> list[str]:
        """Begin a new file; the older ones, whose records count until :meth:`end`. After :meth:`forswear` there is none
        any more, and none is begun.

        :raises OSError: it cannot be written. Then the older one goes on.
        """
        if self._forsworn:
            return []
        older = self._directory.purges()
        number = int(older[-1].rpartition(".")[2]) + 1 if older else 1
        temporary = self._directory.temporary()
        file = create(temporary)
        try:
            write_all(file, _checked(_HEADER.pack(_MAGIC, serial, version)))
            if self._sync:
                os.fsync(file)
            os.rename(temporary, f"{self._directory.path}/purges.{number}")
            if self._sync:  # else a power failure may leave none that is whole, which is told from no purge
                self._directory.sync()
        except OSError:
            os.close(file)
            unlink_all([temporary])
            raise
        self.close()
        self._file = file
        return older

    def end(self, older: list[str], records: int) -> None:
        """So many records, in these files, count no more."""
        unlink_all(older)
        self.records -= records

    def add(self, serial: int, purge: Purge) -> None:
        """Write a purge down.

        :raises OSError: it cannot be. Then this process knows of it and the next one must not come to believe that
            there was none: so all files are removed, and what is stored counts for nothing at the next start.
        """
        self._append(serial, _KINDS[_NAMES.index(purge.kind)], purge.soft, purge.what)

    def add_dropped(self, name: bytes, version: int) -> None:
        """Write down that files of a name, up to this version, are not to be found.

        :raises OSError: as above.
        """
        self._append(version, _DROPPED, False, name)

    def _append(self, number: int, kind: bytes, soft: bool, what: bytes) -> None:
        try:
            write_all(self._file, _checked(_RECORD.pack(number, kind, soft, len(what)) + what))
            if self._sync:
                os.fsync(self._file)
        except OSError:
            self.forswear()
            raise
        self.records += 1

    @property
    def emptied(self) -> bool:
        """Whether somebody removed the file."""
        return self._file >= 0 and not self._forsworn and not os.fstat(self._file).st_nlink

    def forswear(self) -> None:
        """Have the next start find nothing that it could trust, whatever comes still."""
        self._forsworn = True
        unlink_all(self._directory.purges())
        with suppress(OSError):
            self._directory.sync()

    def close(self) -> None:
        """Write no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
