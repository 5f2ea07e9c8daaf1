"""All that TLS needs from files, for a whole configuration: read at once, so that all that is wrong is told at once.

Part of the composition root. It never decides what to do about it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from balancer.config.schema import Configuration, ListenerConfig
from balancer.errors import TlsSettingsError
from balancer.net.certificates import ServerTls
from balancer.net.tls import TlsClients

HTTP_PROTOCOLS = ("http/1.1",)
"""What mode http says with ALPN (RFC 7301 section 6)."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What was read.

    :ivar clients: TLS to the servers of upstreams, by the upstream's name.
    :ivar servers: TLS to the clients of listeners, by the listener's name.
    """

    clients: dict[str, TlsClients]
    servers: dict[str, ServerTls]

    def remarks(self, now: float) -> tuple[str, ...]:
        """What is allowed and may still not be meant.

        :param now: seconds since the epoch.
        """
        found: Iterator[tuple[str, TlsClients | ServerTls]]
        ours = ((f'upstream "{name}"', client) for name, client in self.clients.items())
        theirs = ((f'listener "{name}"', server) for name, server in self.servers.items())
        found = chain(ours, theirs)
        return tuple(f"{where}: {remark}" for where, tls in found for remark in tls.remarks(now))


def tls_material(configuration: Configuration) -> TlsMaterial:
    """Read every file that TLS needs.

    :raises TlsSettingsError: files cannot be used; each problem names upstream or listener, key and file.
    """
    material = TlsMaterial({}, {})
    problems: list[str] = []
    for name, upstream in configuration.upstream.items():
        try:
            if upstream.tls is not None:
                material.clients[name] = TlsClients(upstream.tls)
        except TlsSettingsError as error:
            problems += error.within(f'upstream "{name}"').problems
    for name, listener in configuration.listener.items():
        try:
            if listener.tls is not None:
                material.servers[name] = ServerTls(listener.tls, _protocols(listener))
        except TlsSettingsError as error:
            problems += error.within(f'listener "{name}"').problems
    if problems:
        raise TlsSettingsError(*problems)
    return material


def _protocols(listener: ListenerConfig) -> tuple[str, ...]:
    if listener.mode == "http":
        return HTTP_PROTOCOLS
    return () if listener.tls is None else listener.tls.alpn
