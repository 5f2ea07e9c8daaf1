"""Bounds how many probes are under way at one time. It knows nothing of what is probed."""

from collections import deque
from collections.abc import Callable

Begin = Callable[[], bool]
"""Begins a probe; answers ``False`` where it is no longer wanted, and its place is free at once."""


class Gate:
    """First come, first served.

    :ivar limit: probes at one time.
    :ivar inside: probes under way.
    """

    __slots__ = ("_admitting", "_line", "inside", "limit")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a gate for {limit} probes lets none through")
        self.limit = limit
        self.inside = 0
        self._admitting = False
        self._line: deque[Begin] = deque()

    def __repr__(self) -> str:
        return f"<Gate {self.inside}/{self.limit} waiting={len(self._line)}>"

    def enter(self, begin: Begin) -> None:
        """Begin now or when a place is free. Whoever was let in calls :meth:`leave` once."""
        self._line.append(begin)
        self._admit()

    def leave(self) -> None:
        """A probe is over."""
        if not self.inside:
            raise ValueError("nobody is inside")
        self.inside -= 1
        self._admit()

    def _admit(self) -> None:
        if self._admitting:
            return  # a probe that was over before it returned: the loop below goes on, the stack does not grow
        self._admitting = True
        try:
            while self._line and self.inside < self.limit:
                begin = self._line.popleft()
                self.inside += 1
                if not begin():
                    self.inside -= 1
        finally:
            self._admitting = False
