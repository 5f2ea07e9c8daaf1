"""The listeners of a running balancer: from a :class:`ListenerConfig` to an open port, and to another configuration.

Part of the composition root: the one place that knows the modes. It never serves a client itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from balancer.caches import Caches
from balancer.config.schema import ListenerConfig
from balancer.core.forwarded import Forwarding, random_ids
from balancer.core.model import join_address
from balancer.core.record import ConnectionRecord
from balancer.core.routing import RouteTable
from balancer.core.sni import SniTable
from balancer.errors import ListenError
from balancer.http.factory import ChannelFactory
from balancer.http.settings import HttpSettings
from balancer.live import LiveUpstream
from balancer.nat.listener import NatListener
from balancer.nat.table import NatTable
from balancer.net.certificates import ServerTls
from balancer.net.connector import Connector
from balancer.net.datagrams import UdpPort, listen_udp
from balancer.net.guard import Guard
from balancer.net.listen import listen
from balancer.net.proxy_server import ProxyFactory
from balancer.net.sendfile import FileSender
from balancer.net.splice import Splicer
from balancer.net.timers import TimerWheel
from balancer.net.tls_server import Admitting, TlsFactory
from balancer.net.watch import make_watch
from balancer.tcp.factory import ForwardingFactory
from balancer.tcp.passthrough import Passthrough, Target
from balancer.tcp.passthrough_factory import PassthroughFactory
from balancer.tcp.settings import TcpSettings
from balancer.udp.forwarder import UdpForwarder
from balancer.udp.settings import UdpSettings

log = Logger()

CLOSED = "its listener was closed"
"""Why a client that has asked for nothing yet is reset, at a stop and at a reload."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every listener of a balancer shares.

    :ivar log: takes the record of each exchange and connection.
    :ivar nat: the kernel's table for listeners of mode nat.
    :ivar caches: of the upstreams and routes.
    """

    reactor: Any
    connector: Connector
    timers: TimerWheel
    random: Random
    wall: Callable[[], float]
    log: Callable[[ConnectionRecord], None]
    splicer: Splicer
    nat: NatTable
    caches: Caches
    sender: FileSender


class OpenListener:
    """One listener: its factory, and its port once it is open.

    :ivar name: as configured.
    :ivar config: what it serves by now.
    """

    def __init__(
        self,
        name: str,
        config: ListenerConfig,
        shared: Surroundings,
        upstreams: Mapping[str, LiveUpstream],
        tls: ServerTls | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self._shared = shared
        self._port: IListeningPort | None = None
        self._factory = self._make(upstreams)
        streams = None if isinstance(self._factory, UdpForwarder) else self._factory
        self._guard()
        self._tls = self._make_tls(tls, streams) if tls is not None and streams is not None else None
        self._proxy = self._make_proxy(self._tls or streams) if streams is not None else None

    def __repr__(self) -> str:
        return f"<OpenListener {self.name} {self.config.mode} at {self.address} connections={self.connections}>"

    @property
    def address(self) -> str:
        """Where it is open: ``host:port``, a path, or empty while it is not."""
        if self._port is None:
            return ""
        host: Any = self._port.getHost()
        return join_address(host.host, host.port) if hasattr(host, "port") else str(host.name)

    @property
    def tls(self) -> ServerTls | None:
        """What it shows to clients."""
        return self._tls.tls if self._tls is not None else None

    @property
    def connections(self) -> int:
        """Clients connected now."""
        connections = self._factory.connections + (self._tls.handshakes if self._tls is not None else 0)
        return connections + (self._proxy.waiting if self._proxy is not None else 0)

    @property
    def refused(self) -> dict[str, int]:
        """Clients refused so far, by reason; in mode udp datagrams dropped."""
        if isinstance(self._factory, UdpForwarder):
            return {drop.value: count for drop, count in self._factory.drops.counts.items()}
        guard = self._factory.guard
        by_guard = {} if guard is None else {reason.value: count for reason, count in guard.refused.items()}
        return {"max_connections": self._factory.limit.refused, **by_guard}

    def fits(self, config: ListenerConfig) -> bool:
        """Whether it can take that configuration without another port."""
        same = (config.listen, config.mode) == (self.config.listen, self.config.mode)
        same = same and (config.accept_proxy is None) == (self.config.accept_proxy is None)
        return same and (config.tls is None) == (self.config.tls is None)

    def configure(
        self, config: ListenerConfig, upstreams: Mapping[str, LiveUpstream], tls: ServerTls | None = None
    ) -> None:
        """Serve what comes from now on by another configuration.

        :param tls: certificates for the handshakes to come. The same ones as before change nothing, so that the
            tickets clients have stay good.
        """
        self.config = config
        if self._proxy is not None and config.accept_proxy is not None:
            self._proxy.configure(config.accept_proxy)
        self._guard()
        if self._tls is not None and tls is not None:
            self._tls.timeout = config.timeouts.tls_handshake
            if tls.fingerprint != self._tls.tls.fingerprint:
                self._tls.tls = tls
                log.info("listener '{name}' has new certificates: {tls!r}", name=self.name, tls=tls)
        if isinstance(self._factory, ChannelFactory):
            self._factory.settings = http_settings(self.name, self.config, self._shared, upstreams)
            self._factory.limit.maximum = config.max_connections
        elif isinstance(self._factory, PassthroughFactory):
            self._factory.configure(self._passthrough(upstreams), self._tcp())
        elif isinstance(self._factory, UdpForwarder):
            target = upstreams[config.to]
            self._factory.configure(target.upstream, self._udp(target))
        else:
            target = upstreams[config.to]
            self._factory.configure(target.upstream, self._tcp(target), target.tls)

    def open(self) -> Deferred[None]:
        """Listen; fails with a :class:`~balancer.errors.ListenError`."""
        if isinstance(self._factory, UdpForwarder):
            return self._open_udp(self._factory).addCallback(self._opened)
        front = self._proxy or self._tls or self._factory
        return listen(self._shared.reactor, self.name, self.config.listen, front).addCallback(self._opened)

    def stop(self) -> Deferred[Any]:
        """Accept no more; what is connected is served as before. (Sessions of datagrams end: they need the port.)"""
        if isinstance(self._factory, UdpForwarder):
            self._factory.close()
        elif self._factory.guard is not None:
            self._factory.guard.stop()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(bool)

    def close(self) -> Deferred[Any]:
        """Accept no more; connections go on to their end, idle ones of HTTP are closed."""
        if isinstance(self._factory, UdpForwarder):
            self._port = None
            self._factory.drain()  # the port stays with the sessions, which hear their clients by it
            return maybeDeferred(bool)
        stopped = self.stop()
        if isinstance(self._factory, ChannelFactory):
            self._factory.drain()
            if self._tls is not None:
                self._tls.abort_all(CLOSED)  # as idle connections are: nothing was asked yet
            if self._proxy is not None:
                self._proxy.abort_all(CLOSED)
        return stopped

    def abort_all(self, reason: str) -> None:
        """Reset what is left, for this reason."""
        if self._proxy is not None:
            self._proxy.abort_all(reason)
        if self._tls is not None:
            self._tls.abort_all(reason)
        self._factory.abort_all(reason)

    def _guard(self) -> None:
        """Have the guard that is configured. One that is there already keeps its counts."""
        factory, policy = self._factory, self.config.guard
        if isinstance(factory, UdpForwarder):
            return  # a configuration that asks for one was refused
        guard = factory.guard
        if policy is not None and guard is not None:
            guard.configure(self.name, policy)
            return
        if guard is not None:
            guard.stop()
        factory.guard = None if policy is None else Guard(self.name, policy, self._shared.timers)

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        mode = "tcp, the fallback of nat" if self.config.mode == "nat" else self.config.mode
        log.info(
            "listener '{name}' is open at {address} ({mode})",
            name=self.name,
            address=self.address,
            mode=mode if self.config.tls is None else f"{mode} over TLS",
        )

    def _make(
        self, upstreams: Mapping[str, LiveUpstream]
    ) -> ChannelFactory | ForwardingFactory | PassthroughFactory | UdpForwarder:
        if self.config.mode == "http":
            return ChannelFactory(
                http_settings(self.name, self.config, self._shared, upstreams),
                max_connections=self.config.max_connections,
            )
        shared = self._shared
        if self.config.mode == "tls-passthrough":
            routing = self._passthrough(upstreams)
            return PassthroughFactory(routing, shared.connector, shared.timers, self._tcp(), wall=shared.wall)
        target = upstreams[self.config.to]
        if self.config.mode == "udp":
            watch = make_watch(shared.reactor)
            return UdpForwarder(target.upstream, shared.timers, watch, self._udp(target), wall=shared.wall)
        return ForwardingFactory(
            target.upstream, shared.connector, shared.timers, self._tcp(target), tls=target.tls, wall=shared.wall
        )

    def _make_tls(self, tls: ServerTls, factory: Admitting) -> TlsFactory:
        return TlsFactory(
            tls,
            factory,
            self._shared.timers,
            timeout=self.config.timeouts.tls_handshake,
            wall=self._shared.wall,
            log=self._shared.log,
        )

    def _make_proxy(self, behind: Admitting) -> ProxyFactory | None:
        if self.config.accept_proxy is None:
            return None
        shared = self._shared
        return ProxyFactory(self.config.accept_proxy, behind, shared.timers, wall=shared.wall, log=shared.log)

    def _passthrough(self, upstreams: Mapping[str, LiveUpstream]) -> Passthrough:
        """The TLS that an upstream may have is for other listeners and the probes: here the client brings its own."""
        config = self.config
        targets = {name: Target(upstreams[name].upstream, self._tcp(upstreams[name])) for name in config.upstreams}
        return Passthrough(SniTable(config.route), targets, config.to, config.max_client_hello, self._shared.random)

    def _open_udp(self, forwarder: UdpForwarder) -> "Deferred[UdpPort]":
        policy = self.config.udp
        buffers = policy.receive_buffer, policy.send_buffer
        opening = listen_udp(self._shared.reactor, self.name, self.config.listen, buffers, forwarder.received)
        return opening.addCallback(forwarder.attach)

    def _udp(self, target: LiveUpstream) -> UdpSettings:
        return UdpSettings(
            name=self.name,
            policy=self.config.udp,
            max_sessions=self.config.max_connections,
            max_tries=target.config.retry.connects,
            log=self._shared.log,
        )

    def _tcp(self, target: LiveUpstream | None = None) -> TcpSettings:
        """The settings, with the upstream's where it is known."""
        settings = TcpSettings(
            name=self.name,
            timeouts=self.config.timeouts,
            max_connections=self.config.max_connections,
            buffer=self.config.buffer,
            splice=self.config.splice,
            splicer=self._shared.splicer,
            log=self._shared.log,
        )
        if target is None:
            return settings
        policy = target.config
        return replace(
            settings, backend_timeouts=policy.timeouts, max_tries=policy.retry.connects, sender=target.sender
        )


Listener = OpenListener | NatListener
"""Any listener: one with a port of this process, or one that the kernel forwards."""


def make_listener(
    name: str,
    config: ListenerConfig,
    shared: Surroundings,
    upstreams: Mapping[str, LiveUpstream],
    tls: ServerTls | None = None,
) -> Listener:
    """A listener of that mode; where the kernel cannot do it and the configuration allows it, one of this process."""
    if config.mode == "nat":
        problem = shared.nat.inability() if config.nat.fallback == "tcp" else ""
        if not problem:
            return NatListener(name, config, shared.nat, upstreams)
        log.warn("listener '{name}' forwards in this process, as mode tcp: {problem}", name=name, problem=problem)
    return OpenListener(name, config, shared, upstreams, tls)


async def succeed(new: Listener, old: Listener) -> bool:
    """Let one listener take the place of another of its name; whether it could. If not, the old one is open still.

    The new one opens first, so that no client is refused meanwhile; only where the old one is in its way (the same
    port with other options) the old one stops before, and comes back if that did not help.
    """
    try:
        await new.open()
        return True
    except ListenError:
        await old.stop()
    try:
        await new.open()
        return True
    except ListenError as error:
        log.error("{problem}; it stays at {place!r}", problem=str(error), place=old.config.listen)
    try:
        await old.open()
    except ListenError as error:
        log.critical("{problem}", problem=str(error))
    return False


def http_settings(
    name: str, config: ListenerConfig, shared: Surroundings, upstreams: Mapping[str, LiveUpstream]
) -> HttpSettings:
    """What the HTTP engine works with, for a listener or a mounted resource."""
    of_upstreams = {name: cache for name in config.upstreams if (cache := upstreams[name].config.cache)}
    used = {*of_upstreams.values(), *(route.cache for route in config.route if route.cache)}
    return HttpSettings(
        name=name,
        routes=RouteTable(config.route),
        upstreams={name: upstreams[name].http for name in config.upstreams},
        forwarding=Forwarding(config.forwarded, random_ids(shared.random)),
        timers=shared.timers,
        wall=shared.wall,
        random=shared.random,
        log=shared.log,
        default=config.to,
        limits=config.limits,
        timeouts=config.timeouts,
        buffer=config.buffer,
        splice=config.splice,
        splicer=shared.splicer,
        sender=shared.sender,
        caches={name: shared.caches.caches[name] for name in used},
        upstream_caches=of_upstreams,
        scheme=b"https" if config.tls is not None or config.listen.startswith(("ssl:", "tls:")) else b"http",
    )
