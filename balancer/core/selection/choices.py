"""``random(n)``: draw n members by weight, take the least loaded of them.

The power of two choices (M. Mitzenmacher, 2001): the longest queue shrinks exponentially against one random choice,
at a cost that does not grow with the number of members, and without the herd that rushes to *the* least loaded when
several balancers look at the same counters. Load is ``active / weight``; between equals the first drawn wins, so an
idle upstream is shared exactly by weight.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from random import Random

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection.draw import Draw
from balancer.core.selection.kinds import Kind, Maker, at_most_one, whole_number
from balancer.core.traits import Traits
from balancer.interfaces import ISelector

CHOICES = 2
"""``random`` without an argument, as in HAProxy; more than two gain little (Mitzenmacher)."""

MAX_CHOICES = 32
"""Beyond, ``leastconn`` is what is meant: each choice costs another draw."""

Cost = Callable[[Member], float]

_USABLE: Callable[[Member], bool] = attrgetter("usable")


def load(member: Member) -> float:
    """Leases out for each unit of weight."""
    return member.backend.active / member.weight


class PowerOfChoices:
    """The cheapest of a few drawn by weight.

    :param choices: how many are drawn.
    :param cost: what the smallest of is taken.
    """

    def __init__(self, members: Sequence[Member], choices: int, random: Random, cost: Cost = load) -> None:
        self._members = members
        self._choices = choices
        self._random = random
        self._cost = cost
        self.refresh()

    def refresh(self) -> None:
        """Draw among those usable now."""
        self._draw = Draw(self._members, self._random)

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """Those drawn, the cheapest first; then the others by chance and weight."""
        draw = self._draw
        drawn = draw.several(self._choices)
        if len(drawn) == 2:  # nearly always, and comparing two is cheaper than sorting them
            if self._cost(drawn[1]) < self._cost(drawn[0]):
                drawn.reverse()
        else:
            drawn.sort(key=self._cost)
        # No generator of ours around it: most are asked for one member, and closing one that has begun costs more.
        return chain(filter(_USABLE, drawn), draw.others(drawn))

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Latency is of no interest."""


classImplements(PowerOfChoices, ISelector)


def _read(arguments: Sequence[str]) -> Maker:
    text = at_most_one(arguments)
    choices = CHOICES if text is None else whole_number(text, 1, MAX_CHOICES)
    return lambda members, options: PowerOfChoices(members, choices, options.random)


RANDOM = Kind(_read)
