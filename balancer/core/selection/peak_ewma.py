"""``peak-ewma(decay)``: the cheaper of two members, by recent latency times leases out.

Source: Finagle's peak EWMA (also linkerd's). A moving average weighted by time: it jumps to a latency above it at
once (the peak) and forgets it with the time constant ``decay``, also while nothing is heard, so that a member that was
slow is tried again. A member of which nothing is known is tried once, and not again until it has answered. The cost
is divided by the weight; two are drawn by weight.

A lease that ended with a failure tells no speed (refused is quick): it doubles what is remembered instead.
What is known of a backend outlives a rebuild, see :meth:`PeakEwma.inherit`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import exp

from zope.interface import classImplements

from balancer.core import units
from balancer.core.model import Backend, Member
from balancer.core.selection.choices import PowerOfChoices
from balancer.core.selection.kinds import Kind, Maker, at_most_one
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions

DECAY = 10.0
"""Seconds after which a latency counts 1/e, as in Finagle."""

MIN_DECAY, MAX_DECAY = 0.001, 3600.0
"""Faster forgets everything between two requests; slower outlasts any cause of slowness."""

WORST = 60.0
"""Seconds: failures double the remembered latency up to here, the longest default wait for a first byte."""

PENALTY = 1e9
"""The cost of an unmeasured member for each lease out: above any latency, so measured ones come first."""


class Latency:
    """The average of one backend: its value in seconds at a time."""

    __slots__ = ("at", "value")

    def __init__(self, value: float, at: float) -> None:
        self.value = value
        self.at = at

    def __repr__(self) -> str:
        return f"<Latency {self.value:g} s at {self.at:g}>"


class PeakEwma:
    """Two choices by peak-sensitive latency. Takes O(log n).

    :param decay: the time constant in seconds.
    """

    def __init__(self, members: Sequence[Member], options: SelectionOptions, decay: float = DECAY) -> None:
        self._members = members
        self._decay = decay
        self._seconds: Callable[[], float] = options.seconds
        self._latencies: dict[Backend, Latency] = {}
        self._choice = PowerOfChoices(members, 2, options.random, self.cost)

    def inherit(self, predecessor: "PeakEwma") -> None:
        """Take over what is known of the backends that are still members."""
        known = predecessor._latencies
        present = (member.backend for member in self._members)
        self._latencies = {backend: known[backend] for backend in present if backend in known}

    def cost(self, member: Member) -> float:
        """What is compared: expected seconds of work in line, for each unit of weight."""
        backend = member.backend
        latency = self._latencies.get(backend)
        if latency is None:
            return PENALTY * backend.active / member.weight
        return self._faded(latency, self._seconds()) * (backend.active + 1) / member.weight

    def refresh(self) -> None:
        """Draw among those usable now; what is known stays."""
        self._choice.refresh()

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """The cheaper of two, the other one, then the rest by chance and weight."""
        return self._choice.candidates(traits)

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Learn from one lease; which backend failed is seen from its failures in a row."""
        known = self._latencies.get(member.backend)
        if known is None:
            known = self._latencies[member.backend] = Latency(latency, now)
        faded = self._faded(known, now)
        if member.backend.failures_in_row:
            known.value = min(max(latency, 2 * faded), max(WORST, latency))
        else:
            kept = self._kept(known, now)
            known.value = max(latency, known.value * kept + latency * (1 - kept))
        known.at = max(now, known.at)

    def _kept(self, latency: Latency, now: float) -> float:
        return exp(-max(now - latency.at, 0.0) / self._decay)

    def _faded(self, latency: Latency, now: float) -> float:
        return latency.value * self._kept(latency, now)


classImplements(PeakEwma, ISelector)


def _read(arguments: Sequence[str]) -> Maker:
    text = at_most_one(arguments)
    value = DECAY if text is None else units.seconds(text)
    if not isinstance(value, float) or not MIN_DECAY <= value <= MAX_DECAY:
        raise ValueError(f"a decay of {text!r} is not from {MIN_DECAY:g} s to {MAX_DECAY:g} s")
    return partial(PeakEwma, decay=value)


PEAK_EWMA = Kind(_read)
