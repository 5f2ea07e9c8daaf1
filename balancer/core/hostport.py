"""``host:port`` as people write it. Nothing here resolves a name."""

import re
from ipaddress import ip_address

_PORT = re.compile("[0-9]{1,5}")


def join_address(host: str, port: int) -> str:
    """``host:port``, with the brackets an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[ipv6]:port`` into its parts.

    :raises ValueError: there is no port, or it is not a number from 1 to 65535.
    """
    if "://" in text:
        raise ValueError(f"{text!r}: write HOST:PORT, without a scheme and a path")
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, [addr]:port")
    if not colon or not host or set(host) & set("[] ") or not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
    return host, int(port)


def is_literal(host: str) -> bool:
    """Whether the host is an IP address rather than a name to resolve."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
