"""``roundrobin`` and ``static-rr``: each member in turn, as often as its weight says, evenly spread.

Exact over a cycle (see ``turns``). ``roundrobin`` follows the effective weights, so a member in slow start gets a
growing share; ``static-rr`` follows the weights as configured, as HAProxy's does: slow start does not touch it.
Neither looks at load.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection.draw import Draw
from balancer.core.selection.kinds import plain
from balancer.core.selection.turns import period, smooth
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions

START_WITHIN = 1024
"""A cycle begins at a random one of at most this many turns, so that frequent rebuilds (a flapping health check, slow
start) do not favour whoever comes first in it. Reaching the last of them takes about a millisecond."""


class RoundRobin:
    """Smooth weighted turns among the usable members.

    :param weight: which weight of a member counts.
    """

    def __init__(
        self,
        members: Sequence[Member],
        options: SelectionOptions,
        weight: Callable[[Member], int] = attrgetter("weight"),
    ) -> None:
        self._members = members
        self._random = options.random
        self._weight = weight
        self.refresh()

    def refresh(self) -> None:
        """Share the turns among those usable now; the others' turns go to them in proportion."""
        self._draw = Draw(self._members, self._random)
        usable = self._draw.members
        start = self._random.randrange(len(usable)) if usable else 0
        rotated = usable[start:] + usable[:start]
        weights = [self._weight(member) for member in rotated]
        self._turns = smooth(rotated, weights)
        if usable:
            skipped = self._random.randrange(min(period(weights), START_WITHIN))
            deque(islice(self._turns, skipped), maxlen=0)

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """Whose turn it is; then the others by chance and weight. Only the first costs a turn."""
        draw = self._draw
        for member in islice(self._turns, 1):
            yield member
            yield from draw.others({member})

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Latency is of no interest."""


classImplements(RoundRobin, ISelector)


ROUND_ROBIN = plain(RoundRobin)
STATIC = plain(partial(RoundRobin, weight=attrgetter("spec.weight")))
