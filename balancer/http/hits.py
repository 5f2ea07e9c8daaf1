"""The door of a route with a cache: a fresh response in memory is sent at once, with one lookup and one write.

Requests without a cache go on to an ordinary exchange, and everything that is not answered here becomes a
:class:`~balancer.http.cached.CachedExchange`. It never asks an origin and never stores anything.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from balancer.cache.asked import Asked
from balancer.cache.stored import ALWAYS_VALIDATE, SOFT_PURGED, UNSIZED, Stored
from balancer.core.forwarded import Peer
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.cached import CachedExchange
from balancer.http.delivery import PIECE
from balancer.http.exchange import Exchange
from balancer.http.front import Front
from balancer.http.plans import plan_of
from balancer.http.settings import HttpSettings
from balancer.http1.heads import LENGTH, Framing, RequestHead

if TYPE_CHECKING:
    from balancer.http.cache import Cache

EARLY = 0.1
"""The last part of a lifetime, in which a hit is looked at more closely: it may be validated before it is stale."""


def begin(
    settings: HttpSettings,
    front: Front,
    head: RequestHead,
    peer: Peer,
    record: ExchangeRecord,
    begun: float,
    complete: bool,
    body: bytes,
    now: float,
) -> None:
    """Serve one request; see :class:`~balancer.http.fallible.Fallible` for what it is given."""
    plan = None
    with suppress(RequestRefused):  # the exchange meets it again, and answers
        plan = plan_of(head, settings)
    cache = None if plan is None else plan.cache
    if plan is None or cache is None:
        exchange = Exchange(settings, front, head, peer, record, begun, complete, body)
        front.drive(exchange)
        exchange.start(now, plan)
        return
    asked = plan.asked or plan.ask(head, cache, peer.scheme)
    record.route = plan.route
    record.upstream = plan.upstream
    key, scheme = plan.key, peer.scheme
    if peer.trusted:
        record.client = peer.client(head)
        scheme = peer.scheme_of(head)
        key = (key if scheme == peer.scheme else cache.keys(scheme).key(head)) + peer.told(head)
    if asked.plain and complete and not body and head.upgrade is None:
        found = cache.store.get(key)
        if not isinstance(found, Deferred) and _hit(cache, front, head, asked, found, record, begun, now):
            return
    else:
        found = None
    cached = CachedExchange(settings, front, head, peer, record, begun, plan, cache, asked, key, scheme)
    front.drive(cached)
    cached.start(now, complete, body, found)


def _hit(
    cache: "Cache",
    front: Front,
    head: RequestHead,
    asked: Asked,
    found: Sequence[Stored],
    record: ExchangeRecord,
    begun: float,
    now: float,
) -> bool:
    """Answer a plain request with a stored response that is fresh beyond doubt and in memory; whether there is one."""
    stored = None
    for variant in found:
        if asked.fits(variant.nominated, head):
            if stored is not None:
                return False  # which of several, is not decided here
            stored = variant
    if stored is None:
        return False
    body = stored.body
    resident = cache.wall() - stored.arrived
    age = stored.age + resident
    lifetime = stored.lifetime
    left = lifetime - age
    if (
        resident < 0
        or left <= lifetime * EARLY
        or stored.flags & (ALWAYS_VALIDATE | SOFT_PURGED | UNSIZED)
        or stored.parts is not None
        or not isinstance(body, bytes)
        or len(body) > PIECE
    ):
        return False
    size = len(body)
    cache.counters.hit(size)
    status = stored.status
    record.status = status
    record.bytes_out = size
    record.cache = "hit"
    name = cache.label
    lines = stored.lines
    if name:
        lines = b"%bAge: %d\r\nCache-Status: %b; hit; ttl=%d\r\n" % (lines, age, name, left)
    else:
        lines = b"%bAge: %d\r\n" % (lines, age)
    front.send_lines(status, stored.reason, lines, Framing(LENGTH, size), body)
    record.end(Termination.DONE, now - begun)
    front.ended(record)
    front.finish([])
    return True
