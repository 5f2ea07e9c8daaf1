"""Who of an upstream's members may be chosen now, and with which weight: tiers, panic, slow start.

Pure decisions over members; the upstream publishes them. This module never changes a member and never reads a clock.
"""

from collections.abc import Sequence
from math import inf

from balancer.core.advice import FULL
from balancer.core.model import MAX_WEIGHT, AdminState, Backend, Health, Member

RAMP_STEPS = 10
"""Slow start raises a weight in this many steps; weights are scaled by it meanwhile, so that 1 can be divided."""


READY, BACKUP, WAITS, AVAILABLE, EJECTED = 1, 2, 4, 8, 16
"""What matters of a member for whether it may be chosen; together its standing, a number from 0 to 31. READY: of some
weight, and not taken out by the operator or an agent."""

_ALL = range(32)
_READY = sum(1 << standing for standing in _ALL if standing & READY)
_BACKUP = sum(1 << standing for standing in _ALL if standing & BACKUP)
_WAITS = sum(1 << standing for standing in _ALL if standing & WAITS)
_AVAILABLE = sum(1 << standing for standing in _ALL if standing & AVAILABLE)
_EJECTED = sum(1 << standing for standing in _ALL if standing & EJECTED)


def standing(member: Member) -> int:
    """The member's present standing."""
    spec, backend = member.spec, member.backend
    ready = _weighs(member) and backend.admin is AdminState.READY
    return (
        (READY if ready else 0)
        | (BACKUP if spec.backup else 0)
        | (WAITS if backend.waits else 0)
        | (AVAILABLE if backend.available else 0)
        | (EJECTED if backend.ejected_until is not None else 0)
    )


class Tally:
    """How many members there are of each standing, and so which standings serve.

    One change costs the same among ten members and ten thousand: as long as the same standings serve, it is a matter
    of the one member.

    :ivar serving: the standings whose members may be chosen, as a set of bits.
    :ivar panic: whether that is panic.
    """

    __slots__ = ("_counts", "_standings", "_threshold", "panic", "serving")

    def __init__(self, members: Sequence[Member], threshold: float) -> None:
        self._threshold = threshold
        self._standings = {member: standing(member) for member in members}
        self._counts = [0] * len(_ALL)
        for each in self._standings.values():
            self._counts[each] += 1
        self.serving, self.panic = self._decide()

    def __repr__(self) -> str:
        return f"<Tally of {len(self._standings)}{' panic' if self.panic else ''}>"

    @property
    def ejected(self) -> int:
        """How many are ejected."""
        return self._count(_EJECTED)

    def usable(self, member: Member) -> bool:
        """Whether it may be chosen."""
        return self.serving >> self._standings[member] & 1 == 1

    def update(self, member: Member) -> bool:
        """Take a member's new standing. Returns whether other standings serve now, so that all are to be asked."""
        counts, standings = self._counts, self._standings
        counts[standings[member]] -= 1
        standings[member] = now = standing(member)
        counts[now] += 1
        before = self.serving
        self.serving, self.panic = self._decide()
        return self.serving != before

    def _decide(self) -> tuple[int, bool]:
        """Which standings serve, and whether that is panic.

        The available primaries, where they are at least the threshold's share of all primaries; with them the
        available backups, where they are fewer; where no backup is available all primaries (panic). Members of
        weight 0 and those the operator took out do not count, and those that wait for a first probe neither help nor
        hurt.
        """
        count = self._count
        # Where there is no primary at all the backups are the tier that serves, and there is nothing behind them.
        primaries = _READY & ~_BACKUP
        tier, spare = (primaries, _READY & _BACKUP) if count(primaries) else (_READY, 0)
        counted = count(tier & ~_WAITS)
        available = count(tier & ~_WAITS & _AVAILABLE)
        if available and available >= self._threshold * counted:
            return tier & ~_WAITS & _AVAILABLE, False
        if count(spare & _AVAILABLE):
            # A backup that answers is better than a primary known to be dead.
            return (tier & ~_WAITS & _AVAILABLE) | (spare & _AVAILABLE), False
        if counted and self._threshold:
            return tier, True
        return _READY & _WAITS, False

    def _count(self, standings: int) -> int:
        return sum(number for each, number in enumerate(self._counts) if number and standings >> each & 1)


def usable(members: Sequence[Member], threshold: float) -> tuple[frozenset[Member], bool]:
    """Who may be chosen, and whether that is panic; a :class:`Tally` keeps the answer while verdicts change."""
    tally = Tally(members, threshold)
    return frozenset(member for member in members if tally.usable(member)), tally.panic


def weights(members: Sequence[Member], slow_start: float, now: float) -> tuple[list[int], float]:
    """The effective weight of each member, and when they are to be asked for again (``inf``: when a verdict changes).

    A backend that came back gets a tenth of its weight at first and grows by tenths over ``slow_start`` seconds;
    while one does, all weights are scaled by :data:`RAMP_STEPS`. Where agents say percentages, they are scaled by
    100. Only their relation means anything.
    """
    step = slow_start / RAMP_STEPS
    scaled, again = [], inf
    for member in members:
        since = member.backend.up_since
        steps = RAMP_STEPS if not slow_start or since is None else min(int((now - since) / step), RAMP_STEPS)
        if steps < RAMP_STEPS and since is not None:
            again = min(again, since + (steps + 1) * step)
        scaled.append(member.spec.weight * max(1, steps))
    if again == inf:
        scaled = [member.spec.weight for member in members]
    if any(member.backend.percent != FULL for member in members):
        scaled = [weight * _percent(member) for weight, member in zip(scaled, members, strict=True)]
    return scaled, again


def _percent(member: Member) -> int:
    """What its agents say, within the largest weight."""
    percent = member.backend.percent
    return percent if percent <= FULL else min(percent, MAX_WEIGHT * FULL // max(1, member.spec.weight))


def _weighs(member: Member) -> bool:
    return member.spec.weight > 0 and member.backend.percent > 0


def surplus(members: Sequence[Member], max_share: float) -> Backend | None:
    """The backend whose ejection is to end now: because more are ejected than the share allows (others have left), or
    because it would be available and nobody else is. The one whose time is over first; ``None`` where all is well.
    """
    ejected = [member for member in members if member.backend.ejected_until is not None]
    if len(ejected) <= allowed(len(members), max_share):
        if any(_weighs(member) and member.backend.available for member in members):
            return None
        ejected = [member for member in ejected if _weighs(member) and _only_ejected(member.backend)]
    out = [member.backend for member in ejected]
    return min(out, key=lambda backend: backend.ejected_until or inf, default=None)


def can_lose(members: Sequence[Member], lost: Backend, max_share: float) -> bool:
    """Whether ejecting one more keeps within the share and leaves another that is available."""
    ejected = sum(member.backend.ejected_until is not None for member in members)
    others = any(_weighs(member) and member.backend.available for member in members if member.backend is not lost)
    return others and ejected + 1 <= allowed(len(members), max_share)


def allowed(count: int, max_share: float) -> int:
    """How many of ``count`` members may be ejected. Rounded down: a share is a limit (0.29 of 100 is 29, not 28)."""
    return int(max_share * count + 1e-9)


def _only_ejected(backend: Backend) -> bool:
    return backend.admin is AdminState.READY and backend.health is not Health.DOWN and not backend.waits
