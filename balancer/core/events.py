"""Facts about backends, each with a reason a person can read.

An event is frozen, carries the time it happened (seconds of the clock that was passed in), and is kept on the
backend it speaks of (the last :data:`KEPT`). This module never decides anything and never logs.
"""

from dataclasses import dataclass

KEPT = 50
"""How many events a backend keeps: enough for a bad night, small enough to keep for 10,000 backends."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    :ivar at: seconds, by the clock the model was given.
    :ivar subject: the backend's address (``host:port``), or the upstream's name for events of an upstream.
    :ivar reason: why, in words.
    """

    at: float
    subject: str
    reason: str


class BackendUp(Event):
    """Probes say the backend answers again."""

    __slots__ = ()


class BackendDown(Event):
    """Probes say the backend does not answer."""

    __slots__ = ()


class HealthUnknown(Event):
    """Nothing is known of the backend's health: its checks have just begun, or none is made any more."""

    __slots__ = ()


class Ejected(Event):
    """Traffic says the backend fails: it is out until a time."""

    __slots__ = ()


class Readmitted(Event):
    """An ejection ended."""

    __slots__ = ()


class Drained(Event):
    """The operator wants no new work on the backend; what runs may finish."""

    __slots__ = ()


class Maintained(Event):
    """The operator took the backend out (maintenance): no traffic and no probes."""

    __slots__ = ()


class Enabled(Event):
    """The operator gave the backend back to traffic."""

    __slots__ = ()


class Advised(Event):
    """An agent changed the backend's share of the traffic, or how many connections it takes."""

    __slots__ = ()


class MembersChanged(Event):
    """An upstream's set of backends, or their weights, changed."""

    __slots__ = ()


class PanicEntered(Event):
    """Too few backends are available: the upstream uses all that the operator has not taken out."""

    __slots__ = ()


class PanicLeft(Event):
    """Enough backends are available again."""

    __slots__ = ()


class ConfigApplied(Event):
    """A configuration was published."""

    __slots__ = ()
