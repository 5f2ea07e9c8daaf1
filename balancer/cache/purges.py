"""What was purged: a ledger that makes any purge one entry, whatever it meets, and tells of each stored response
whether a purge met it. It never touches a stored response.

A purge raises the ledger's serial number. A response remembers the serial of when it was asked for; a purge meets it if
the purge's is higher and its kind fits. A store asks when a response arrives and when one is looked up, and need not
ask again before the next purge: comparing one number says so. What nothing older is kept of is forgotten.
"""

from dataclasses import dataclass
from typing import Final, Literal

from balancer.cache.stored import Stored

KEEP: Final = 0
"""No purge met it."""
SOFT: Final = 1
"""A soft purge met it: it is stale."""
GONE: Final = 2
"""A hard purge met it."""

MAX_RECORDS: Final = 2**18
"""Purges that are remembered apart, about 64 MiB of them. One more, and all of them become one purge of everything."""

MAX_REMOVALS: Final = 4096
"""Removals of one URI that are remembered. What was asked for before one that is forgotten is not kept on arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One purge.

    :ivar kind: what ``what`` is: the URI ``scheme://host/path?query`` as a key has it; its beginning; a host as keys
        have it (any scheme); a tag; or everything (and ``what`` is empty).
    :ivar soft: what it meets is stale from now on, not gone.
    """

    kind: Literal["url", "prefix", "host", "tag", "all"]
    what: bytes = b""
    soft: bool = False


def uri_of_key(key: bytes) -> bytes:
    """The URI that a key begins with."""
    return key.partition(b"\n")[0]


def host_of_uri(uri: bytes) -> bytes:
    """The authority in ``scheme://authority/path``; empty where there is none."""
    parts = uri.split(b"/", 3)
    return parts[2] if len(parts) > 2 else b""


class Marks:
    """The purges of one kind: for each thing the serial of the last hard and of the last soft one.

    ``table`` is in the order of the last purge of each, the oldest first.
    """

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table: dict[bytes, tuple[int, int]] = {}

    def note(self, what: bytes, serial: int, soft: bool) -> None:
        """There was a purge."""
        hard_serial, soft_serial = self.table.pop(what, (0, 0))
        self.table[what] = (hard_serial, serial) if soft else (serial, soft_serial)

    def met(self, what: bytes, serial: int) -> int:
        """What those later than ``serial`` mean for the thing."""
        marks = self.table.get(what)
        if marks is None:
            return KEEP
        if serial < marks[0]:
            return GONE
        return SOFT if serial < marks[1] else KEEP

    def forget(self, serial: int) -> None:
        """Drop what is not later than ``serial``."""
        old = []
        for what, marks in self.table.items():
            if max(marks) > serial:
                break
            old.append(what)
        for what in old:
            del self.table[what]


class Ledger:
    """See the module. Everything but :meth:`forget` takes constant time, however much is stored and was purged; a
    lookup that has to be judged takes one step for each tag, and for each length that purged prefixes have.

    :param max_records: see :data:`MAX_RECORDS`.
    :param max_removals: see :data:`MAX_REMOVALS`.
    :ivar serial: how many purges and removals there were.
    :ivar last: the serial of the last purge: an entry judged since then need not be judged again.
    """

    __slots__ = (
        "_all", "_floor", "_hosts", "_lengths", "_max_records", "_max_removals", "_prefixes", "_removals",
        "_removals_floor", "_tags", "_urls", "last", "serial",
    )  # fmt: skip

    def __init__(self, max_records: int = MAX_RECORDS, max_removals: int = MAX_REMOVALS) -> None:
        self._max_records = max_records
        self._max_removals = max_removals
        self.serial = 0
        self.last = 0
        self._floor = 0
        self._all = (0, 0)
        self._removals_floor = 0
        self._removals: dict[bytes, tuple[int, bool]] = {}
        self._lengths: list[int] = []
        self._clear()

    def __repr__(self) -> str:
        return f"<Ledger serial={self.serial} records={self.records}>"

    @property
    def records(self) -> int:
        """Purges that are remembered apart."""
        return sum(len(marks.table) for marks in (self._urls, self._prefixes, self._hosts, self._tags))

    def add(self, purge: Purge) -> int:
        """There is a purge now; its serial."""
        self.serial += 1
        self.note(self.serial, purge)
        return self.serial

    def note(self, serial: int, purge: Purge) -> None:
        """There was a purge of that serial: what a store does that comes back after a restart, in ascending order."""
        self.serial = max(self.serial, serial)
        self.last = max(self.last, serial)
        if purge.kind == "all":
            self._note_all(serial, purge.soft)
            return
        if purge.kind == "url":
            marks = self._urls
        elif purge.kind == "host":
            marks = self._hosts
        elif purge.kind == "tag":
            marks = self._tags
        else:
            marks = self._prefixes
            if len(purge.what) not in self._lengths:
                self._lengths = sorted([*self._lengths, len(purge.what)])
        marks.note(purge.what, serial, purge.soft)
        if self.records > self._max_records:
            self._note_all(serial, soft=False)

    def removed(self, uri: bytes, soft: bool) -> int:
        """A store has removed (or made stale) what it has of one URI: only what arrives later, and was asked for
        before, is met by that. Its serial."""
        self.serial += 1
        was = self._removals.pop(uri, None)
        self._removals[uri] = (self.serial, soft and (was is None or was[1]))
        if len(self._removals) > self._max_removals:
            oldest = next(iter(self._removals))
            self._removals_floor = self._removals.pop(oldest)[0]
        return self.serial

    def verdict(self, key: bytes, stored: Stored) -> int:
        """What the purges mean for an entry: KEEP, SOFT or GONE. An entry that is kept may be given ``serial``, with
        ``SOFT_PURGED`` after SOFT, and then need not be judged again while ``last`` is not higher."""
        return self.met(key, stored.tags, stored.serial)

    def arriving(self, key: bytes, stored: Stored) -> int:
        """The same for a response that is to be stored now; here the removals and what is forgotten count too."""
        serial = stored.serial
        if serial >= self.serial:
            return KEEP
        if serial < self._floor or serial < self._removals_floor:
            return GONE
        removal = self._removals.get(uri_of_key(key))
        worst = KEEP
        if removal is not None and serial < removal[0]:
            worst = SOFT if removal[1] else GONE
        return max(worst, self.met(key, stored.tags, serial))

    def met(self, key: bytes, tags: tuple[bytes, ...], serial: int) -> int:
        """The verdict on what has this key and these tags and was judged at ``serial``."""
        if serial >= self.last:
            return KEEP
        if serial < self._all[0]:
            return GONE
        worst = SOFT if serial < self._all[1] else KEEP
        uri = uri_of_key(key)
        if self._urls.table:
            worst = max(worst, self._urls.met(uri, serial))
        if self._hosts.table:
            worst = max(worst, self._hosts.met(host_of_uri(uri), serial))
        if self._tags.table:
            for tag in tags:
                worst = max(worst, self._tags.met(tag, serial))
        size = len(uri)
        for length in self._lengths:
            if length > size:
                break
            worst = max(worst, self._prefixes.met(uri[:length], serial))
        return worst

    def forget(self, serial: int) -> None:
        """Every entry was judged at ``serial`` or later: drop what is older. What was asked for before then and comes
        only now is not kept any more, since nobody can say what met it; so a store waits a while with this."""
        self._floor = max(self._floor, serial)
        for marks in (self._urls, self._hosts, self._tags, self._prefixes):
            marks.forget(serial)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes.table})

    def _note_all(self, serial: int, soft: bool) -> None:
        hard_serial, soft_serial = self._all
        if soft:
            self._all = (hard_serial, serial)
        else:
            self._all = (serial, soft_serial)
            self._clear()

    def _clear(self) -> None:
        self._urls = Marks()
        self._hosts = Marks()
        self._tags = Marks()
        self._prefixes = Marks()
        self._lengths = []
