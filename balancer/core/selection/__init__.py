"""Selectors: which of the usable members, in which order. Each is weighted, seeded and clocked from outside.

``balance`` texts become selectors here; the kinds are found by name, so strangers' selectors and ours come through the
same door. See docs/balancing.md for each, docs/writing-a-selector.md for one's own. Nothing here opens a connection,
reads a clock of its own or changes a member.
"""

from collections.abc import Callable, Sequence
from functools import partial

from balancer.core.model import Member
from balancer.core.selection.bounded import MIN_FACTOR
from balancer.core.selection.chain import Succession
from balancer.core.selection.expression import calls
from balancer.core.selection.hashed import HASH_TYPES
from balancer.errors import UnknownName
from balancer.interfaces import ISelector, ISelectorPlugin, SelectionOptions

Lookup = Callable[[str], ISelectorPlugin]
"""From a name to its plugin; raises UnknownName with the names there are."""


def builder(text: str, lookup: Lookup, options: SelectionOptions) -> Callable[[Sequence[Member]], ISelector]:
    """What builds the selector that ``balance = text`` describes, for any members. One for each upstream, for it
    hands on what the selector before has learned.

    :raises ValueError: the text or the options are wrong; the message says where and what is allowed.
    """
    if options.hash_type not in HASH_TYPES:
        raise ValueError(f"hash_type {options.hash_type!r} is not one of {', '.join(sorted(HASH_TYPES))}")
    check_balance_factor(options.balance_factor)
    return Succession(
        [partial(plugin.selector, arguments, options=options) for plugin, arguments in _plan(text, lookup)], options
    )


def check(text: str, lookup: Lookup) -> None:
    """Whether ``balance = text`` can be served; nothing is built.

    :raises ValueError: it cannot; the message says where and what is allowed.
    """
    _plan(text, lookup)


def check_balance_factor(percent: int) -> None:
    """Whether ``hash_balance_factor`` can be served.

    :raises ValueError: it is neither 0 nor large enough.
    """
    if percent != 0 and percent < MIN_FACTOR:
        raise ValueError(f"a balance factor of {percent} is neither 0 (no bound) nor at least {MIN_FACTOR} percent")


def _plan(text: str, lookup: Lookup) -> list[tuple[ISelectorPlugin, tuple[str, ...]]]:
    plan = []
    for call in calls(text, "or"):
        try:
            plugin = lookup(call.name)
            plugin.check(call.arguments)
        except UnknownName as problem:
            raise call.wrong(str(problem)) from None
        except ValueError as problem:
            raise call.wrong(f"{call.name}: {problem}") from None
        plan.append((plugin, call.arguments))
    return plan
