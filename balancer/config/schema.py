"""The frozen objects a configuration becomes.

Each key is documented where it is defined: here, or in the room whose settings are composed here. Pydantic validates
these plain dataclasses (see ``reader``); Python code may build them directly. This module never reads a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from typing_extensions import Doc

from balancer.core.health import CheckSettings
from balancer.core.pool import PoolPolicy
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.core.tls import BackendTls
from balancer.core.units import CountOrZero, SecondsOrZero, Size, Weight
from balancer.core.upstream import UpstreamPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server of an upstream, as written: the host may be a name, which discovery turns into addresses."""

    __pydantic_config__ = {"extra": "forbid"}

    address: Annotated[str, Doc("`HOST:PORT`, `[IPV6]:PORT`; a host name is resolved again at its TTL.")]
    weight: Annotated[Weight, Doc("Share of the traffic, 0 (none) to 256.")] = 1
    backup: Annotated[bool, Doc("Used only when no other server of the upstream is available.")] = False
    max_connections: Annotated[
        CountOrZero, Doc("Connections (tcp) or requests (http) at one time, 0 for no limit; more wait in the queue.")
    ] = 0
    tags: Annotated[Mapping[str, str], Doc("Free pairs for people and plugins.")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig(UpstreamPolicy):
    """A named group of servers: `[upstream.NAME]`."""

    __pydantic_config__ = {"extra": "forbid"}

    servers: Annotated[
        tuple[ServerConfig, ...], Doc('The servers: texts like `"10.0.0.1:80"`, or tables with the keys below.')
    ]
    balance: Annotated[
        str,
        Doc(
            "How a server is picked, for example `random(2)`, `leastconn`, `hdr(x-tenant) or leastconn`; empty takes "
            "`random(2)` for mode http and `leastconn` for mode tcp."
        ),
    ] = ""
    hash_type: Annotated[Literal["ring", "maglev"], Doc("How selectors that hash spread their keys.")] = "ring"
    hash_balance_factor: Annotated[
        CountOrZero, Doc("Bounded load: no server above this percentage of the mean load (over 100); 0 for no bound.")
    ] = 0
    check: Annotated[CheckSettings | None, Doc('The active check; `{ type = "none" }` for none.')] = field(
        default_factory=CheckSettings
    )
    timeouts: Annotated[BackendTimeouts, Doc("How long its servers are waited for.")] = field(
        default_factory=BackendTimeouts
    )
    pool: Annotated[PoolPolicy, Doc("How HTTP connections to its servers are kept.")] = field(
        default_factory=PoolPolicy
    )
    tls: Annotated[BackendTls | None, Doc("TLS to the servers, verified; absent for plain TCP.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where clients arrive: `[listener.NAME]`."""

    __pydantic_config__ = {"extra": "forbid"}

    listen: Annotated[str, Doc('A Twisted endpoint description: `"tcp:8080"`, `"tcp:80:interface=127.0.0.1"`, …')]
    mode: Annotated[Literal["tcp", "http"], Doc("What the listener speaks.")] = "http"
    to: Annotated[str, Doc("The upstream that gets what no route matches.")] = ""
    max_connections: Annotated[
        CountOrZero, Doc("Client connections at one time; more are closed at once. 0 for no limit.")
    ] = 10000
    timeouts: Annotated[ClientTimeouts, Doc("How long its clients are waited for.")] = field(
        default_factory=ClientTimeouts
    )
    buffer: Annotated[Size, Doc("Bytes held per connection and direction before the sender is paused.")] = 262144


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything a balancer serves."""

    __pydantic_config__ = {"extra": "forbid"}

    upstream: Annotated[Mapping[str, UpstreamConfig], Doc("The upstreams by name.")] = field(default_factory=dict)
    listener: Annotated[Mapping[str, ListenerConfig], Doc("The listeners by name.")] = field(default_factory=dict)
    drain: Annotated[SecondsOrZero, Doc("Seconds a shutdown waits for what is in flight; 0 for none.")] = 30.0
