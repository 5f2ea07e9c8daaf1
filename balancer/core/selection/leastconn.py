"""``leastconn``: the member with the fewest leases for its weight.

Load is ``active / weight``; among equals chance decides by weight, so an idle upstream is shared by weight and no
member is always the first. Up to ``EXACT`` usable members every counter is read for every pick, so the first candidate
*is* the least loaded. Beyond, the members stand in a heap under the load they had when last looked at, which takes
O(log n): a load that rose is seen before it matters, one that fell when its lease is observed, and what was not
observed (a lease of another upstream, a client that left) at the latest after n more picks.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import inf
from random import Random

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection.choices import load
from balancer.core.selection.kinds import plain
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions

EXACT = 128
"""Up to here all counters are read for each pick: about 10 us at most."""


class Scan:
    """Reads every counter."""

    __slots__ = ("_members", "_random")

    def __init__(self, members: Sequence[Member], random: Random) -> None:
        self._members = members
        self._random = random

    def least(self) -> Member:
        """The least loaded; of several any, by weight."""
        best = inf
        equals: list[Member] = []
        for member in self._members:
            found = member.backend.active / member.weight
            if found < best:
                best = found
                equals = [member]
            elif found == best:
                equals.append(member)
        if len(equals) == 1:
            return equals[0]
        point = self._random.random() * sum([member.weight for member in equals])
        for member in equals:
            point -= member.weight
            if point < 0.0:
                return member
        return equals[-1]  # a rounding error

    def observe(self, member: Member) -> None:
        """Nothing is remembered."""


class Standings:
    """A heap of what the loads were; never longer than 2 n, for it is made anew after n changes.

    An entry is a load, a tie-break, a serial number (so that members are never compared) and the member. The tie-break
    is a virtual time as in fair queueing: each pick sets a member back by 1 / weight, so equals take turns by weight.
    """

    __slots__ = ("_heap", "_left", "_members", "_random", "_serial", "_time")

    def __init__(self, members: Sequence[Member], random: Random) -> None:
        self._members = {member.backend: member for member in members}
        self._random = random
        self._serial = count()
        self._heap: list[tuple[float, float, int, Member]] = []
        self._time = 0.0
        self._left = 0  # read when first asked

    def least(self) -> Member:
        """The least loaded, so far as is known, now expected to have one lease more."""
        if not self._left:
            self._read()
        self._left -= 1
        heap = self._heap
        while True:
            known, time, _, member = heap[0]
            found = load(member)
            if found <= known:
                self._time = max(self._time, time)
                heapreplace(heap, self._entry(member, (member.backend.active + 1) / member.weight))
                return member
            heapreplace(heap, self._entry(member, found))

    def observe(self, member: Member) -> None:
        """A lease came back: put the member where it belongs now. Its older entry is corrected when met.

        The lease may be older than this selector, and its member then not one of ours: the backend tells.
        """
        ours = self._members.get(member.backend)
        if self._left and ours is not None:
            self._left -= 1
            heappush(self._heap, self._entry(ours, load(ours)))

    def _read(self) -> None:
        self._time = 0.0
        self._heap = [
            (load(member), self._random.random() / member.weight, next(self._serial), member)
            for member in self._members.values()
        ]
        heapify(self._heap)
        self._left = len(self._members)

    def _entry(self, member: Member, found: float) -> tuple[float, float, int, Member]:
        return (found, self._time + 1 / member.weight, next(self._serial), member)


class LeastConnections:
    """The least loaded first. See the module for what that costs."""

    def __init__(self, members: Sequence[Member], options: SelectionOptions) -> None:
        self._members = members
        self._random = options.random
        self.refresh()

    def refresh(self) -> None:
        """Consider those usable now."""
        self._usable = [member for member in self._members if member.usable]
        kind = Scan if len(self._usable) <= EXACT else Standings
        self._loads: Scan | Standings = kind(self._usable, self._random)

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """The least loaded; the others are put in order only when one of them is asked for."""
        usable = self._usable
        if not usable:
            return
        first = self._loads.least()
        yield first
        chance = self._random.expovariate
        heap = [
            (load(member), chance(member.weight), index, member)
            for index, member in enumerate(usable)
            if member is not first
        ]
        heapify(heap)
        while heap:
            member = heappop(heap)[3]
            if member.usable:
                yield member

    def observe(self, member: Member, latency: float, now: float) -> None:
        """A lease came back."""
        self._loads.observe(member)


classImplements(LeastConnections, ISelector)


LEASTCONN = plain(LeastConnections)
