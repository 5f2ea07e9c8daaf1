"""The PROXY protocol, versions 1 and 2: headers into bytes, and bytes, cut anywhere, into headers. No I/O.

Source: HAProxy's doc/proxy-protocol.txt, version of 2020/03/05. What comes may be hostile: whatever it is, and however
it is cut, the decoder answers with a header, asks for more within its limit, or raises
:exc:`~balancer.errors.BadProxyHeader`, and the same for every way to cut it. It never looks at what follows a header.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from balancer.core.proxy_header import (
    CRC32C,
    LOCAL,
    NOOP,
    PATH,
    SSL,
    UNIQUE_ID,
    UNIQUE_ID_LIMIT,
    UNKNOWN,
    Endpoint,
    Inet,
    ProxyHeader,
    Tlv,
    Unix,
    numbers,
    packed,
    ssl_info,
    unpacked,
)
from balancer.errors import BadProxyHeader

V1_SIGNATURE = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

V1_LIMIT = 107
"""Bytes of a line of version 1 at most, its end included (section 2.1: the worst case)."""

V2_FIXED = 16
"""Bytes of version 2 that come first and say how many follow: signature, command, family, length."""

V2_MOST = V2_FIXED + 65535
"""Bytes of a header of version 2 at most: its length has 16 bits."""

V2_LIMIT = 4096
"""Bytes of a header of version 2 that are taken unless a configuration says otherwise: addresses are 216 at most, and
what proxies say beside them (names, an id, TLS) is some hundred."""

_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_INET, _INET6, _UNIX = 0x1, 0x2, 0x3
_ADDRESSES = {_INET: 12, _INET6: 36, _UNIX: 2 * PATH}
"""Bytes of both addresses with their ports, by family."""


def begins_one(data: bytes) -> bool | None:
    """Whether bytes begin with a header's signature; ``None``: they are too few to tell."""
    for signature in (V1_SIGNATURE, V2_SIGNATURE):
        if data.startswith(signature):
            return True
        if signature.startswith(data):
            return None
    return False


class ProxyDecoder:
    """Reads one header. Use it once.

    :param limit: bytes of a header of version 2 at most (:data:`V2_LIMIT`).
    :ivar rest: bytes behind the header, once it was read.
    """

    __slots__ = ("_limit", "_read", "rest")

    def __init__(self, limit: int = V2_LIMIT) -> None:
        self._limit = limit
        self._read = b""
        self.rest = b""

    def __repr__(self) -> str:
        return f"<ProxyDecoder waiting={self.waiting} limit={self._limit}>"

    @property
    def waiting(self) -> int:
        """Bytes held of a header that is not complete: never more than the limit."""
        return len(self._read)

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take what came; the header, or ``None`` where more is needed.

        :raises BadProxyHeader: it is none, or a wrong one; the message says what is wrong.
        """
        self._read = read = self._read + data
        known = begins_one(read)
        if known is None:
            return None
        if not known:
            raise BadProxyHeader("the connection does not begin with a PROXY header")
        return self._feed_v1(read) if read.startswith(V1_SIGNATURE) else self._feed_v2(read)

    def _feed_v1(self, read: bytes) -> ProxyHeader | None:
        end = read.find(b"\r\n", 0, V1_LIMIT)
        if end < 0:
            if len(read) >= V1_LIMIT:
                raise BadProxyHeader(f"the PROXY line does not end within {V1_LIMIT} bytes")
            return None
        self._read, self.rest = b"", read[end + 2 :]
        return _decode_v1(read[:end])

    def _feed_v2(self, read: bytes) -> ProxyHeader | None:
        if len(read) < V2_FIXED:
            return None
        size = V2_FIXED + int.from_bytes(read[14:16], "big")
        _check_fixed(read, size, self._limit)
        if len(read) < size:
            return None
        self._read, self.rest = b"", read[size:]
        return _decode_v2(read[:size])


def _decode_v1(line: bytes) -> ProxyHeader:
    """:param line: without its end."""
    match = _LINE.fullmatch(line)
    if match is None:
        if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
            return ProxyHeader(version=1)  # what follows is to be ignored
        raise BadProxyHeader(f"a wrong PROXY line: {line!r}")
    kind = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, destination = (str(kind(match[number].decode("ascii"))) for number in (2, 3))
    except AddressValueError:
        raise BadProxyHeader(f"a wrong address in the PROXY line: {line!r}") from None
    ports = int(match[4]), int(match[5])
    if max(ports) > 65535:
        raise BadProxyHeader(f"a wrong port in the PROXY line: {line!r}")
    return ProxyHeader(version=1, source=Inet(source, ports[0]), destination=Inet(destination, ports[1]))


def _check_fixed(read: bytes, size: int, limit: int) -> None:
    version, command = divmod(read[12], 16)
    family, protocol = divmod(read[13], 16)
    if version != 2 or command > 1:
        raise BadProxyHeader(f"version {version} and command {command} in the PROXY header: 2, and 0 or 1 are known")
    if family > _UNIX or protocol > 2:
        raise BadProxyHeader(f"family {family} and protocol {protocol} in the PROXY header are unknown")
    if size > limit:
        raise BadProxyHeader(f"a PROXY header of {size} bytes: the limit is {limit}")
    least = _ADDRESSES[family] if command and family and protocol else 0
    if size < V2_FIXED + least:
        raise BadProxyHeader(f"a PROXY header of {size} bytes has no room for its addresses")


def _decode_v2(data: bytes) -> ProxyHeader:
    """:param data: one whole header whose first 16 bytes were checked."""
    if not data[12] & 0x0F:
        return ProxyHeader(local=True)  # whatever follows is to be discarded
    family, protocol = divmod(data[13], 16)
    if not family or not protocol:
        return ProxyHeader()
    start = V2_FIXED + _ADDRESSES[family]
    source, destination = _addresses(family, data)
    return ProxyHeader(2, False, source, destination, protocol == 2, _tlvs(data, start))


def _addresses(family: int, data: bytes) -> tuple[Endpoint, Endpoint]:
    if family == _UNIX:
        middle = V2_FIXED + PATH
        return Unix(_path(data[V2_FIXED:middle])), Unix(_path(data[middle : middle + PATH]))
    width, kind = (4, IPv4Address) if family == _INET else (16, IPv6Address)
    middle, ports = V2_FIXED + width, V2_FIXED + 2 * width
    return (
        Inet(str(kind(data[V2_FIXED:middle])), int.from_bytes(data[ports : ports + 2], "big")),
        Inet(str(kind(data[middle:ports])), int.from_bytes(data[ports + 2 : ports + 4], "big")),
    )


def _path(padded: bytes) -> bytes:
    if padded[:1] == b"\0":  # abstract, or none
        return padded.rstrip(b"\0")
    return padded.partition(b"\0")[0]


def _tlvs(data: bytes, start: int) -> tuple[Tlv, ...]:
    kept = []
    summed = False
    for kind, value, place in unpacked(data, start, "PROXY header"):
        if kind == CRC32C:
            if summed or len(value) != 4:
                raise BadProxyHeader("a PROXY header has one checksum, of 4 bytes")
            summed = True
            if crc32c(data[:place] + bytes(4) + data[place + 4 :]) != int.from_bytes(value, "big"):
                raise BadProxyHeader("the checksum of the PROXY header is wrong")
        elif kind == UNIQUE_ID and len(value) > UNIQUE_ID_LIMIT:
            raise BadProxyHeader(
                f"a unique id of {len(value)} bytes in the PROXY header: {UNIQUE_ID_LIMIT} are allowed"
            )
        elif kind != NOOP:
            if kind == SSL:
                ssl_info(value)
            kept.append((kind, value))
    return tuple(kept)


# -- encoding ------------------------------------------------------------------------------------------------------


def encode(header: ProxyHeader, checksum: bool = False) -> bytes:
    """A header as it is sent.

    :param checksum: with CRC32C; for version 2.
    :raises ValueError: it does not fit: values in version 1, a path or an id that is too long, ends of two families.
    """
    return _encode_v1(header, checksum) if header.version == 1 else _encode_v2(header, checksum)


def _encode_v1(header: ProxyHeader, checksum: bool) -> bytes:
    if header.tlvs or checksum:
        raise ValueError("version 1 of the PROXY protocol says no more than addresses")
    if header.local or header.datagram or header.source is None or header.destination is None:
        return b"PROXY UNKNOWN\r\n"
    source, destination = header.source, header.destination
    if not isinstance(source, Inet) or not isinstance(destination, Inet):
        return b"PROXY UNKNOWN\r\n"  # UNIX sockets have no word in it
    one, other = numbers(source, destination)
    return f"PROXY TCP{one.version} {one} {other} {source.port} {destination.port}\r\n".encode("ascii")


def _encode_v2(header: ProxyHeader, checksum: bool) -> bytes:
    family, addresses = 0, b""
    if not header.local and header.source is not None and header.destination is not None:
        family, addresses = _encode_addresses(header.source, header.destination)
        family |= 2 if header.datagram else 1
    unique_id = header.get(UNIQUE_ID) if header.tlvs else None
    if unique_id is not None and len(unique_id) > UNIQUE_ID_LIMIT:
        raise ValueError(f"a unique id of more than {UNIQUE_ID_LIMIT} bytes")
    # Without addresses a receiver need not look at what follows.
    body = addresses + packed(header.tlvs) if family else b""
    summed = checksum and bool(family)
    size = len(body) + 7 * summed
    if size > V2_MOST - V2_FIXED:
        raise ValueError(f"a PROXY header of {size} bytes: {V2_MOST - V2_FIXED} fit")
    fixed = V2_SIGNATURE + bytes([0x20 if header.local else 0x21, family]) + size.to_bytes(2, "big")
    if not summed:
        return fixed + body
    start = fixed + body + bytes([CRC32C, 0, 4])
    return start + crc32c(start + bytes(4)).to_bytes(4, "big")


def _encode_addresses(source: Endpoint, destination: Endpoint) -> tuple[int, bytes]:
    if isinstance(source, Inet) and isinstance(destination, Inet):
        one, other = numbers(source, destination)
        ports = (source.port << 16 | destination.port).to_bytes(4, "big")
        return (_INET if one.version == 4 else _INET6) << 4, one.packed + other.packed + ports
    if isinstance(source, Unix) and isinstance(destination, Unix):
        return _UNIX << 4, _padded(source.path) + _padded(destination.path)
    raise ValueError(f"{source} and {destination}: both ends are IP addresses, or both are UNIX sockets")


def _padded(path: bytes) -> bytes:
    if len(path) > PATH:
        raise ValueError(f"a path of {len(path)} bytes: {PATH} fit")
    return path.ljust(PATH, b"\0")


def greeting(version: str) -> bytes:
    """What a health check begins with: nobody is introduced.

    :param version: ``v1`` or ``v2``; anything else sends nothing.
    """
    return {"v1": encode(UNKNOWN), "v2": encode(LOCAL)}.get(version, b"")


def _table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # the polynomial of Castagnoli, reflected
        table.append(number)
    return tuple(table)


_CRC = _table()


def crc32c(data: bytes) -> int:
    """The checksum CRC32c (RFC 9260 appendix A; RFC 4960 appendix B), 32 bits."""
    crc = 0xFFFFFFFF
    table = _CRC
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
