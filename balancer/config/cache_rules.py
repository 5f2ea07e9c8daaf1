"""What must hold between caches, their stores, and the upstreams and routes that use them.

Of a store's own keys, which are its plugin's, four are understood: ``size`` (bytes it keeps), ``max_object`` (bytes of
one body), ``path`` (its place on a disk) and ``over`` (the store behind it). Nothing here looks at a file or at the
network.
"""

from collections.abc import Collection, Iterator, Mapping
from posixpath import normpath

from balancer.cache.policy import CachePolicy
from balancer.config.problems import Mistake, unknown_name
from balancer.config.schema import Configuration
from balancer.config.tls_rules import PASSTHROUGH
from balancer.config.vocabulary import MEMORY
from balancer.config.wording import Path, shown


def caches(configuration: Configuration, known: Collection[str], stores: Collection[str]) -> Iterator[Mistake]:
    """Caches and stores that are named are there, are used where they can be, and fit together.

    :param known: the names of the caches there are, and ``stores`` those of the stores, of which some may be too wrong
        to be in the configuration.
    """
    for path, wanted in _references(configuration):
        if wanted not in known:
            yield unknown_name(path, wanted, "cache", known)
    known_stores = {MEMORY, *stores}
    for name, cache in configuration.cache.items():
        if cache.store not in known_stores:
            yield unknown_name(("cache", name, "store"), cache.store, "store", known_stores)
        yield from _lifetimes(("cache", name), cache)
        yield from _too_large(("cache", name), cache, configuration)
    yield from _tiers(configuration, known_stores)
    yield from _places(configuration)
    yield from _unread(configuration)


def unused(configuration: Configuration) -> Iterator[str]:
    """Caches that keep nothing and stores that nothing is kept in, in words."""
    used = {name for _, name in _references(configuration)}
    yield from (
        f'cache "{name}" is used by no upstream and no route' for name in configuration.cache if name not in used
    )
    kept = {cache.store for cache in configuration.cache.values()}
    kept |= {store.over for store in configuration.store.values()}
    yield from (f'store "{name}" is used by no cache' for name in configuration.store if name not in kept)


def _references(configuration: Configuration) -> Iterator[tuple[Path, str]]:
    """Where caches are named."""
    for name, upstream in configuration.upstream.items():
        if upstream.cache:
            yield ("upstream", name, "cache"), upstream.cache
    for name, listener in configuration.listener.items():
        for index, route in enumerate(listener.route):
            if route.cache:
                yield ("listener", name, "route", index, "cache"), route.cache


def _unread(configuration: Configuration) -> Iterator[Mistake]:
    """Only HTTP is looked into, so only there are responses to be kept."""
    modes: dict[str, dict[str, str]] = {}  # of each upstream: its listeners and their modes
    for name, listener in configuration.listener.items():
        for to in listener.upstreams:
            modes.setdefault(to, {})[name] = listener.mode
        for index, route in enumerate(listener.route if listener.mode == PASSTHROUGH else ()):
            if route.cache is not None:  # in other modes the route itself is the mistake
                path: Path = ("listener", name, "route", index, "cache")
                found = f"a cache in mode {shown(listener.mode)}, which does not see what it passes on"
                about = (path, ("listener", name, "mode"))
                yield Mistake(path=path, found=found, allowed='nothing, or mode = "http"', about=about)
    for name, upstream in configuration.upstream.items():
        used = modes.get(name, {})
        if upstream.cache and used and "http" not in used.values():
            yield _of_others(("upstream", name, "cache"), used)


def _of_others(path: Path, used: Mapping[str, str]) -> Mistake:
    """The cache of an upstream to which listeners send, none of which could use it."""
    name, mode = next(iter(used.items()))
    return Mistake(
        path=path,
        found=f'a cache for listener "{name}" (mode {shown(mode)}); none of mode "http" sends there',
        allowed="nothing, or a listener of mode http that sends to the upstream",
        about=(path, *(("listener", each, "mode") for each in used)),
    )


def _lifetimes(path: Path, cache: CachePolicy) -> Iterator[Mistake]:
    """No greatest lifetime below the least."""
    if 0 < cache.max_ttl < cache.min_ttl:
        most: Path = (*path, "max_ttl")
        found = f'{cache.max_ttl:g} s, less than "min_ttl" ({cache.min_ttl:g} s)'
        yield Mistake(
            path=most, found=found, allowed='at least "min_ttl", or 0 for no limit', about=(most, (*path, "min_ttl"))
        )


def _too_large(path: Path, cache: CachePolicy, configuration: Configuration) -> Iterator[Mistake]:
    """What is said to be stored finds room. (The default, which nobody said, is of large stores.)"""
    way = _way(configuration, cache.store)
    room = max((_largest(configuration, name) for name in way), default=0)  # of a tiered store its largest tier
    if cache.max_object != CachePolicy().max_object and 0 < room < cache.max_object:
        key: Path = (*path, "max_object")
        found = f'{cache.max_object} bytes, more than store "{cache.store}" keeps of one body ({room} bytes)'
        allowed = "at most what the store keeps"
        yield Mistake(path=key, found=found, allowed=allowed, about=(key, (*path, "store"), ("store", cache.store)))


def _tiers(configuration: Configuration, known: Collection[str]) -> Iterator[Mistake]:
    """What is behind a store is another one, and in the end one with nothing behind it."""
    told: set[str] = set()
    for name, store in configuration.store.items():
        path: Path = ("store", name, "over")
        way = _way(configuration, name)
        if store.over and store.over not in known:
            yield unknown_name(path, store.over, "store", set(known) - {name})
        elif store.over == name:
            yield Mistake(path=path, found=f"{shown(name)}, the store itself", allowed="another store", about=(path,))
        elif name not in told and configuration.store[way[-1]].over == name:
            told.update(way)
            circle = " over ".join(f'"{each}"' for each in (*way, name))
            allowed = "at the end a store that is over no other"
            about = tuple(("store", each, "over") for each in way)
            yield Mistake(path=path, found=f"a circle: {circle}", allowed=allowed, about=about)


def _way(configuration: Configuration, name: str) -> list[str]:
    """A store, the one behind it, and so on; in a circle each once."""
    way: list[str] = []
    while name in configuration.store and name not in way:
        way.append(name)
        name = configuration.store[name].over
    return way


def _largest(configuration: Configuration, name: str) -> int:
    """Bytes of the largest body that a store keeps; 0 where it does not say."""
    settings = configuration.store[name].settings
    size, most = getattr(settings, "size", 0), getattr(settings, "max_object", 0)
    limits = [limit for limit in (size, most) if isinstance(limit, int) and limit]
    return min(limits, default=0)


def _places(configuration: Configuration) -> Iterator[Mistake]:
    """No two stores in one place: each would take the other's files for damaged ones."""
    taken: dict[str, str] = {}
    for name, store in configuration.store.items():
        place = getattr(store.settings, "path", "")
        if not isinstance(place, str) or not place:
            continue
        first = taken.setdefault(normpath(place), name)
        if first != name:
            path: Path = ("store", name, "path")
            found = f'{shown(place)}, where store "{first}" is already'
            about = (path, ("store", first, "path"))
            yield Mistake(path=path, found=found, allowed="a place of its own", about=about)
