"""The settings of a guard: which clients a listener lets in, how many of one source, how often and for how long.

Only values: nothing here counts or refuses (see :mod:`balancer.core.guard`).
"""

from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator
from typing_extensions import Doc

from balancer.core.units import Count, CountOrZero, SecondsOrZero

MAX_SOURCES = 65536
"""Sources without a connection that are remembered for their rate, about 20 MB: with the usual burst of a few seconds,
more than ten thousand different sources a second are told apart exactly."""


def checked_source(text: str) -> str:
    """Return the text of one entry of ``allow`` or ``deny``.

    :raises ValueError: it is neither an address nor a network without host bits.
    """
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f'{error}: allowed are "192.0.2.1", "10.0.0.0/8" and "2001:db8::/32"') from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("an IPv4 client counts as IPv4 however its socket spells it: write the IPv4 network")
    return text


Source = Annotated[str, AfterValidator(checked_source)]
"""An address or a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """Which clients are let in, before anything else is spent on them."""

    __pydantic_config__ = {"extra": "forbid"}

    allow: Annotated[
        tuple[Source, ...],
        Doc("Networks whose clients are let in; with any here, clients of no listed network are refused."),
    ] = ()
    deny: Annotated[
        tuple[Source, ...],
        Doc("Networks whose clients are refused. Of all networks of both lists that hold it, the smallest decides."),
    ] = ()
    connections: Annotated[
        CountOrZero, Doc("Connections of one source at one time; more are closed at once. 0 for no limit.")
    ] = 0
    rate: Annotated[
        float, Ge(0), Le(1_000_000), Doc("New connections per second of one source, in the long run; 0 for no limit.")
    ] = 0.0
    burst: Annotated[
        CountOrZero,
        Doc("New connections a source may make at once after a rest, with `rate`; 0 takes `rate`, rounded up."),
    ] = 0
    max_lifetime: Annotated[
        SecondsOrZero,
        Doc(
            "Seconds after which a connection is ended: reset in mode tcp; in mode http closed after the exchange that "
            "is under way, or at once where none is. 0 for no limit."
        ),
    ] = 0.0
    ipv6_prefix: Annotated[
        int,
        Ge(1),
        Le(128),
        Doc("Bits of an IPv6 address that make a source: who has one address of a network usually has all of it."),
    ] = 64
    max_sources: Annotated[
        Count,
        Doc(
            "Sources without a connection that are remembered for `rate`; of more, those that rested longest are "
            "forgotten, and have their burst again."
        ),
    ] = MAX_SOURCES

    @property
    def counts(self) -> bool:
        """Whether it tells sources apart."""
        return bool(self.connections or self.rate)

    @property
    def limits(self) -> bool:
        """Whether it does anything."""
        return bool(self.allow or self.deny or self.counts or self.max_lifetime)
