"""Drawing usable members by chance, in proportion to their weights; a draw costs the same among ten and ten thousand.

By the alias method (A. J. Walker 1977, M. D. Vose 1991): each of n equal columns holds a part of its own member and,
above a threshold, a part of one other. A table sees the members that were usable when it was made: a selector makes a
new one in ``refresh``. Iterators that are still out keep the old one and pass over whoever became unusable since.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop
from random import Random

from balancer.core.model import Member

TRIES = 4
"""How often a draw that meets only members already taken is repeated before all the others are put in order."""


class Draw:
    """The usable ones of some members, ready to be drawn.

    :ivar members: those that were usable.
    """

    __slots__ = ("_aliases", "_random", "_thresholds", "members")

    def __init__(self, members: Sequence[Member], random: Random) -> None:
        self.members = [member for member in members if member.usable]
        self._random = random
        self._thresholds, self._aliases = columns([member.weight for member in self.members])

    def one(self) -> Member:
        """Any member, each with probability weight over the sum. There must be one."""
        place = self._random.random() * len(self.members)
        column = int(place)
        return self.members[column if place < self._thresholds[column] else self._aliases[column]]

    def several(self, count: int) -> list[Member]:
        """Up to ``count`` different members in the order drawn (fewer where few others have any weight to speak of)."""
        members, thresholds, aliases, chance = self.members, self._thresholds, self._aliases, self._random.random
        size = len(members)
        wanted = count if count < size else size
        if not wanted:
            return []
        place = chance() * size  # as in `one`, written out here and below: this is what every request does
        column = int(place)
        drawn = [members[column if place < thresholds[column] else aliases[column]]]
        for _ in range(wanted * TRIES if wanted > 1 else 0):
            place = chance() * size
            column = int(place)
            member = members[column if place < thresholds[column] else aliases[column]]
            if member not in drawn:
                drawn.append(member)
                if len(drawn) == wanted:
                    break
        return drawn

    def others(self, those: Iterable[Member]) -> Iterator[Member]:
        """Every member but ``those``, drawn without replacement: so what one member cannot serve spreads over the
        others by weight instead of falling on a neighbour."""
        taken = set(those)
        for _ in range(TRIES if self.members else 0):
            member = self.one()
            if member not in taken:
                taken.add(member)
                if member.usable:
                    yield member
        # An exponential variate of rate w is the smallest of all with probability w / sum (Efraimidis, Spirakis 2006).
        chance = self._random.expovariate
        heap = [
            (chance(member.weight), index, member)
            for index, member in enumerate(self.members)
            if member not in taken and member.usable
        ]
        heapify(heap)
        while heap:
            member = heappop(heap)[2]
            if member.usable:
                yield member


def columns(weights: Sequence[int]) -> tuple[list[float], list[int]]:
    """For each column where its own part ends (column number plus the part), and whose the rest is."""
    size, total = len(weights), sum(weights)
    thresholds = [index + 1.0 for index in range(size)]
    aliases = list(range(size))
    # In units of 1 / total of a column all is whole: a column is `total`, a member's parts sum to weight * size
    parts = [weight * size for weight in weights]
    small = [index for index, part in enumerate(parts) if part < total]
    large = [index for index, part in enumerate(parts) if part > total]
    while small:
        low, high = small.pop(), large[-1]
        thresholds[low] = low + parts[low] / total
        aliases[low] = high
        parts[high] -= total - parts[low]
        if parts[high] <= total:
            large.pop()
            if parts[high] < total:
                small.append(high)
    return thresholds, aliases
