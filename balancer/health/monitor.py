"""The health monitor: one probe stream per backend and check, whatever the number of upstreams, listeners and routes.

It follows the registry: streams begin and end with members and configurations, survivors keep their state. It never
picks a backend, and what traffic says (ejection) is not its business.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from balancer.config.schema import UpstreamConfig
from balancer.core.events import ConfigApplied, Drained, Enabled, Event, Maintained, MembersChanged
from balancer.core.health import CheckSettings
from balancer.core.model import AdminState, Backend
from balancer.core.upstream import Upstream
from balancer.health.agents import Agents
from balancer.health.asking import Surroundings
from balancer.health.gate import Gate
from balancer.health.stream import ProbeStream
from balancer.interfaces import IProbePlugin
from balancer.plugins import named
from balancer.registry import Registry

CONCURRENT_PROBES = 256
"""Probes at one time: a quarter of the 1024 file descriptors that a process has by default, and with the default
timeout of 2 s still 128 backends a second even where none answers."""


def check_of(upstream: Upstream) -> CheckSettings | None:
    """The active check of an upstream, ``None`` where none is made."""
    policy = upstream.policy
    check = policy.check if isinstance(policy, UpstreamConfig) else None
    return None if check is None or check.type == "none" else check


class Monitor:
    """Probes what the registry holds, from :meth:`start` to :meth:`stop`.

    :param reactor: clock, timers, and what the probes connect with (``IReactorTime``, ``IReactorTCP``).
    :param random: for jitter.
    :param lookup_probe: finds a probe plugin by its name; :exc:`~balancer.errors.UnknownName` makes a failed probe.
    :param concurrent: probes at one time; more wait for their turn.
    :ivar agents: the agents that are asked beside the checks.
    """

    def __init__(
        self,
        registry: Registry,
        reactor: Any,
        random: Random,
        lookup_probe: Callable[[str], IProbePlugin] | None = None,
        concurrent: int = CONCURRENT_PROBES,
    ) -> None:
        self.registry = registry
        self._lookup = lookup_probe or _plugin
        self._plugins: dict[str, IProbePlugin] = {}
        self._surroundings = Surroundings(reactor, random, Gate(concurrent), self._plugin)
        self.agents = Agents(registry, self._surroundings)
        self._streams: dict[tuple[Backend, CheckSettings], ProbeStream] = {}
        self._followed: dict[str, tuple[CheckSettings | None, dict[Backend, str]]] = {}
        self._parked: dict[Backend, ProbeStream] = {}
        self._changed: deque[str] = deque()
        self._unsubscribe: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Monitor streams={len(self._streams)} upstreams={len(self._followed)} {self._surroundings.gate!r}>"

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> tuple[ProbeStream, ...]:
        """Every stream there is."""
        return tuple(self._streams.values())

    def streams_of(self, backend: Backend) -> tuple[ProbeStream, ...]:
        """The streams of one backend: as many as there are different checks of it."""
        return tuple(stream for stream in self._streams.values() if stream.backend is backend)

    def probes_of(self, backend: Backend) -> int:
        """How many probes of a backend were made, by the streams it has now."""
        return sum(stream.probes for stream in self.streams_of(backend))

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow the registry. Does nothing where it follows already."""
        if self._unsubscribe is None:
            self._unsubscribe = self.registry.subscribe(self._heard)
            self.refresh()

    def stop(self) -> None:
        """Cancel every probe and every timer. The verdicts stay as they are."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for stream in self._streams.values():
            stream.halt()
        self.agents.stop()
        self._streams.clear()
        self._followed.clear()
        self._parked.clear()

    def refresh(self) -> None:
        """Bring every stream in line with the registry: after a configuration was applied. Repeating it changes
        nothing."""
        for name in dict.fromkeys((*self._followed, *self.registry.upstreams)):
            self._follow(name)
        self.agents.refresh()

    # -- following ----------------------------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        if isinstance(event, MembersChanged):
            self._follow(event.subject)
            self.agents.refresh()
        elif isinstance(event, ConfigApplied):
            self.refresh()
        elif isinstance(event, Maintained | Drained | Enabled):
            self._obey(event.subject)
            self.agents.obey(event.subject)

    def _follow(self, name: str) -> None:
        """Bring one upstream in line. Streams that begin and end change verdicts, and whoever hears of those may
        change members: then that comes next, not in between."""
        self._changed.append(name)
        if len(self._changed) > 1:
            return
        while self._changed:
            try:
                self._make_difference(self._changed[0])
            finally:
                self._changed.popleft()

    def _make_difference(self, name: str) -> None:
        """For one upstream: what it uses now joins first, then what it used leaves, so that a
        stream that only changes hands never ends."""
        upstream = self.registry.upstreams.get(name)
        check = check_of(upstream) if upstream is not None else None
        wanted = {member.backend: member.spec.name for member in upstream.members} if upstream and check else {}
        old_check, old = self._followed.pop(name, (None, {}))
        if upstream is not None:
            self._followed[name] = (check, wanted)
        for backend, label in wanted.items():
            if check is not None and (check != old_check or backend not in old):
                self._join(name, backend, label, check, old_check)
        for backend in old:
            if old_check is not None and (check != old_check or backend not in wanted):
                self._leave(name, backend, old_check)
        if self._parked:
            self._forget_parked()

    def _join(
        self, upstream: str, backend: Backend, name: str, check: CheckSettings, old_check: CheckSettings | None
    ) -> None:
        stream = self._streams.get((backend, check))
        if stream is None:
            parked = self._parked.pop(backend, None)
            if parked is not None and parked.check == check:
                stream = parked
            else:
                stream = ProbeStream(backend, check, name, self._surroundings)
            before = parked
            if before is None and old_check is not None:
                before = self._streams.get((backend, old_check))
            self._streams[backend, check] = stream
            stream.start(before)
            if parked is not None and parked is not stream:
                parked.stop()
        stream.users.add(upstream)

    def _leave(self, upstream: str, backend: Backend, check: CheckSettings) -> None:
        stream = self._streams[backend, check]
        stream.users.discard(upstream)
        if stream.users:
            return
        del self._streams[backend, check]
        if backend.groups:
            stream.stop()
        else:
            self._park(stream)

    def _park(self, stream: ProbeStream) -> None:
        """Its backend left every upstream. While the registry remembers the backend we keep the stream, halted, so
        that a backend that comes back soon comes back as what it was, and is probed at once."""
        stream.halt()
        earlier = self._parked.pop(stream.backend, None)
        if earlier is not None:
            earlier.stop()
        self._parked[stream.backend] = stream

    def _forget_parked(self) -> None:
        """The registry forgot their backends: should those come back, they are others."""
        registry = self.registry
        for backend in tuple(self._parked):
            if registry.backends.get(backend.key, registry.remembered.get(backend.key)) is not backend:
                del self._parked[backend]

    def _obey(self, address: str) -> None:
        """The operator said something of a backend: in maintenance it is not probed."""
        for stream in self.streams:
            if stream.backend.address == address:
                if stream.backend.admin is AdminState.MAINT:
                    stream.pause()
                else:
                    stream.resume()

    def _plugin(self, name: str) -> IProbePlugin:
        """Looked up once: plugins are found by a walk through modules."""
        if name not in self._plugins:
            self._plugins[name] = self._lookup(name)
        return self._plugins[name]


def _plugin(name: str) -> IProbePlugin:
    plugin: IProbePlugin = named(IProbePlugin, name)
    return plugin
