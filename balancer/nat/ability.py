"""Whether the kernel here can forward for us: asked before anything starts, by a transaction that leaves nothing.

All that our rules may contain is put into a table of its own and taken out in the same transaction: nobody ever sees
it. It changes no sysctl.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from balancer.core.nat import Draw, Entrance, Ruleset, Target, Translation
from balancer.core.nat_policy import NatPolicy, NatSettings
from balancer.errors import NatError
from balancer.nat.nft import run_now
from balancer.nat.rendering import removal, replacement

FORWARDING = {4: ("/proc/sys/net/ipv4/ip_forward", "net.ipv4.ip_forward"),
              6: ("/proc/sys/net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding")}  # fmt: skip
"""Where the kernel says whether it forwards packets between interfaces, and what that is called."""

_SAMPLES = {
    4: ("192.0.2.1", "192.0.2.2"),
    6: ("2001:db8::1", "2001:db8::2"),
}
"""Addresses for documentation (RFC 5737, RFC 3849)."""


def inability(policy: NatPolicy) -> str:
    """Why mode nat cannot be had here; empty where it can. Takes one short run of ``nft``, and waits for it."""
    trial = Ruleset(f"{policy.table}_trial_{os.getpid()}", tuple(_everything()))
    try:
        run_now([*replacement(trial, {}), *removal(trial.table)], policy.timeout)
    except NatError as error:
        return str(error)
    return ""


def _everything() -> Iterable[Translation]:
    """A translation for each thing a rule may do."""
    for family, (address, host) in _SAMPLES.items():
        for port, (draw, source, protocol) in enumerate(
            [(Draw.ROUNDROBIN, "client", "tcp"), (Draw.RANDOM, "masquerade", "udp"), (Draw.SOURCE, address, "tcp")], 1
        ):
            entrance = Entrance(f"trial{family}{port}", protocol, family, address if port < 3 else "", port)
            targets = (Target(protocol, host, port),)
            yield Translation(entrance, NatSettings(source=source), draw, targets, (0,))
            refused = Entrance(f"refused{family}{port}", protocol, family, address, port + 10)
            yield Translation(refused, NatSettings(), draw, targets, ())


def not_forwarding(families: Iterable[int]) -> list[str]:
    """A warning for each family of addresses whose packets this machine does not pass on."""
    found = []
    for family in sorted(set(families)):
        path, name = FORWARDING[family]
        try:
            on = Path(path).read_text().strip() != "0"
        except OSError:
            on = False
        if not on:
            found.append(
                f"{name} is off: connections of other machines reach no server but those on this one; turn it on with "
                f"sysctl -w {name}=1"
            )
    return found
