"""A layer 4 and layer 7 load balancer on Twisted, started with ``twistd balancer``.

This package's root holds no code: import from the rooms (see docs/architecture.md).
"""

from balancer._version import __version__

__all__ = ["__version__"]
