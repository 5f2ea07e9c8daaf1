"""One probe stream: one backend, one check, one probe after the other for as long as it is wanted.

It performs what :class:`~balancer.core.health.HealthMachine` decides: it waits, probes, hands results in and verdicts
on to the backend. It never decides what a result means and never knows who uses the backend.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.core.health import CheckSettings, HealthMachine
from balancer.core.model import AdminState, Backend, Health
from balancer.core.proxy_protocol import greeting
from balancer.health.attempt import Attempt
from balancer.health.gate import Gate
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

FIRST_WITHIN = 0.1
"""Seconds within which a new stream's first probe begins, at random: at once to a person, spread for a thousand."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all streams of a monitor share.

    :ivar reactor: clock, timers, and what the probes connect with.
    :ivar random: for jitter.
    :ivar gate: bounds the probes at one time.
    :ivar lookup: finds a probe plugin by its name.
    """

    reactor: Any
    random: Random
    gate: Gate
    lookup: Callable[[str], IProbePlugin]


class ProbeStream:
    """Probes one backend by one check. Nothing runs before :meth:`start`.

    :ivar users: the names of the upstreams that want it.
    :ivar probes: how many probes were made.
    :ivar last: the last probe's result; ``None`` before the first.
    """

    __slots__ = (
        "_attempt",
        "_logged",
        "_place",
        "_running",
        "_surroundings",
        "_timer",
        "_waits",
        "backend",
        "check",
        "last",
        "machine",
        "probes",
        "target",
        "users",
    )

    log = Logger()

    def __init__(self, backend: Backend, check: CheckSettings, name: str, surroundings: Surroundings) -> None:
        """
        :param name: what the operator calls the backend.
        """
        self.backend = backend
        self.check = check
        self.target = ProbeTarget(
            host=check.address or backend.host,
            port=check.port or backend.port,
            tls_name=backend.tls_name,
            name=name or backend.host,
            preface=greeting(check.send_proxy),
        )
        self.machine = HealthMachine(check)
        self.users: set[str] = set()
        self.probes = 0
        self.last: ProbeResult | None = None
        self._surroundings = surroundings
        self._waits = False
        self._running = False
        self._timer: IDelayedCall | None = None
        self._place: object | None = None
        self._attempt: Attempt | None = None
        self._logged = ""

    def __repr__(self) -> str:
        doing = "probing" if self._attempt else "running" if self._running else "paused"
        return f"<ProbeStream {self.check.type} of {self.backend.address} {doing} {self.probes} {self.machine!r}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, replaced: "ProbeStream | None" = None) -> None:
        """Begin to probe (in maintenance not yet) and give the first verdict.

        :param replaced: the stream that a changed check replaces. Its verdict holds until this one's results say
            otherwise: a reload takes no server out. It may be this one, whose backend was gone for a while. A backend
            that another check knows does not wait, either.
        """
        if self.backend.admin is AdminState.MAINT:
            self.pause()
            return
        self.resume()
        if replaced is self:
            return
        if replaced is not None and replaced.machine.health is not Health.UNKNOWN:
            self.machine.health = replaced.machine.health
            reason = "as the check before it said; the new one is not made yet"
        elif self.backend.health is not Health.UNKNOWN:
            self.machine.health = Health.UNKNOWN
            reason = "a further check is not made yet"
        else:
            self._waits = self.check.start == "wait"
            reason = f"new, not probed yet (start = {self.check.start!r})"
        self._tell(reason)

    def pause(self) -> None:
        """Probe no more until :meth:`resume`, and forget what probes said: it will be old by then."""
        self.halt()
        self.machine = HealthMachine(self.check)
        self._waits = self.check.start == "wait"
        self._tell("no probes in maintenance")

    def resume(self) -> None:
        """Probe at once, and on. Does nothing where it runs already."""
        if self._running:
            return
        self._running = True
        self._schedule(FIRST_WITHIN * self._surroundings.random.random())

    def halt(self) -> None:
        """Cancel everything; the verdict stays."""
        self._running = False
        self._place = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            attempt.cancel()
            self._surroundings.gate.leave()

    def stop(self) -> None:
        """Cancel everything and take the verdict back."""
        self.halt()
        self.backend.forget_check(self.check, self._surroundings.reactor.seconds())

    # -- one probe ----------------------------------------------------------------------------------------------

    def _schedule(self, wait: float) -> None:
        self._timer = self._surroundings.reactor.callLater(wait, self._due)

    def _due(self) -> None:
        self._timer = None
        place = self._place = object()
        # A stream that was halted meanwhile, and perhaps resumed, has another place or none: this one is void.
        self._surroundings.gate.enter(lambda: self._place is place and self._begin())

    def _begin(self) -> bool:
        self._place = None
        self.probes += 1
        self._attempt = Attempt(self._probe, self.check.timeout, self._surroundings.reactor, self._take)
        self._attempt.start()
        return True

    def _probe(self) -> "Deferred[ProbeResult]":
        plugin = self._surroundings.lookup(self.check.type)
        return plugin.probe(self.target, self.check, self._surroundings.reactor)

    def _take(self, result: ProbeResult, unexpected: Failure | None) -> None:
        self._attempt = None
        self.last = result
        before = self.machine.health
        changed = self.machine.result(result.passed)
        self._schedule(self.machine.wait(self._surroundings.random))
        self._surroundings.gate.leave()
        self._log(result, unexpected)
        if changed or not self.machine.streak or self.machine.health is Health.UNKNOWN:
            self._tell(self._reason(result, before) if changed else result.reason)
        # else it disagrees, but not often enough yet: the verdict and its reason stay as they are

    def _reason(self, result: ProbeResult, before: Health) -> str:
        """Why the verdict changed: one pass is enough to know of a new backend, all else takes several results."""
        needed = self.check.rise if result.passed else self.check.fall
        if needed == 1 or (result.passed and before is Health.UNKNOWN):
            return result.reason
        return f"{needed} probes in a row {'passed' if result.passed else 'failed'}, the last: {result.reason}"

    def _tell(self, reason: str) -> None:
        """The last thing any method does: whoever hears of it may stop the stream."""
        now = self._surroundings.reactor.seconds()
        waits = self._waits and self.machine.health is Health.UNKNOWN
        self.backend.judge(self.check, self.machine.health, reason, now, waits=waits)

    def _log(self, result: ProbeResult, unexpected: Failure | None) -> None:
        """A plugin's own fault, once until it changes."""
        if unexpected is not None and result.reason != self._logged:
            self.log.failure(
                "the {type} probe of {backend} raised what it should not",
                failure=unexpected,
                type=self.check.type,
                backend=self.backend.address,
            )
        self._logged = result.reason if unexpected is not None else ""
