"""What may be said of a backend: by probes, and by those who run it. Words only; who says them stands elsewhere."""

from enum import Enum


class Health(Enum):
    """What probes say."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class AdminState(Enum):
    """What the operator says: READY serves, DRAIN finishes what it has, MAINT gets nothing, not even probes."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"
