"""What one HTTP listener (or mounted resource) works with: frozen, built once per configuration.

An exchange uses the settings it began with; a new configuration is a new object, given to the factory. This module
never reads a file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from balancer.core.forwarded import Forwarding
from balancer.core.record import ExchangeRecord
from balancer.core.routing import RouteTable
from balancer.core.timeouts import ClientTimeouts
from balancer.errors import UnknownName
from balancer.http.answers import DateField
from balancer.http.upstreams import HttpUpstream
from balancer.http1.limits import HttpLimits
from balancer.http1.memo import RequestMemo
from balancer.net.sendfile import FileSender
from balancer.net.splice import Splicer
from balancer.net.timers import TimerWheel

if TYPE_CHECKING:
    from balancer.http.cache import Cache

RETRY_AFTER = 5
"""Seconds a client is told to wait after a 503: one interval of the default health check, so a verdict may have
changed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HttpSettings:
    """How requests are received and where they go.

    :ivar name: the listener's, for the log.
    :ivar routes: tried first.
    :ivar default: name of the upstream that gets what no route matches; empty answers 404.
    :ivar upstreams: by name; every route's are in it.
    :ivar forwarding: what backends are told about clients.
    :ivar timers: the wheel, whose ``seconds`` is the clock of every duration.
    :ivar wall: seconds since the epoch, for Date and the log.
    :ivar random: draws among weighted upstreams.
    :ivar log: takes each exchange's record, once, when it has ended.
    :ivar limits: of requests.
    :ivar timeouts: of clients.
    :ivar buffer: bytes held per connection and direction before the sender is paused.
    :ivar splice: bytes after which a request's body or a direction of a tunnel is spliced, or that are still to come of
        a response, 0 for never.
    :ivar splicer: who splices; ``None`` for nobody.
    :ivar sender: who sends stored bodies from files, from ``splice`` bytes on; ``None`` for nobody.
    :ivar scheme: ``b"https"`` for a listener with TLS.
    :ivar retry_after: seconds, sent with 503.
    :ivar caches: by name, all that routes and upstreams name; empty where none does.
    :ivar upstream_caches: the names of the upstreams' caches; a route may say otherwise.
    :ivar memo: heads that passed the limits.
    :raises UnknownName: a route, or ``default``, names an upstream that is not there.
    """

    name: str
    routes: RouteTable
    upstreams: Mapping[str, HttpUpstream]
    forwarding: Forwarding
    timers: TimerWheel
    wall: Callable[[], float]
    random: Random
    log: Callable[[ExchangeRecord], None]
    default: str = ""
    limits: HttpLimits = HttpLimits()
    timeouts: ClientTimeouts = ClientTimeouts()
    buffer: int = 262144
    splice: int = 262144
    splicer: Splicer | None = None
    sender: FileSender | None = None
    scheme: bytes = b"http"
    retry_after: int = RETRY_AFTER
    caches: Mapping[str, "Cache"] = field(default_factory=dict)
    upstream_caches: Mapping[str, str] = field(default_factory=dict)
    date: DateField = field(init=False)
    memo: RequestMemo = field(init=False, default_factory=RequestMemo, repr=False)

    def __post_init__(self) -> None:
        wanted = {name for route in self.routes.routes for name in route.spec.upstreams}
        wanted |= {self.default} if self.default else set()
        for name in sorted(wanted - set(self.upstreams)):
            names = ", ".join(sorted(self.upstreams)) or "none"
            raise UnknownName(f"listener {self.name!r}: no upstream is named {name!r}; there are: {names}")
        object.__setattr__(self, "date", DateField(self.wall))
