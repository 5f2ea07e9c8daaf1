"""Smooth turns: an endless order in which each item comes as often as its weight says, evenly spread.

The order has a period: the sum of the weights over their greatest common divisor. Any so many successive turns give
each item exactly its share, and after *any* number of turns from the start of a cycle each class of equal weights
has its share rounded down or up, never further off. That is the quota of Tijdeman's chairman assignment problem
(R. Tijdeman, 1980), reached by earliest deadline first among the turns that are due (as in Pfair scheduling, Baruah
et al., 1996). nginx's smooth weighted round robin keeps the same shares, at O(n) a turn; here a turn costs O(log c)
with c *different* weights, however many items. This module never looks at a member.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, cycle, repeat
from math import gcd
from typing import TypeVar

T = TypeVar("T")

RECORDED = 65536
"""Cycles up to this long are kept once computed (8 bytes a turn) and then replayed, which costs no thought at all."""


def period(weights: Sequence[int]) -> int:
    """After how many turns the order repeats; weights are above 0."""
    return sum(weights) // gcd(*weights) if weights else 0


def smooth(items: Sequence[T], weights: Sequence[int]) -> Iterator[T]:
    """The endless order; empty where there are no items. Weights are above 0, one for each item."""
    if not items:
        return iter(())
    classes: dict[int, list[T]] = {}
    for item, weight in zip(items, weights, strict=True):
        classes.setdefault(weight, []).append(item)
    if len(classes) == 1:
        return cycle(items)
    unit = gcd(*classes)
    shares = [(weight // unit * len(classes[weight]), classes[weight]) for weight in sorted(classes, reverse=True)]
    if period(weights) <= RECORDED:
        return cycle(_one_cycle(shares))
    return chain.from_iterable(map(_one_cycle, repeat(shares)))


def _one_cycle(shares: Sequence[tuple[int, Sequence[T]]]) -> Iterator[T]:
    """One period. Turn k of a class with share s of S is due from floor(k S / s) and before ceil((k + 1) S / s);
    of those due the one that must come first goes. All deadlines can be met, for the shares sum to S."""
    total = sum(share for share, _ in shares)
    rotations = [cycle(items) for _, items in shares]
    done = [0] * len(shares)
    later = [(0, index) for index in range(len(shares))]
    due: list[tuple[int, int]] = []
    for turn in range(total):
        while later and later[0][0] <= turn:
            index = heappop(later)[1]
            share = shares[index][0]
            heappush(due, (-(-(done[index] + 1) * total // share), index))
        index = heappop(due)[1]
        yield next(rotations[index])
        done[index] += 1
        if done[index] < shares[index][0]:
            heappush(later, (done[index] * total // shares[index][0], index))
