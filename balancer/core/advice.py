"""What agents say of a backend beside its operator: its state, its share of the traffic, how much it takes.

The operator and each agent have a voice of their own, and nobody takes back another's word: of the states the strictest
counts, of the shares the smallest. (HAProxy keeps one state, which the last who speaks sets.) It never asks an agent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from balancer.core.states import AdminState

FULL = 100
"""Percent: the weight as configured."""

MAX_PERCENT = 25600
"""A weight of 1 is at most 256, as in HAProxy."""

_STRICTNESS = {AdminState.READY: 0, AdminState.DRAIN: 1, AdminState.MAINT: 2}

Word = tuple[AdminState, str]
"""A state, and why."""


@dataclass(frozen=True, slots=True)
class Advice:
    """All that one agent says by now.

    :ivar admin: READY where it says nothing.
    :ivar admin_reason: why that, in words.
    :ivar percent: of the configured weight.
    :ivar max_connections: instead of the configured limit, 0 for no limit; ``None`` for what is configured.
    """

    admin: AdminState = AdminState.READY
    admin_reason: str = ""
    percent: int = FULL
    max_connections: int | None = None


def strictest(operator: Word, advices: Iterable[Advice]) -> Word:
    """The word that counts; the operator's, where an agent says the same."""
    words = [operator, *((advice.admin, advice.admin_reason) for advice in advices)]
    return max(words, key=lambda word: _STRICTNESS[word[0]])


def percent_of(advices: Mapping[object, Advice]) -> int:
    """The share that counts."""
    return min((advice.percent for advice in advices.values()), default=FULL)


def limit_of(advices: Mapping[object, Advice]) -> int | None:
    """The limit that counts, ``None`` where no agent names one: the smallest, of which 0, no limit, is the largest."""
    said = [advice.max_connections for advice in advices.values() if advice.max_connections is not None]
    return min(filter(None, said), default=0) if said else None
