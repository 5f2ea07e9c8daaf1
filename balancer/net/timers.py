"""One coarse wheel for every connection timeout, instead of a ``callLater`` for each.

Source: hashed timing wheels (Varghese and Lauck, SOSP 1987), as in Kafka and Netty. Timers are kept in buckets one
tick wide. Arming, re-arming and cancelling are O(1); what is re-armed to a later time stays where it is and moves
only when its bucket comes up, so a timer that is re-armed on every chunk costs one addition a chunk, and one that
rests between the requests of a connection costs an assignment. The wheel asks
the reactor to be called for its earliest bucket only, and for nothing while no timer is pending.

A loop that is late has not heard what came in time: with a few thousand connections at once one turn of it may take
longer than a timeout, and its timers come before its sockets. So what is due is carried out only after the loop has
looked at its sockets once more, and what it found there has been heard (:class:`Look`). The wheel never fires early
and never decides what a timeout means.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, floor, inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

TICK = 0.1
"""Seconds: the shortest timeout people configure is a few hundred milliseconds; a timer may be this late."""

TURNS = 3
"""Times in line after which the sockets have been heard. libuv calls timers, then what stands in line, then it looks at
the sockets, and uvloop tells of a connection that is made by putting that in line. So the first time in line comes
before the look, the second before the telling, the third after it. Twisted's own reactors need one."""


class Look:
    """Calls back once the loop has looked at its sockets, and what it found has been heard."""

    __slots__ = ("_call", "_callback", "_left", "_reactor")

    def __init__(self, reactor: IReactorTime, callback: Callable[[], None]) -> None:
        self._reactor = reactor
        self._callback = callback
        self._left = TURNS
        self._call: IDelayedCall = reactor.callLater(0, self._turn)

    def cancel(self) -> None:
        """The call will not come; not to be asked after it came."""
        self._call.cancel()

    def _turn(self) -> None:
        self._left -= 1
        if self._left:
            self._call = self._reactor.callLater(0, self._turn)
        else:
            self._callback()


class Timer:
    """A call at a later time; :meth:`TimerWheel.schedule` makes it.

    :ivar callback: what is called; may be replaced, so that one timer serves one user after the other.
    :ivar active: whether the call is still to come.
    """

    __slots__ = ("_deadline", "_since", "_tick", "_wheel", "callback")

    def __init__(self, wheel: "TimerWheel", callback: Callable[[], None]) -> None:
        self.callback = callback
        self._wheel = wheel
        self._deadline = 0.0
        self._since = 0.0  # where its bucket begins: from there on no deadline moves it
        self._tick = -1  # its bucket, -1 while it is in none

    def __repr__(self) -> str:
        return f"<Timer {'active' if self.active else 'idle'} {self.callback!r}>"

    @property
    def active(self) -> bool:
        """Whether the call is still to come."""
        return self._tick >= 0 and self._deadline != inf

    def rearm(self, delay: float) -> None:
        """Let the call come after so many seconds from now, also where it was made or cancelled before."""
        self.until(self._wheel.seconds() + delay)

    def until(self, deadline: float) -> None:
        """As :meth:`rearm`, for who has read the clock already: let the call come at that time of it."""
        self._deadline = deadline
        if self._tick < 0:
            self._wheel._insert(self)
        elif deadline < self._since:
            self._wheel._remove(self)
            self._wheel._insert(self)

    def rest(self) -> None:
        """As :meth:`cancel`, for what is soon armed again: it stays in its bucket, and leaves it silently where the
        bucket comes up first. Its owner cancels it in the end."""
        self._deadline = inf

    def cancel(self) -> None:
        """The call will not come; no matter whether it was to come at all."""
        if self._tick >= 0:
            self._wheel._remove(self)
            self._wheel._rest()


def nothing() -> None:
    """What a timer without a user would call."""


class TimerWheel:
    """The wheel.

    :param reactor: the clock and the source of calls.
    :param tick: the width of a bucket in seconds: a call comes at most about this late (where the loop is not), and
        never early.
    """

    def __init__(self, reactor: IReactorTime, tick: float = TICK) -> None:
        if tick <= 0:
            raise ValueError(f"tick {tick} is not above 0")
        self.seconds: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        self._tick = tick
        self._origin = reactor.seconds()
        self._done = -1  # the last tick whose bucket was emptied
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._ticks: list[int] = []  # a heap of the buckets' keys, and of some whose bucket has gone
        self._call: IDelayedCall | None = None
        self._call_tick = 0
        self._look: Look | None = None  # what is due waits for it; what was due then:
        self._now = 0.0
        self._current = 0
        self._pending = 0
        self._firing = False

    def __len__(self) -> int:
        return self._pending

    def __repr__(self) -> str:
        return f"<TimerWheel pending={self._pending} tick={self._tick:g}>"

    def schedule(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds: never early, at most about one tick late.

        A callback that raises is logged, and the other timers go on.
        """
        timer = Timer(self, callback)
        timer.rearm(delay)
        return timer

    # -- for Timer ----------------------------------------------------------------------------------------------

    def _insert(self, timer: Timer) -> None:
        tick = max(ceil((timer._deadline - self._origin) / self._tick), self._done + 1, 0)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heappush(self._ticks, tick)
            self._wait()
        bucket[timer] = None
        timer._tick = tick
        timer._since = self._origin + (tick - 1) * self._tick
        self._pending += 1

    def _remove(self, timer: Timer) -> None:
        del self._buckets[timer._tick][timer]
        timer._tick = -1
        self._pending -= 1

    def _rest(self) -> None:
        """Ask for no call while nothing is pending."""
        if not self._pending and not self._firing:
            self._buckets.clear()
            self._ticks.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None
            if self._look is not None:
                self._look.cancel()
                self._look = None

    # -- inside -------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """See that the reactor calls for the earliest bucket."""
        if self._firing or self._look is not None or not self._ticks:
            return
        tick = self._ticks[0]
        delay = max(0.0, self._origin + tick * self._tick - self.seconds())
        if self._call is None:
            self._call = self._reactor.callLater(delay, self._due)
        elif tick < self._call_tick:
            self._call.reset(delay)
        else:
            return
        self._call_tick = tick

    def _due(self) -> None:
        self._call = None
        self._now = now = self.seconds()
        # The call may come a rounding error before the tick it was for; that bucket counts as due all the same.
        self._current = max(floor((now - self._origin) / self._tick), self._call_tick)
        self._look = Look(self._reactor, self._heard)

    def _heard(self) -> None:
        """The sockets have been heard: carry out what was due before that, and nothing that came due meanwhile."""
        self._look = None
        self._firing = True
        while self._ticks and self._ticks[0] <= self._current:
            tick = heappop(self._ticks)
            self._done = tick
            self._empty(tick, self._now)
        self._firing = False
        self._wait()
        self._rest()

    def _empty(self, tick: int, now: float) -> None:
        bucket = self._buckets.get(tick, {})
        for timer in list(bucket):
            if timer._tick != tick:
                continue  # cancelled or moved by one of the calls before it
            self._remove(timer)
            if timer._deadline == inf:
                continue
            if timer._deadline > now:
                self._insert(timer)
            else:
                try:
                    timer.callback()
                except Exception:
                    _log.failure("a timer's call {call!r} failed", call=timer.callback)
        self._buckets.pop(tick, None)


_log = Logger()
