"""The words a configuration may use that plugins define: probes, selectors and stores.

Reading a configuration needs them, but this room may not look for plugins; whoever reads passes them in. It never
keeps a plugin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from balancer.core.health import CheckSettings

NO_CHECK = "none"
"""The ``type`` of a check that is none."""

MEMORY = "memory"
"""The store that is there without being written, of the type of the same name."""


def _any_text(text: str) -> None:
    """Let every selector pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What plugins add to the schema.

    :ivar checks: the settings class of each probe, by the ``type`` that chooses it.
    :ivar stores: the settings class of each kind of store, by the ``type`` that chooses it: its own keys, of which
        ``type`` is none.
    :ivar selectors: looks at a ``balance`` text and raises ValueError or UnknownName, whose message says what fits.
        The default lets every text pass.
    """

    checks: Mapping[str, type[CheckSettings]] = field(default_factory=lambda: {"tcp": CheckSettings})
    stores: Mapping[str, type] = field(default_factory=dict)
    selectors: Callable[[str], object] = _any_text
