"""One request on a route with a cache, where it is not answered at the door (:mod:`balancer.http.hits`).

It looks into the store, waits for what is being fetched or has it fetched, and sends its client what comes of it. What
HTTP allows is decided in :mod:`balancer.cache`, and the origin is asked by :mod:`balancer.http.fetch`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.cache import status as cache_status
from balancer.cache.asked import Asked
from balancer.cache.reuse import HIT, MISS, REFUSED, STALE, Decision, decide
from balancer.cache.stored import Stored
from balancer.core.forwarded import Peer
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.answering import Answering
from balancer.http.answers import failed
from balancer.http.arriving import Arriving
from balancer.http.bulk import Sink
from balancer.http.delivery import PATIENCE
from balancer.http.exchange import Exchange
from balancer.http.fetch import Fetch
from balancer.http.front import Front
from balancer.http.gathering import Gathering
from balancer.http.past import pass_by
from balancer.http.plans import Plan
from balancer.http.purging import purge
from balancer.http.settings import HttpSettings
from balancer.http1.heads import LENGTH, NO_BODY, Fields, Framing, RequestHead

if TYPE_CHECKING:
    from balancer.http.cache import Cache

log = Logger()

QUESTION = 65536
"""Bytes of the largest content of a QUERY that is a part of its key; a larger one goes past the cache."""


class CachedExchange(Answering):
    """See the module. It is driven by its front, until its exchange is, where the request goes past the cache.

    :ivar content: of a QUERY.
    :ivar scheme: by which the client asked.
    :ivar key: what it finds in the store; ``found``: what it found there; ``serial``: the store's before it looked.
    """

    __slots__ = ("_collected", "_looking", "content", "found", "key", "peer", "plan", "port", "scheme", "serial")

    def __init__(
        self,
        settings: HttpSettings,
        front: Front,
        head: RequestHead,
        peer: Peer,
        record: ExchangeRecord,
        begun: float,
        plan: Plan,
        cache: "Cache",
        asked: Asked,
        key: bytes,
        scheme: bytes,
    ) -> None:
        super().__init__(settings, front, head, record, begun, cache, asked)
        self.peer = peer
        self.port = record.client_port
        self.plan = plan
        self.key = key
        self.scheme = scheme
        self.content = b""
        self.found: Sequence[Stored] = ()
        self._collected: bytearray | None = None
        self._looking = False
        self.serial: int = cache.store.serial

    # -- what is asked ------------------------------------------------------------------------------------------------

    def start(self, now: float, complete: bool, body: bytes, found: object = None) -> None:
        """Answer, now or later.

        :param found: what was found for it, where that was looked for.
        """
        head, policy = self.head, self.cache.policy
        if head.method == b"PURGE" and policy.purge is not None:
            purge(self, policy.purge)
        elif self.asked.only_if_cached and self.asked.bypass:
            self._refuse()
        elif not self.asked.cacheable:
            self._pass_by(now, complete, body, self.asked.bypass or "method")
        elif head.method == b"QUERY":
            self._ask_with(complete, body, now)
        elif not complete or body:
            self._pass_by(now, complete, body, "a body")
        elif head.upgrade is not None:
            self._pass_by(now, complete, body, "an upgrade")
        else:
            self._look(self.cache.store.get(self.key) if found is None else found)

    def _ask_with(self, complete: bool, body: bytes, now: float) -> None:
        """A QUERY: its content is a part of its key."""
        if complete:
            self.content = body
            self.key = self.cache.keys(self.scheme).key(self.head, body) + self.peer.told(self.head)
            self._look(self.cache.store.get(self.key))
        else:
            self._collected = bytearray(body)
            if self.head.expect_continue and self.front.speaks_interim:
                self.front.send_interim(100, b"Continue", [])  # it is we who read it

    def request_body(self, data: bytes) -> None:
        """A part of a QUERY's content."""
        collected = self._collected
        if collected is None:
            return
        collected += data
        if len(collected) > QUESTION:
            self._collected = None
            self._pass_by(self.settings.timers.seconds(), False, bytes(collected), "a large content")

    def request_end(self, trailers: Fields) -> None:
        """It is complete."""
        collected, self._collected = self._collected, None
        if collected is not None:
            content = bytes(collected)
            self.record.bytes_in = len(content)
            self._ask_with(True, content, self.settings.timers.seconds())

    def request_moved(self, size: int) -> None:
        """Never told: what is collected is read here."""

    def request_refused(self, refusal: RequestRefused) -> None:
        """A QUERY's content broke its framing, is too large or stopped arriving."""
        exchange = Exchange(self.settings, self.front, self.head, self.peer, self.record, self.begun, False)
        self.front.drive(exchange)
        exchange.request_refused(refusal)

    def _pass_by(self, now: float, complete: bool, body: bytes, why: str) -> None:
        self._done = True
        pass_by(self, now, complete, body, why)

    # -- what is stored -----------------------------------------------------------------------------------------------

    def _look(self, found: object) -> None:
        """Ask the store; it may take its time."""
        if isinstance(found, Deferred):
            timer = self.front.timer
            timer.callback = self._looked_too_long
            timer.rearm(PATIENCE)
            self._looking = True
            found.addCallbacks(self._found_later, self._look_failed)
        else:
            self._decide(cast("Sequence[Stored]", found))

    def _found_later(self, found: Sequence[Stored]) -> None:
        if self._looking and not self._done:
            self._looking = False
            self.front.timer.rest()
            self._decide(found)

    def _look_failed(self, failure: Failure) -> None:
        log.failure("a store of cache '{name}' failed to look something up", failure, name=self.cache.name)
        self._found_later(())

    def _looked_too_long(self) -> None:
        self.record.note(f"the store did not answer within {PATIENCE:g} s")
        self._found_later(())

    def _decide(self, found: Sequence[Stored]) -> None:
        cache = self.cache
        self.found = found
        decision = decide(self.asked, self.head, found, cache.policy, cache.wall(), cache.random.random())
        self.decision = decision
        kind, stored = decision.kind, decision.stored
        if kind is REFUSED:
            self._refuse()
        elif stored is not None and (kind is HIT or kind is STALE):
            word = "hit" if kind is HIT else "stale"
            cache.counters.count(word)
            if decision.background:
                self._validate_behind(decision)
            said = cache_status.hit(cache.policy.name, decision.ttl, decision.detail) if cache.label else b""
            self._deliver(stored, word, said)
        elif not self.asked.may_store:
            self._pass_by(self.settings.timers.seconds(), True, self.content, decision.reason)
        elif kind is MISS and self.head.method == b"HEAD" and decision.fallback is None:
            self._pass_by(self.settings.timers.seconds(), True, b"", decision.reason)
        else:
            self._ask_origin()

    def _validate_behind(self, decision: Decision) -> None:
        """Have the stored response validated, unless that is being done already."""
        cache = self.cache
        if cache.under_way(self.key, self.asked, self.head) is None:
            cache.counters.count("background validation")
            if not Fetch(cache, self, decision, self.found, True, True).start_behind(self.settings.timers.seconds()):
                cache.counters.count("background validation refused by the retry budget")

    def _ask_origin(self) -> None:
        """Wait for what is being fetched already, or have it fetched."""
        cache, decision = self.cache, self.decision
        assert decision is not None
        now = self.settings.timers.seconds()
        if not cache.alone(self.key, self.asked, now):
            fetch = cache.under_way(self.key, self.asked, self.head)
            if fetch is not None:
                self._fetch = fetch
                fetch.join(self)
                return
            self._begin(Fetch(cache, self, decision, self.found, True), now)
        else:
            self._begin(Fetch(cache, self, decision, self.found, False), now)

    def alone(self) -> None:
        """What was waited for is nothing for this request: ask for it alone."""
        decision = self.decision
        assert decision is not None
        if self.cache.store.serial != self.serial:  # it may have been purged since it was found
            self.decision = decision = Decision(MISS, None, decision.reason)
            self.found = ()
        self.record.note("what another request fetched may not be used for this one")
        self._begin(Fetch(self.cache, self, decision, self.found, False), self.settings.timers.seconds())

    def _begin(self, fetch: Fetch, now: float) -> None:
        self._fetch = fetch
        fetch.start(now)

    # -- what a fetch brings ------------------------------------------------------------------------------------------

    def fetched(self, stored: Stored, fetch: Gathering, new: bool) -> None:
        """The fetch for this request brought a response that is whole, or confirmed the stored one."""
        self._adopt(fetch.record)
        word = self._word(stored) if new else "revalidated"
        said = self.forwarded(stored.status if new else 304, True, False)
        self._deliver(_owned(stored, fetch), word, said, aged=fetch.aged)

    def collapsed(self, stored: Stored, answered: int) -> None:
        """The fetch for another request brought a response that this one may have too.

        :param answered: the status of the origin's answer: 304 where it confirmed what is stored.
        """
        self.cache.counters.count("collapsed")
        self._deliver(stored, "collapsed", self.forwarded(answered, True, True))

    def rescued(self, stored: Stored, fetch: Gathering, why: str) -> None:
        """The origin fails: a stale response has to do."""
        self.cache.counters.count("stale: error")
        self._adopt(fetch.record)
        self.record.cache_detail = why
        self._deliver(stored, "error", self.forwarded(fetch.answered, False, False, why))

    def follow(self, fetch: Gathering, stored: Stored, arriving: Arriving, joined: bool) -> None:
        """The response began to arrive."""
        self._fetch = fetch
        if joined:
            self.cache.counters.count("collapsed")
            word = "collapsed"
        else:
            self._adopt(fetch.record)
            word = self._word(stored)
            stored = _owned(stored, fetch)
        why = "" if fetch.keeping else "not kept by the store"
        if why and not joined:
            self.record.cache_detail = why
        self._deliver(stored, word, self.forwarded(stored.status, not why, joined, why), arriving, joined or fetch.aged)

    def through(self, response: tuple[int, bytes, Fields], framing: Framing, last: bool, why: str) -> None:
        """The fetch's response is for this request alone."""
        status, reason, fields = response
        record = self.record
        record.status = status
        record.cache = "miss"
        record.cache_detail = why
        self.count_miss()
        said = self.forwarded(status, not why, False, why)
        if said:
            fields = [*fields, (b"Cache-Status", said)]
        if self.head.method == b"HEAD":  # GET was asked for
            framing = NO_BODY
        self.front.send_head(status, reason, fields, framing, last)
        if self._paused and self._fetch is not None:
            self._fetch.pause()

    def passing(self, data: bytes) -> None:
        """A part of its body."""
        if self.head.method != b"HEAD":
            self.front.send_body(data)

    def passed(self, trailers: Fields) -> None:
        """It is complete."""
        self._done = True
        self.front.finish(trailers)

    def settle(self, record: ExchangeRecord) -> None:
        """The exchange whose response passes through is over: so is this."""
        mine = self.record
        self._adopt(record)
        mine.bytes_out = record.bytes_out
        termination = record.termination or Termination.DONE
        self._log(termination, record.reason)

    def splice_into(self) -> Sink | None:
        """Where what passes through goes."""
        return None if self.head.method == b"HEAD" else self.front.sink()

    def failed(self, status: int, reason: bytes, fields: Fields, body: bytes, record: ExchangeRecord) -> None:
        """No response came, and there is no stale one: say what the exchange says."""
        self._adopt(record)
        self.count_miss()
        mine = self.record
        mine.cache = "miss"
        mine.status = status
        head_only = self.head.method == b"HEAD"
        mine.bytes_out = 0 if head_only else len(body)
        decision = self.decision
        if decision is not None:
            mine.cache_detail = decision.detail or decision.reason
        self._log(record.termination or Termination.INTERNAL, record.reason)
        self._done = True
        said = self.forwarded(0, False, False)
        if said:
            fields = [*fields, (b"Cache-Status", said)]
        framing = NO_BODY if head_only else Framing(LENGTH, len(body))
        self.front.send_head(status, reason, fields, framing, False)
        if body and not head_only:
            self.front.send_body(body)
        self.front.finish([])

    def _adopt(self, record: ExchangeRecord) -> None:
        """What the fetch met on its way is told of this request."""
        mine = self.record
        mine.backend = record.backend
        mine.attempts = record.attempts
        mine.queue = record.queue
        mine.connect = record.connect
        mine.first_byte = record.first_byte
        mine.reused = record.reused
        mine.request_id = record.request_id
        for decision in record.decisions:
            mine.note(decision)

    def _word(self, stored: Stored) -> str:
        decision = self.decision
        self.count_miss()
        return "miss" if decision is None or decision.stored is None else "updated"

    def count_miss(self) -> None:
        decision = self.decision
        self.cache.counters.count(f"miss: {decision.reason}" if decision is not None else "miss")

    def forwarded(self, status: int, stored: bool, collapsed: bool, detail: str = "") -> bytes:
        decision = self.decision
        why = "uri-miss" if decision is None or not decision.reason else decision.reason
        if not self.cache.label:
            return b""
        return cache_status.forwarded(self.cache.policy.name, why, status, stored, collapsed, detail)

    def _lost(self, stored: Stored, reason: str) -> None:
        """The body is not there any more: as if nothing were."""
        self.record.note(f"a stored response is lost: {reason}")
        self.cache.counters.count("lost")
        self.cache.store.drop(self.key, stored)
        decision = self.decision
        if decision is not None:
            self.decision = Decision(MISS, None, decision.reason or "uri-miss")
        self.found = [other for other in self.found if other is not stored]
        lost = self.decision or Decision(MISS, None, "uri-miss")
        self._begin(Fetch(self.cache, self, lost, self.found, False), self._now())

    def _refuse(self) -> None:
        """only-if-cached, and there is nothing (RFC 9111 section 5.2.1.7)."""
        self.cache.counters.count("refused")
        self.record.cache = "miss"
        self.record.cache_detail = "only-if-cached"
        made = failed(Termination.NOT_CACHED, self.settings)
        if self.cache.label:
            made.fields.append((b"Cache-Status", cache_status.local(self.cache.policy.name, "only-if-cached")))
        self.answer_self(made.status, made.reason, made.fields, made.body, Termination.NOT_CACHED)

    # -- the client ---------------------------------------------------------------------------------------------------

    def pause_response(self) -> None:
        """It does not read."""
        self._paused = True
        if self._delivery is not None:
            self._delivery.pause()
        elif self._fetch is not None:
            self._fetch.pause()

    def resume_response(self) -> None:
        """It reads again."""
        self._paused = False
        if self._delivery is not None:
            self._delivery.resume()
        elif self._fetch is not None:
            self._fetch.resume()

    def client_left(self, termination: Termination, reason: str) -> None:
        """It is gone; whom else the fetch serves goes on being served."""
        if self._done:
            return
        self._done = True
        delivery, self._delivery = self._delivery, None
        fetch, self._fetch = self._fetch, None
        if delivery is not None:
            delivery.stop()
        if fetch is not None:
            fetch.left(self, termination, reason)
            if delivery is None:
                self._adopt(fetch.record)
                self.record.bytes_out = fetch.record.bytes_out
        self._log(termination, reason)


def _owned(stored: Stored, fetch: Gathering) -> Stored:
    """With the lines that are for who asked, whatever is stored."""
    if not fetch.own:
        return stored
    own = stored.with_body(stored.body)
    own.lines += fetch.own
    return own
