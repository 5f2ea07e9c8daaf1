"""Selectors: which of the usable members, in which order. Each is weighted, seeded and clocked from outside."""

from collections.abc import Callable, Sequence

from balancer.core.model import Member
from balancer.interfaces import ISelector, ISelectorPlugin, SelectionOptions


def builder(
    text: str, lookup: Callable[[str], ISelectorPlugin], options: SelectionOptions
) -> Callable[[Sequence[Member]], ISelector]:
    """What builds the selector that ``balance = text`` describes, for any members."""
    raise ValueError(text)
