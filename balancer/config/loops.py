"""No listener sends to itself: each connection would make the next one, until nothing is left to make one of.

Only what is written as IP addresses is compared. Nothing here looks at the network: an address of this machine that is
not a loopback one, and a name, may lead back to a listener at every interface without being found.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from balancer.config.listen import place
from balancer.config.problems import Mistake
from balancer.config.schema import Configuration, UpstreamConfig
from balancer.config.wording import Path, shown
from balancer.core.model import split_address


def loops(configuration: Configuration) -> Iterator[Mistake]:
    """No server of an upstream is the place of a listener that uses it."""
    for name, listener in configuration.listener.items():
        for to in sorted(listener.upstreams):
            upstream = configuration.upstream.get(to)
            for index in _looping(listener.listen, upstream) if upstream is not None else ():
                path: Path = ("upstream", to, "servers", index)
                address = configuration.upstream[to].servers[index].address
                yield Mistake(
                    path=path,
                    found=f'{shown(address)}, where listener "{name}", which sends there, listens itself',
                    allowed="a server that is not the listener itself",
                    about=(path, ("listener", name, "listen")),
                )


def _looping(listen: str, upstream: UpstreamConfig) -> Iterator[int]:
    """Which of the servers are where that listener is."""
    there = place(listen)
    if not there.port:
        return
    if there.address:
        here = _address(there.address)
    else:
        six = there.family == 6 or r"\:\:" in listen
        here = ip_address("::" if six else "0.0.0.0")
    for index, server in enumerate(upstream.servers):
        host, port = split_address(server.address)
        if port == there.port and here is not None and reaches(_address(host), here):
            yield index


def reaches(server: IPv4Address | IPv6Address | None, listener: IPv4Address | IPv6Address) -> bool:
    """Whether who connects to the one arrives at the other, on one machine.

    :param server: ``None`` for a name. The unspecified address is this machine, to who connects (ip(7)).
    :param listener: unspecified for every interface; that of IPv6 takes IPv4 too (RFC 3493 section 5.3).
    """
    if server is None:
        return False
    if listener.is_unspecified:
        return (server.is_loopback or server.is_unspecified) and (server.version == 4 or listener.version == 6)
    if server.is_unspecified:
        return listener.is_loopback and listener.version == server.version
    return server == listener


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
