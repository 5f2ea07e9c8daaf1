"""Reads the kernel's counters out of a listing of ``nft``. Text it does not know is passed over. It runs nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from balancer.core.nat import Target
from balancer.core.traffic import Traffic
from balancer.nat.rendering import counters_of

Counts = Mapping[str, tuple[int, int]]
"""Packets and bytes by the name of a counter."""


def counts(listing: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """The counters of a listing."""
    found = {}
    for item in listing:
        counter = item.get("counter")
        if not isinstance(counter, dict):
            continue
        name, packets, octets = counter.get("name"), counter.get("packets"), counter.get("bytes")
        if isinstance(name, str) and isinstance(packets, int) and isinstance(octets, int):
            found[name] = (packets, octets)
    return found


def traffic(found: Counts, targets: Iterable[Target]) -> dict[Target, Traffic]:
    """What went to each server."""
    return {target: _traffic([found.get(name, (0, 0)) for name in counters_of(target)]) for target in targets}


def _traffic(read: Sequence[tuple[int, int]]) -> Traffic:
    (connections, _), (packets_in, bytes_in), (packets_out, bytes_out) = read
    return Traffic(connections, packets_in, bytes_in, packets_out, bytes_out)


def refused(found: Counts) -> dict[str, int]:
    """New connections that met no server, by listener. (Clients try again, so it counts attempts.)"""
    return {name.removeprefix("refused/"): value[0] for name, value in found.items() if name.startswith("refused/")}
