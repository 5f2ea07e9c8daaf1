"""Places on a circle, each owned by a member, and the walk along them from a key's place.

A ring and a maglev table differ in who owns which place and in the length of a step. A member that is not usable
keeps its places and is passed over, so only its own keys move while it is away.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

from balancer.core.model import Member

WALK_LEAST = 64
WALK_FACTOR = 4
"""A walk looks at 4 n + 64 places. To meet the only usable one of n members takes n places on average, so 4 n fail
with probability exp(-4); those not met follow in the order of the members, beginning where the key says."""


class Places(Protocol):
    """A circle of owned places.

    :ivar members: the members that own places.
    :ivar owners: for each place the index of its owner.
    """

    members: Sequence[Member]
    owners: Sequence[int]

    def locate(self, point: int) -> tuple[int, int]:
        """The place of a key's digest, and the step (prime to the number of places) to the next one."""


def walk(places: Places, point: int) -> Iterator[Member]:
    """The usable members in the order in which a key prefers them, each once."""
    members, owners = places.members, places.owners
    seen = set()
    if owners:
        size = len(owners)
        place, step = places.locate(point)
        for _ in range(min(size, WALK_FACTOR * len(members) + WALK_LEAST)):
            member = members[owners[place]]
            if member.usable and member not in seen:
                seen.add(member)
                yield member
            place = (place + step) % size
    start = point % len(members) if members else 0
    for index in chain(range(start, len(members)), range(start)):
        member = members[index]
        if member.usable and member not in seen:
            seen.add(member)
            yield member
