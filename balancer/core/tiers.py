"""Who of an upstream's members may be chosen now, and with which weight: tiers, panic, slow start.

Pure decisions over members; the upstream publishes them. This module never changes a member and never reads a clock.
"""

from collections.abc import Sequence
from math import inf

from balancer.core.model import AdminState, Backend, Health, Member

RAMP_STEPS = 10
"""Slow start raises a weight in this many steps; weights are scaled by it meanwhile, so that 1 can be divided."""


def usable(members: Sequence[Member], threshold: float) -> tuple[frozenset[Member], bool]:
    """Who may be chosen, and whether that is panic.

    The available primaries, where they are at least the ``threshold`` share of all primaries; with them the available
    backups, where they are fewer; where no backup is available all primaries (panic). Members of weight 0 and
    those the operator took out do not count, and those that wait for a first probe neither help nor hurt.
    """
    ready = [member for member in members if member.spec.weight and member.backend.admin is AdminState.READY]
    primaries = [member for member in ready if not member.spec.backup]
    # Where there is no primary at all the backups are the tier that serves, and there is nothing behind them.
    tier, spare = (primaries, [member for member in ready if member.spec.backup]) if primaries else (ready, [])
    counted = [member for member in tier if not member.backend.waits]
    available = [member for member in counted if member.backend.available]
    if available and len(available) >= threshold * len(counted):
        return frozenset(available), False
    helped = available + [member for member in spare if member.backend.available]
    if len(helped) > len(available):
        return frozenset(helped), False  # a backup that answers is better than a primary known to be dead
    if counted and threshold:
        return frozenset(tier), True
    return frozenset(member for member in ready if member.backend.waits), False


def weights(members: Sequence[Member], slow_start: float, now: float) -> tuple[list[int], float]:
    """The effective weight of each member, and when they are to be asked for again (``inf``: when a verdict changes).

    A backend that came back gets a tenth of its weight at first and grows by tenths over ``slow_start`` seconds;
    while one does, all weights are scaled by :data:`RAMP_STEPS`. Only their relation means anything.
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
        return [member.spec.weight for member in members], inf
    return scaled, again


def surplus(members: Sequence[Member], max_share: float) -> Backend | None:
    """The backend whose ejection is to end now: because more are ejected than the share allows (others have left), or
    because it would be available and nobody else is. The one whose time is over first; ``None`` where all is well.
    """
    ejected = [member for member in members if member.backend.ejected_until is not None]
    if len(ejected) <= allowed(len(members), max_share):
        if any(member.spec.weight and member.backend.available for member in members):
            return None
        ejected = [member for member in ejected if member.spec.weight and _only_ejected(member.backend)]
    out = [member.backend for member in ejected]
    return min(out, key=lambda backend: backend.ejected_until or inf, default=None)


def can_lose(members: Sequence[Member], lost: Backend, max_share: float) -> bool:
    """Whether ejecting one more keeps within the share and leaves another that is available."""
    ejected = sum(member.backend.ejected_until is not None for member in members)
    others = any(member.spec.weight and member.backend.available for member in members if member.backend is not lost)
    return others and ejected + 1 <= allowed(len(members), max_share)


def allowed(count: int, max_share: float) -> int:
    """How many of ``count`` members may be ejected. Rounded down: a share is a limit (0.29 of 100 is 29, not 28)."""
    return int(max_share * count + 1e-9)


def _only_ejected(backend: Backend) -> bool:
    return backend.admin is AdminState.READY and backend.health is not Health.DOWN and not backend.waits
