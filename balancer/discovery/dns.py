"""Discovery for servers written as host names or IP addresses. Names are resolved again at their TTL, and every
address of a name is a backend. It never diffs sets: it hands over the whole one, the registry makes the difference."""

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from balancer.config.schema import ServerConfig
from balancer.core.model import BackendSpec
from balancer.core.tls import BackendTls
from balancer.discovery.names import Names
from balancer.discovery.specs import Expansion, expand, names_of
from balancer.interfaces import IDiscovery

Publish = Callable[[tuple[BackendSpec, ...]], None]


@implementer(IDiscovery)
class DnsDiscovery:
    """The servers of one upstream, names resolved.

    IP addresses are published at once, what stands behind a name when it is known. An empty set is never published:
    until there is something better an upstream keeps what it has.

    To replace one discovery by another (a new configuration) start the new one before the old one stops: then the
    names they share stay known, and no survivor leaves for a moment.

    :ivar ready: fires when each name has answered or failed once, or with :meth:`stop`.
    """

    log = Logger()

    def __init__(self, servers: Sequence[ServerConfig], names: Names, tls: BackendTls | None = None) -> None:
        self.servers = tuple(servers)
        self.tls = tls
        self.ready: Deferred[None] = Deferred()
        self._names = names
        self._answers: dict[str, tuple[str, ...]] = {}
        self._pending = set(names_of(servers))
        self._publish: Publish | None = None
        self._expansion = Expansion((), ())
        self._leave: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        addresses = [spec.address for spec in self._expansion.specs]
        return f"<DnsDiscovery {addresses} pending={sorted(self._pending)}>"

    def start(self, publish: Publish) -> None:
        """See :class:`IDiscovery`."""
        for host in names_of(self.servers):
            self._leave.append(self._names.watch(host, partial(self._heard, host)))
        self._publish = publish
        self._settle()

    def stop(self) -> None:
        """See :class:`IDiscovery`."""
        self._publish = None
        for leave in self._leave:
            leave()
        self._leave.clear()
        self._fire_ready()

    def _heard(self, host: str, addresses: tuple[str, ...]) -> None:
        self._answers[host] = addresses
        self._pending.discard(host)
        self._settle()

    def _settle(self) -> None:
        """Publish what has changed. Names that are known when we start answer before there is whom to publish to."""
        if self._publish is None:
            return
        before, self._expansion = self._expansion, expand(self.servers, self._answers, self.tls)
        for words in self._expansion.duplicates:
            if words not in before.duplicates:
                self.log.warn("{words}; the first one counts", words=words)
        if self._expansion.specs and self._expansion.specs != before.specs:
            self._publish(self._expansion.specs)
        if not self._pending:
            self._fire_ready()

    def _fire_ready(self) -> None:
        if not self.ready.called:
            self.ready.callback(None)
