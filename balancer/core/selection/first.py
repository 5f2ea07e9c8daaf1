"""``first``: the first member until it is at its ``max_connections``, then the next.

As HAProxy's: it keeps the number of servers in use small, so that the others may sleep. Without ``max_connections``
everything goes to the first usable member. Weights play no part. Whether a member is full is not asked here:
whoever places a request passes over full members.
"""

from collections.abc import Iterator, Sequence

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection.kinds import plain
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions


class First:
    """The usable members in the order they were listed."""

    def __init__(self, members: Sequence[Member], options: SelectionOptions) -> None:
        self._members = members

    def refresh(self) -> None:
        """Nothing is precomputed."""

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """In the order of the configuration."""
        for member in self._members:
            if member.usable:
                yield member

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Latency is of no interest."""


classImplements(First, ISelector)


FIRST = plain(First)
