"""What the kernel is to do for a listener of mode nat: from members and a selector to a table of slots.

A :class:`Translation` is the whole decision for one listener, as a value: rules that say the same are equal, so that
only a change reaches the kernel. This module never talks to the kernel and never renders a rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from itertools import islice

from balancer.core.model import Member, join_address
from balancer.core.nat_policy import NatSettings
from balancer.core.selection.digest import digest
from balancer.core.selection.expression import calls
from balancer.core.selection.maglev import Maglev
from balancer.core.selection.places import walk
from balancer.core.selection.turns import period, smooth

MOST_SLOTS = 1024
"""Slots of ``roundrobin`` and ``random`` at most. Weights whose cycle is longer get their share rounded to a 1024th;
``nft`` takes about 20 ms for so many, and a change has to arrive within 100 ms of the verdict."""

SOURCE_SLOTS = 1021
"""Slots of ``source``: a prime, as maglev needs, and always the same, for another size moves nearly every source."""

MOST_TARGETS = 1000
"""Servers of one listener that the kernel is told of: each needs a slot. More are left out, which the log says."""


class Draw(Enum):
    """How the kernel draws a slot: what of our selectors it can do."""

    ROUNDROBIN = "roundrobin"
    RANDOM = "random"
    SOURCE = "source"


CAPABLE = ", ".join(draw.value for draw in Draw)
"""The selectors that the kernel can do, in words."""


def draw_of(balance: str) -> Draw:
    """What draws as ``balance`` says.

    :raises ValueError: the kernel cannot; the message lists what it can.
    """
    chain = calls(balance, "or")
    names = {draw.value: draw for draw in Draw}
    draw = names.get(chain[0].name)
    if draw is not None and len(chain) == 1 and not chain[0].arguments:
        return draw
    raise ValueError(f"{balance!r} needs every connection in this process; the kernel can do {CAPABLE}")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Where connections go.

    :ivar protocol: ``tcp`` or ``udp``.
    """

    protocol: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{join_address(self.host, self.port)}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a listener of mode nat is.

    :ivar name: the listener's.
    :ivar protocol: ``tcp`` or ``udp``.
    :ivar family: 4 or 6.
    :ivar address: empty for every address of the machine.
    """

    name: str
    protocol: str
    family: int
    address: str
    port: int

    def __str__(self) -> str:
        return join_address(self.address or ("0.0.0.0" if self.family == 4 else "::"), self.port)


@dataclass(frozen=True, slots=True)
class Translation:
    """What the kernel does for one listener.

    :ivar targets: every server of the family, usable or not: those that are not still have connections to count.
    :ivar slots: for each slot the index of its target; empty where no server is available.
    """

    entrance: Entrance
    settings: NatSettings
    draw: Draw
    targets: tuple[Target, ...]
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All that is in our table.

    :ivar table: its name.
    """

    table: str
    translations: tuple[Translation, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every server of every listener, once."""
        return tuple(sorted({target for each in self.translations for target in each.targets}))


def translation(entrance: Entrance, settings: NatSettings, draw: Draw, members: Sequence[Member]) -> Translation:
    """Decide for one listener.

    :param members: of its upstream; those of the other family of addresses are passed over, for NAT keeps the family,
        and so is what is beyond :data:`MOST_TARGETS`.
    """
    known = suited(entrance.family, members)[:MOST_TARGETS]
    targets = tuple(Target(entrance.protocol, canonical(member.backend.host), member.backend.port) for member in known)
    slots = source_slots(known) if draw is Draw.SOURCE else turn_slots(known)
    return Translation(entrance, settings, draw, targets, slots)


def suited(family: int, members: Iterable[Member]) -> list[Member]:
    """The members that have addresses of that family, in order. One that needs a zone (``fe80::1%eth0``) no rule can
    name."""
    return [m for m in members if "%" not in m.backend.host and ip_address(m.backend.host).version == family]


def canonical(host: str) -> str:
    """The address as the kernel knows it: two spellings are one server."""
    return str(ip_address(host))


def turn_slots(members: Sequence[Member]) -> tuple[int, ...]:
    """One cycle of smooth weighted turns among the usable members, or the first :data:`MOST_SLOTS` of it."""
    usable = [index for index, member in enumerate(members) if member.usable and member.weight]
    weights = [members[index].weight for index in usable]
    return tuple(islice(smooth(usable, weights), min(period(weights), MOST_SLOTS)))


def source_slots(members: Sequence[Member]) -> tuple[int, ...]:
    """A maglev table in which a member that is not usable keeps its place: while it is away only its own sources go
    elsewhere, and they come back with it."""
    table = Maglev(members, SOURCE_SLOTS)
    indexes = {member: index for index, member in enumerate(members)}
    if not any(member.usable and member.weight for member in members):
        return ()
    return tuple(
        owner if members[owner].usable else indexes[next(walk(table, _point(slot)))]
        for slot, owner in enumerate(table.owners)
    )


def _point(slot: int) -> int:
    """A key of that slot: the table takes the slot by the whole number, the step of the walk by its high half."""
    high = digest(b"slot %d" % slot) & ~0xFFFFFFFF
    return high + (slot - high) % SOURCE_SLOTS
