"""From a :class:`~balancer.core.nat.Ruleset` to one transaction of nftables, as JSON.

Names in the table: ``listen/NAME`` is the chain that draws a server, ``to/NAME/HOST/PORT`` the one that translates;
``new/…``, ``in/…`` and ``out/…`` are counters of a server, ``refused/NAME`` of a listener. A colon of an IPv6 address
is written ``_``, so that ``nft`` can read its own listing. It never runs anything.
Source: libnftables-json(5), nft(8).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from balancer.core.nat import Draw, Entrance, Ruleset, Target, Translation
from balancer.core.nat_policy import CLIENT, MASQUERADE

Command = dict[str, Any]
Expression = dict[str, Any]

DSTNAT, COUNTING, SRCNAT = -100, -90, 100
"""Priorities: where destinations are translated (nft(8), "dstnat"), just behind that, and "srcnat"."""

SEED = 0x62616C61
"""Of the hash of sources: always the same, so that a restart or another balancer sends them where they were."""

_HOOKS = {
    "prerouting": ("nat", "prerouting", DSTNAT),
    "output": ("nat", "output", DSTNAT),
    "postrouting": ("nat", "postrouting", SRCNAT),
    "count_arriving": ("filter", "prerouting", COUNTING),
    "count_own": ("filter", "output", COUNTING),
}
"""Our base chains: type, hook and priority. What arrives and what the machine itself sends are all packets there are;
what the loopback carries is both, and counted as sent."""

COUNT = "count"
"""The chain that finds a packet's counter."""

_FAMILIES = {4: ("ip", "ipv4_addr", "ipv4"), 6: ("ip6", "ipv6_addr", "ipv6")}

DIRECTIONS = {"in": ("original", "daddr", "dport"), "out": ("reply", "saddr", "sport")}
"""Counters of packets: the direction of the connection, and where the server's address and port stand in it. Behind
the translation of destinations a packet to a server names the server, and a server's answer still does."""


def counters_of(target: Target) -> tuple[str, ...]:
    """The names of a server's counters: connections, to it, from it."""
    place = f"{target.protocol}/{_spelt(target.host)}/{target.port}"
    return (f"new/{place}", f"in/{place}", f"out/{place}")


def replacement(ruleset: Ruleset, counts: Mapping[str, tuple[int, int]]) -> list[Command]:
    """Make the table this and nothing else, whatever it was; it need not be there.

    :param counts: packets and bytes that counters begin with, by name.
    """
    return [*removal(ruleset.table), *_objects(ruleset, counts), *_rules(ruleset)]


def change(before: Ruleset, after: Ruleset) -> list[Command]:
    """Make what the table is another; its counters count on."""
    table = after.table
    stale = _Names(before).without(_Names(after))
    maps = [{"flush": {"map": _in(table, name=name)}} for name in _maps()]
    elements = [{"delete": {kind: _in(table, name=name)}} for kind, name in stale]
    return [_add("table", {"family": "inet", "name": table}), _flushed(table), *maps, *_objects(after, {}), *elements,
            *_rules(after)]  # fmt: skip


def removal(table: str) -> list[Command]:
    """Take the table out; it need not be there."""
    named = {"family": "inet", "name": table}
    return [_add("table", named), {"delete": {"table": named}}]


def listing(table: str) -> list[Command]:
    """Ask for the counters."""
    return [{"list": {"counters": {"family": "inet", "table": table}}}]


class _Names:
    """The chains and counters that a ruleset has beside the base chains, in an order in which they can go."""

    def __init__(self, ruleset: Ruleset) -> None:
        listens = [_listen(each.entrance) for each in ruleset.translations]
        targets = [_to(each.entrance, target) for each in ruleset.translations for target in each.targets]
        counts = [name for target in ruleset.targets for name in counters_of(target)]
        refused = [_refused(each.entrance) for each in ruleset.translations]
        self.all = [("chain", name) for name in (*listens, *targets)]
        self.all += [("counter", name) for name in (*counts, *refused)]

    def without(self, others: "_Names") -> list[tuple[str, str]]:
        kept = set(others.all)
        return [name for name in dict.fromkeys(self.all) if name not in kept]


def _objects(ruleset: Ruleset, counts: Mapping[str, tuple[int, int]]) -> Iterator[Command]:
    """Table, chains, counters and maps; what is there stays as it is."""
    table = ruleset.table
    yield _add("table", {"family": "inet", "name": table})
    for name, (kind, hook, priority) in _HOOKS.items():
        base = {"type": kind, "hook": hook, "prio": priority, "policy": "accept"}
        yield _add("chain", _in(table, name=name, **base))
    yield _add("chain", _in(table, name=COUNT))
    for kind, name in _Names(ruleset).all:
        packets, octets = counts.get(name, (0, 0))
        values = {"packets": packets, "bytes": octets} if packets and kind == "counter" else {}
        yield _add(kind, _in(table, name=name, **values))
    for name, (way, family) in _maps().items():
        key = [_FAMILIES[family][1], "inet_proto", "inet_service"]
        yield _add("map", _in(table, name=name, type=key, map="counter"))
        elements = [
            [{"concat": [target.host, target.protocol, target.port]}, f"{way}/{_place(target)}"]
            for target in ruleset.targets
            if _family(target) == family
        ]
        if elements:
            yield _add("element", _in(table, name=name, elem=elements))


def _rules(ruleset: Ruleset) -> Iterator[Command]:
    table = ruleset.table
    for each in ruleset.translations:
        entrance = each.entrance
        for target in dict.fromkeys(each.targets):
            yield _rule(table, _to(entrance, target), *_translate(target))
        yield _rule(table, _listen(entrance), *_drawing(each))
        arriving = [*_arrived(entrance), {"goto": {"target": _listen(entrance)}}]
        yield _rule(table, "prerouting", *arriving)
        if each.settings.local:
            yield _rule(table, "output", *arriving)
        if each.settings.source != CLIENT and each.targets:
            yield _rule(table, "postrouting", *_hiding(each))
    yield from _counting(table)


def _arrived(entrance: Entrance) -> Iterator[Expression]:
    """Whether a packet is for the listener."""
    protocol, _, name = _FAMILIES[entrance.family]
    if entrance.address:
        yield _equal({"payload": {"protocol": protocol, "field": "daddr"}}, entrance.address)
    else:
        yield _equal({"meta": {"key": "nfproto"}}, name)
        yield _equal({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    yield _equal({"payload": {"protocol": entrance.protocol, "field": "dport"}}, entrance.port)


def _drawing(each: Translation) -> Iterator[Expression]:
    """Draw a slot and go where it says; where there is none, refuse."""
    if not each.slots:
        yield {"counter": _refused(each.entrance)}
        yield from _refusing(each)
        return
    size = len(each.slots)
    key: Expression
    if each.draw is Draw.SOURCE:
        address = {"payload": {"protocol": _FAMILIES[each.entrance.family][0], "field": "saddr"}}
        key = {"jhash": {"mod": size, "seed": SEED, "expr": address}}
    else:
        mode = "inc" if each.draw is Draw.ROUNDROBIN else "random"
        key = {"numgen": {"mode": mode, "mod": size, "offset": 0}}
    names = [_to(each.entrance, target) for target in each.targets]
    slots = [[slot, {"goto": {"target": names[index]}}] for slot, index in enumerate(each.slots)]
    yield {"vmap": {"key": key, "data": {"set": slots}}}


def _refusing(each: Translation) -> Iterator[Expression]:
    if each.settings.unavailable == "drop":
        yield {"drop": None}
    elif each.entrance.protocol == "tcp":
        yield _equal({"meta": {"key": "l4proto"}}, "tcp")
        yield {"reject": {"type": "tcp reset"}}
    else:
        yield {"reject": {"type": "icmpx", "expr": "port-unreachable"}}


def _translate(target: Target) -> Iterator[Expression]:
    yield {"counter": counters_of(target)[0]}
    yield _equal({"meta": {"key": "l4proto"}}, target.protocol)
    yield {"dnat": {"family": _FAMILIES[_family(target)][0], "addr": target.host, "port": target.port}}


def _hiding(each: Translation) -> Iterator[Expression]:
    """The client's address is replaced, for connections that came by this listener."""
    entrance, family = each.entrance, _FAMILIES[each.entrance.family][0]
    # The server first: nft cannot read its own listing back where nothing before the port tells the protocol.
    yield _equal({"meta": {"key": "l4proto"}}, entrance.protocol)
    place = [_field(family, "daddr"), _field("th", "dport")]
    servers = [{"concat": [target.host, target.port]} for target in dict.fromkeys(each.targets)]
    yield _equal({"concat": place}, {"set": servers})
    yield {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
    if entrance.address:
        yield _equal({"ct": {"key": f"{family} daddr", "dir": "original"}}, entrance.address)
    yield _equal({"ct": {"key": "proto-dst", "dir": "original"}}, entrance.port)
    if each.settings.source == MASQUERADE:
        yield {"masquerade": None}
    else:
        yield {"snat": {"family": family, "addr": each.settings.source}}


def _counting(table: str) -> Iterator[Command]:
    """Every packet of a translated connection counts for its server, once."""
    translated = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
    counting = {"goto": {"target": COUNT}}
    not_loopback = {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}
    yield _rule(table, "count_arriving", translated, not_loopback, counting)
    yield _rule(table, "count_own", translated, counting)
    for name, (way, family) in _maps().items():
        direction, address, port = DIRECTIONS[way]
        place = [_field(_FAMILIES[family][0], address), {"meta": {"key": "l4proto"}}, _field("th", port)]
        counter = {"counter": {"map": {"key": {"concat": place}, "data": f"@{name}"}}}
        yield _rule(table, COUNT, _equal({"ct": {"key": "direction"}}, direction), counter)


def _maps() -> dict[str, tuple[str, int]]:
    return {f"{way}{family}": (way, family) for way in DIRECTIONS for family in _FAMILIES}


def _family(target: Target) -> int:
    return 6 if ":" in target.host else 4


def _listen(entrance: Entrance) -> str:
    return f"listen/{entrance.name}"


def _refused(entrance: Entrance) -> str:
    return f"refused/{entrance.name}"


def _to(entrance: Entrance, target: Target) -> str:
    return f"to/{entrance.name}/{_spelt(target.host)}/{target.port}"


def _place(target: Target) -> str:
    return f"{target.protocol}/{_spelt(target.host)}/{target.port}"


def _spelt(host: str) -> str:
    return host.replace(":", "_")


def _in(table: str, **values: Any) -> dict[str, Any]:
    return {"family": "inet", "table": table, **values}


def _add(kind: str, what: dict[str, Any]) -> Command:
    return {"add": {kind: what}}


def _flushed(table: str) -> Command:
    return {"flush": {"table": {"family": "inet", "name": table}}}


def _rule(table: str, chain: str, *expressions: Expression) -> Command:
    return _add("rule", _in(table, chain=chain, expr=list(expressions)))


def _field(protocol: str, field: str) -> Expression:
    return {"payload": {"protocol": protocol, "field": field}}


def _equal(left: Expression, right: object) -> Expression:
    return {"match": {"op": "==", "left": left, "right": right}}
