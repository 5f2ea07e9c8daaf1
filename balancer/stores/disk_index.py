"""What a disk store knows in memory of the files it has: where each is, which are worth keeping. No file is touched.

An entry is found by digests of its URI, its key and what Vary names, which are its file's name too: so the index is
made from a listing of the directories, without reading a file. (Whether a file holds what its name says is seen when
it is read.) What has to go goes by two queues, in the manner of S3-FIFO: new ones stand in the first, a tenth of the
room; one that was used there moves on into the second, where each use earns another round. So a crawl that asks for
everything once pushes out nothing but itself. An entry costs about 650 bytes of memory.
"""

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from balancer.cache.purges import uri_of_key
from balancer.cache.stored import Stored

DIGEST: Final = 8
"""Bytes of each digest. Who finds two URIs of one digest has two pages that may push each other out, no more: a file
has its whole key."""

PAGE: Final = 4096
"""A file takes whole pages of the disk."""

PROBATION: Final = 10
"""The first queue has one part in so many of the room."""

CHANCES: Final = 16
"""Entries that are passed over, at most, while one is looked for that was not used; more would take too long."""


_KEY = 2 * DIGEST


def charge(size: int) -> int:
    """Bytes of the disk that a file takes."""
    return (size + PAGE - 1) // PAGE * PAGE


def digest(data: bytes) -> bytes:
    """The digest of one part of a name."""
    return blake2b(data, digest_size=DIGEST).digest()


def name_of(key: bytes, nominated: bytes) -> bytes:
    """The name of what is stored under a key: the digests of its URI, of the key, of what Vary names."""
    return digest(uri_of_key(key)) + digest(key) + digest(nominated)


class Entry:
    """One file, or what is about to be one.

    :ivar name: see :func:`name_of`.
    :ivar version: counts up; of two files of one name the higher counts, and one version is never written twice.
    :ivar size: bytes of the file.
    :ivar arrived: that of the response, once it is known; else -1.
    :ivar soft: a removal made it stale.
    :ivar used: it was asked for, since it came or was passed over last.
    :ivar proven: its whole body was proven, or this process has written it.
    :ivar blocks: the blocks that were proven; ``None`` for none of them, and where all are.
    :ivar pending: the response, while a thread has still to write it or its head.
    :ivar key: its key, for as long.
    :ivar judged: the ledger's serial when it was last found that no purge met it; -1 where that is not known.
    :ivar changes: how often its head was replaced.
    :ivar gone: it is not in the index any more.
    """

    __slots__ = (
        "arrived", "blocks", "changes", "gone", "judged", "key", "name", "pending", "promoted", "proven", "size",
        "soft", "used", "version",
    )  # fmt: skip

    def __init__(self, name: bytes, version: int, size: int) -> None:
        self.name = name
        self.version = version
        self.size = size
        self.arrived = -1.0
        self.soft = False
        self.used = False
        self.promoted = False  # it stands in the second queue
        self.proven = False
        self.blocks: set[int] | None = None
        self.pending: Stored | None = None
        self.key = b""
        self.judged = -1
        self.changes = 0
        self.gone = False

    @property
    def begun(self) -> bool:
        """Whether the first block was proven, if not all."""
        return self.proven or (self.blocks is not None and 0 in self.blocks)

    def __repr__(self) -> str:
        state = "gone" if self.gone else "pending" if self.pending else "kept"
        return f"<Entry {self.name.hex()}.{self.version:x} {self.size} bytes {state}>"


class Index:
    """See the module.

    :ivar bytes: what all files take of the disk.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._keys: dict[bytes, tuple[Entry, ...]] = {}  # by the digests of URI and key, the most recent first
        self._uris: dict[bytes, bytes | dict[bytes, None]] = {}  # what stands there under each URI: one, or several
        self._new: OrderedDict[Entry, None] = OrderedDict()
        self._kept: OrderedDict[Entry, None] = OrderedDict()
        self._new_bytes = 0

    def __repr__(self) -> str:
        return f"<Index of {len(self)} files, {self.bytes} bytes>"

    def __len__(self) -> int:
        return len(self._new) + len(self._kept)

    def __iter__(self) -> Iterator[Entry]:
        yield from self._kept
        yield from self._new

    def under(self, uri: bytes) -> list[Entry]:
        """Everything under a URI."""
        places = self._uris.get(digest(uri), ())
        return [entry for place in ([places] if isinstance(places, bytes) else places) for entry in self._keys[place]]

    def find(self, key: bytes) -> tuple[Entry, ...]:
        """Everything of a key, the most recent first."""
        return self._keys.get(digest(uri_of_key(key)) + digest(key), ())

    def named(self, name: bytes) -> Entry | None:
        """The one of this name."""
        for entry in self._keys.get(name[:_KEY], ()):
            if entry.name == name:
                return entry
        return None

    def add(self, entry: Entry) -> None:
        """A new one, of a name that is not there; the most recent."""
        place = entry.name[:_KEY]
        self._keys[place] = (entry, *self._beside(place))
        self._new[entry] = None
        self._new_bytes += charge(entry.size)
        self.bytes += charge(entry.size)

    def add_old(self, entry: Entry) -> None:
        """One that was there before this process, of a name that is not there; the least recent."""
        place = entry.name[:_KEY]
        self._keys[place] = (*self._beside(place), entry)
        entry.promoted = True
        self._kept[entry] = None
        self.bytes += charge(entry.size)

    def remove(self, entry: Entry) -> None:
        """It is not there any more."""
        entry.gone = True
        self._leave(entry)
        self.bytes -= charge(entry.size)
        place = entry.name[:_KEY]
        rest = tuple(other for other in self._keys[place] if other is not entry)
        if rest:
            self._keys[place] = rest
            return
        del self._keys[place]
        uri = place[:DIGEST]
        places = self._uris[uri]
        if isinstance(places, dict):
            del places[place]
        if isinstance(places, bytes) or not places:
            del self._uris[uri]

    def renew(self, entry: Entry) -> None:
        """It is the most recent of its key."""
        place = entry.name[:_KEY]
        self._keys[place] = (entry, *[other for other in self._keys[place] if other is not entry])

    def resize(self, entry: Entry, size: int) -> None:
        """Its file has another size."""
        grown = charge(size) - charge(entry.size)
        entry.size = size
        self.bytes += grown
        if not entry.promoted:
            self._new_bytes += grown

    def _beside(self, place: bytes) -> tuple[Entry, ...]:
        """What is of that key already; the place is made known where there is nothing."""
        entries = self._keys.get(place)
        if entries is not None:
            return entries
        uri = place[:DIGEST]
        places = self._uris.get(uri)
        if places is None:
            self._uris[uri] = place
        elif isinstance(places, bytes):
            self._uris[uri] = {places: None, place: None}
        else:
            places[place] = None
        return ()

    def victim(self, room: int) -> Entry | None:
        """The one to go first, where all of them have so many bytes; ``None`` for an empty index."""
        for chances in range(CHANCES, -1, -1):
            queue = self._new if self._new and (self._new_bytes * PROBATION >= room or not self._kept) else self._kept
            if not queue:
                return None
            entry = next(iter(queue))
            if not entry.used or not chances:
                return entry
            entry.used = False
            self._leave(entry)
            entry.promoted = True
            self._kept[entry] = None
        return None

    def _leave(self, entry: Entry) -> None:
        if entry.promoted:
            del self._kept[entry]
        else:
            del self._new[entry]
            self._new_bytes -= charge(entry.size)
