"""Bounded load: no member gets more than its factor of the mean load, however popular its keys are.

Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016); HAProxy's
``hash-balance-factor``. With the new request counted, a member may hold ceil(factor * total * weight / sum of
weights) leases; one that holds as many is passed over for the next in the key's order. There is always one that does
not, for the factor is above 1. The sum of all leases costs O(n), and is needed only where a member is not idle.
"""

from collections.abc import Iterator, Sequence

from balancer.core.model import Member

MIN_FACTOR = 101
"""Percent. At 100 every member would have to be exactly at the mean, and no key would keep its member."""


class BoundedLoad:
    """The bound for some members.

    :param factor: percent of the mean load, at least :data:`MIN_FACTOR`.
    """

    def __init__(self, members: Sequence[Member], factor: int) -> None:
        self._members = members
        self._factor = factor
        self.refresh()

    def refresh(self) -> None:
        """Count those usable now; leases on others are nobody's share."""
        self._usable = [member for member in self._members if member.usable]
        self._weight = sum(member.weight for member in self._usable)

    def order(self, preferred: Iterator[Member]) -> Iterator[Member]:
        """Those with room first; then the others, as preferred: better too much load than no answer."""
        passed = []
        for member in preferred:
            if self.has_room(member):
                yield member
            else:
                passed.append(member)
        for member in passed:
            if member.usable:
                yield member

    def has_room(self, member: Member) -> bool:
        """Whether one lease more keeps the bound."""
        active = member.backend.active
        if not active:
            return True
        total = sum(other.backend.active for other in self._usable) + 1
        # a < x and a + 1 <= ceil(x) are the same for whole a; multiplied out, all is exact
        return active * 100 * self._weight < self._factor * total * member.weight
