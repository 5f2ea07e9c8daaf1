"""One probe stream: one backend, one check, one probe after the other for as long as it is wanted.

It performs what :class:`~balancer.core.health.HealthMachine` decides: it waits, probes, hands results in and verdicts
on to the backend. It never decides what a result means and never knows who uses the backend.
"""

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.core.health import CheckSettings, HealthMachine
from balancer.core.model import AdminState, Backend, Health
from balancer.core.proxy_protocol import greeting
from balancer.health.asking import Asking, Surroundings
from balancer.interfaces import ProbeResult, ProbeTarget


class ProbeStream:
    """Probes one backend by one check. Nothing runs before :meth:`start`.

    :ivar users: the names of the upstreams that want it.
    :ivar probes: how many probes were made.
    :ivar last: the last probe's result; ``None`` before the first.
    """

    __slots__ = (
        "_asking",
        "_logged",
        "_running",
        "_surroundings",
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
        self._asking = Asking(surroundings, self._probe, check.timeout, self._take)
        self._logged = ""

    def __repr__(self) -> str:
        doing = "probing" if self._asking.asking else "running" if self._running else "paused"
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
        self._asking.start()

    def halt(self) -> None:
        """Cancel everything; the verdict stays."""
        self._running = False
        self._asking.halt()

    def stop(self) -> None:
        """Cancel everything and take the verdict back."""
        self.halt()
        self.backend.forget_check(self.check, self._surroundings.reactor.seconds())

    # -- one probe ----------------------------------------------------------------------------------------------

    def _probe(self) -> "Deferred[ProbeResult]":
        self.probes += 1
        plugin = self._surroundings.lookup(self.check.type)
        return plugin.probe(self.target, self.check, self._surroundings.reactor)

    def _take(self, result: ProbeResult, unexpected: Failure | None) -> None:
        self.last = result
        before = self.machine.health
        changed = self.machine.result(result.passed)
        self._asking.again(self.machine.wait(self._surroundings.random))
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
