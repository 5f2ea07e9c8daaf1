"""The queue in front of an upstream whose backends are all full: first in, first out, bounded.

A waiter is asked to take a lease when there may be room; whoever waits keeps its own timer and leaves when it
fires. This module never reads a clock and never drops a waiter silently.
"""

from typing import Protocol

from balancer.core.lease import Lease
from balancer.core.policies import QueuePolicy


class Waiter(Protocol):
    """Who stands in line. Must be hashable by identity."""

    def vacancy(self) -> Lease | None:
        """There may be room: take a lease if one can be had, and do nothing else."""

    def admitted(self, lease: Lease) -> None:
        """The lease that :meth:`vacancy` took; this waiter is out of the line and goes on with it. It may give the
        lease back, leave, or bring others into the line at once."""


class WaitingLine:
    """The line itself: joins at the end, leaves from anywhere, served from the front.

    :ivar policy: its limits.
    :ivar refused: how many found it full.
    """

    __slots__ = ("_room", "_serving", "_waiters", "policy", "refused")

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.refused = 0
        self._waiters: dict[Waiter, None] = {}
        self._serving = False
        self._room = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def __repr__(self) -> str:
        return f"<WaitingLine {len(self._waiters)}/{self.policy.limit}>"

    def join(self, waiter: Waiter) -> bool:
        """Stand in line; ``False`` where it is full."""
        if len(self._waiters) >= self.policy.limit:
            self.refused += 1
            return False
        self._waiters[waiter] = None
        return True

    def leave(self, waiter: Waiter) -> bool:
        """Step out (timeout, client gone); ``False`` where it was not in line."""
        return self._waiters.pop(waiter, self) is None

    def serve(self, room: int) -> None:
        """Admit up to ``room`` waiters, in order; one that cannot use the vacancy keeps its place.

        Waiters that are admitted may give their lease back at once: calls that nest are folded into the outer one,
        so a long line of them costs no depth of stack.
        """
        self._room += room
        if self._serving:
            return
        self._serving = True
        try:
            while self._room > 0 and self._admit_first():
                self._room -= 1
        finally:
            self._serving = False
            self._room = 0

    def _admit_first(self) -> bool:
        for waiter in self._waiters:  # no copy of a long line for each vacancy: asking changes nothing in it
            lease = waiter.vacancy()
            if lease is not None:
                del self._waiters[waiter]
                waiter.admitted(lease)
                return True
        return False
