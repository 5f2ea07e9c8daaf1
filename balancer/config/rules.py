"""What must hold between keys, which no type can say; and what is allowed but worth a word.

Each rule is a function from a configuration to mistakes. Nothing here looks at a file or at the network.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from balancer.config.cache_rules import caches as cached
from balancer.config.cache_rules import unused
from balancer.config.guards import guards
from balancer.config.listen import Place, place
from balancer.config.loops import loops
from balancer.config.nat_rules import kernel_forwards
from balancer.config.problems import Mistake, unknown_name
from balancer.config.proxy_rules import proxy_headers
from balancer.config.schema import Configuration, ListenerConfig, UpstreamConfig
from balancer.config.tls_rules import ENCRYPTED, PASSTHROUGH, hellos, keys_with_certificates, passed_through
from balancer.config.wording import Path, shown
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.model import is_literal, join_address, split_address
from balancer.core.route_spec import RouteSpec
from balancer.core.routing import shadowed
from balancer.core.sni import shadowed_names
from balancer.http1.limits import HttpLimits

Rule = Callable[[Configuration], Iterator[Mistake]]


def mistakes(
    configuration: Configuration,
    upstreams: Collection[str],
    caches: Collection[str] = (),
    stores: Collection[str] = (),
) -> Iterator[Mistake]:
    """What no rule allows.

    :param upstreams: the names of the upstreams there are, of which some may be too wrong to be in the configuration;
        ``caches`` and ``stores`` are those of caches and stores.
    """
    yield from _known_upstreams(configuration, upstreams)
    yield from cached(configuration, {*caches, *configuration.cache}, {*stores, *configuration.store})
    for rule in _RULES:
        yield from rule(configuration)


def remarks(configuration: Configuration) -> tuple[str, ...]:
    """What is allowed and may still not be meant: for the log and for ``--check``."""
    used = {name for listener in configuration.listener.values() for name in listener.upstreams}
    found = [] if configuration.listener else ["no listener is configured: no client can arrive"]
    found += [f'upstream "{name}" is used by no listener' for name in configuration.upstream if name not in used]
    for name, upstream in configuration.upstream.items():
        if upstream.tls is not None and not upstream.tls.verify:
            found.append(f'upstream "{name}" does not verify the certificates of its servers (tls.verify = false)')
    return (*found, *unused(configuration))


def _known_upstreams(configuration: Configuration, upstreams: Collection[str]) -> Iterator[Mistake]:
    """Every upstream that is named is there."""
    for name, listener in configuration.listener.items():
        for path, wanted in _references(("listener", name), listener):
            if wanted not in upstreams:
                yield unknown_name(path, wanted, "upstream", upstreams)


def _references(path: Path, listener: ListenerConfig) -> Iterator[tuple[Path, str]]:
    if listener.to:
        yield (*path, "to"), listener.to
    for index, route in enumerate(listener.route):
        if route.to is not None:
            yield (*path, "route", index, "to"), route.to
        for name in route.split:
            yield (*path, "route", index, "split", name), name


def _targets(configuration: Configuration) -> Iterator[Mistake]:
    """A listener has somewhere to send to, and only HTTP is routed by what a request says."""
    for name, listener in configuration.listener.items():
        path: Path = ("listener", name)
        keys: tuple[Path, ...] = tuple((*path, key) for key in ("to", "route", "mode"))
        routed = listener.mode in ("http", PASSTHROUGH)
        if not routed and listener.route:
            allowed = '"to", or mode = "http"'
            if listener.mode == "tcp":
                allowed += ', or mode = "tls-passthrough" (by the name asked for in TLS)'
            found = f"routes in mode {shown(listener.mode)}"
            yield Mistake(path=(*path, "route"), found=found, allowed=allowed, about=keys)
        elif listener.mode != "http" and (unread := _of_http_only(listener)):
            yield Mistake(
                path=(*path, unread),
                found=f"a table that mode {shown(listener.mode)}, which does not look into the bytes, never reads",
                allowed='nothing, or mode = "http"',
                about=((*path, unread), (*path, "mode")),
            )
        elif not listener.to and (not routed or not listener.route):
            allowed = '"to" with the name of an upstream' + ' or "route"' * routed
            yield Mistake(path=path, found="a listener that sends nowhere", allowed=allowed, about=keys)


def _of_http_only(listener: ListenerConfig) -> str:
    """The first key that says something and means nothing but in mode http."""
    if listener.limits != HttpLimits():
        return "limits"
    return "forwarded" if listener.forwarded != ForwardedPolicy() else ""


def _datagrams(configuration: Configuration) -> Iterator[Mistake]:
    """Mode udp and a place for datagrams go together, and what is of streams alone is not said of datagrams."""
    for name, listener in configuration.listener.items():
        path: Path = ("listener", name)
        udp = listener.mode == "udp"
        if listener.mode != "nat" and udp is not place(listener.listen).datagrams:
            yield Mistake(
                path=(*path, "listen"),
                found=f"{shown(listener.listen)} in mode {shown(listener.mode)}",
                allowed='"udp:PORT" or "udp6:PORT"' if udp else 'an endpoint of streams like "tcp:53", or mode = "udp"',
                about=((*path, "listen"), (*path, "mode")),
            )
        for key in _OF_STREAMS if udp else ("udp",):
            if getattr(listener, key) != getattr(_PLAIN, key):
                yield Mistake(
                    path=(*path, key),
                    found=f"a key that mode {shown(listener.mode)} never reads",
                    allowed='nothing, or mode = "tcp"' if udp else 'nothing, or mode = "udp"',
                    about=((*path, key), (*path, "mode")),
                )
        if listener.udp.one_way and (listener.udp.responses or listener.udp.requests):
            key = "responses" if listener.udp.responses else "requests"
            yield Mistake(
                path=(*path, "udp", key),
                found='a number for sessions beside "one_way", which has none',
                allowed="nothing, or one_way = false",
                about=((*path, "udp", key), (*path, "udp", "one_way")),
            )
        upstream = configuration.upstream.get(listener.to)
        if udp and upstream is not None and upstream.tls is not None:
            yield Mistake(
                path=("upstream", listener.to, "tls"),
                found=f'TLS to the servers of listener "{name}", which sends them datagrams as they come',
                allowed="an upstream without it (a TCP listener may have another one)",
                about=(("upstream", listener.to, "tls"), (*path, "mode"), (*path, "to")),
            )


_PLAIN = ListenerConfig(listen="udp:0", mode="udp")
"""A listener of which nothing is said."""

_OF_STREAMS = ("tls", "timeouts", "buffer", "splice")
"""What mode udp has no use for, beside what only mode http has."""


def _secured(configuration: Configuration) -> Iterator[Mistake]:
    """TLS is ended once, and in mode http the protocol is ours to say."""
    for name, listener in configuration.listener.items():
        path: Path = ("listener", name, "tls")
        if listener.tls is None or listener.mode == PASSTHROUGH:
            continue
        if place(listener.listen).kind in ENCRYPTED:
            yield Mistake(
                path=path,
                found=f"{shown(listener.listen)}, which brings TLS of its own",
                allowed='the table "tls" and a plain endpoint, for example "tcp:443"',
                about=(path, ("listener", name, "listen")),
            )
        if listener.tls.alpn and listener.mode == "http":
            key: Path = (*path, "alpn")
            found = f'{shown(listener.tls.alpn[0])} in mode "http"'
            allowed = 'no such key (mode http says "http/1.1" by itself), or mode = "tcp"'
            yield Mistake(path=key, found=found, allowed=allowed, about=(key, ("listener", name, "mode")))


def _ports(configuration: Configuration) -> Iterator[Mistake]:
    """No two listeners at one place."""
    taken: dict[object, list[tuple[str, Place]]] = {}
    for name, listener in configuration.listener.items():
        there = place(listener.listen)
        neighbours = taken.setdefault(there.port or there.address, [])
        first = next((other for other, elsewhere in neighbours if there.collides(elsewhere)), None)
        if first is not None:
            yield Mistake(
                path=("listener", name, "listen"),
                found=f'{shown(listener.listen)}, where listener "{first}" listens already',
                allowed="each port and path once",
                about=(("listener", name, "listen"), ("listener", first, "listen")),
            )
        neighbours.append((name, there))


def _servers(configuration: Configuration) -> Iterator[Mistake]:
    """No server twice in one upstream: its weight and limit would be those of one of the two."""
    for name, upstream in configuration.upstream.items():
        told: set[str] = set()
        for index, server in enumerate(upstream.servers):
            host, port = split_address(server.address)
            address = join_address(host.lower().removesuffix("."), port)
            if address in told:
                path: Path = ("upstream", name, "servers", index)
                found = f"{shown(server.address)}, which is in the list already"
                allowed = 'each server once (it may have a "weight")'
                yield Mistake(path=path, found=found, allowed=allowed, about=(path,))
            told.add(address)


def _probed_addresses(configuration: Configuration) -> Iterator[Mistake]:
    """A check goes to an IP address: a name would be resolved by nobody."""
    for name, upstream in configuration.upstream.items():
        if upstream.check is not None and upstream.check.address and not is_literal(upstream.check.address):
            path: Path = ("upstream", name, "check", "address")
            found = shown(upstream.check.address)
            yield Mistake(path=path, found=found, allowed='an IP address, or "" for the server\'s own', about=(path,))


def _reachable_routes(configuration: Configuration) -> Iterator[Mistake]:
    """No route that never gets a request."""
    for name, listener in configuration.listener.items():
        same: Callable[[Sequence[RouteSpec]], list[tuple[int, int]]]
        same = shadowed_names if listener.mode == PASSTHROUGH else shadowed
        for later, earlier in same(listener.route):
            path: Path = ("listener", name, "route", later)
            yield Mistake(
                path=path,
                found=f"a route that matches what an earlier one takes already ({listener.route[later]})",
                allowed='each match once (several upstreams for one match: "split")',
                about=(path, ("listener", name, "route", earlier)),
            )


def _ordered_times(configuration: Configuration) -> Iterator[Mistake]:
    """No greatest value below the least."""
    for name, upstream in configuration.upstream.items():
        yield from _ordered(("upstream", name, "outlier"), "base_time", "max_time", *_ejection(upstream))
    resolve = configuration.resolve
    yield from _ordered(("resolve",), "min_ttl", "max_ttl", resolve.min_ttl, resolve.max_ttl)
    yield from _ordered(("resolve",), "retry", "max_retry", resolve.retry, resolve.max_retry)


def _ejection(upstream: UpstreamConfig) -> tuple[float, float]:
    return upstream.outlier.base_time, upstream.outlier.max_time


def _ordered(table: Path, low: str, high: str, least: float, most: float) -> Iterator[Mistake]:
    if least > most:
        yield Mistake(
            path=(*table, high),
            found=f'{most:g} s, less than "{low}" ({least:g} s)',
            allowed=f'at least "{low}"',
            about=((*table, low), (*table, high)),
        )


_RULES: tuple[Rule, ...] = (
    _targets, _datagrams, _secured, passed_through, hellos, keys_with_certificates, guards, _ports, _servers, loops,
    _probed_addresses, _reachable_routes, _ordered_times, proxy_headers, kernel_forwards,
)  # fmt: skip
