"""Asking one backend again and again, as checks and agents do: a wait, a place in the gate, an attempt, its result.

Whoever asks says when the next question is due. It never knows what is asked, nor what an answer means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from balancer.health.attempt import Attempt
from balancer.health.gate import Gate
from balancer.interfaces import IProbePlugin, ProbeResult

FIRST_WITHIN = 0.1
"""Seconds within which the first question is asked, at random: at once to a person, spread for a thousand."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all who ask share.

    :ivar reactor: clock, timers, and what the probes connect with.
    :ivar random: for jitter.
    :ivar gate: bounds the probes at one time.
    :ivar lookup: finds a probe plugin by its name.
    """

    reactor: Any
    random: Random
    gate: Gate
    lookup: Callable[[str], IProbePlugin]


class Asking:
    """See the module.

    :param ask: makes the probe.
    :param timeout: seconds it may take.
    :param answered: told the result, and the failure where the plugin raised what is no word on the backend. It calls
        :meth:`again`, or :meth:`halt`.
    """

    __slots__ = ("_answered", "_ask", "_attempt", "_place", "_surroundings", "_timeout", "_timer")

    def __init__(
        self,
        surroundings: Surroundings,
        ask: Callable[[], "Deferred[ProbeResult]"],
        timeout: float,
        answered: Callable[[ProbeResult, Failure | None], None],
    ) -> None:
        self._surroundings = surroundings
        self._ask = ask
        self._timeout = timeout
        self._answered = answered
        self._timer: IDelayedCall | None = None
        self._place: object | None = None
        self._attempt: Attempt | None = None

    @property
    def asking(self) -> bool:
        """Whether a question is out."""
        return self._attempt is not None

    @property
    def active(self) -> bool:
        """Whether one is out, or will be."""
        return self._timer is not None or self._place is not None or self.asking

    def start(self) -> None:
        """Ask soon; who is active must not start."""
        self._wait(FIRST_WITHIN * self._surroundings.random.random())

    def again(self, wait: float) -> None:
        """That answer is taken: ask again after so many seconds. Others may have its place in the gate."""
        self._wait(wait)
        self._surroundings.gate.leave()

    def halt(self) -> None:
        """Ask no more until :meth:`start`, and take back what is out."""
        self._place = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            attempt.cancel()
            self._surroundings.gate.leave()

    def _wait(self, seconds: float) -> None:
        self._timer = self._surroundings.reactor.callLater(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        place = self._place = object()
        # One that was halted meanwhile, and perhaps started again, has another place or none: this one is void.
        self._surroundings.gate.enter(lambda: self._place is place and self._begin())

    def _begin(self) -> bool:
        self._place = None
        self._attempt = Attempt(self._ask, self._timeout, self._surroundings.reactor, self._take)
        self._attempt.start()
        return True

    def _take(self, result: ProbeResult, unexpected: Failure | None) -> None:
        self._attempt = None
        self._answered(result, unexpected)
