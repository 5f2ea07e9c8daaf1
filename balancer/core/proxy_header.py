"""What a PROXY protocol header says, as values: both ends of a connection, and what else the proxy knows of it.

Source: HAProxy's doc/proxy-protocol.txt, version of 2020/03/05, sections 2.1 and 2.2. How it is written and read stands
in :mod:`balancer.core.proxy_protocol`. Nothing here believes anyone: who may send a header is decided elsewhere.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from balancer.core.addresses import Address
from balancer.errors import BadProxyHeader

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30
"""Types of what follows the addresses (PP2_TYPE_*, section 2.2)."""

SSL_VERSION, SSL_CN, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG = 0x21, 0x22, 0x23, 0x24, 0x25
"""Types within :data:`SSL` (PP2_SUBTYPE_SSL_*, section 2.2.6)."""

CLIENT_SSL, CLIENT_CERT_CONN, CLIENT_CERT_SESS = 0x01, 0x02, 0x04
"""Bits of :attr:`SslInfo.client` (PP2_CLIENT_*): it speaks TLS; it showed a certificate on this connection, or in an
earlier one of the same session."""

UNIQUE_ID_LIMIT = 128
"""Bytes of a unique id at most (section 2.2.5)."""

VALUE_LIMIT = 65535
"""Bytes of one value at most: its length has 16 bits."""

PATH = 108
"""Bytes of a UNIX socket's path, padded with NUL (section 2.2, ``unix_addr``)."""

REMEMBERED = 1024
"""Addresses kept as numbers: a listener's own comes with each connection, and clients come back."""

Tlv = tuple[int, bytes]
"""A type and its value."""


@dataclass(frozen=True, slots=True)
class Inet:
    """One end with an IP address.

    :ivar host: the address, as ``ipaddress`` writes it.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Unix:
    """One end that is a UNIX socket.

    :ivar path: empty where it has no name; an abstract one begins with NUL.
    """

    path: bytes


Endpoint = Inet | Unix
"""One end of a connection."""


@dataclass(frozen=True, slots=True)
class SslInfo:
    """What the proxy in front knows of its client's TLS.

    :ivar client: the bits CLIENT_*.
    :ivar verify: 0 where the client showed a certificate and it was verified.
    :ivar tlvs: version, cipher and so on, as they came.
    """

    client: int
    verify: int
    tlvs: tuple[Tlv, ...] = ()

    def value(self) -> bytes:
        """As the value of :data:`SSL`."""
        return bytes([self.client]) + self.verify.to_bytes(4, "big") + packed(self.tlvs)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One header.

    :ivar version: 1 or 2.
    :ivar local: the proxy speaks for itself (a health check): nobody is introduced.
    :ivar source: the client; ``None`` where the proxy does not say, as in UNKNOWN, UNSPEC and LOCAL. Then the ends of
        the connection itself count.
    :ivar destination: where the client connected to; of the same kind as ``source``, and ``None`` with it.
    :ivar datagram: the client speaks UDP, or sends datagrams to a UNIX socket.
    :ivar tlvs: what else is said, in order; without NOOP and CRC32C, which are about the header itself.
    """

    version: int = 2
    local: bool = False
    source: Endpoint | None = None
    destination: Endpoint | None = None
    datagram: bool = False
    tlvs: tuple[Tlv, ...] = ()

    def get(self, kind: int) -> bytes | None:
        """The first value of this type."""
        return next((value for found, value in self.tlvs if found == kind), None)

    @property
    def ssl(self) -> SslInfo | None:
        """What is said of the client's TLS.

        :raises BadProxyHeader: it is cut. (What was decoded never is.)
        """
        value = self.get(SSL)
        return None if value is None else ssl_info(value)


LOCAL = ProxyHeader(local=True)
"""What a health check sends in version 2."""

UNKNOWN = ProxyHeader(version=1)
"""The same in version 1, which has no other word for it."""


def packed(tlvs: tuple[Tlv, ...]) -> bytes:
    """Types, lengths and values as they are sent.

    :raises ValueError: a type or value does not fit.
    """
    out = []
    for kind, value in tlvs:
        if not 0 <= kind <= 255 or len(value) > VALUE_LIMIT:
            raise ValueError(f"type {kind} with {len(value)} bytes: a type has 8 bits, a length 16")
        out += [bytes([kind]), len(value).to_bytes(2, "big"), value]
    return b"".join(out)


def unpacked(data: bytes, start: int, where: str) -> list[tuple[int, bytes, int]]:
    """The inverse, from ``start`` to the end: type, value, and where the value stands.

    :raises BadProxyHeader: the last one is cut.
    """
    found = []
    size = len(data)
    while start < size:
        begin = start + 3
        end = begin + int.from_bytes(data[start + 1 : begin], "big")
        if begin > size or end > size:
            raise BadProxyHeader(f"the last value of the {where} is cut")
        found.append((data[start], data[begin:end], begin))
        start = end
    return found


def ssl_info(value: bytes) -> SslInfo:
    """What the value of :data:`SSL` says.

    :raises BadProxyHeader: it is cut.
    """
    if len(value) < 5:
        raise BadProxyHeader("the TLS information of the PROXY header is cut")
    rest = unpacked(value, 5, "TLS information of the PROXY header")
    return SslInfo(value[0], int.from_bytes(value[1:5], "big"), tuple((kind, data) for kind, data, _ in rest))


def numbers(source: Inet, destination: Inet) -> tuple[Address, Address]:
    """Both addresses in one family, as a header has them: of a dual-stack socket an IPv4 address may look like IPv6.

    :raises ValueError: one of them is none.
    """
    one, other = plain(source.host), plain(destination.host)
    if one.version != other.version:
        return _as_v6(one), _as_v6(other)
    return one, other


@lru_cache(REMEMBERED)
def plain(host: str) -> Address:
    """An address without a zone, which means nothing elsewhere; IPv4 within IPv6 as IPv4.

    :raises ValueError: it is none.
    """
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _as_v6(address: Address) -> IPv6Address:
    return IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address
