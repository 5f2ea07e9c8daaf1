"""The registry: every upstream and every backend, shared by L4, L7, the health monitor and the operator.

``apply`` takes a frozen configuration and makes the difference: what survives keeps its identity, counters and
verdicts. It never connects, never probes, never resolves a name: discovery publishes whole sets into it.
"""

from collections.abc import Callable, Iterable
from random import Random

from balancer.config.schema import Configuration, UpstreamConfig
from balancer.core import selection
from balancer.core.events import Event
from balancer.core.model import AdminState, Backend, BackendKey, BackendSpec
from balancer.core.upstream import SelectorBuilder, Upstream
from balancer.errors import UnknownName
from balancer.interfaces import ISelectorPlugin, SelectionOptions
from balancer.plugins import named

Subscriber = Callable[[Event], None]
"""Called after the fact, with the registry already in its new state."""


class Registry:
    """All upstreams by name, all backends by key.

    :param seconds: the clock; every event carries its time.
    :param random: the only source of chance for selectors.
    :ivar upstreams: by name.
    :ivar backends: by key (host, port, TLS name); a backend lives here while an upstream lists it.
    """

    def __init__(self, seconds: Callable[[], float], random: Random) -> None:
        self.seconds = seconds
        self.random = random
        self.upstreams: dict[str, Upstream] = {}
        self.backends: dict[BackendKey, Backend] = {}
        self._subscribers: list[Subscriber] = []

    def __repr__(self) -> str:
        return f"<Registry upstreams={sorted(self.upstreams)} backends={len(self.backends)}>"

    # -- reading ------------------------------------------------------------------------------------------------

    def upstream(self, name: str) -> Upstream:
        """The upstream of that name.

        :raises UnknownName: there is none.
        """
        try:
            return self.upstreams[name]
        except KeyError:
            names = ", ".join(sorted(self.upstreams)) or "none"
            raise UnknownName(f"no upstream is named {name!r}; there are: {names}") from None

    def find(self, address: str) -> list[Backend]:
        """The backends at ``host:port`` (several where they differ in TLS name), or with that server name.

        :raises UnknownName: there is none.
        """
        found = [backend for backend in self.backends.values() if backend.address == address]
        members = [member for upstream in self.upstreams.values() for member in upstream.members]
        found = found or [member.backend for member in members if member.spec.name == address]
        if not found:
            addresses = ", ".join(sorted(backend.address for backend in self.backends.values())) or "none"
            raise UnknownName(f"no backend is at {address!r}; there are: {addresses}")
        return list(dict.fromkeys(found))

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Hear every event; the answer ends it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # -- changing -----------------------------------------------------------------------------------------------

    def apply(self, configuration: Configuration) -> None:
        """Make the upstreams what the configuration says. Their servers come by :meth:`publish`."""
        now = self.seconds()
        for name in [name for name in self.upstreams if name not in configuration.upstream]:
            self.upstreams.pop(name).close(now)
        for name, config in configuration.upstream.items():
            self._configure(name, config, now)
        self._prune()

    def _configure(self, name: str, config: UpstreamConfig, now: float) -> None:
        upstream = self.upstreams.get(name)
        builder = self._builder(config)
        if upstream is None:
            self.upstreams[name] = Upstream(name, config, builder, self.announce)
        elif upstream.policy != config:
            upstream.configure(config, builder, now)

    def publish(self, name: str, specs: Iterable[BackendSpec]) -> bool:
        """Take the whole set of an upstream's backends. Returns whether anything changed."""
        changed = self.upstream(name).update(specs, self._intern, self.seconds())
        self._prune()
        return changed

    def administer(self, address: str, state: AdminState, reason: str) -> list[Backend]:
        """The operator's word on a server, for every listener and route at once. Returns the backends meant.

        :raises UnknownName: there is no such backend.
        """
        found = self.find(address)
        for backend in found:
            backend.administer(state, reason, self.seconds())
        return found

    def tick(self) -> None:
        """Do what time alone brings (ejections that end, slow start). Called about once a second."""
        now = self.seconds()
        for upstream in self.upstreams.values():
            upstream.tick(now)

    def announce(self, event: Event) -> None:
        """Tell the subscribers."""
        for subscriber in tuple(self._subscribers):
            subscriber(event)

    # -- inside -------------------------------------------------------------------------------------------------

    def _builder(self, config: UpstreamConfig) -> SelectorBuilder:
        options = SelectionOptions(
            random=self.random,
            seconds=self.seconds,
            hash_type=config.hash_type,
            balance_factor=config.hash_balance_factor,
        )
        return selection.builder(config.balance or "random(2)", _plugin, options)

    def _intern(self, key: BackendKey) -> Backend:
        backend = self.backends.get(key)
        if backend is None:
            backend = self.backends[key] = Backend(key, self.announce)
        return backend

    def _prune(self) -> None:
        for key in [key for key, backend in self.backends.items() if not backend.groups]:
            del self.backends[key]


def _plugin(name: str) -> ISelectorPlugin:
    plugin: ISelectorPlugin = named(ISelectorPlugin, name)
    return plugin
