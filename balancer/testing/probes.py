"""A probe plugin whose results the test decides. It connects to nothing."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from balancer.core.health import CheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

PASSED = ProbeResult(True, "all is well")
FAILED = ProbeResult(False, "nobody is there")


@implementer(IProbePlugin)
class ScriptedProbe:
    """Answers with :attr:`answer`, or, where that is ``None``, leaves each probe :attr:`pending`.

    :ivar answer: the result of each probe, or what makes one (it may raise).
    :ivar targets: where it was sent, in order.
    :ivar pending: probes that are not answered; cancelled ones leave.
    :ivar cancelled: how many were cancelled.
    """

    name = "scripted"
    settings = CheckSettings

    def __init__(self, answer: ProbeResult | Callable[[ProbeTarget], Any] | None = PASSED) -> None:
        self.answer = answer
        self.targets: list[ProbeTarget] = []
        self.pending: list[Deferred[ProbeResult]] = []
        self.cancelled = 0

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        self.targets.append(target)
        if isinstance(self.answer, ProbeResult):
            return succeed(self.answer)
        if self.answer is not None:
            made: Deferred[ProbeResult] = self.answer(target)
            return made
        probe: Deferred[ProbeResult] = Deferred(self._cancel)
        self.pending.append(probe)
        return probe

    def _cancel(self, probe: "Deferred[ProbeResult]") -> None:
        self.pending.remove(probe)
        self.cancelled += 1
