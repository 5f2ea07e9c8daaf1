"""The settings of the PROXY protocol: from whom a listener takes headers, and what an upstream's servers are sent.

Frozen values, documented key by key; pydantic reads them. Who acts on them stands in ``net``.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator, BeforeValidator
from typing_extensions import Doc

from balancer.core.addresses import checked_network
from balancer.core.proxy_protocol import V2_LIMIT, V2_MOST
from balancer.core.units import Seconds, octets

LEAST = 256
"""Bytes that a limit leaves at least: the addresses of two UNIX sockets are 216, and 16 stand before them."""

ProxyTlv = Literal["authority", "alpn", "unique-id", "ssl", "crc32c"]
"""What may be said beside the addresses."""


def _listed(value: object) -> object:
    """A list as a tuple: behind :func:`by_version` pydantic no longer knows that it came from a file."""
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptProxy:
    """From whom a listener takes a PROXY protocol header, version 1 or 2, before anything else."""

    __pydantic_config__ = {"extra": "forbid"}

    trusted: Annotated[
        tuple[Annotated[str, AfterValidator(checked_network)], ...],
        MinLen(1),
        Doc(
            'Addresses and networks of proxies, and "unix" for peers on a UNIX socket. Their connections must begin '
            "with a header, or are reset; those of everyone else are served as they are, and reset where they begin "
            "with one."
        ),
    ]
    timeout: Annotated[Seconds, Doc("Seconds from the connection until its header must be complete.")] = 5.0
    limit: Annotated[
        int,
        BeforeValidator(octets),
        Ge(LEAST),
        Le(V2_MOST),
        Doc("Bytes of a header of version 2 at most; a line of version 1 has at most 107."),
    ] = V2_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class SendProxy:
    """The PROXY protocol header that each connection to a server begins with, before TLS."""

    __pydantic_config__ = {"extra": "forbid"}

    version: Annotated[Literal["v1", "v2"], Doc("`v1` is a line of text, `v2` is binary and may say more.")]
    tlvs: Annotated[
        tuple[ProxyTlv, ...],
        BeforeValidator(_listed),
        Doc(
            "What version 2 says beside the addresses, as far as it is known here or from the proxy in front: "
            "`authority` (the name the client asked for in TLS), `alpn`, `unique-id` (in mode http the request's), "
            "`ssl` (its TLS: version, cipher, the name in its certificate), `crc32c` (a checksum)."
        ),
    ] = ()


def by_version(value: object) -> object:
    """``"v2"`` as the table with that version; anything else passes through."""
    return {"version": value} if isinstance(value, str) else value
