"""Requests that go past a cache: their exchange serves the client as if there were none, but what their responses mean
for what is stored is not overlooked (RFC 9111 sections 4.3.5 and 4.4).

It never answers anything itself.
"""

from functools import partial
from typing import TYPE_CHECKING

from balancer.cache import status as cache_status
from balancer.cache.invalidation import invalidated
from balancer.cache.messages import PlainResponse
from balancer.cache.validation import freshened_by_head
from balancer.http.exchange import Exchange
from balancer.http.observed import Observed
from balancer.http1.heads import Fields

if TYPE_CHECKING:
    from balancer.http.cached import CachedExchange


def pass_by(cached: "CachedExchange", now: float, complete: bool, body: bytes, why: str) -> None:
    """Serve it as if there were no cache.

    :param why: in a word or a few, for the log and Cache-Status.
    :param body: what came of the body; all of it, where the request is ``complete``.
    """
    record, settings = cached.record, cached.settings
    if cached.decision is None:
        record.cache = "bypass"
        record.cache_detail = why
        cached.cache.counters.count("bypass")
    else:
        record.cache = "miss"
        cached.count_miss()
    observed = Observed(cached.front, partial(_seen, cached, why, cached.cache.wall()))
    exchange = Exchange(
        settings, observed, cached.head, cached.peer, record, cached.begun, complete, body if complete else b""
    )
    observed.exchange = exchange
    cached.front.drive(exchange)
    exchange.start(now, cached.plan)
    if body and not complete:
        exchange.request_body(body)


def _seen(cached: "CachedExchange", why: str, asked_at: float, status: int, reason: bytes, fields: Fields) -> bytes:
    """The response's head came; what Cache-Status says of it."""
    cache, head = cached.cache, cached.head
    scheme = cached.scheme
    keys = cache.keys(scheme)
    cache.invalidate([keys.normal(uri) for uri in invalidated(head, status, fields, scheme)])
    if cached.decision is not None:
        if head.method == b"HEAD":
            _freshen(cached, PlainResponse(status, fields, reason), asked_at)
        return cached.forwarded(status, False, False, "" if cached.asked.may_store else "no-store of the request")
    if not cache.label:
        return b""
    if why == "method":
        return cache_status.forwarded(cache.policy.name, why, status)
    return cache_status.forwarded(cache.policy.name, "bypass", status, detail=why)


def _freshen(cached: "CachedExchange", response: PlainResponse, asked_at: float) -> None:
    """What the answer to HEAD says of what is stored for GET."""
    cache = cached.cache
    now = cache.wall()
    old, new = freshened_by_head(
        cached.asked, cached.head, cached.found, response, response.fields, cache.policy,
        asked_at=asked_at, now=now, serial=cached.serial,
    )  # fmt: skip
    if old is not None and new is None:
        cache.store.drop(cached.key, old)
    elif new is not None:
        cache.store.put(cached.key, new)
