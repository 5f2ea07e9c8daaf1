"""What ``mode = "nat"`` may be told: the settings of a listener that the kernel forwards for, and of our table.

Frozen values with their documentation; the decisions are in ``nat``. It never looks at the kernel.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator
from typing_extensions import Doc

from balancer.core.units import Seconds

CLIENT, MASQUERADE = "client", "masquerade"
"""Whose address the servers see: the client's, or that of the interface the packet leaves by."""

_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def checked_table(name: str) -> str:
    """Return the name of a table.

    :raises ValueError: ``nft`` would not read it back from its own listing.
    """
    if _TABLE.fullmatch(name) is None:
        raise ValueError('a name of 1 to 64 letters, digits and "_", which begins with a letter')
    return name


def checked_source(text: str) -> str:
    """Return whose address the servers see.

    :raises ValueError: it is neither of the two words nor an IP address.
    """
    if text in (CLIENT, MASQUERADE):
        return text
    try:
        if "%" in text:
            raise ValueError
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f'"{CLIENT}", "{MASQUERADE}", or an IP address of this machine') from None


@dataclass(frozen=True, slots=True, kw_only=True)
class NatSettings:
    """How the kernel forwards, for mode nat."""

    __pydantic_config__ = {"extra": "forbid"}

    source: Annotated[
        str,
        AfterValidator(checked_source),
        Doc(
            'The address that servers see: `"client"` for the client\'s own (their answers have to come back through '
            'this machine), `"masquerade"` for that of the interface the packets leave by, or an IP address.'
        ),
    ] = CLIENT
    local: Annotated[
        bool, Doc("Whether connections that this machine itself makes to the listener's address are forwarded too.")
    ] = True
    unavailable: Annotated[
        Literal["reject", "drop"],
        Doc("What new connections get while no server is available: a reset or ICMP error at once, or silence."),
    ] = "reject"
    fallback: Annotated[
        Literal["none", "tcp"],
        Doc(
            "What to do where the kernel cannot forward (no privilege, no `nft`, no support): `none` refuses to start, "
            "`tcp` forwards in this process as mode tcp does, with a warning."
        ),
    ] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatPolicy:
    """The table of the kernel that listeners of mode nat share."""

    __pydantic_config__ = {"extra": "forbid"}

    table: Annotated[
        str,
        AfterValidator(checked_table),
        Doc(
            "The name of our table (`inet` family of nftables). Everything in it is ours, nothing else is touched; "
            "each balancer of a machine needs its own."
        ),
    ] = "twistd_balancer"
    on_stop: Annotated[
        Literal["remove", "keep"],
        Doc("Whether a clean stop takes the table out, or leaves it so that the kernel forwards until the next start."),
    ] = "remove"
    counters: Annotated[Seconds, Doc("Seconds between two readings of the kernel's counters.")] = 5.0
    timeout: Annotated[Seconds, Doc("Seconds one run of `nft` may take before it is ended and tried again.")] = 5.0
