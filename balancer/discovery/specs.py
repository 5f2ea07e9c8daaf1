"""Servers as written and what their names resolve to, made into backend specs. Pure: no clock, no resolver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from balancer.config.schema import ServerConfig
from balancer.core.model import BackendKey, BackendSpec, is_literal, join_address, split_address
from balancer.core.tls import BackendTls


@dataclass(frozen=True, slots=True)
class Expansion:
    """The whole set of an upstream's backends.

    :ivar specs: in the order of the servers as written, then of their addresses; no two with one key.
    :ivar duplicates: a sentence for each server that was left out because another stands for it already.
    """

    specs: tuple[BackendSpec, ...]
    duplicates: tuple[str, ...]


def host_of(server: ServerConfig) -> str:
    """The server's host, in lower case: names do not differ by it.

    :raises ValueError: its address is not ``HOST:PORT``.
    """
    return split_address(server.address)[0].lower()


def names_of(servers: Iterable[ServerConfig]) -> tuple[str, ...]:
    """The host names to resolve, each once, in the order as written."""
    return tuple(dict.fromkeys(host for host in map(host_of, servers) if not is_literal(host)))


def expand(servers: Iterable[ServerConfig], answers: Mapping[str, Sequence[str]], tls: BackendTls | None) -> Expansion:
    """Make the specs: one for each address of each server.

    Two servers that come to the same address, port and TLS name are one backend; the one written first decides its
    weight and all else, whatever a later one says.

    :param answers: the addresses of each name, in lower case; a name that is missing has none yet.
    :param tls: TLS to the upstream's servers; its name, or else each server's host as written, becomes the TLS name.
    """
    specs: dict[BackendKey, BackendSpec] = {}
    duplicates = []
    for server in servers:
        host, port = host_of(server), split_address(server.address)[1]
        for address in (host,) if is_literal(host) else answers.get(host, ()):
            spec = _spec(server, address, tls)
            first = specs.setdefault(spec.key, spec)
            if first is not spec:
                duplicates.append(
                    f"{server.address} is {spec.address}, which {join_address(first.name, port)} is already"
                )
    return Expansion(tuple(specs.values()), tuple(duplicates))


def _spec(server: ServerConfig, address: str, tls: BackendTls | None) -> BackendSpec:
    host, port = split_address(server.address)
    return BackendSpec(
        host=str(ip_address(address)),  # one spelling, so that equal addresses are equal keys
        port=port,
        weight=server.weight,
        backup=server.backup,
        max_connections=server.max_connections,
        # The dot of an absolute name is for the resolver; certificates and SNI are without (RFC 6066 section 3).
        tls_name=(tls.name or host.lower().rstrip(".")) if tls else None,
        name=host,
        tags=tuple(sorted(server.tags.items())),
    )
