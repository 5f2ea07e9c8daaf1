"""Defaults that depend on other keys, filled in, so that nobody who uses a configuration has to know them.

It never changes what was written.
"""

from collections.abc import Mapping
from dataclasses import fields, replace

from balancer.config.chosen import StoreConfig
from balancer.config.listen import place
from balancer.config.schema import DEFAULT_CHECK, Configuration, UpstreamConfig
from balancer.config.vocabulary import MEMORY, Vocabulary
from balancer.core.health import CheckSettings

BALANCE = "random(2)"
"""Power of two choices: near the best of any selector at any number of servers and balancers, without a scan."""

TCP_BALANCE = "leastconn"
"""TCP connections live long and unequally; what counts is how many are open."""

NAT_BALANCE = "roundrobin"
"""The kernel does not know how many connections are open; of what it can do, turns are the most even."""


def completed(configuration: Configuration, vocabulary: Vocabulary) -> Configuration:
    """The configuration with every ``balance`` a name, every check of the class its ``type`` has, with the PROXY header
    of its upstream, and every store that a cache uses.

    Completing twice is completing once. What :func:`~balancer.config.reader.read` returns is complete; whoever builds
    a :class:`Configuration` in Python completes it before use.
    """
    defaults, datagrams = default_balances(configuration), _of_datagrams_alone(configuration)
    return replace(
        configuration,
        upstream={
            name: _completed(_default_check(upstream, vocabulary, name in datagrams), defaults[name], vocabulary)
            for name, upstream in configuration.upstream.items()
        },
        store=stores(configuration, vocabulary),
    )


def stores(configuration: Configuration, vocabulary: Vocabulary) -> Mapping[str, StoreConfig]:
    """The stores, with the one that need not be written, where something is kept in it."""
    named = {cache.store for cache in configuration.cache.values()}
    named |= {store.over for store in configuration.store.values()}
    if MEMORY not in named or MEMORY in configuration.store or MEMORY not in vocabulary.stores:
        return configuration.store
    return {**configuration.store, MEMORY: StoreConfig(type=MEMORY, settings=vocabulary.stores[MEMORY]())}


def default_balances(configuration: Configuration) -> dict[str, str]:
    """What ``balance`` is where none is written, for each upstream: it goes by who uses it."""
    modes = _modes(configuration)
    return {name: _default_balance(modes.get(name, {"http"})) for name in configuration.upstream}


def _default_balance(modes: set[str]) -> str:
    if "nat" in modes:
        return NAT_BALANCE
    return BALANCE if "http" in modes else TCP_BALANCE


def _modes(configuration: Configuration) -> dict[str, set[str]]:
    """The modes of the listeners that use each upstream."""
    modes: dict[str, set[str]] = {}
    for listener in configuration.listener.values():
        for name in listener.upstreams:
            modes.setdefault(name, set()).add(listener.mode)
    return modes


def _of_datagrams_alone(configuration: Configuration) -> set[str]:
    """The upstreams that listeners use, and only listeners of datagrams."""
    used: dict[bool, set[str]] = {True: set(), False: set()}
    for listener in configuration.listener.values():
        used[place(listener.listen).datagrams].update(listener.upstreams)
    return used[True] - used[False]


def _default_check(upstream: UpstreamConfig, vocabulary: Vocabulary, datagrams: bool) -> UpstreamConfig:
    """Where no check is written, servers of datagrams alone are asked by a datagram."""
    if datagrams and upstream.check is DEFAULT_CHECK and "udp" in vocabulary.checks:
        return replace(upstream, check=vocabulary.checks["udp"]())
    return upstream


def _completed(upstream: UpstreamConfig, balance: str, vocabulary: Vocabulary) -> UpstreamConfig:
    check = upstream.check
    settings = CheckSettings if check is None else vocabulary.checks.get(check.type, type(check))
    if check is not None and not isinstance(check, settings):
        check = settings(**{field.name: getattr(check, field.name) for field in fields(CheckSettings)})
    if check is not None and upstream.send_proxy is not None and not (check.send_proxy or check.port or check.address):
        check = replace(check, send_proxy=upstream.send_proxy.version)
    return replace(upstream, balance=upstream.balance or balance, check=check)
