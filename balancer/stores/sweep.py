"""Gives back the room of what was purged, little by little: a purge itself only notes what it meets.

It passes over all entries of a store in slices, with the reactor between them, and lets the ledger forget what all
entries were judged by. It never decides what is purged.
"""

from collections.abc import Callable
from typing import Any, Final

from balancer.cache.purges import Ledger

SLICE: Final = 200
"""Entries that are judged in one turn: about half a millisecond, or one where all of them are purged."""

PAUSE: Final = 0.005
"""Seconds between two turns: a sweep of a million entries takes half a minute, of which it works a tenth."""

GRACE: Final = 60.0
"""Seconds for which a purge is remembered after a sweep, for what was asked for before it and has not arrived yet."""


class Sweep:
    """The sweeps of one store.

    :param judge: judges so many entries from a place on, and returns the next place; 0 after the last entry.
    """

    __slots__ = ("_call", "_forgetting", "_judge", "_ledger", "_passed", "_place", "_reactor", "_started")

    def __init__(self, reactor: Any, ledger: Ledger, judge: Callable[[int, int], int]) -> None:
        self._reactor = reactor
        self._ledger = ledger
        self._judge = judge
        self._place = 0
        self._started = 0
        self._passed = 0
        self._call: Any = None
        self._forgetting: Any = None

    def __repr__(self) -> str:
        return f"<Sweep of {self._started}, at {self._place}>" if self._call else f"<Sweep passed {self._passed}>"

    def wake(self) -> None:
        """There was a purge."""
        if self._call is None:
            self._started = self._ledger.last
            self._place = 0
            self._call = self._reactor.callLater(0, self._turn)

    def stop(self) -> None:
        """No more of it."""
        for call in (self._call, self._forgetting):
            if call is not None:
                call.cancel()
        self._call = self._forgetting = None

    def _turn(self) -> None:
        self._call = None
        self._place = self._judge(self._place, SLICE)
        if self._place:
            self._call = self._reactor.callLater(PAUSE, self._turn)
            return
        self._passed = self._started
        if self._forgetting is None:
            self._forgetting = self._reactor.callLater(GRACE, self._forget, self._passed)
        if self._ledger.last > self._started:
            self.wake()

    def _forget(self, serial: int) -> None:
        self._forgetting = None
        self._ledger.forget(serial)
        if self._passed > serial:
            self._forgetting = self._reactor.callLater(GRACE, self._forget, self._passed)
