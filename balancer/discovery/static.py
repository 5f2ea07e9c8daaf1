"""Discovery for servers that are all written as IP addresses: one set, once. It never resolves a name."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.schema import ServerConfig
from balancer.core.model import BackendSpec
from balancer.core.tls import BackendTls
from balancer.discovery.specs import expand, names_of
from balancer.interfaces import IDiscovery

Publish = Callable[[tuple[BackendSpec, ...]], None]


@implementer(IDiscovery)
class StaticDiscovery:
    """The servers as written.

    :raises ValueError: one of them is a host name.
    :ivar ready: fired already: there is nothing to wait for.
    """

    log = Logger()

    def __init__(self, servers: Sequence[ServerConfig], tls: BackendTls | None = None) -> None:
        names = names_of(servers)
        if names:
            raise ValueError(f"{', '.join(names)}: a host name needs DnsDiscovery")
        self.expansion = expand(servers, {}, tls)
        self.ready: Deferred[None] = succeed(None)

    def __repr__(self) -> str:
        return f"<StaticDiscovery {[spec.address for spec in self.expansion.specs]}>"

    def start(self, publish: Publish) -> None:
        """See :class:`IDiscovery`."""
        for words in self.expansion.duplicates:
            self.log.warn("{words}; the first one counts", words=words)
        publish(self.expansion.specs)

    def stop(self) -> None:
        """See :class:`IDiscovery`."""
