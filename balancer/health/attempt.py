"""One probe under way, with its deadline: whatever the plugin does, it ends once, in time, with a result.

It never decides when to probe, nor what the result changes.
"""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.errors import BalancerError
from balancer.interfaces import ProbeResult
from balancer.net.timers import Look

MAX_REASON = 300
"""Characters of a reason that are kept: it goes into events, logs and pages, and a backend may have written it."""


class Attempt:
    """One call of a plugin.

    :param probe: makes the probe.
    :param timeout: seconds it may take.
    :param done: told the result and whether it was unexpected (the plugin raised what is no word on the backend).
        Never told after :meth:`cancel`.
    """

    __slots__ = ("_deadline", "_deferred", "_done", "_probe", "_reactor", "_timeout")

    log = Logger()

    def __init__(
        self,
        probe: Callable[[], "Deferred[ProbeResult]"],
        timeout: float,
        reactor: IReactorTime,
        done: Callable[[ProbeResult, Failure | None], None],
    ) -> None:
        self._probe = probe
        self._timeout = timeout
        self._reactor = reactor
        self._done: Callable[[ProbeResult, Failure | None], None] | None = done
        self._deadline: IDelayedCall | Look | None = None
        self._deferred: Deferred[None] | None = None

    def start(self) -> None:
        """Begin. The result may come before this returns."""
        self._deadline = self._reactor.callLater(self._timeout, self._due)
        self._deferred = maybeDeferred(self._probe).addBoth(self._arrived)
        self._deferred.addErrback(self._listener_raised)

    def cancel(self) -> None:
        """Take it back: the probe closes everything, and nobody is told."""
        self._done = None
        self._close()

    def _due(self) -> None:
        # A loop that is late has not heard yet what came in time: a backend is not down because we are busy.
        self._deadline = Look(self._reactor, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        done, self._done = self._done, None
        self._close()
        if done is not None:
            done(ProbeResult(False, f"no answer within {self._timeout:g} s"), None)

    def _close(self) -> None:
        self._stop_clock()
        if self._deferred is not None:
            self._deferred.cancel()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _arrived(self, result: object) -> None:
        done, self._done = self._done, None
        if done is None:  # cancelled or expired: only what went wrong in closing is news
            if isinstance(result, Failure) and not result.check(CancelledError, ConnectingCancelledError):
                self.log.failure("closing a probe", failure=result)
            return
        self._stop_clock()
        done(*_judged(result))

    def _listener_raised(self, failure: Failure) -> None:
        self.log.failure("taking a probe's result", failure=failure)


def _judged(result: object) -> tuple[ProbeResult, Failure | None]:
    if isinstance(result, ProbeResult):
        return replace(result, reason=result.reason[:MAX_REASON]), None
    if isinstance(result, Failure):
        kind = "" if result.check(BalancerError) else f"{result.type.__name__ if result.type else 'error'}: "
        reason = f"the probe failed: {kind}{result.getErrorMessage()}"[:MAX_REASON]
        return ProbeResult(False, reason), None if result.check(BalancerError) else result
    wrong = TypeError(f"the probe plugin answered {result!r:.100} instead of a ProbeResult")
    return ProbeResult(False, str(wrong)), Failure(wrong)
