"""A reactor's threads without threads: what they are to do is done in turns of a clock, one thing after another."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure


class ThreadlessClock(Clock):
    """A clock that is its own thread pool: each ``advance`` does what was waiting when it began.

    :ivar waiting: what is to be done, in order: a call each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[Callable[[], None]] = deque()

    def getThreadPool(self) -> "ThreadlessClock":
        """Itself."""
        return self

    def callInThreadWithCallback(self, told: Callable[[bool, Any], None], call: Callable[[], Any]) -> None:
        """As of a thread pool, in a later turn."""

        def work() -> None:
            try:
                result = call()
            except Exception:
                told(False, Failure())
            else:
                told(True, result)

        self.waiting.append(work)

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """At once: there is only one thread."""
        call(*args, **kwargs)

    def advance(self, amount: float) -> None:
        """Let time pass, and the threads do what waits."""
        super().advance(amount)
        for _ in range(len(self.waiting)):
            self.waiting.popleft()()
