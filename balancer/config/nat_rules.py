"""What must hold for listeners of mode nat: only what the kernel can do may be asked of it.

Each rule yields mistakes. Nothing here asks the kernel; ``balancer.nat.ability`` does.
"""

from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address

from balancer.config.completion import default_balances
from balancer.config.listen import place
from balancer.config.problems import Mistake
from balancer.config.schema import Configuration, ListenerConfig, UpstreamConfig
from balancer.config.wording import Path, shown
from balancer.core.model import is_literal, split_address
from balancer.core.nat import CAPABLE, Entrance, draw_of
from balancer.core.nat_policy import CLIENT, MASQUERADE, NatSettings

KINDS = ("tcp", "tcp6", "udp", "udp6")
"""Kinds of places whose packets can be translated."""

OF_THE_PROCESS = ("max_connections", "timeouts", "buffer", "splice")
"""Keys of listeners that count only where this process carries the bytes: in mode nat only after ``fallback``."""


def entrance(name: str, listen: str) -> Entrance:
    """Where a listener of mode nat is.

    :raises ValueError: no rule can say that; the message says what is allowed.
    """
    there = place(listen)
    allowed = '"tcp:80:interface=192.0.2.1", "tcp6:80", "udp:53" and the like, with a port above 0'
    if there.kind not in KINDS or not there.port:
        raise ValueError(allowed)
    if there.address and ("%" in there.address or not is_literal(there.address)):
        raise ValueError(f"{allowed}; an interface is an IP address without a zone")
    if not there.address and not there.kind.endswith("6") and "\\:\\:" in listen:
        raise ValueError(f'{allowed}; every address of IPv6 is "{there.kind}6:{there.port}"')
    family = ip_address(there.address).version if there.address else 6 if there.kind.endswith("6") else 4
    return Entrance(name, there.kind.removesuffix("6"), family, there.address, there.port)


def kernel_forwards(configuration: Configuration) -> Iterator[Mistake]:
    """What mode nat is asked for the kernel can do, and what is for mode nat stands in no other."""
    for name, listener in configuration.listener.items():
        if listener.mode == "nat":
            yield from _reachable(name, listener)
            yield from _for_the_process(name, listener)
            if upstream := configuration.upstream.get(listener.to):
                yield from _families(name, listener, upstream)
                yield from _unable(name, listener, upstream, default_balances(configuration)[listener.to])
        else:
            yield from _for_nat(name, listener)


def _reachable(name: str, listener: ListenerConfig) -> Iterator[Mistake]:
    path: Path = ("listener", name, "listen")
    try:
        there = entrance(name, listener.listen)
    except ValueError as error:
        found = f'{shown(listener.listen)} in mode "nat"'
        yield Mistake(path=path, found=found, allowed=str(error), about=(path, ("listener", name, "mode")))
        return
    source: Path = ("listener", name, "nat", "source")
    written = listener.nat.source
    if written not in (CLIENT, MASQUERADE) and ip_address(written).version != there.family:
        allowed = f"an address of IPv{there.family}, as the listener's is"
        yield Mistake(path=source, found=shown(written), allowed=allowed, about=(source, path))
    if there.protocol == "udp" and listener.nat.fallback == "tcp":
        key: Path = ("listener", name, "nat", "fallback")
        yield Mistake(path=key, found='"tcp" for a listener of UDP', allowed='"none"', about=(key, path))


def _for_the_process(name: str, listener: ListenerConfig) -> Iterator[Mistake]:
    """Keys that nobody would read."""
    mode: Path = ("listener", name, "mode")
    if listener.tls is not None:
        path: Path = ("listener", name, "tls")
        found = 'TLS in mode "nat", where the kernel passes on what it does not open'
        yield Mistake(path=path, found=found, allowed='nothing, or mode = "tcp"', about=(path, mode))
    if listener.nat.fallback != "none":
        return
    for key in _changed(listener, OF_THE_PROCESS):
        path = ("listener", name, key)
        found = 'a key that mode "nat" never reads: the kernel has limits of its own (docs/nat.md)'
        yield Mistake(path=path, found=found, allowed='nothing, or nat.fallback = "tcp"', about=(path, mode))


def _for_nat(name: str, listener: ListenerConfig) -> Iterator[Mistake]:
    mode: Path = ("listener", name, "mode")
    if listener.nat != NatSettings():
        path: Path = ("listener", name, "nat")
        found = f"a table that mode {shown(listener.mode)} never reads"
        yield Mistake(path=path, found=found, allowed='nothing, or mode = "nat"', about=(path, mode))


def _families(name: str, listener: ListenerConfig, upstream: UpstreamConfig) -> Iterator[Mistake]:
    """NAT keeps the family of addresses."""
    try:
        family = entrance(name, listener.listen).family
    except ValueError:
        return
    for index, server in enumerate(upstream.servers):
        host, _ = split_address(server.address)
        if is_literal(host) and ip_address(host).version != family:
            path: Path = ("upstream", listener.to, "servers", index)
            found = f'{shown(server.address)}, which the IPv{family} listener "{name}" of mode nat cannot reach'
            allowed = f"addresses of IPv{family}, or a listener of the other family"
            yield Mistake(path=path, found=found, allowed=allowed, about=(path, ("listener", name, "listen")))


def _unable(name: str, listener: ListenerConfig, upstream: UpstreamConfig, default: str) -> Iterator[Mistake]:
    """What an upstream is told that needs each connection in this process."""
    mode: Path = ("listener", name, "mode")
    at: Path = ("upstream", listener.to)
    try:
        draw_of(upstream.balance or default)
    except ValueError:
        path: Path = (*at, "balance")
        found = f'{shown(upstream.balance or default)}, which the kernel cannot do for listener "{name}" of mode nat'
        yield Mistake(path=path, found=found, allowed=f"one of {CAPABLE}", about=(path, mode))
    allowed = 'nothing, or an upstream of its own for the listeners of mode "nat"'
    if upstream.tls is not None:
        path = (*at, "tls")
        found = f'TLS to servers that listener "{name}" of mode nat would send plain bytes to'
        yield Mistake(path=path, found=found, allowed=allowed, about=(path, mode))
    if upstream.hash_balance_factor:
        path = (*at, "hash_balance_factor")
        found = f'a bound of load, which the kernel does not know for listener "{name}" of mode nat'
        yield Mistake(path=path, found=found, allowed=allowed, about=(path, mode))
    for index, server in enumerate(upstream.servers):
        if server.max_connections:
            path = (*at, "servers", index, "max_connections")
            found = f'a limit that the kernel does not keep for listener "{name}" of mode nat'
            yield Mistake(path=path, found=found, allowed=allowed, about=(path, mode))


def _changed(listener: ListenerConfig, keys: tuple[str, ...]) -> list[str]:
    """Those of the keys that do not have their default."""
    plain = ListenerConfig(listen=listener.listen)
    return [each.name for each in fields(listener)
            if each.name in keys and getattr(listener, each.name) != getattr(plain, each.name)]  # fmt: skip
