"""What a selector may provide besides ISelector, which is asked at run time: a class that is compiled cannot say it, so
this one stands alone. Nothing here does anything."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Inheriting(Protocol):
    """Memory that outlives the rebuild."""

    def inherit(self, predecessor: Any) -> None:
        """Take over from a selector of the same class that served the upstream until now."""
