"""IP addresses as peers and proxies spell them, and which of them are trusted to speak for a client.

Text in, values out; nothing here resolves a name. An IPv4 address inside IPv6 (``::ffff:192.0.2.1``, how a
dual-stack socket reports IPv4 peers) is that IPv4 address, and a zone (``fe80::1%eth0``) is not part of one.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

UNIX = "unix"
"""In a list of trusted proxies: whoever connects through a UNIX socket."""

MAX_HOPS = 32
"""Entries of ``X-Forwarded-For`` examined, from the right. No real chain of trusted proxies is longer, and each
entry costs about a microsecond."""

_WITH_PORT = re.compile(r"(?:\[(?P<v6>(?=[^\]]*:)[0-9A-Fa-f:.]{2,45})\]|(?P<v4>[0-9.]{7,15}))(?::[0-9]{1,5})?")


def parsed(text: str) -> Address | None:
    """Return the address that a socket or a field names, with or without a port; None if it is none."""
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match["v6"] or match["v4"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def checked_network(text: str) -> str:
    """Return the text of one entry of a list of trusted proxies.

    :raises ValueError: it is neither an address, a network without host bits, nor ``unix``.
    """
    if text != UNIX:
        try:
            ip_network(text)
        except ValueError as error:
            raise ValueError(f'{error}: allowed are "192.0.2.1", "10.0.0.0/8", "2001:db8::/32" and "unix"') from None
    return text


class TrustedProxies:
    """The peers whose word about a client is taken."""

    def __init__(self, entries: Iterable[str]) -> None:
        """:param entries: addresses, networks and perhaps ``unix``.
        :raises ValueError: one of them is none of these.
        """
        entries = [checked_network(entry) for entry in entries]
        networks = [ip_network(entry) for entry in entries if entry != UNIX]
        self._v4 = tuple(network for network in networks if isinstance(network, IPv4Network))
        self._v6 = tuple(network for network in networks if isinstance(network, IPv6Network))
        self._any_socket = UNIX in entries

    def __repr__(self) -> str:
        return f"<TrustedProxies {[*map(str, self._v4 + self._v6), *([UNIX] if self._any_socket else [])]}>"

    def __bool__(self) -> bool:
        return bool(self._v4 or self._v6 or self._any_socket)

    def trusts(self, address: Address | None) -> bool:
        """Whether the address is one of them; None stands for the peer of a UNIX socket."""
        if address is None:
            return self._any_socket
        if isinstance(address, IPv4Address):
            return any(address in network for network in self._v4)
        return any(address in network for network in self._v6)

    def client(self, peer: str, forwarded_for: Iterable[bytes]) -> str:
        """Return the address of the client behind a trusted peer: the rightmost one that is not trusted.

        Whatever stands left of it was written by that client and proves nothing. The walk ends at an entry
        that is no address: then the client is the last proxy that is known to be one.

        :param peer: address of the trusted peer.
        :param forwarded_for: values of its ``X-Forwarded-For`` fields, in order.
        """
        client = peer
        entries = b",".join(forwarded_for).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
        for entry in reversed(entries):
            address = parsed(entry.strip().decode("latin-1"))
            if address is None:
                break
            client = str(address)
            if not self.trusts(address):
                break
        return client
