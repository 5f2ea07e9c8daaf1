"""The frozen objects a configuration becomes.

Each key is documented where it is defined: here, or in the room whose settings are composed here. Pydantic validates
these plain dataclasses (see ``reader``); Python code may build them directly. This module never reads a file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WrapValidator
from typing_extensions import Doc

from balancer.cache.policy import CachePolicy
from balancer.config import chosen
from balancer.config.chosen import StoreConfig, vocabulary_of
from balancer.config.listen import ALLOWED, checked_listen
from balancer.config.wording import Written
from balancer.core.access_log import AccessLogSettings
from balancer.core.agent_settings import AgentSettings
from balancer.core.client_hello import LIMIT as CLIENT_HELLO
from balancer.core.datagrams import UdpPolicy
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.guard_policy import GuardPolicy
from balancer.core.health import CheckSettings
from balancer.core.model import is_literal, split_address
from balancer.core.nat_policy import NatPolicy, NatSettings
from balancer.core.policies import PoolPolicy, UpstreamPolicy
from balancer.core.proxy_policy import AcceptProxy, SendProxy, by_version
from balancer.core.resolving import ResolvePolicy
from balancer.core.route_spec import RouteSpec
from balancer.core.selection import check_balance_factor
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.core.tls import BackendTls, ListenerTls
from balancer.core.units import CountOrZero, SecondsOrZero, Size, SizeOrZero, Weight
from balancer.errors import UnknownName
from balancer.http1.limits import HttpLimits

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_ADDRESS = 'HOST:PORT with an IP address or a host name, for example "10.0.0.1:80", "db1:5432"'


def is_name(name: str) -> bool:
    """Whether an upstream, a listener, a cache or a store may have that name."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """Return the name of an upstream, a listener, a cache or a store.

    :raises ValueError: it could not stand in a log line, a metric's label and a URL as it is.
    """
    if not is_name(name):
        raise ValueError('a name of 1 to 64 letters, digits, "_", "-" and ".", which does not begin with "-" or "."')
    return name


def checked_address(text: str) -> str:
    """Return the address of a server.

    :raises ValueError: it is not a host name or IP address with a port.
    """
    try:
        host, _ = split_address(text)
    except ValueError as error:
        raise ValueError(f"{_ADDRESS}; {error}") from None
    if not is_literal(host) and _HOST.fullmatch(host) is None:
        raise ValueError(_ADDRESS)
    return text


def _server(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


def _balance(text: str, info: ValidationInfo) -> str:
    if text:
        try:
            vocabulary_of(info).selectors(text)
        except UnknownName as error:
            raise ValueError(str(error)) from None
    return text


def _bounded_load(percent: int) -> int:
    check_balance_factor(percent)
    return percent


STREAMS = frozenset({"tcp", "http", "tls-passthrough"})
"""Modes in which this process accepts connections and makes others."""

DEFAULT_CHECK = CheckSettings()
"""The check of an upstream that says nothing of one. It is this very object, so that it can be told from one that says
the same (:mod:`balancer.config.completion`)."""

Name = Annotated[str, AfterValidator(checked_name)]
"""The name of an upstream, a listener, a cache or a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server of an upstream, as written: the host may be a name, which discovery turns into addresses."""

    __pydantic_config__ = {"extra": "forbid"}

    address: Annotated[
        str,
        AfterValidator(checked_address),
        Written('HOST:PORT or [IPV6]:PORT, for example "10.0.0.1:80", "db1:5432"'),
        Doc("`HOST:PORT`, `[IPV6]:PORT`; a host name is resolved again at its TTL."),
    ]
    weight: Annotated[Weight, Doc("Share of the traffic, 0 (none) to 256.")] = 1
    backup: Annotated[
        bool, Doc("Used only when no other server of the upstream is available, or too few are (`panic_threshold`).")
    ] = False
    max_connections: Annotated[
        CountOrZero, Doc("Connections (tcp) or requests (http) at one time, 0 for no limit; more wait in the queue.")
    ] = 0
    tags: Annotated[Mapping[str, str], Doc("Free pairs for people and plugins.")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig(UpstreamPolicy):
    """A named group of servers: `[upstream.NAME]`."""

    __pydantic_config__ = {"extra": "forbid"}

    servers: Annotated[
        tuple[
            Annotated[
                ServerConfig,
                BeforeValidator(_server),
                Written('a text like "10.0.0.1:80", or a table with "address"'),
            ],
            ...,
        ],
        MinLen(1),
        Doc('The servers: texts like `"10.0.0.1:80"`, or tables with the keys below.'),
    ]
    balance: Annotated[
        str,
        AfterValidator(_balance),
        Doc(
            "How a server is picked, for example `random(2)`, `leastconn`, `hdr(x-tenant) or leastconn`; empty takes "
            "`random(2)`, or `leastconn` where no listener of mode http uses the upstream; `roundrobin` where one of "
            "mode nat does (which can do `roundrobin`, `random` and `source`)."
        ),
    ] = ""
    hash_type: Annotated[Literal["ring", "maglev"], Doc("How selectors that hash spread their keys.")] = "ring"
    hash_balance_factor: Annotated[
        CountOrZero,
        AfterValidator(_bounded_load),
        Doc("Bounded load: no server above this percentage of the mean load (over 100); 0 for no bound."),
    ] = 0
    check: Annotated[
        CheckSettings | None,
        WrapValidator(chosen.check),
        Written('a table like { type = "http", path = "/health" }, or the type alone: "tcp"'),
        Doc(
            'The active check, whose `type` decides which further keys it has; `{ type = "none" }` for none. Where it '
            "is absent and only listeners of mode udp use the upstream, it is `udp`."
        ),
    ] = DEFAULT_CHECK
    agent: Annotated[
        AgentSettings | None,
        Doc("An agent asked beside the check, for each server: HAProxy's `agent-check`; absent for none."),
    ] = None
    timeouts: Annotated[BackendTimeouts, Doc("How long its servers are waited for.")] = field(
        default_factory=BackendTimeouts
    )
    pool: Annotated[PoolPolicy, Doc("How HTTP connections to its servers are kept.")] = field(
        default_factory=PoolPolicy
    )
    cache: Annotated[
        str,
        Doc(
            "The cache its responses are kept in, where a listener of mode http uses it: the name of a `[cache.NAME]`; "
            "empty for none."
        ),
    ] = ""
    tls: Annotated[BackendTls | None, Doc("TLS to the servers, verified; absent for plain TCP.")] = None
    send_proxy: Annotated[
        SendProxy | None,
        BeforeValidator(by_version),
        Written('"v1", "v2", or a table with "version"'),
        Doc(
            "The PROXY protocol header that tells the servers who the client is; absent for none. In mode http each "
            "request then opens a connection of its own, for one that is kept would speak for another client."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where clients arrive: `[listener.NAME]`."""

    __pydantic_config__ = {"extra": "forbid"}

    listen: Annotated[
        str,
        AfterValidator(checked_listen),
        Written(ALLOWED),
        Doc(
            'A Twisted endpoint description: `"tcp:8080"`, `"tcp:80:interface=127.0.0.1"`, ...; for mode udp '
            '`"udp:53"`, `"udp6:53"` with the same options but the backlog.'
        ),
    ]
    mode: Annotated[
        Literal["tcp", "http", "tls-passthrough", "udp", "nat"],
        Doc(
            "What the listener speaks: `http`; `tcp`, bytes of any kind; `tls-passthrough`, TLS that the servers end, "
            "routed by the name (SNI) and the protocols (ALPN) asked for; `udp`, datagrams; `nat`, TCP or UDP that the "
            "kernel forwards."
        ),
    ] = "http"
    tls: Annotated[ListenerTls | None, Doc("TLS to the clients, ended here; absent for none.")] = None
    accept_proxy: Annotated[
        AcceptProxy | None,
        Doc("The PROXY protocol headers of proxies in front, from whom they are taken; absent where nobody sends any."),
    ] = None
    to: Annotated[
        str,
        Doc(
            "The upstream that gets what no route matches; empty, with routes, answers the rest with 404 (mode "
            "tls-passthrough: with a TLS alert)."
        ),
    ] = ""
    route: Annotated[
        tuple[RouteSpec, ...],
        Doc("What goes elsewhere than `to`, for the modes http and tls-passthrough: `[[listener.NAME.route]]`."),
    ] = ()
    max_connections: Annotated[
        CountOrZero,
        Doc(
            "Client connections at one time; more are closed at once. In mode udp sessions, and what would begin "
            "another is dropped. 0 for no limit."
        ),
    ] = 10000
    guard: Annotated[
        GuardPolicy | None, Doc("Which clients are let in, how many of one source, and for how long; absent for all.")
    ] = None
    udp: Annotated[UdpPolicy, Doc("How sessions work, for mode udp.")] = field(default_factory=UdpPolicy)
    timeouts: Annotated[ClientTimeouts, Doc("How long its clients are waited for.")] = field(
        default_factory=ClientTimeouts
    )
    nat: Annotated[NatSettings, Doc("How the kernel forwards, for mode nat.")] = field(default_factory=NatSettings)
    limits: Annotated[HttpLimits, Doc("What a request may weigh, for mode http.")] = field(default_factory=HttpLimits)
    forwarded: Annotated[
        ForwardedPolicy, Doc("What servers are told about the client, and whom we believe about it, for mode http.")
    ] = field(default_factory=ForwardedPolicy)
    max_client_hello: Annotated[
        Size,
        Doc("Bytes a ClientHello may have, record headers included, for mode tls-passthrough; above it is refused."),
    ] = CLIENT_HELLO
    buffer: Annotated[Size, Doc("Bytes held per connection and direction before the sender is paused.")] = 262144
    splice: Annotated[
        SizeOrZero,
        Doc(
            "Bytes after which a direction of a tunnel or the rest of a request's body, or that are still to come of a "
            "response, are moved by the kernel where both ends are plain sockets (Linux); 0 for never."
        ),
    ] = 262144

    @property
    def upstreams(self) -> frozenset[str]:
        """The names of the upstreams it sends to."""
        named = {name for route in self.route for name in route.upstreams}
        return frozenset(named | {self.to} if self.to else named)


SPLICES = 256
"""256 pipes of the default buffer, 256 KiB, are the 64 MiB of pipes that Linux lets one user have
(``fs.pipe-user-pages-soft``); their 1024 descriptors leave the rest of the usual limits to connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything a balancer serves."""

    __pydantic_config__ = {"extra": "forbid"}

    upstream: Annotated[Mapping[Name, UpstreamConfig], Doc("The upstreams by name.")] = field(default_factory=dict)
    listener: Annotated[Mapping[Name, ListenerConfig], Doc("The listeners by name.")] = field(default_factory=dict)
    cache: Annotated[
        Mapping[Name, CachePolicy], Doc("The caches by name; upstreams and routes say which of them they use.")
    ] = field(default_factory=dict)
    store: Annotated[
        Mapping[Name, Annotated[StoreConfig, WrapValidator(chosen.store), Written('a table with "type"')]],
        Doc("The stores by name; caches say which of them they use."),
    ] = field(default_factory=dict)
    access_log: Annotated[
        AccessLogSettings | None, Doc("A line for each exchange and each TCP connection; absent writes none.")
    ] = None
    resolve: Annotated[ResolvePolicy, Doc("How the host names of servers are resolved.")] = field(
        default_factory=ResolvePolicy
    )
    drain: Annotated[SecondsOrZero, Doc("Seconds a shutdown waits for what is in flight; 0 for none.")] = 30.0
    nat: Annotated[NatPolicy, Doc("The table of the kernel's firewall that listeners of mode nat share.")] = field(
        default_factory=NatPolicy
    )
    splices: Annotated[
        CountOrZero, Doc("Directions moved by the kernel at one time, each with a pipe and four descriptors.")
    ] = SPLICES
