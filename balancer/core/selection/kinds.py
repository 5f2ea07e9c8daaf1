"""A kind of selector: how its arguments are read and how one is made. Every built-in is one of these.

It provides what :class:`~balancer.interfaces.ISelectorPlugin` asks for except a name, which the plugin file gives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from balancer.core.model import Member
from balancer.interfaces import ISelector, SelectionOptions

Maker = Callable[[Sequence[Member], SelectionOptions], ISelector]


@dataclass(frozen=True, slots=True)
class Kind:
    """Reads arguments, and makes the selectors they describe.

    :ivar read: from the texts between the parentheses to what makes such selectors; raises ValueError with what is
        allowed.
    """

    read: Callable[[Sequence[str]], Maker]

    def check(self, arguments: Sequence[str]) -> None:
        """See :meth:`~balancer.interfaces.ISelectorPlugin.check`."""
        self.read(arguments)

    def selector(self, arguments: Sequence[str], members: Sequence[Member], options: SelectionOptions) -> ISelector:
        """See :meth:`~balancer.interfaces.ISelectorPlugin.selector`."""
        return self.read(arguments)(members, options)


def plain(make: Maker) -> Kind:
    """A kind that takes no arguments."""

    def read(arguments: Sequence[str]) -> Maker:
        nothing(arguments)
        return make

    return Kind(read)


def nothing(arguments: Sequence[str]) -> None:
    """Read no arguments.

    :raises ValueError: there are some.
    """
    if arguments:
        raise ValueError(f"takes no arguments, not {', '.join(arguments)!r}")


def at_most_one(arguments: Sequence[str]) -> str | None:
    """Read one optional argument.

    :raises ValueError: there are more.
    """
    if len(arguments) > 1:
        raise ValueError(f"takes one argument, not {len(arguments)}: {', '.join(arguments)!r}")
    return arguments[0] if arguments else None


def whole_number(text: str, least: int, most: int) -> int:
    """A number as written.

    :raises ValueError: it is not one from ``least`` to ``most``.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)
