"""The maglev table: consistent hashing with even shares.

Source: D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4. Each
member prefers the places of a table of prime size in an order of its own; in turn they take the first one free. Here
the turns are smooth and weighted (``turns``), so a member owns its weight's share of the table rounded down or up.
Against the ring: shares are exact, but a membership change moves a few keys that it need not. A member that is merely
not usable keeps its places, and only its own keys move.
"""

from array import array
from collections.abc import Sequence
from itertools import islice

from balancer.core.model import Member
from balancer.core.selection.digest import digest, identity
from balancer.core.selection.turns import smooth

TABLE_SIZE = 65537
"""Places: a prime, the paper's and Envoy's. For up to 650 members shares are within 1 %; above some thousands take the
ring. A table takes about 0.1 s to make. It is one size for all, for another size would move nearly every key."""


class Maglev:
    """The table. It never changes: who is usable is asked on the way.

    :param size: a prime number of places.
    """

    __slots__ = ("members", "owners")

    def __init__(self, members: Sequence[Member], size: int = TABLE_SIZE) -> None:
        self.members: Sequence[Member] = members
        self.owners: Sequence[int] = _fill(members, size)

    def locate(self, point: int) -> tuple[int, int]:
        """A place by the low bits, a step by the high ones: size is prime, so the walk meets every place."""
        size = len(self.owners)
        return point % size, 1 + (point >> 32) % (size - 1)


def _fill(members: Sequence[Member], size: int) -> Sequence[int]:
    # In the order of names, not of the listing: a set of backends has no order, and two processes must agree.
    named = sorted((identity(member.backend), index) for index, member in enumerate(members) if member.weight)
    if not named:
        return array("l")
    owners = array("l", [-1]) * size
    places = [digest(b"offset %b" % name) % size for name, _ in named]
    skips = [1 + digest(b"skip %b" % name) % (size - 1) for name, _ in named]
    weights = [members[index].weight for _, index in named]
    for turn in islice(smooth(range(len(named)), weights), size):
        place, skip = places[turn], skips[turn]
        while owners[place] >= 0:
            place += skip
            if place >= size:
                place -= size
        owners[place] = named[turn][1]
        places[turn] = place
    return owners
