"""The registry: every upstream and every backend, shared by L4, L7, the health monitor and the operator.

``apply`` takes a frozen configuration and makes the difference: what survives keeps its identity, counters and
verdicts. It never connects, never probes, never resolves a name: discovery publishes whole sets into it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from random import Random

from twisted.logger import Logger

from balancer.config.completion import default_balances
from balancer.config.schema import Configuration, UpstreamConfig
from balancer.core import selection
from balancer.core.events import ConfigApplied, Event
from balancer.core.model import AdminState, Backend, BackendKey, BackendSpec, join_address
from balancer.core.upstream import SelectorBuilder, Upstream
from balancer.errors import UnknownName
from balancer.interfaces import ISelectorPlugin, SelectionOptions
from balancer.plugins import named

Subscriber = Callable[[Event], None]
"""Called after the fact, with the registry already in its new state; all hear all events in the same order. One that
raises is logged and harms neither the others nor the traffic that caused the event."""

REMEMBERED = 300.0
"""Seconds for which a backend that no upstream lists any more is remembered, and is the same one should it come back:
a DNS answer that leaves it out for a while, or a configuration that moves it to another upstream, must not forget
what is known of it. Five minutes outlast the usual TTLs (60 to 300 s)."""

MOST_REMEMBERED = 10_000
"""How many are remembered at one time; of more the oldest are forgotten. A name that resolves to ever new addresses
must not fill the memory."""

_log = Logger()


class Registry:
    """All upstreams by name, all backends by key.

    :param seconds: the clock; every event carries its time.
    :param random: the only source of chance for selectors.
    :ivar upstreams: by name.
    :ivar backends: by key (host, port, TLS name); a backend lives here while an upstream lists it.
    :ivar remembered: those that none lists any more, by key: for :data:`REMEMBERED` seconds, longer while leases on
        them are out (so that a limit still counts them) or the operator has taken them out (whose word stands).
    """

    def __init__(self, seconds: Callable[[], float], random: Random) -> None:
        self.seconds = seconds
        self.random = random
        self.upstreams: dict[str, Upstream] = {}
        self.backends: dict[BackendKey, Backend] = {}
        self.remembered: dict[BackendKey, Backend] = {}
        self._left_at: dict[BackendKey, float] = {}
        self._builders: dict[str, tuple[tuple[str, str, int], SelectorBuilder]] = {}
        self._subscribers: list[Subscriber] = []
        self._untold: deque[Event] = deque()
        self._telling = False

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
        """The backends at ``host:port`` (several where they differ in TLS name), or with that server name, with or
        without the port. Those the operator has taken out are found even while no upstream lists them.

        :raises UnknownName: there is none.
        """
        taken_out = [backend for backend in self.remembered.values() if backend.admin is not AdminState.READY]
        found = [backend for backend in (*self.backends.values(), *taken_out) if backend.address == address]
        if not found:
            members = (member for upstream in self.upstreams.values() for member in upstream.members)
            found = [member.backend for member in members if address in _names(member.spec)]
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
        """Make the upstreams what the configuration says. Their servers come by :meth:`publish`.

        Where no ``balance`` is written it goes by the listeners (``config.completion``). What a configuration does
        not change is not touched: selectors keep what they learnt.

        :raises ValueError: a ``balance`` cannot be served; the message says why, and nothing is changed.
        """
        now = self.seconds()
        defaults = default_balances(configuration)
        builders = {
            name: self._builder(name, config, defaults[name]) for name, config in configuration.upstream.items()
        }
        before, self._builders = self._builders, builders
        gone = [name for name in self.upstreams if name not in configuration.upstream]
        came = [name for name in configuration.upstream if name not in self.upstreams]
        changed = [
            name
            for name, config in configuration.upstream.items()
            if name in self.upstreams and (self.upstreams[name].policy, before[name]) != (config, builders[name])
        ]
        for name in gone:
            self.upstreams.pop(name).close(now)
        for name in changed:
            self.upstreams[name].configure(configuration.upstream[name], builders[name][1], now)
        for name in came:
            self.upstreams[name] = Upstream(name, configuration.upstream[name], builders[name][1], self.announce)
        self._part(now)
        told = [("added", came), ("changed", changed), ("removed", gone)]
        words = [f"{verb} {', '.join(sorted(names))}" for verb, names in told if names]
        self.announce(ConfigApplied(now, "configuration", "; ".join(words) or "no upstream changed"))

    def publish(self, name: str, specs: Iterable[BackendSpec]) -> bool:
        """Take the whole set of an upstream's backends. Returns whether anything changed."""
        now = self.seconds()
        changed = self.upstream(name).update(specs, self._intern, now)
        if changed:
            self._part(now)
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
        for upstream in tuple(self.upstreams.values()):
            upstream.tick(now)
        if self.remembered:
            self._part(now)

    def announce(self, event: Event) -> None:
        """Tell the subscribers. What happens while they are told is told after it, so that all hear one order."""
        self._untold.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                self._tell(self._untold.popleft())
        finally:
            self._telling = False

    # -- inside -------------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                _log.failure("{subscriber!r} failed when told of {event!r}", subscriber=subscriber, event=event)

    def _builder(self, name: str, config: UpstreamConfig, default: str) -> tuple[tuple[str, str, int], SelectorBuilder]:
        """What builds the upstream's selectors, with what it was made from: the same one while that is the same."""
        made_from = (config.balance or default, config.hash_type, config.hash_balance_factor)
        if name in self._builders and self._builders[name][0] == made_from:
            return self._builders[name]
        options = SelectionOptions(
            random=self.random,
            seconds=self.seconds,
            hash_type=config.hash_type,
            balance_factor=config.hash_balance_factor,
        )
        return made_from, selection.builder(made_from[0], _plugin, options)

    def _intern(self, key: BackendKey) -> Backend:
        backend = self.backends.get(key)
        if backend is None:
            self._left_at.pop(key, None)
            backend = self.remembered.pop(key, None) or Backend(key, self.announce)
            self.backends[key] = backend
        return backend

    def _part(self, now: float) -> None:
        """Part with the backends that no upstream lists: first remember them, forget them when it is time."""
        for key in [key for key, backend in self.backends.items() if not backend.groups]:
            self.remembered[key] = self.backends.pop(key)
            self._left_at[key] = now
        surplus = len(self.remembered) - MOST_REMEMBERED
        for age, (key, backend) in enumerate(tuple(self.remembered.items())):
            due = now - self._left_at[key] >= REMEMBERED
            if age < surplus or (due and not backend.active and backend.admin is AdminState.READY):
                del self.remembered[key], self._left_at[key]


def _names(spec: BackendSpec) -> tuple[str, ...]:
    return (spec.name, join_address(spec.name, spec.port)) if spec.name else ()


def _plugin(name: str) -> ISelectorPlugin:
    plugin: ISelectorPlugin = named(ISelectorPlugin, name)
    return plugin
