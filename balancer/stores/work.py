"""Work that may wait for a disk, done in threads of the reactor's: some at a time, the rest in line.

It never runs two things more than it was allowed to, so that a disk that hangs does not take all threads of the
process (looking up names needs some), and never calls back from a thread.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")


class ThreadReactor(Protocol):
    """What of the reactor is used: ``IReactorThreads`` and a clock."""

    callFromThread: Callable[..., Any]
    callLater: Callable[..., Any]
    getThreadPool: Callable[[], Any]


class Work:
    """See the module.

    :param limit: threads at one time.
    """

    __slots__ = ("_active", "_idle", "_limit", "_line", "_reactor")

    def __init__(self, reactor: ThreadReactor, limit: int) -> None:
        self._reactor = reactor
        self._limit = limit
        self._active = 0
        self._line: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()
        self._idle: list[Deferred[None]] = []

    def __repr__(self) -> str:
        return f"<Work active={self._active} waiting={len(self._line)}>"

    @property
    def busy(self) -> bool:
        """Whether anything is done or waits."""
        return bool(self._active or self._line)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """What the function returns or raises, called in a thread when it is its turn."""
        done: Deferred[T] = Deferred()
        self._line.append((done, lambda: function(*args, **kwargs)))
        self._next()
        return done

    def idle(self) -> "Deferred[None]":
        """Fires when nothing is done and nothing waits."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._rest()
        return done

    def _next(self) -> None:
        while self._line and self._active < self._limit:
            done, call = self._line.popleft()
            self._active += 1
            self._reactor.getThreadPool().callInThreadWithCallback(
                lambda success, result, done=done: self._reactor.callFromThread(self._done, done, success, result), call
            )

    def _done(self, done: "Deferred[Any]", success: bool, result: Any) -> None:
        self._active -= 1
        if success:
            done.callback(result)
        else:
            failure: Failure = result
            done.errback(failure)
        self._next()
        self._rest()

    def _rest(self) -> None:
        if not self.busy:
            waiting, self._idle = self._idle, []
            for done in waiting:
                done.callback(None)
