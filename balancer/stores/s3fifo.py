"""Which entry leaves a full store: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).

New entries enter a small queue, a tenth of the room. Those that were asked for before they reach its end go on to the
main queue, the others leave; so what is asked for once, a scan for example, passes through the small queue and leaves
the rest alone. The hashes of those that left are remembered for a while (the ghost queue): who comes back is put into
the main queue at once. There what was asked for since the last time goes round again. A use only raises a counter: no
queue moves at a hit.

An entry is a slot, a small number from 2 on, which the store uses as an index. All that is known of slots stands in
arrays: 18 bytes each, nothing that a garbage collector visits. It never sees keys or bodies.
"""

from array import array
from typing import Final

SMALL: Final = 0
MAIN: Final = 1
"""The two queues: the slots that are their ends. After an end comes the newest entry, before it the oldest."""

MAX_USES: Final = 3
"""A use more is not counted (section 4.1 of the paper)."""

SMALL_SHARE: Final = 10
"""The small queue has one part in so many of the room."""

MAX_LOOKS: Final = 128
"""Entries that are looked at for one that leaves. Where all of them were used, the next leaves though it was: else one
entry might have to wait until the queue went round, which takes seconds with a million."""

SLOT_COST: Final = 18 + 12 + 3
"""Bytes for each slot: its arrays, the ghosts (8 to 16), and the eighth that growing arrays have to spare."""


class Ghosts:
    """Hashes of what left, each for as long as so many others have left after it. A table without chains: of two that
    meet in a place the later stays."""

    __slots__ = ("_cells", "_left")

    def __init__(self) -> None:
        self._cells = array("Q", bytes(8 * 1024))
        self._left = 0

    def add(self, key: int) -> None:
        """One left."""
        self._left += 1
        cells = self._cells
        cells[key & (len(cells) - 1)] = (key >> 32 & 0xFFFFFFFF) << 32 | self._left & 0xFFFFFFFF

    def has(self, key: int, room: int) -> bool:
        """Whether it is among the last ``room`` that left."""
        cells = self._cells
        cell = cells[key & (len(cells) - 1)]
        return bool(cell) and cell >> 32 == key >> 32 & 0xFFFFFFFF and self._left - cell & 0xFFFFFFFF < room

    def fit(self, entries: int) -> None:
        """There are so many entries: have a place for each of them."""
        if entries > len(self._cells):
            self._cells.extend(self._cells)  # the place of a key gains one bit: it is found in either half


class S3Fifo:
    """See the module.

    :ivar uses: for each slot how often it was used; a store's fast path raises it itself, up to :data:`MAX_USES`.
    :ivar used: what all entries cost together.
    :ivar count: how many entries there are.
    """

    __slots__ = (
        "_costs",
        "_free",
        "_ghosts",
        "_in_main",
        "_limit",
        "_mains",
        "_next",
        "_previous",
        "_small",
        "count",
        "used",
        "uses",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        self.count = 0
        self._small = 0
        self._mains = 0
        self._free = 0
        self._ghosts = Ghosts()
        self._next = array("I", [SMALL, MAIN])
        self._previous = array("I", [SMALL, MAIN])
        self._costs = array("Q", [0, 0])
        self.uses = bytearray(2)
        self._in_main = bytearray(2)

    def __repr__(self) -> str:
        return f"<S3Fifo {self.count} entries, {self.used} of {self._limit} bytes, {self._small} of them small>"

    @property
    def slots(self) -> int:
        """Slots there are, used or free, 0 and 1 included."""
        return len(self._next)

    def add(self, key: int, cost: int) -> int:
        """An entry with this hash; its slot."""
        slot = self._free
        if slot:
            self._free = self._next[slot]
        else:
            slot = len(self._next)
            self._next.append(0)
            self._previous.append(0)
            self._costs.append(0)
            self.uses.append(0)
            self._in_main.append(0)
        self.uses[slot] = 0
        self._costs[slot] = cost
        self.count += 1
        self.used += cost
        self._ghosts.fit(self.count)
        self._enter(slot, self._ghosts.has(key, self.count))
        return slot

    def use(self, slot: int) -> None:
        """It was asked for."""
        uses = self.uses[slot]
        if uses < MAX_USES:
            self.uses[slot] = uses + 1

    def resize(self, slot: int, change: int) -> None:
        """It costs so much more (or less) now."""
        self._costs[slot] += change
        self.used += change
        if not self._in_main[slot]:
            self._small += change

    def remove(self, slot: int) -> None:
        """It is not there any more: its slot is free."""
        self._leave(slot)
        self.count -= 1
        self.used -= self._costs[slot]
        self._costs[slot] = 0
        self._next[slot] = self._free
        self._free = slot

    def victim(self) -> int:
        """The slot that is to leave for others, 0 where there is none; the store removes it, and says so to
        :meth:`left`."""
        for look in range(MAX_LOOKS if self.count else 0):
            last = look == MAX_LOOKS - 1
            small = self._small * SMALL_SHARE >= self._limit or not self._mains
            slot = self._previous[SMALL if small else MAIN]
            if last or not self.uses[slot]:
                return slot
            self.uses[slot] -= 1  # the paper clears it on the way to the main queue: this finds no less
            self._leave(slot)
            self._enter(slot, True)
        return 0

    def left(self, slot: int, key: int) -> None:
        """Remove a victim, and remember its hash for a while where it never reached the main queue."""
        if not self._in_main[slot]:
            self._ghosts.add(key)
        self.remove(slot)

    def _enter(self, slot: int, main: bool) -> None:
        if main:
            self._mains += 1
        else:
            self._small += self._costs[slot]
        self._in_main[slot] = main
        end = MAIN if main else SMALL
        first = self._next[end]
        self._next[slot] = first
        self._previous[slot] = end
        self._next[end] = slot
        self._previous[first] = slot

    def _leave(self, slot: int) -> None:
        if self._in_main[slot]:
            self._mains -= 1
        else:
            self._small -= self._costs[slot]
        before, after = self._previous[slot], self._next[slot]
        self._next[before] = after
        self._previous[after] = before
