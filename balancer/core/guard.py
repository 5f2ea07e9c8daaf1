"""Who is let in: networks that are allowed or denied, and how many connections of one source, and how often.

The smallest network that holds a client decides, as a routing table does; the lists may be thousands long, for it is
found by one look per prefix length. The rate is a token bucket in the form of the generic cell rate algorithm (ITU-T
I.371), which keeps one number per source. Nothing here reads a clock (time is an argument), logs or closes.

Memory: a source is kept while it has connections, and then, with a rate, until its bucket is full again. Those without
connections are at most ``max_sources``; of more, the one that rested longest is forgotten. So a flood of sources costs
bounded memory and shuts nobody out; what it gains is that a source that was forgotten begins with a full bucket.
"""

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum
from ipaddress import ip_network
from math import ceil
from socket import AF_INET, AF_INET6, inet_pton

from balancer.core.guard_policy import GuardPolicy

MAPPED = 0xFFFF << 32
"""``::ffff:0:0/96``: IPv4 addresses as a dual-stack socket spells them (RFC 4291 section 2.5.5.2)."""

SLACK = 1e-6
"""Of a token: what sums of floating-point numbers may be off, so that a burst is never one short."""

Number = tuple[int, int]
"""An IP address: its bits (32 or 128) and its value."""


class Refusal(Enum):
    """Why a client is not let in. ``value`` is the word in counters."""

    DENIED = "denied"
    NOT_ALLOWED = "not_allowed"
    CONNECTIONS = "source_connections"
    RATE = "source_rate"


def number(host: str) -> Number | None:
    """The address a socket names, ``None`` where it names none (UNIX). IPv4 inside IPv6 is IPv4; a zone is no part.

    (Not by ``ipaddress``, which takes ten times as long.)
    """
    try:
        if ":" not in host:
            return 32, int.from_bytes(inet_pton(AF_INET, host), "big")
        value = int.from_bytes(inet_pton(AF_INET6, host.partition("%")[0]), "big")
    except OSError:
        return None
    return (32, value & 0xFFFFFFFF) if value & ~0xFFFFFFFF == MAPPED else (128, value)


class Networks:
    """The two lists, to be looked up in.

    :param allow: texts of networks; with any, clients of no listed network are refused.
    """

    __slots__ = ("_closed", "_tables")

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        tables: dict[int, dict[int, dict[int, bool]]] = {32: {}, 128: {}}  # by bits, by shift: prefix to "allowed"
        self._closed = False
        for text in allow:
            self._closed = True
            _enter(tables, text, True)
        for text in deny:
            _enter(tables, text, False)
        self._tables = {bits: sorted(found.items()) for bits, found in tables.items()}  # the longest prefix first

    def __repr__(self) -> str:
        counts = {bits: sum(len(found) for _, found in table) for bits, table in self._tables.items()}
        return f"<Networks ipv4={counts[32]} ipv6={counts[128]} else={'refused' if self._closed else 'let in'}>"

    def judge(self, address: Number) -> Refusal | None:
        """Why the address is refused, ``None`` where it is not."""
        bits, value = address
        for shift, found in self._tables[bits]:
            allowed = found.get(value >> shift)
            if allowed is not None:
                return None if allowed else Refusal.DENIED
        return Refusal.NOT_ALLOWED if self._closed else None


def _enter(tables: dict[int, dict[int, dict[int, bool]]], text: str, allowed: bool) -> None:
    network = ip_network(text)
    bits = network.max_prefixlen
    shift = bits - network.prefixlen
    tables[bits].setdefault(shift, {})[int(network.network_address) >> shift] = allowed


class Source:
    """One source: an IPv4 address, or the prefix of an IPv6 address.

    :ivar key: what tells it apart.
    :ivar active: its connections now.
    :ivar until: when its bucket is full again, by the clock that was passed in.
    """

    __slots__ = ("active", "key", "until")

    def __init__(self, key: int) -> None:
        self.key = key
        self.active = 0
        self.until = 0.0

    def __repr__(self) -> str:
        return f"<Source {self.key:x} active={self.active} until={self.until:g}>"


class Sources:
    """The sources of one listener. Ask :meth:`judge`, then :meth:`enter`; and :meth:`leave` for each that entered.

    :ivar forgotten: sources forgotten before their bucket was full, because there were too many.
    """

    __slots__ = ("_active", "_idle", "_interval", "_limit", "_most", "_prefix", "_tolerance", "forgotten")

    def __init__(self, policy: GuardPolicy) -> None:
        self._active: dict[int, Source] = {}
        self._idle: OrderedDict[int, Source] = OrderedDict()  # who rested longest comes first
        self.forgotten = 0
        self.configure(policy)

    def __repr__(self) -> str:
        return f"<Sources active={len(self._active)} idle={len(self._idle)} forgotten={self.forgotten}>"

    def __len__(self) -> int:
        """Sources that are kept now."""
        return len(self._active) + len(self._idle)

    @property
    def connections(self) -> int:
        """Connections of all sources now."""
        return sum(source.active for source in self._active.values())

    def configure(self, policy: GuardPolicy) -> None:
        """Judge what comes from now on by another policy. Counts stay; with another ``ipv6_prefix`` the IPv6 sources
        begin anew, those that have connections beside their old count."""
        self._limit = policy.connections
        self._interval = 1 / policy.rate if policy.rate else 0.0
        self._tolerance = ((policy.burst or max(1, ceil(policy.rate))) - 1 + SLACK) * self._interval
        self._prefix = policy.ipv6_prefix
        self._most = policy.max_sources
        if not self._interval:
            self._idle.clear()
        self._trim()

    def key(self, address: Number) -> int:
        """The source an address belongs to."""
        bits, value = address
        return value if bits == 32 else self._prefix << 128 | value >> (128 - self._prefix)

    def judge(self, key: int, now: float) -> Refusal | None:
        """Why one more connection of the source is refused, ``None`` where it is not. Nothing is counted."""
        source = self._active.get(key) or self._idle.get(key)
        if source is None:
            return None
        if 0 < self._limit <= source.active:
            return Refusal.CONNECTIONS
        if not self._interval or source.until - now <= self._tolerance:
            return None
        if not source.active:
            self._idle.move_to_end(key)  # who tries all the time does not rest
        return Refusal.RATE

    def enter(self, key: int, now: float) -> Source | Refusal:
        """Let one connection of the source in, or say why not."""
        refusal = self.judge(key, now)
        if refusal is not None:
            return refusal
        source = self._active.get(key)
        if source is None:
            source = self._idle.pop(key, None) or Source(key)
            self._active[key] = source
        source.active += 1
        if self._interval:
            source.until = max(source.until, now) + self._interval
        return source

    def leave(self, source: Source, now: float) -> None:
        """A connection that was let in is gone.

        :raises ValueError: the source has none.
        """
        if not source.active:
            raise ValueError(f"{source!r} has no connection")
        source.active -= 1
        if source.active:
            return
        del self._active[source.key]
        if self._interval and source.until > now:
            self._idle[source.key] = source
            self._trim()
        for _ in range(2):  # faster than they come
            oldest = next(iter(self._idle.values()), None)
            if oldest is None or oldest.until > now:
                break
            del self._idle[oldest.key]

    def _trim(self) -> None:
        while len(self._idle) > self._most:
            self._idle.popitem(last=False)
            self.forgotten += 1
