"""The parts of one upstream beside the registry's: how it is reached, and where its servers come from.

Part of the composition root. It never picks a backend and never serves a request.
"""

from collections.abc import Callable
from functools import partial

from balancer.config.schema import UpstreamConfig
from balancer.core.model import BackendSpec
from balancer.core.upstream import Upstream
from balancer.discovery.dns import DnsDiscovery
from balancer.discovery.names import Names
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Connector
from balancer.net.proxy_backend import ProxySender
from balancer.net.timers import TimerWheel
from balancer.net.tls import TlsClients
from balancer.registry import Registry


class LiveUpstream:
    """One upstream of one configuration; a change of it makes a new one, which :meth:`replaces` the old.

    :param new_id: makes ids for connections, where the PROXY header is to have one.
    :ivar config: what it was built from.
    :ivar upstream: the registry's group.
    :ivar http: its HTTP connections.
    :ivar tls: TLS to its servers, ``None`` for plain TCP.
    :ivar sender: makes the PROXY header its servers get, ``None`` for none.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        upstream: Upstream,
        tls: TlsClients | None,
        connector: Connector,
        timers: TimerWheel,
        new_id: Callable[[], bytes] = bytes,
    ) -> None:
        self.config = config
        self.upstream = upstream
        self.tls = tls
        self.sender = None if config.send_proxy is None else ProxySender(config.send_proxy, new_id)
        self.http = HttpUpstream(
            upstream, connector, timers, timeouts=config.timeouts, pool=config.pool, tls=tls, sender=self.sender
        )
        self._discovery: DnsDiscovery | None = None
        self._unsubscribe: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<LiveUpstream {self.upstream!r} {self._discovery!r}>"

    def start(self, registry: Registry, names: Names) -> None:
        """Find the servers. Does nothing where it was started."""
        if self._discovery is None:
            self._unsubscribe = registry.subscribe(self.http.heed)
            self._discovery = DnsDiscovery(self.config.servers, names, self.config.tls)
            self._discovery.start(partial(self._publish, registry))

    def _publish(self, registry: Registry, specs: tuple[BackendSpec, ...]) -> None:
        registry.publish(self.upstream.name, specs)

    def stop(self) -> None:
        """Close what is idle, resolve no more. Requests under way end in order.

        A successor is to be started before: then the names both have stay known.
        """
        self.http.close()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._discovery is not None:
            self._discovery.stop()
