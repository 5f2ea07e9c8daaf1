"""SIGHUP from the first moment on: until the balancer runs it is kept, for its default ends the process.

It never decides what the signal is for (:mod:`balancer.tap` does).
"""

import signal
from collections.abc import Callable


class Hangup:
    """What becomes of SIGHUP in this process."""

    def __init__(self) -> None:
        self._action: Callable[[], object] | None = None
        self._came = False

    def hold(self) -> None:
        """Keep what comes from now on for :meth:`give`."""
        if self._action is None:
            signal.signal(signal.SIGHUP, self._arrived)

    def give(self, action: Callable[[], object]) -> None:
        """Do this at each signal, and once now if one came before.

        :param action: called between any two instructions.
        """
        self._action = action
        signal.signal(signal.SIGHUP, self._arrived)
        if self._came:
            self._came = False
            action()

    def _arrived(self, *_: object) -> None:
        if self._action is None:
            self._came = True
        else:
            self._action()


HANGUP = Hangup()
"""That of this process: it has one disposition of each signal."""
