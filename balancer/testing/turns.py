"""A reactor's clock that goes by turns, for what must hold where the loop is late: ``Clock`` has no turns.

It has no sockets: the test says what they have to tell, and when the kernel is asked.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.task import Clock


class TurningLoop(Clock):
    """A loop whose turns take long, in the order of libuv: calls that are due, what stands in line, the sockets.

    :ivar line: what the next turn calls: calls of no delay, and what sockets put there.
    :ivar ready: what the kernel will say of the sockets when it is asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line: list[Callable[[], object]] = []
        self.ready: list[Callable[[], object]] = []

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        """One of no delay stands in line, as on the uvloop reactor."""
        call: Any = super().callLater(delay, callable, *args, **kw)
        if not delay:
            self.calls.remove(call)
            call.canceller = _forget
            self.line.append(partial(_run, call))
        return call

    def turn(self, seconds: float) -> None:
        """One turn, which begins so long after the last one."""
        self.rightNow += seconds
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            if call in self.calls:  # none of those before it has cancelled it
                self.calls.remove(call)
                _run(call)
        for phase in ("line", "ready"):
            steps: list[Callable[[], object]] = getattr(self, phase)
            setattr(self, phase, [])
            for step in steps:
                step()


def _run(call: Any) -> None:
    if call.active():
        call.called = 1
        call.func(*call.args, **call.kw)


def _forget(call: object) -> None:
    """It is cancelled, and does nothing when its time in line comes."""
