"""A connection whose client another proxy introduced: the transport answers with the client's address.

Nothing stands in the way of the bytes for it. It never reads a header and never decides whom to believe.
"""

from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import ITransport

from balancer.core.proxy_header import Endpoint, Inet, ProxyHeader, Unix

StreamAddress = IPv4Address | IPv6Address | UNIXAddress


@dataclass(frozen=True, slots=True)
class Proxied:
    """What the transport of an introduced client knows.

    :ivar peer: the client.
    :ivar host: where it connected to.
    :ivar header: the whole introduction.
    """

    peer: StreamAddress
    host: StreamAddress
    header: ProxyHeader


def introduction(header: ProxyHeader) -> Proxied | None:
    """The addresses of a header in Twisted's words; ``None`` where it introduces nobody."""
    if header.source is None or header.destination is None:
        return None
    return Proxied(_address(header.source, header), _address(header.destination, header), header)


def introduce(transport: ITransport, proxied: Proxied) -> None:
    """Have the transport answer ``getPeer`` and ``getHost`` with what the proxy said.

    (The uvloop reactor's transports know how. Others are Twisted's, or wrap those, and let their methods be assigned,
    as ``startTLS`` does.)
    """
    own = getattr(type(transport), "introduce", None)
    if own is not None:
        own(transport, proxied)
        return
    leaf = cast(Any, transport)
    leaf.getPeer = lambda: proxied.peer
    leaf.getHost = lambda: proxied.host
    leaf.proxied = proxied


def proxied(transport: object) -> Proxied | None:
    """The introduction of this transport's client, if there was one."""
    found = getattr(transport, "proxied", None)
    return found if isinstance(found, Proxied) else None


def endpoint(address: object) -> Endpoint | None:
    """One of Twisted's addresses as a header has it; ``None`` where it has no word for it."""
    if isinstance(address, IPv4Address | IPv6Address):
        return Inet(address.host, address.port)
    if isinstance(address, UNIXAddress):
        name = address.name
        return Unix(name.encode() if isinstance(name, str) else name or b"")
    return None


def _address(end: Endpoint, header: ProxyHeader) -> StreamAddress:
    if isinstance(end, Unix):
        return UNIXAddress(end.path or None)
    kind = IPv6Address if ":" in end.host else IPv4Address
    return kind("UDP" if header.datagram else "TCP", end.host, end.port)
