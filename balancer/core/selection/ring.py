"""The ring: consistent hashing with many points for each member, in proportion to its weight.

As libketama (R. Jones, 2007) and HAProxy's ``hash-type consistent``: a key belongs to the owner of the next point. A
member's points depend on its own name and weight alone, so one that comes or goes moves only its own keys, and one
whose weight grows only takes keys. The shares are even within about 1 / sqrt(points of a member): 12 % at weight 1,
1.2 % at weight 100.
"""

from array import array
from bisect import bisect
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, count
from struct import Struct

from balancer.core.model import Member
from balancer.core.selection.digest import identity

POINTS = 64
"""Points for each unit of weight; HAProxy has 16, libketama 160 for each server."""

MAX_POINTS = 1 << 18
"""Points of a whole ring (4 MiB, and about a quarter of a second to make). Where members and weights ask for more,
everyone's are halved until they fit; each keeps at least one."""

_EIGHT = Struct(">8Q")


class Ring:
    """Points in order, each with its owner. It never changes: who is usable is asked on the way.

    :ivar points: sorted, from 0 to 2**64 - 1.
    """

    __slots__ = ("_before", "_shift", "members", "owners", "points")

    def __init__(self, members: Sequence[Member]) -> None:
        self.members: Sequence[Member] = members
        bits = len(members).bit_length()
        # Point and owner in one number: a million of them sort twice as fast as pairs
        owned = sorted(
            point << bits | owner
            for owner, (member, number) in enumerate(zip(members, counts(members), strict=True))
            for point in _points(identity(member.backend), number)
        )
        self.points = array("Q", (both >> bits for both in owned))
        self.owners: Sequence[int] = array("L", (both & (1 << bits) - 1 for both in owned))
        # How many points come before each bucket: points are spread evenly, so a bucket holds about one, and finding
        # a key's place costs the same on a large ring
        buckets = len(owned).bit_length()
        self._shift = 64 - buckets
        sizes = array("L", [0]) * ((1 << buckets) + 1)
        for point in self.points:
            sizes[(point >> self._shift) + 1] += 1
        self._before = array("L", accumulate(sizes))

    def locate(self, point: int) -> tuple[int, int]:
        """The next point at or after the key's."""
        bucket = point >> self._shift
        return bisect(self.points, point, self._before[bucket], self._before[bucket + 1]) % len(self.points), 1


def counts(members: Sequence[Member]) -> list[int]:
    """How many points each has: by its configured weight, less in slow start.

    While any member is in slow start, the weights of all are scaled up (see ``upstream``); the scale is taken out
    again, or the points of everyone would change.
    """
    scale = max((member.weight // member.spec.weight for member in members if member.spec.weight), default=1) or 1
    wanted = [POINTS * member.weight // scale for member in members]
    halvings = 0
    while sum(wanted) >> halvings > MAX_POINTS:
        halvings += 1
    return [max(1, number >> halvings) if number else 0 for number in wanted]


def _points(name: bytes, number: int) -> Iterator[int]:
    """The first so many points of a member: more of them never move those it had."""
    for block in count():
        if number <= 0:
            return
        yield from _EIGHT.unpack(blake2b(b"%b %d" % (name, block)).digest())[:number]
        number -= 8
