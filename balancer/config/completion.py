"""Defaults that depend on other keys, filled in, so that nobody who uses a configuration has to know them.

It never changes what was written.
"""

from dataclasses import fields, replace

from balancer.config.schema import Configuration, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.health import CheckSettings

BALANCE = "random(2)"
"""Power of two choices: near the best of any selector at any number of servers and balancers, without a scan."""

TCP_BALANCE = "leastconn"
"""TCP connections live long and unequally; what counts is how many are open."""

NAT_BALANCE = "roundrobin"
"""The kernel does not know how many connections are open; of what it can do, turns are the most even."""


def completed(configuration: Configuration, vocabulary: Vocabulary) -> Configuration:
    """The configuration with every ``balance`` a name, and every check of the class its ``type`` has.

    Completing twice is completing once. What :func:`~balancer.config.reader.read` returns is complete; whoever builds
    a :class:`Configuration` in Python completes it before use.
    """
    defaults = default_balances(configuration)
    return replace(
        configuration,
        upstream={
            name: _completed(upstream, defaults[name], vocabulary) for name, upstream in configuration.upstream.items()
        },
    )


def default_balances(configuration: Configuration) -> dict[str, str]:
    """What ``balance`` is where none is written, for each upstream: it goes by who uses it."""
    modes: dict[str, set[str]] = {}
    for listener in configuration.listener.values():
        for name in listener.upstreams:
            modes.setdefault(name, set()).add(listener.mode)
    by_mode = {"tcp": TCP_BALANCE, "nat": NAT_BALANCE}
    sole = {name: next(iter(found)) for name, found in modes.items() if len(found) == 1}
    return {name: by_mode.get(sole.get(name, ""), BALANCE) for name in configuration.upstream}


def _completed(upstream: UpstreamConfig, balance: str, vocabulary: Vocabulary) -> UpstreamConfig:
    check = upstream.check
    settings = CheckSettings if check is None else vocabulary.checks.get(check.type, type(check))
    if check is not None and not isinstance(check, settings):
        check = settings(**{field.name: getattr(check, field.name) for field in fields(CheckSettings)})
    return replace(upstream, balance=upstream.balance or balance, check=check)
