"""What must hold between the keys of a listener's guard, and between it and its listener.

Nothing here looks at a client: see :mod:`balancer.core.guard`.
"""

from collections.abc import Iterator
from ipaddress import ip_network

from balancer.config.listen import place
from balancer.config.problems import Mistake
from balancer.config.schema import STREAMS, Configuration
from balancer.config.wording import Path
from balancer.core.guard_policy import GuardPolicy


def guards(configuration: Configuration) -> Iterator[Mistake]:
    """A guard does something, stands where clients have addresses, and none of its keys is idle or says two things."""
    for name, listener in configuration.listener.items():
        guard, path = listener.guard, ("listener", name, "guard")
        if guard is None:
            continue
        kind = place(listener.listen).kind
        if not guard.limits:
            allowed = 'at least one of "allow", "deny", "connections", "rate", "max_lifetime"'
            yield Mistake(path=path, found="a guard that limits nothing", allowed=allowed, about=(path,))
        if listener.mode not in STREAMS:
            found, allowed = f'a guard in mode "{listener.mode}"', "a guard in mode tcp, http or tls-passthrough"
            yield Mistake(path=path, found=found, allowed=allowed, about=(path, ("listener", name, "mode")))
        for key, found, allowed in _idle_keys(guard, kind):
            at: Path = (*path, key)
            yield Mistake(path=at, found=found, allowed=allowed, about=(at,))


def _idle_keys(guard: GuardPolicy, kind: str) -> Iterator[tuple[str, str, str]]:
    """Key, what is found, what is allowed."""
    if kind == "unix":
        for key in ("allow", "deny", "connections", "rate"):
            if getattr(guard, key):
                yield key, "a limit by address at a UNIX socket, whose clients have none", 'only "max_lifetime" there'
    if guard.burst and not guard.rate:
        yield "burst", 'a burst without a "rate"', '"rate" beside it'
    if guard.ipv6_prefix != GuardPolicy().ipv6_prefix and not guard.counts:
        yield "ipv6_prefix", "a prefix of sources where none is counted", '"connections" or "rate" beside it'
    if guard.max_sources != GuardPolicy().max_sources and not guard.rate:
        yield "max_sources", 'sources to be remembered for a rate, without a "rate"', '"rate" beside it'
    both = sorted(set(map(ip_network, guard.allow)) & set(map(ip_network, guard.deny)), key=str)
    if both:
        yield "deny", f'"{both[0]}", which "allow" has too', "each network in one of the lists"
