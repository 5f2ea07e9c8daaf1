"""The cache as a library: everything RFC 9111 asks of a shared cache, around an origin that the caller asks.

    cache = HttpCache(CachePolicy(), store)
    asking = cache.ask(PlainRequest(b"GET", b"example.org", b"/"), clock())
    reply = cache.answer(asking, clock())                     # what is stored, where that will do
    while reply is None:
        response, body = get(asking.fields)                   # yours: ask the origin with these fields
        reply = cache.received(asking, response, body, clock())
    print(reply.status, reply.fields, reply.body)

Where the origin cannot be asked, ``cache.failed(asking, clock())`` is what may be sent all the same. Bodies are whole
and in memory. It never does I/O, never waits, and never collapses requests (the balancer's own exchange does).
"""

from collections.abc import Sequence
from email.utils import formatdate
from typing import Final, Literal

from balancer.cache import partial, status
from balancer.cache.answers import Answer, answer
from balancer.cache.asked import Asked
from balancer.cache.asking import Asking, Reply, content
from balancer.cache.invalidation import invalidated
from balancer.cache.keys import KeyMaker
from balancer.cache.messages import Request, Response
from balancer.cache.policy import CachePolicy
from balancer.cache.purges import Purge
from balancer.cache.reuse import HIT, REFUSED, STALE, current_age, decide, usable_on_error
from balancer.cache.stored import Fields, Stored
from balancer.cache.storing import Judgement, judge
from balancer.cache.validation import freshened, freshened_by_head, identified
from balancer.core.headers import response_fields
from balancer.http1.serialize import field_lines
from balancer.interfaces import ICacheStore

ERRORS: Final = frozenset({500, 502, 503, 504})
"""Statuses that say of an origin that it fails (RFC 5861 section 4)."""

_REPLACED: Final = frozenset({200, 203, 204, *range(300, 304), 307, 308, 404, 410})
"""Statuses of what the origin has in the place of what is stored; others are about one request or one moment."""


class HttpCache:
    """See the module.

    :param store: keeps the responses; one that answers at once, as the one in memory does.
    :param scheme: that of the requests' URIs.
    :param name: tells this cache's responses from those of others in the same store.
    :param secret: what the boundaries of multipart answers are made from (:func:`balancer.cache.answers.answer`).
    """

    def __init__(
        self,
        policy: CachePolicy,
        store: ICacheStore,
        scheme: bytes = b"http",
        name: str = "default",
        secret: bytes = b"",
    ) -> None:
        self.policy = policy
        self._store = store
        self._scheme = scheme
        self._keys = KeyMaker(policy.key, name.encode("utf-8"), scheme)
        self._secret = secret

    def ask(self, request: Request, now: float, chance: float = 0.0, content: bytes = b"") -> Asking:
        """What is done about a request.

        :param now: wall-clock seconds.
        :param chance: evenly distributed over [0, 1): spreads validations in the background; 0 has none early.
        :param content: that of a QUERY.
        """
        asked = Asked(request, self.policy)
        key = self._keys.key(request, content)
        variants = self._store.get(key) if asked.cacheable else ()
        if not isinstance(variants, Sequence):
            raise TypeError(f"{self._store!r} does not answer at once")
        decision = decide(asked, request, variants, self.policy, now, chance)
        return Asking(request, asked, key, variants, decision, now, self._store.serial)

    def answer(self, asking: Asking, now: float) -> Reply | None:
        """What is sent without asking the origin; ``None`` where that has to be asked."""
        decision = asking.decision
        if decision.kind is REFUSED:
            return self._made(504, decision.detail)
        stored = decision.stored
        if stored is None or decision.kind not in (HIT, STALE):
            return None
        return self._reply(asking, stored, now, status.hit(self.policy.name, decision.ttl, decision.detail))

    def received(self, asking: Asking, response: Response, body: bytes, now: float) -> Reply | None:
        """What is sent after the origin answered; ``None``: ask it again, with ``asking.fields`` as they are now.

        :param body: all of the content; a response that did not come whole is for :meth:`failed`.
        :raises ValueError: a field holds CR, LF or NUL.
        """
        fields = self._end_to_end(asking, response, body, now)
        for uri in invalidated(asking.request, response.status, response.fields, self._scheme):
            self._store.remove(self._keys.normal(uri), False)
        if asking.validates and response.status == 304:
            return self._validated(asking, response, fields, now)
        if response.status in ERRORS:
            covering = self.failed(asking, now, response.status)
            if covering is not None:
                return covering
        if asking.request.method == b"HEAD":
            self._learn(asking, response, fields, now)
            return self._passed(asking, response, fields, body, now, Judgement(None, "HEAD"))
        judgement = self._stored(asking, response, fields, body, now)
        old = asking.decision.stored
        if old is not None and judgement.stored is None and response.status in _REPLACED:
            self._store.drop(asking.key, old)  # it is not what the origin has, and nothing came into its place
        return self._passed(asking, response, fields, body, now, judgement)

    def failed(self, asking: Asking, now: float, told: int = 0) -> Reply | None:
        """What is sent where the origin cannot be asked, or answered with the status ``told``; ``None`` for nothing.

        Then a client that was to get what is stored validated gets 504 (RFC 9111 section 5.2.2.2), others 502.
        """
        stored = asking.decision.fallback
        if stored is None or not usable_on_error(asking.asked, stored, now):
            return None
        why = asking.decision.reason
        return self._reply(
            asking, stored, now, status.forwarded(self.policy.name, why, told, detail="the origin failed")
        )

    def purge(
        self, kind: Literal["url", "prefix", "host", "tag", "all"], what: bytes = b"", soft: bool = False
    ) -> None:
        """Nothing this meets is sent any more; with ``soft`` it counts as stale."""
        what = self._keys.normal(what) if kind == "url" else what
        self._store.purge(Purge(kind=kind, what=what, soft=soft))

    def _validated(self, asking: Asking, response: Response, fields: Fields, now: float) -> Reply | None:
        fresh = freshened(
            asking.asked, asking.request, asking.variants, response, fields, self.policy, asked_at=asking.at, now=now,
            serial=asking.serial,
        )  # fmt: skip
        about = identified(asking.request, asking.variants, response, now)
        # What was not updated is not as the origin has it; where the 304 is about nothing, what was asked about is not.
        if fresh is None and not about and asking.decision.stored is not None:
            about = [asking.decision.stored]
        for doubted in about if fresh is None else about[1:]:
            self._store.drop(asking.key, doubted)
        if fresh is None or not partial.covers(fresh, asking.request):
            asking.anew(now)
            return None
        if asking.asked.may_store:
            self._store.put(asking.key, fresh)
        ttl = int(fresh.lifetime - fresh.age)
        told = status.forwarded(self.policy.name, asking.decision.reason, 304, asking.asked.may_store, ttl=ttl)
        reply = self._reply(asking, fresh, now, told)
        reply.stored = fresh
        return reply

    def _learn(self, asking: Asking, response: Response, fields: Fields, now: float) -> None:
        """What the answer to HEAD says of what is stored for GET (RFC 9111 section 4.3.5)."""
        old, new = freshened_by_head(
            asking.asked, asking.request, asking.variants, response, fields, self.policy, asked_at=asking.at, now=now,
            serial=asking.serial,
        )  # fmt: skip
        if old is not None and new is not None:
            self._store.put(asking.key, new)
        elif old is not None:
            self._store.drop(asking.key, old)

    def _stored(self, asking: Asking, response: Response, fields: Fields, body: bytes, now: float) -> Judgement:
        judgement = judge(
            asking.asked, asking.request, response, fields, self.policy, asked_at=asking.at, now=now,
            serial=asking.serial,
        )  # fmt: skip
        new = judgement.stored
        if new is None:
            return judgement
        if len(body) > self.policy.max_object:
            return Judgement(None, "too large")
        if new.parts is not None and not partial.complete(new, body):
            return Judgement(None, "incomplete")
        new = new.with_body(body)
        for old in asking.variants if new.parts is not None else ():
            both = partial.combined(old, content(old), new, body) if old.parts is not None else None
            if both is not None:
                new = both[0].with_body(both[1])
                break
        self._store.put(asking.key, new)
        others = [old for old in asking.variants if old.nominated != new.nominated]
        for old in others[self.policy.max_variants - 1 :]:
            self._store.drop(asking.key, old)
        return Judgement(new)

    def _passed(
        self, asking: Asking, response: Response, fields: Fields, body: bytes, now: float, judgement: Judgement
    ) -> Reply:
        """The origin's response as it goes on: with all of its fields, and to the client's conditions."""
        whole = Stored(response.status, response.reason, field_lines(fields), now, 0.0, 0.0, body=body)
        if response.status == 200 and asking.asked.cacheable and asking.request.method != b"HEAD":
            given = answer(asking.asked, asking.request, whole, self._secret)
        else:
            given = Answer(response.status, response.reason, whole.lines, [(0, len(body))] if body else [], len(body))
        told = status.forwarded(
            self.policy.name,
            asking.decision.reason or "stale",
            response.status if response.status != given.status else 0,
            judgement.stored is not None,
            detail=judgement.reason,
            ttl=None if judgement.stored is None else int(judgement.stored.lifetime - judgement.stored.age),
        )
        return self._written(given, body, [(b"Cache-Status", told)], judgement)

    def _reply(self, asking: Asking, stored: Stored, now: float, told: bytes) -> Reply:
        """A stored response as it is sent."""
        added = [(b"Age", b"%d" % current_age(stored, now)), (b"Cache-Status", told)]
        given = answer(asking.asked, asking.request, stored, self._secret)
        return self._written(given, content(stored) if given.pieces else b"", added, Judgement(None))

    def _written(self, given: Answer, body: bytes, added: Fields, judgement: Judgement) -> Reply:
        sent = b"".join([piece if isinstance(piece, bytes) else body[piece[0] : piece[1]] for piece in given.pieces])
        head = Stored(given.status, given.reason, given.lines, 0.0, 0.0, 0.0)
        fields = head.fields() + [field for field in added if field[0] != b"Cache-Status" or self.policy.name]
        return Reply(given.status, fields, sent, judgement.stored, judgement.reason)

    def _made(self, code: int, detail: str) -> Reply:
        told = status.local(self.policy.name, detail)
        return self._written(
            Answer(code, b"", b"Content-Length: 0\r\n", [], 0), b"", [(b"Cache-Status", told)], Judgement(None)
        )

    def _end_to_end(self, asking: Asking, response: Response, body: bytes, now: float) -> Fields:
        """The response's fields as they go on: of this hop none, a Date, and the length the content has."""
        field_lines(response.fields)  # refuses what would write lines of its own
        tokens = b",".join(response.get_all(b"connection")).lower().split(b",")
        fields = response_fields(response.fields, frozenset([token.strip(b" \t") for token in tokens]))
        if response.get(b"date") is None:
            fields.append((b"Date", formatdate(now, usegmt=True).encode("ascii")))
        if asking.request.method != b"HEAD" and response.status not in (204, 304):
            fields = [field for field in fields if field[0].lower() != b"content-length"]
            fields.append((b"Content-Length", b"%d" % len(body)))
        return fields
