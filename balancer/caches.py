"""The caches of a running balancer and the stores behind them, and what a reload makes of them.

Part of the composition root. It never looks at a request or a stored response.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.chosen import StoreConfig
from balancer.config.schema import Configuration
from balancer.config.vocabulary import MEMORY
from balancer.errors import StoreError, UnknownName
from balancer.http.cache import Cache
from balancer.interfaces import ICacheStore, ICacheStorePlugin
from balancer.plugins import named

log = Logger()

AGAIN = 2.0
"""Seconds after which a store that could not start is tried again: a restart's old process drains for longer."""


class Caches:
    """See the module.

    :param wall: seconds since the epoch.
    :ivar caches: by name.
    :ivar stores: those in use, by name.
    """

    def __init__(self, reactor: Any, random: Random, wall: Callable[[], float]) -> None:
        self.caches: dict[str, Cache] = {}
        self.stores: dict[str, ICacheStore] = {}
        self._reactor = reactor
        self._random = random
        self._wall = wall
        self._configs: dict[str, StoreConfig] = {}
        self._new: list[ICacheStore] = []
        self._replaced: list[ICacheStore] = []

    def __repr__(self) -> str:
        return f"<Caches {sorted(self.caches)} stores={sorted(self.stores)}>"

    def configure(self, configuration: Configuration) -> None:
        """Make them what the configuration says. What it does not change keeps what it has; a cache that has other
        settings keeps what is stored, too, as long as its store is the same.

        :raises UnknownName: a store is of a kind that no plugin provides, or one that is named is not there.
        """
        before, configs = self.stores, self._configs
        self.stores = {}
        self._configs = {}
        for policy in configuration.cache.values():
            self._store(policy.store, configuration, before, configs, ())
        self._replaced += [store for store in before.values() if store not in self.stores.values()]
        old, self.caches = self.caches, {}
        for name, policy in configuration.cache.items():
            store, known = self.stores[policy.store], old.get(name)
            if known is not None and known.store is store and known.policy == policy:
                self.caches[name] = known
            else:
                counters = None if known is None else known.counters
                self.caches[name] = Cache(name, policy, store, self._wall, self._random, counters)

        for cache in self.caches.values():
            cache.sharing = [other for other in self.caches.values() if other.store is cache.store]

    async def settle(self) -> None:
        """Stop the stores that left, then start those that came: they may want the same directory. How long a start
        takes is nobody's matter: until then nothing is found and nothing kept."""
        replaced, self._replaced = self._replaced, []
        new, self._new = self._new, []
        for store in reversed(replaced):  # one that is over another was made after it
            await maybeDeferred(store.stop)
        for store in new:
            self._start(store, "")

    def _start(self, store: ICacheStore, problem: str) -> None:
        """Start a store; one that cannot, because another process has its directory yet, say, is tried again.

        :param problem: why it could not the last time.
        """
        if store in self.stores.values():
            started = maybeDeferred(store.start)
            if problem:
                started.addCallback(lambda _: log.info("{store!r} starts at last", store=store))
            started.addErrback(self._not_started, store, problem)

    def _not_started(self, failure: Failure, store: ICacheStore, before: str) -> None:
        problem = failure.getErrorMessage()
        if not failure.check(StoreError):
            log.failure("{store!r} does not start: nothing is kept in it", failure, store=store)
            return
        if problem != before:
            log.error("{problem}; nothing is kept there until that is so", problem=problem)
        self._reactor.callLater(AGAIN, self._start, store, problem)

    async def stop(self) -> None:
        """Close every store, with what is worth keeping kept."""
        stores, self.stores = self.stores, {}
        for store in [*self._replaced, *reversed(stores.values())]:
            try:
                await maybeDeferred(store.stop)
            except Exception:
                log.failure("{store!r} does not stop in order", store=store)

    def _store(
        self,
        name: str,
        configuration: Configuration,
        before: dict[str, ICacheStore],
        configs: dict[str, StoreConfig],
        above: tuple[str, ...],
    ) -> ICacheStore:
        """The store of that name, as it was where nothing of it changed."""
        if name in self.stores:
            return self.stores[name]
        config = configuration.store.get(name)
        if config is None and name != MEMORY or name in above:
            raise UnknownName(f"no store is named {name!r}" if config is None else f"store {name!r} is over itself")
        plugin: Any = named(ICacheStorePlugin, MEMORY if config is None else config.type)
        if config is None:
            config = StoreConfig(type=MEMORY, settings=plugin.settings())
        below = None
        if config.over:
            below = self._store(config.over, configuration, before, configs, (*above, name))
        store = before.get(name)
        if store is None or configs.get(name) != config or (below is not None and before.get(config.over) is not below):
            store = plugin.store(config.settings, self._reactor, self._other)
            self._new.append(store)
        self.stores[name] = store
        self._configs[name] = config
        return store

    def _other(self, name: str) -> ICacheStore:
        if name not in self.stores:
            raise UnknownName(f"no store is named {name!r}; a store that is over another names it with `over`")
        return self.stores[name]
