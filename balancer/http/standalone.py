"""Layer 7 by itself, for a program of yours: no configuration file, no service, no health monitor.

Backends that fail in a row are ejected for a while all the same, for that comes from the traffic. This module only
composes; a program that has a ``BalancerService`` takes its listeners from there.
"""

import time
from collections.abc import Callable
from random import Random
from typing import Any

from balancer.config.schema import Configuration, UpstreamConfig
from balancer.core.forwarded import ForwardedPolicy, Forwarding, random_ids
from balancer.core.model import BackendSpec, is_literal, split_address
from balancer.core.record import ExchangeRecord
from balancer.core.routing import RouteTable
from balancer.http.resource import ProxyResource
from balancer.http.settings import HttpSettings
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Connector
from balancer.net.timers import TimerWheel
from balancer.net.tls import TlsClients
from balancer.registry import Registry


def proxy(reactor: Any, *servers: str, prefix: bytes = b"", **settings: Any) -> ProxyResource:
    """A resource that forwards to these servers; see :class:`ProxyResource` and :func:`http_settings`."""
    return ProxyResource(http_settings(reactor, *servers, **settings), prefix)


def http_settings(
    reactor: Any,
    *servers: str,
    name: str = "http",
    balance: str = "random(2)",
    policy: UpstreamConfig | None = None,
    forwarded: ForwardedPolicy | None = None,
    log: Callable[[ExchangeRecord], None] | None = None,
    random: Random | None = None,
    wall: Callable[[], float] = time.time,  # noqa: TID251 - who composes brings the clock
    **more: Any,
) -> HttpSettings:
    """Settings for a :class:`ProxyResource` or a :class:`~balancer.http.factory.ChannelFactory`.

    :param servers: ``"10.0.0.1:80"``, ``"[2001:db8::1]:80"``; addresses, for nothing is resolved here.
    :param policy: everything else an upstream may have; its ``servers`` are those above and its ``balance`` counts.
    :param log: takes the record of each exchange.
    :param more: further fields of :class:`HttpSettings`.
    :raises ValueError: a server is no ``ADDRESS:PORT``.
    """
    upstream = policy or UpstreamConfig(servers=(), balance=balance)
    specs = [BackendSpec(host=host, port=port) for host, port in map(split_address, servers)]
    for spec in specs:
        if not is_literal(spec.host):
            raise ValueError(f"{spec.address!r}: an IP address is expected; BalancerService resolves names")
    chance = random or Random()
    registry = Registry(reactor.seconds, chance)
    registry.apply(Configuration(upstream={name: upstream}))
    registry.publish(name, specs)
    timers = TimerWheel(reactor)
    reached = HttpUpstream(
        registry.upstream(name),
        Connector(reactor, timers),
        timers,
        timeouts=upstream.timeouts,
        pool=upstream.pool,
        tls=None if upstream.tls is None else TlsClients(upstream.tls),
    )
    registry.subscribe(reached.heed)
    return HttpSettings(
        name=name,
        routes=RouteTable(()),
        default=name,
        upstreams={name: reached},
        forwarding=Forwarding(forwarded or ForwardedPolicy(), random_ids(chance)),
        timers=timers,
        wall=wall,
        random=chance,
        log=log or _unlogged,
        **more,
    )


def _unlogged(record: ExchangeRecord) -> None:
    """Where nobody wants records."""
