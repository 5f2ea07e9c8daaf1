"""The composition root: builds everything from a frozen configuration, starts and stops it in order, drains.

An ``IService`` for any Twisted application. It never parses a configuration file (``config`` does), never carries a
byte and never imports the reactor: that is an argument.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolver
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.admin.access_log import AccessLog, sink_for
from balancer.admin.event_log import EventLog
from balancer.caches import Caches
from balancer.config.completion import completed
from balancer.config.diff import difference
from balancer.config.rules import remarks
from balancer.config.schema import Configuration, ListenerConfig, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core import selection
from balancer.core.forwarded import random_ids
from balancer.core.model import AdminState, Backend
from balancer.core.record import ConnectionRecord
from balancer.core.route_spec import RouteSpec
from balancer.discovery.names import Names
from balancer.discovery.resolver import SystemResolver, make_resolver
from balancer.errors import AccessLogError, ListenError
from balancer.health.agent_stream import PLUGIN as AGENT_PLUGIN
from balancer.health.monitor import Monitor
from balancer.http.cache import Cache
from balancer.http.resource import ProxyResource
from balancer.interfaces import ICacheStorePlugin, IProbePlugin, ISelectorPlugin
from balancer.listeners import Listener, Surroundings, http_settings, make_listener, succeed
from balancer.live import LiveUpstream
from balancer.nat.table import NatTable
from balancer.net.connector import Connector
from balancer.net.sendfile import FileSender
from balancer.net.splice import Splicer
from balancer.net.timers import TimerWheel
from balancer.net.tls import TlsClients
from balancer.plugins import every, named
from balancer.registry import Registry
from balancer.tls_material import tls_material

NOWHERE = "resource"
"""The listener that records name for what came in by a mounted resource."""

TICK = 1.0
"""Seconds between looks at what time alone brings: ejections that end, slow start. It only bounds how late the log
tells of them; traffic looks by itself."""

STDOUT_FD = 1
"""Standard output, by its number: ``sys.stdout`` under twistd is the log."""

DRAIN_LOOK = 0.05
"""Seconds between looks at how many connections are left while draining: below what a person notices."""


def vocabulary() -> Vocabulary:
    """What the plugins of this installation add to the configuration: probes, selectors and stores. (Agents are asked
    beside a check, by a table of their own.)"""
    return Vocabulary(
        checks={name: plugin.settings for name, plugin in every(IProbePlugin).items() if name != AGENT_PLUGIN},
        stores={name: plugin.settings for name, plugin in every(ICacheStorePlugin).items()},
        selectors=lambda text: selection.check(text, partial(named, ISelectorPlugin)),
    )


class BalancerService(Service):
    """A whole balancer.

    :param configuration: what to serve; :meth:`reload` replaces it.
    :param reactor: TCP, time and (for host names) UDP.
    :param random: chance for selection and jitter; the system's where none is given.
    :param resolver: resolves host names; the system's files and name servers where none is given.
    :raises TlsSettingsError: files that TLS needs cannot be used.
    :ivar registry: all upstreams and backends, to read and to administer.
    :ivar monitor: the probes.
    :ivar listeners: by name.
    :ivar nat: the kernel's table for listeners of mode nat.
    :ivar caches: by name, to purge and to read (:attr:`caches`).
    """

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        reactor: Any,
        *,
        random: Random | None = None,
        resolver: IResolver | None = None,
        wall: Callable[[], float] = time.time,  # noqa: TID251 - the composition root brings the clock
    ) -> None:
        self.configuration = Configuration()
        self.reactor = reactor
        self.random = random or Random()
        self.registry = Registry(reactor.seconds, self.random)
        self.monitor = Monitor(self.registry, reactor, self.random)
        self.upstreams: dict[str, LiveUpstream] = {}
        self.listeners: dict[str, Listener] = {}
        self.access_log: AccessLog | None = None
        self._timers = TimerWheel(reactor)
        self._connector = Connector(reactor, self._timers)
        self._resolver = resolver or make_resolver(reactor)
        self._names = Names(self._resolver, reactor, self.random, configuration.resolve)
        self._splicer = Splicer(reactor, configuration.splices)
        self.nat = NatTable(reactor, configuration.nat)
        self._caches = Caches(reactor, self.random, wall)
        self._sender = FileSender(reactor, configuration.splices)
        self._shared = Surroundings(
            reactor, self._connector, self._timers, self.random, wall, self._log_record, self._splicer, self.nat,
            self._caches, self._sender,
        )  # fmt: skip
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._resources: WeakKeyDictionary[ProxyResource, ListenerConfig] = WeakKeyDictionary()
        self._leaving: list[Listener] = []
        self._draining: list[Listener] = []
        self._hurried = False
        self._opened = False
        self.registry.subscribe(EventLog())
        self.registry.subscribe(self.nat.heed)
        self._compose(configuration)

    def __repr__(self) -> str:
        return f"<BalancerService listeners={sorted(self.listeners)} {self.registry!r}>"

    @property
    def caches(self) -> Mapping[str, Cache]:
        """The caches by name: ``service.caches["pages"].purge_tags(b"news")``, ``.figures()``."""
        return self._caches.caches

    # -- the operator's words -----------------------------------------------------------------------------------

    def drain(self, address: str, reason: str = "drained by the operator") -> list[Backend]:
        """No new work for the server at ``host:port``, at any listener; what runs may finish.

        :raises UnknownName: there is no such backend.
        """
        return self.registry.administer(address, AdminState.DRAIN, reason)

    def maint(self, address: str, reason: str = "taken out by the operator") -> list[Backend]:
        """As :meth:`drain`, and no probes either."""
        return self.registry.administer(address, AdminState.MAINT, reason)

    def enable(self, address: str, reason: str = "enabled by the operator") -> list[Backend]:
        """Give the server back to traffic."""
        return self.registry.administer(address, AdminState.READY, reason)

    def reload(self, configuration: Configuration) -> "Deferred[None]":
        """Serve another configuration: what it does not change goes on untouched, connections included.

        Fires when the listeners that are new are open; one that cannot open is logged, the others serve.

        :raises TlsSettingsError: files that TLS needs cannot be used; nothing is changed.
        """
        before = self.configuration
        self._compose(configuration)
        for change in difference(before, self.configuration):
            self.log.info("reload: {change}", change=str(change))
        if before.access_log != self.configuration.access_log:
            self._replace_access_log()
        self._start_behind()
        return Deferred.fromCoroutine(self._follow())

    def reopen_logs(self) -> None:
        """Open the access log's path again, after it was rotated away."""
        if self.access_log is not None:
            self.access_log.reopen()

    def resource(self, to: str, *, route: Sequence[RouteSpec] = (), prefix: bytes = b"") -> ProxyResource:
        """Layer 7 as a ``twisted.web`` resource, to mount at a path of a site; it follows :meth:`reload`.

        :param to: the upstream that gets what no route matches.
        :param route: requests that go elsewhere.
        :param prefix: see :class:`~balancer.http.resource.ProxyResource`.
        :raises UnknownName: there is no such upstream.
        """
        config = ListenerConfig(listen=NOWHERE, to=to, route=tuple(route))
        for name in config.upstreams:
            self.registry.upstream(name)
        resource = ProxyResource(http_settings(NOWHERE, config, self._shared, self.upstreams), prefix)
        self._resources[resource] = config
        return resource

    # -- life ---------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open the listeners (called while there may still be the privilege for ports below 1024).

        :raises ListenError: one cannot open; none is left open.
        """
        super().privilegedStartService()
        self._opened = True
        failures: list[Failure] = []
        for listener in self.listeners.values():
            listener.open().addErrback(failures.append)
        if failures:
            for listener in self.listeners.values():
                listener.close()
            failures[0].raiseException()

    def startService(self) -> None:
        """Resolve, probe, serve; open the listeners, where nobody had them opened before (``twist`` does not).

        :raises AccessLogError: the access log cannot be opened.
        :raises ListenError: see :meth:`privilegedStartService`.
        """
        if not self._opened:
            self.privilegedStartService()
        super().startService()
        self.access_log = self._open_access_log()
        self._start_behind()
        Deferred.fromCoroutine(self._caches.settle()).addErrback(
            lambda failure: self.log.failure("a store did not stop", failure)
        )
        self.monitor.start()
        self._ticking.start(TICK, now=False)

    def stopService(self) -> "Deferred[None]":
        """Stop accepting, let what runs finish for ``drain`` seconds, abort the rest, then stop all behind it."""
        super().stopService()
        self._opened = False
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """End the drain that is under way: what is left is aborted now."""
        self._hurried = True

    def _tick(self) -> None:
        self.registry.tick()
        self.nat.changed()  # steps of slow start are no events

    async def _stop(self) -> None:
        await self.nat.stop()
        self._leaving += self.listeners.values()
        for listener in self._leaving:
            await listener.close()
        await self._drain([*self._draining, *self._leaving])
        self.monitor.stop()
        if self._ticking.running:
            self._ticking.stop()
        for live in self.upstreams.values():
            live.stop()
        await self._caches.stop()
        self._names.stop()
        if isinstance(self._resolver, SystemResolver):
            self._resolver.stop()
        if self.access_log is not None:
            self.access_log.stop()

    async def _drain(self, listeners: list[Listener], reason: str = "the balancer was stopped") -> None:
        """Wait for their connections to end by themselves; then end them, for this reason."""
        limit = self.configuration.drain
        left = sum(listener.connections for listener in listeners)
        if left and limit:
            self.log.info("draining: {left} connection(s) may finish within {limit:g} s", left=left, limit=limit)
        end = self.reactor.seconds() + limit
        while left and self.reactor.seconds() < end and not self._hurried:
            await deferLater(self.reactor, DRAIN_LOOK)
            left = sum(listener.connections for listener in listeners)
        if left:
            self.log.warn("the time to drain is over: {left} connection(s) are aborted", left=left)
            for listener in listeners:
                listener.abort_all(reason)
            await deferLater(
                self.reactor, DRAIN_LOOK
            )  # Twisted resets in a later turn; a stopped reactor closes in order

    # -- building -----------------------------------------------------------------------------------------------

    def _compose(self, configuration: Configuration) -> None:
        """Make upstreams and listeners what the configuration says. What can fail fails before anything changes."""
        configuration = completed(configuration, vocabulary())
        tls = tls_material(configuration)
        # Without listeners it is a program that mounts resources, of which the configuration knows nothing.
        told = remarks(configuration) if configuration.listener else ()
        for remark in (*told, *tls.remarks(self._shared.wall())):
            self.log.warn("{remark}", remark=remark)
        self.registry.apply(configuration)
        if configuration.resolve != self._names.policy:
            self._names.configure(configuration.resolve)
        self._splicer.limit = self._sender.limit = configuration.splices
        self.nat.configure(configuration.nat)
        self._caches.configure(configuration)
        old, self.configuration = self.upstreams, configuration
        wanted = configuration.upstream.items()
        self.upstreams = {
            name: self._live(old.get(name), name, config, tls.clients.get(name)) for name, config in wanted
        }
        for name, config in configuration.listener.items():
            listener = self.listeners.get(name)
            if listener is not None and listener.fits(config):
                listener.configure(config, self.upstreams, tls.servers.get(name))
                continue
            if listener is not None:
                self._leaving.append(listener)
            self.listeners[name] = make_listener(name, config, self._shared, self.upstreams, tls.servers.get(name))
        for name in [name for name in self.listeners if name not in configuration.listener]:
            self._leaving.append(self.listeners.pop(name))
        for resource, config in self._resources.items():
            if config.upstreams <= self.upstreams.keys():  # else it goes on with what it had, and finds no backend
                resource.settings = http_settings(NOWHERE, config, self._shared, self.upstreams)
        self._replaced = [live for name, live in old.items() if self.upstreams.get(name) is not live]

    def _live(
        self, old: LiveUpstream | None, name: str, config: UpstreamConfig, tls: TlsClients | None
    ) -> LiveUpstream:
        if old is not None and old.config == config:
            if old.tls is None or tls is None or old.tls.fingerprint == tls.fingerprint:
                return old
            self.log.info("upstream '{name}' has new authorities or a new certificate of ours", name=name)
        new_id = random_ids(self.random)
        return LiveUpstream(config, self.registry.upstream(name), tls, self._connector, self._timers, new_id)

    def _start_behind(self) -> None:
        """Start the upstreams that are new, then stop those they replace, so that names both have stay known."""
        for live in self.upstreams.values():
            live.start(self.registry, self._names)
        replaced, self._replaced = self._replaced, []
        for live in replaced:
            live.stop()

    async def _follow(self) -> None:
        """Of a reload, what takes its time."""
        await self._caches.settle()
        await self._exchange_ports()

    async def _exchange_ports(self) -> None:
        """Close the listeners that left, open those that came; the old ones' connections drain meanwhile.

        A listener that cannot move stays where it was, and serves what the configuration says now where it can.
        """
        leaving, self._leaving = self._leaving, []
        moving = {listener.name: listener for listener in leaving if listener.name in self.listeners}
        for listener in leaving:
            if listener.name not in moving:
                await listener.close()
        for name, listener in list(self.listeners.items()):
            if listener.address:
                continue
            if name in moving:
                if await succeed(listener, moving[name]):
                    await moving[name].close()
                else:
                    leaving.remove(moving[name])
                    self.listeners[name] = moving[name]
                    self._stay(moving[name], listener)
                continue
            try:
                await listener.open()
            except ListenError as error:
                self.log.error("{problem}", problem=str(error))
        if leaving:
            self._draining += leaving
            drained = Deferred.fromCoroutine(
                self._drain(leaving, "a reload closed or reopened its listener, and drain was over")
            )
            drained.addErrback(lambda failure: self.log.failure("draining failed", failure))
            drained.addCallback(self._drained, leaving)

    def _stay(self, listener: Listener, wanted: Listener) -> None:
        """Of what was wanted of a listener that could not move, all but its place and mode."""
        config = replace(wanted.config, listen=listener.config.listen)
        if listener.fits(config):
            listener.configure(config, self.upstreams, wanted.tls)

    def _drained(self, _result: object, listeners: list[Listener]) -> None:
        self._draining = [listener for listener in self._draining if listener not in listeners]

    # -- logs ---------------------------------------------------------------------------------------------------

    def _open_access_log(self) -> AccessLog | None:
        settings = self.configuration.access_log
        if settings is None:
            return None
        access_log = AccessLog(settings, self.reactor, sink_for(settings, STDOUT_FD))
        try:
            access_log.start()
        except OSError as error:
            raise AccessLogError(f'access_log.path "{settings.path}": {error.strerror}') from error
        return access_log

    def _replace_access_log(self) -> None:
        """The old one goes on where the new one cannot be opened."""
        old = self.access_log
        try:
            self.access_log = self._open_access_log()
        except AccessLogError as error:
            self.log.error("{problem}; the access log stays where it was", problem=str(error))
            return
        if old is not None:
            old.stop()

    def _log_record(self, record: ConnectionRecord) -> None:
        if self.access_log is not None:
            self.access_log.log(record)
