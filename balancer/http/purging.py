"""PURGE: what an operator, or an application that published something, wants out of the cache, by HTTP.

``PURGE /path`` purges that URL of its Host; ``Cache-Purge: prefix``, ``host`` or ``all`` purges more, ``soft`` makes
stale instead of removing; ``Cache-Tag`` or ``Surrogate-Key`` purge by tags. Only those who are let in may: by their
address and by a token. It never forwards such a request.
"""

import hmac
import json
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.cache.policy import PurgePolicy
from balancer.core.termination import Termination
from balancer.http1.heads import Fields
from balancer.http1.serialize import reason as phrase

if TYPE_CHECKING:
    from balancer.http.cached import CachedExchange

log = Logger()

WIDER = frozenset({b"prefix", b"host", b"all"})
DETAIL = 256
"""Bytes of what was purged that are logged."""

TAGS = 1000
"""Tags of one request at most."""


def purge(exchange: "CachedExchange", policy: PurgePolicy) -> None:
    """Check who asks, and do it."""
    head, cache = exchange.head, exchange.cache
    exchange.record.cache = "purge"
    if not _from_there(exchange.record.client, policy):
        _answer(exchange, 403, {"error": "this address may not purge"})
        return
    scheme, _, token = (head.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), policy.token.encode("utf-8")):
        _answer(exchange, 401, {"error": "a token is needed"}, [(b"WWW-Authenticate", b"Bearer")])
        return
    words = {word.strip().lower() for value in head.get_all(b"cache-purge") for word in value.split(b",")} - {b""}
    wider = words & WIDER
    tags = _tags(exchange)
    if words - WIDER - {b"soft"} or len(wider) > 1 or (tags and wider) or len(tags) > TAGS:
        allowed = f"one of prefix, host, all in Cache-Purge, or up to {TAGS} tags, and soft with any of them"
        _answer(exchange, 400, {"error": "this is no purge", "allowed": allowed})
        return
    soft = b"soft" in words
    told = b"tags " + b", ".join(tags) if tags else b"".join(wider) or b"url"
    exchange.record.cache_detail = (told[:DETAIL].decode("latin-1") + ", soft" * soft).strip()
    if tags:
        cache.purge_tags(*tags, soft=soft)
    elif b"all" in wider:
        cache.purge_all(soft=soft)
    elif b"host" in wider:
        cache.purge_host(_host(exchange), soft=soft)
    elif b"prefix" in wider:
        cache.purge_prefix(_uri(exchange), soft=soft)
    else:
        _answer_count(exchange, cache.purge_url(_uri(exchange), soft))
        return
    _answer(exchange, 200, {"purged": None})


def _from_there(client: str, policy: PurgePolicy) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False  # a UNIX socket has no address
    return any(address in ip_network(source, strict=False) for source in policy.sources)


def _tags(exchange: "CachedExchange") -> list[bytes]:
    head = exchange.head
    listed = [tag for value in head.get_all(b"cache-tag") for tag in value.split(b",")]
    listed += [tag for value in head.get_all(b"surrogate-key") for tag in value.split()]
    return [tag.strip() for tag in listed if tag.strip()]


def _uri(exchange: "CachedExchange") -> bytes:
    return exchange.cache.keys(exchange.scheme).uri(exchange.head)


def _host(exchange: "CachedExchange") -> bytes:
    return _uri(exchange).partition(b"://")[2].partition(b"/")[0]


def _answer_count(exchange: "CachedExchange", count: "int | Deferred[int]") -> None:
    if isinstance(count, Deferred):
        count.addCallbacks(lambda number: _answer_later(exchange, number), lambda failure: _failed(exchange, failure))
    else:
        _answer(exchange, 200, {"purged": count})


def _failed(exchange: "CachedExchange", failure: Failure) -> None:
    log.failure("cache '{name}' cannot be purged", failure, name=exchange.cache.name)
    if not exchange.over:
        _answer(exchange, 500, {"error": "the store failed; the log has why"})


def _answer_later(exchange: "CachedExchange", number: int) -> None:
    if not exchange.over:
        _answer(exchange, 200, {"purged": number})


def _answer(exchange: "CachedExchange", status: int, said: dict[str, object], more: Fields | None = None) -> None:
    body = json.dumps(said).encode("ascii") + b"\n"
    fields: Fields = [
        (b"Date", exchange.settings.date()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        *(more or []),
    ]
    exchange.answer_self(status, phrase(status), fields, body, Termination.DONE)
