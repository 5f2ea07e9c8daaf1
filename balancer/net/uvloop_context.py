"""Whose turn it is, for the log: what Twisted's reactors tell by a call around each event, without that call.

uvloop runs all callbacks of a connection in a ``contextvars`` context of its own. So a variable that is set once says
whose they are, and Twisted's logging asks it (``twisted.python.context``) only when something is logged.
"""

from contextvars import ContextVar
from typing import Any

from twisted.python import context
from twisted.python.log import ILogContext

CURRENT: ContextVar[Any] = ContextVar("CURRENT", default=None)
"""The transport whose callback runs."""


class Tracker(context.ThreadedContextTracker):
    """Twisted's own, which for the log falls back to :data:`CURRENT` where nobody said anything nearer."""

    def getContext(self, key: Any, default: Any = None) -> Any:
        """See ``twisted.python.context``."""
        if key is ILogContext and len(self.currentContext().contexts) == 1:
            transport = CURRENT.get()
            if transport is not None:
                return {"system": transport.logPrefix(), "isError": 0}
        return super().getContext(key, default)


def install() -> None:
    """Have Twisted ask; what others said so far stays."""
    if not isinstance(context.theContextTracker, Tracker):
        tracker = Tracker()
        tracker.storage = context.theContextTracker.storage
        context.installContextTracker(tracker)
