"""Headers of the PROXY protocol for tests: good ones of every kind, and what a decoder made of bytes."""

from collections.abc import Iterable
from random import Random

from balancer.core.proxy_header import (
    ALPN,
    AUTHORITY,
    CLIENT_SSL,
    LOCAL,
    NETNS,
    SSL,
    SSL_VERSION,
    UNIQUE_ID,
    UNKNOWN,
    Endpoint,
    Inet,
    ProxyHeader,
    SslInfo,
    Unix,
)
from balancer.core.proxy_protocol import V2_LIMIT, ProxyDecoder, encode
from balancer.errors import BadProxyHeader
from balancer.testing.mutations import mutated, pieces

V4 = Inet("192.0.2.7", 56324), Inet("198.51.100.1", 443)
V6 = Inet("2001:db8::7", 4124), Inet("2001:db8::1", 443)
PATHS = Unix(b"/run/client.sock"), Unix(b"\0abstract")
TLVS = (
    (ALPN, b"h2"),
    (AUTHORITY, b"www.example.org"),
    (UNIQUE_ID, b"0123456789abcdef"),
    (SSL, SslInfo(CLIENT_SSL, 1, ((SSL_VERSION, b"TLSv1.3"),)).value()),
    (NETNS, b"blue"),
    (0xE0, b"our own"),
)

_ENDS: tuple[tuple[Endpoint, Endpoint], ...] = (V4, V6, PATHS)

SAMPLES = (
    *(encode(ProxyHeader(1, False, source, destination)) for source, destination in (V4, V6)),
    encode(UNKNOWN),
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    encode(LOCAL),
    encode(ProxyHeader()),
    *(encode(ProxyHeader(2, False, source, destination)) for source, destination in _ENDS),
    *(encode(ProxyHeader(2, False, source, destination, True, TLVS), True) for source, destination in _ENDS),
)
"""One of each kind."""

Outcome = tuple[ProxyHeader, bytes] | str | None
"""The header and what came behind it; what was wrong; ``None`` where more is needed."""


def decoded(parts: Iterable[bytes], limit: int = V2_LIMIT) -> Outcome:
    """What a decoder makes of bytes that come in these parts; what comes after the header counts as behind it."""
    decoder = ProxyDecoder(limit)
    header: ProxyHeader | None = None
    rest = b""
    try:
        for part in parts:
            if header is not None:
                rest += part
                continue
            header = decoder.feed(part)
            if header is None and decoder.waiting >= limit:
                raise AssertionError(f"{decoder.waiting} bytes are held, and the limit is {limit}")
            rest = decoder.rest
    except BadProxyHeader as error:
        return str(error)
    return None if header is None else (header, rest)


def survive(count: int, random: Random, limit: int = V2_LIMIT) -> dict[str, int]:
    """Decode so many mutations of the samples, each cut at random.

    :returns: how many were decoded, refused, and left incomplete.
    :raises Exception: whatever a decoder raised that is no error of its own, or an answer that cutting changed.
    """
    found = {"decoded": 0, "refused": 0, "incomplete": 0}
    for number in range(count):
        data = mutated(random.choice(SAMPLES), random, SAMPLES)
        outcome = decoded(pieces(data, random), limit)
        kind = "incomplete" if outcome is None else "refused" if isinstance(outcome, str) else "decoded"
        found[kind] += 1
        if number % 16 == 0 and outcome != decoded([data], limit):
            raise AssertionError(f"cut it is {outcome}, whole it is {decoded([data], limit)}: {data!r}")
    return found
