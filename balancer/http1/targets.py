"""Whom and what a request asks for: the four forms of a target and the rules of Host (RFC 9112 sections 3.2, 3.3).

It never decodes or normalises a path: what decides a route must be what is forwarded.
"""

import ipaddress

from balancer.http1 import faults, grammar
from balancer.http1.faults import Malformed

Asked = tuple[bytes, bytes, bytes | None]
"""Authority, path, query of a target."""


def resolve(method: bytes, target: bytes) -> Asked:
    """Authority, path and query of a target that is not in origin form.

    :raises Malformed: the target is of no known form, or of one that the method does not go with.
    """
    if method == b"CONNECT":
        return _connect_authority(target), b"", None
    if target == b"*":
        if method == b"OPTIONS":
            return b"", b"*", None
        raise Malformed(400, "only OPTIONS may ask for '*'", "RFC 9112 section 3.2.4")
    found = grammar.ABSOLUTE_TARGET.fullmatch(target)
    if found is None:
        raise faults.bad_target(target)
    scheme, authority, path, query = found.groups()
    if scheme.lower() not in (b"http", b"https"):
        raise Malformed(400, f"the scheme {faults.shown(scheme)} is neither http nor https", "RFC 9112 section 3.2.2")
    if path is None:
        # An empty path is "/", and "*" if an OPTIONS request has no query either (RFC 9112 section 3.2.4).
        path = b"*" if method == b"OPTIONS" and query is None else b"/"
    return host(authority, "the target's authority"), path, query


def host(value: bytes, what: str = "Host") -> bytes:
    """Host's value in lower case, without the colon of an empty port.

    :param what: the value's name for the sentence that refuses.
    :raises Malformed: it is not a name, an IPv4 address or a bracketed IPv6 address, with or without a port.
    """
    found = grammar.AUTHORITY.fullmatch(value)
    if found is not None and found.lastindex is None:
        return value.lower()
    if found is None or not _is_valid(found[1], found[2]):
        raise Malformed(400, f"{what} {faults.shown(value)} is not a host with or without port", "RFC 9112 section 3.2")
    return value.lower() if found[2] != b"" else value[:-1].lower()


def _connect_authority(target: bytes) -> bytes:
    found = grammar.AUTHORITY.fullmatch(target)
    if found is None or not found[2] or not _is_valid(found[1], found[2]):
        raise Malformed(400, f"CONNECT needs host:port, not {faults.shown(target)}", "RFC 9112 section 3.2.3")
    return target.lower()


def _is_valid(address: bytes | None, port: bytes | None) -> bool:
    if port and not 0 < int(port) < 65536:
        return False
    if address is None:
        return True
    try:
        ipaddress.IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return True
