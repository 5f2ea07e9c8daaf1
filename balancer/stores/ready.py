"""What a store in memory keeps unpacked, beside its packed entries: the keys that are asked for often.

There are two tables. What is used is put into the newer; when that is full it becomes the older, and what was the older
is let go of as a whole. So no hit has to move anything. It never decides what is kept by the store.
"""

from typing import Final

from balancer.cache.stored import Stored

READY_SIZE: Final = 4096
"""Bytes of heads and packed bodies under one key up to which they are kept unpacked."""

MAX_READY: Final = 2048
"""Keys in each of the two tables: letting go of one takes two milliseconds."""


class Ready:
    """The responses of one key.

    :ivar found: they.
    :ivar slot: the key's.
    :ivar judged: the serial of the ledger at which no purge had met them.
    """

    __slots__ = ("found", "judged", "slot")

    def __init__(self, found: tuple[Stored, ...], slot: int, judged: int) -> None:
        self.found = found
        self.slot = slot
        self.judged = judged


class ReadyTable:
    """See the module.

    :param room: keys in each table, at most :data:`MAX_READY`.
    :ivar newer: where a store looks first.
    """

    __slots__ = ("_older", "_room", "newer")

    def __init__(self, room: int) -> None:
        self._room = min(room, MAX_READY)
        self.newer: dict[bytes, Ready] = {}
        self._older: dict[bytes, Ready] = {}

    def find(self, key: bytes) -> Ready | None:
        """What is ready, in either table."""
        return self.newer.get(key) or self._older.get(key)

    def keep(self, key: bytes, ready: Ready) -> None:
        """It is used."""
        self.newer[key] = ready
        if len(self.newer) > self._room:
            self._older = self.newer
            self.newer = {}

    def forget(self, key: bytes) -> None:
        """It is not so any more."""
        self.newer.pop(key, None)
        self._older.pop(key, None)

    def clear(self) -> None:
        """Nothing is."""
        self.newer = {}
        self._older = {}
