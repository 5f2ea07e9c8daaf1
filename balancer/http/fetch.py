"""The origin is asked on behalf of a cache: once, for everybody who waits for the same thing.

A fetch is the :class:`~balancer.http.front.Front` of an ordinary exchange, so it has its leases, retries and timeouts.
What comes is stored, if it may be, and goes to everyone who waits while it arrives; what may not be reused goes to the
one who asked first, and the others are let go, all at once, to ask for themselves. Where the origin fails, those who
may get a stale response get it. It never decides what HTTP allows (:mod:`balancer.cache` does), and never sends
anything to a client itself (:mod:`balancer.http.cached` does).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import ITransport

from balancer.cache.asked import Asked
from balancer.cache.messages import PlainResponse
from balancer.cache.partial import combined
from balancer.cache.reuse import HIT, MISS, STALE, Decision, decide, usable_on_error
from balancer.cache.stored import UNSIZED, BodyReader, Stored
from balancer.cache.storing import Judgement, judge
from balancer.cache.validation import fetching, freshened, validating
from balancer.cache.vary import nominate
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import StoreError
from balancer.http.arriving import Arriving
from balancer.http.bulk import Sink
from balancer.http.exchange import Exchange
from balancer.http.front import Driven
from balancer.http.messages import new_record
from balancer.http.plans import Reply
from balancer.http1.framing import request_fields
from balancer.http1.heads import CHUNKED, Fields, Framing, RequestHead
from balancer.net.timers import Timer, nothing

if TYPE_CHECKING:
    from balancer.http.cache import Cache
    from balancer.http.cached import CachedExchange

ERRORS = frozenset({500, 502, 503, 504})
"""Statuses in place of which a stale response may be sent (RFC 5861 section 4)."""

PART = 8 * 2**20
"""Bytes of the largest partial response that is kept to be combined with others: segments of videos have less."""

STARTED, SPREADING, THROUGH, FRESH, AGAIN, IGNORED, OURS, OVER = range(8)
"""Where it stands: no final head came; the response is stored, or goes to several; it goes to the one who asked; it
was a 304 to what is stored; a 304 to nothing; nobody wants it; it is the balancer's own answer to a failure; over."""
_NAMES = ("started", "spreading", "through", "fresh", "again", "ignored", "ours", "over")


class Fetch:
    """See the module.

    :param leader: who asked; in the background whose request is repeated.
    :param decision: why the origin is asked, and what is validated or may be sent if it fails.
    :param found: what is stored under the key.
    :param shared: others may join it.
    :param background: nobody waits for it.
    :ivar key: what it is for.
    """

    __slots__ = (
        "_again", "_arriving", "_asked", "_background", "_body", "_budgeted", "_cache", "_client", "_content",
        "_decision", "_exchange", "_found", "_framing", "_guess", "_head", "_leader", "_part", "_part_size", "_peer",
        "_plan", "_port", "_ranged", "_response", "_sent", "_serial", "_settings", "_shared", "_spoiled", "_state",
        "_stored", "_through", "_waiting", "can_tunnel", "key", "record", "speaks_interim", "timer",
    )  # fmt: skip

    _exchange: Exchange
    record: ExchangeRecord

    def __init__(
        self,
        cache: "Cache",
        leader: "CachedExchange",
        decision: Decision,
        found: Sequence[Stored],
        shared: bool,
        background: bool = False,
    ) -> None:
        self.speaks_interim = self.can_tunnel = False
        self.key = leader.key
        self.timer = Timer(leader.settings.timers, nothing)
        self._cache = cache
        self._decision = decision
        self._found = found
        self._shared = shared
        self._background = background
        self._leader: CachedExchange | None = None if background else leader
        self._waiting: list[CachedExchange] = [] if background else [leader]
        self._through: CachedExchange | None = None
        self._asked: Asked = leader.asked
        self._head: RequestHead = leader.head
        self._content = leader.content
        self._plan = leader.plan
        self._peer = leader.peer
        self._port = leader.port
        self._settings = leader.settings
        self._client = leader.front.client()
        self._ranged = leader.asked.ranged and decision.stored is None and not background
        self._guess = self._nominated(leader.head)
        self._state = STARTED
        self._stored: Stored | None = None  # the response, once its head came, if others may have it
        self._arriving: Arriving | None = None
        self._response: tuple[int, bytes, Fields] = (0, b"", [])
        self._framing: Framing | None = None
        self._body: list[bytes] = []  # of an answer of our own
        self._part: Stored | None = None  # a 206 to be kept
        self._part_size = 0
        self._sent = 0.0
        self._serial = 0
        self._budgeted = False
        self._again = False
        self._spoiled = False

    def __repr__(self) -> str:
        return f"<Fetch {_NAMES[self._state]} {self._head.target!r} followers={self.followers}>"

    # -- who waits ----------------------------------------------------------------------------------------------------

    @property
    def followers(self) -> int:
        """Clients that wait for it or are being served from it."""
        return len(self._waiting) + (self._arriving.readers if self._arriving is not None else 0)

    def may_answer(self, asked: Asked, head: RequestHead) -> bool:
        """Whether such a request may join it."""
        if self._ranged and head.get(b"range") != self._head.get(b"range"):
            return False
        if self._state == STARTED:
            return self._nominated(head) == self._guess
        arriving = self._arriving
        return self._state == SPREADING and arriving is not None and arriving.whole and self._usable(asked, head)

    def join(self, follower: "CachedExchange") -> None:
        """One more."""
        if self._state == STARTED:
            self._waiting.append(follower)
        else:
            assert self._stored is not None and self._arriving is not None
            follower.follow(self, self._stored, self._arriving, True)

    def left(self, follower: "CachedExchange", termination: Termination, reason: str) -> None:
        """A client is gone (its delivery has left already)."""
        if follower is self._through:
            self._through = None
            self._give_up(termination, reason)
            return
        if follower in self._waiting:
            self._waiting.remove(follower)
        if follower is self._leader:
            self._leader = None
        if self._state == STARTED and not self._waiting and not self._background:
            self._give_up(termination, reason)
        elif self._state == SPREADING:
            self._give_up_if_useless()

    def spoil(self) -> None:
        """What it brings is outdated already: those who wait may have it, nobody later."""
        self._spoiled = True

    def _nominated(self, head: RequestHead) -> bytes | None:
        """What this request says of what the responses stored by now vary by."""
        return nominate(self._found[0].get_all(b"vary"), head) if self._found else b""

    def _usable(self, asked: Asked, head: RequestHead) -> bool:
        """Whether the response may be used for a request that was not the one it answers (RFC 9111 section 4)."""
        stored = self._stored
        if stored is None:
            return False
        return decide(asked, head, (stored,), self._cache.policy, self._cache.wall(), 1.0).kind in (HIT, STALE)

    # -- the request --------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Ask."""
        cache, decision = self._cache, self._decision
        if self._shared:
            cache.began(self)
        head, plan = self._head, self._plan
        validated = decision.stored
        if validated is not None:
            head = _with(head, validating(head, validated, self._found))
        elif self._asked.conditional or (self._asked.ranged and not self._ranged) or head.method == b"HEAD":
            head = _with(head, fetching(head, whole=not self._ranged))
        if head is not self._head:
            plan = plan.again(head)
        self._sent = cache.wall()
        self._serial = cache.store.serial
        self._state = STARTED
        settings = self._settings
        self.record = new_record(settings, head, self._peer.address, self._port, 0.0)
        self._exchange = Exchange(settings, self, head, self._peer, self.record, now, True, self._content)
        self._exchange.start(now, plan)

    def start_behind(self, now: float) -> bool:
        """Ask without anybody who waits, if the upstream's retry budget allows it; whether it did."""
        upstream = self._plan.way.upstream
        if not upstream.budget.begin(upstream.active):
            return False
        self._budgeted = True
        self.start(now)
        return True

    # -- the response's head ------------------------------------------------------------------------------------------

    def send_head(self, status: int, reason: bytes, fields: Fields, framing: Framing, last: bool) -> None:
        """The final head, of the origin or of our own."""
        self._framing = framing
        self._response = (status, reason, fields)
        if not self._exchange.answered:
            self._state = OURS
            return
        judgement = self._judged(status, reason, fields)
        if judgement is None:
            return
        stored = judgement.stored
        if stored is None or stored.parts is not None:
            self._pass_through(judgement)
            if self._through is not None:
                self._through.through(self._response, framing, last, judgement.reason)
            return
        self._spread(stored, framing)

    def send_whole(self, reply: Reply, body: bytes) -> None:
        """A whole response."""
        self._framing = reply.framing
        self._response = (reply.status, reply.reason, list(reply.fields))
        judgement = self._judged(*self._response)
        if judgement is None:
            return
        stored = judgement.stored
        if stored is None or stored.parts is not None:
            self._pass_through(judgement)
            if self._through is not None:
                self._through.through(self._response, reply.framing, False, judgement.reason)
                self.send_body(body)
            return
        stored = stored.with_body(body)
        self._over()
        if not self._spoiled and len(body) <= self._cache.policy.max_object:
            self._keep(stored)
        self._cache.stored(self.key)
        self._hand_out(stored, True)

    def _judged(self, status: int, reason: bytes, fields: Fields) -> Judgement | None:
        """What a response of the origin is good for; ``None`` where that is settled."""
        cache, decision = self._cache, self._decision
        now = cache.wall()
        response = PlainResponse(status, fields, reason)
        if status == 304 and decision.stored is not None:
            self._freshen(response, now)
            return None
        if status in ERRORS and self._send_stale(now, f"the origin answered {status}"):
            self._state = IGNORED
            return None
        judgement = judge(
            self._asked, self._head, response, fields, cache.policy, asked_at=self._sent, now=now, serial=self._serial
        )
        if judgement.stored is None:
            cache.counters.count(f"not stored: {judgement.reason}")
        return judgement

    def _freshen(self, response: PlainResponse, now: float) -> None:
        """304 (RFC 9111 section 4.3.4)."""
        cache = self._cache
        new = freshened(
            self._asked, self._head, self._found, response, response.fields, cache.policy,
            asked_at=self._sent, now=now, serial=self._serial,
        )  # fmt: skip
        if new is None:
            self._state = AGAIN
            return
        self._state = FRESH
        self._stored = new
        cache.counters.count("revalidated")
        if not self._spoiled:
            self._keep(new)

    # -- a response for everybody -------------------------------------------------------------------------------------

    def _spread(self, stored: Stored, framing: Framing) -> None:
        """It may be stored: it goes to the store, and to all who may have it while it arrives."""
        cache = self._cache
        size = -1 if framing.kind is CHUNKED else framing.length
        if size < 0:
            stored.flags |= UNSIZED
        most = cache.policy.max_object
        writer = None
        if size <= most and not self._spoiled:
            writer = cache.store.begin(self.key, stored, size, self._store_ready)
        exchange = self._exchange
        self._state = SPREADING
        self._stored = stored
        self._arriving = arriving = Arriving(
            writer, most, self._settings.buffer, exchange.pause_response, exchange.resume_response
        )
        if size >= 0:
            self._stored = stored = stored.with_body(Coming(size))
        cache.stored(self.key)
        leader, waiting = self._leader, self._waiting
        self._waiting = []
        for follower in waiting:
            if follower is leader or self._usable(follower.asked, follower.head):
                follower.follow(self, stored, arriving, follower is not leader)
            else:
                follower.alone()
        self._give_up_if_useless()

    def _store_ready(self) -> None:
        if self._arriving is not None:
            self._arriving.store_ready()

    def _keep(self, stored: Stored) -> None:
        """Store it whole."""
        cache = self._cache
        cache.counters.count("stored")
        cache.store.put(self.key, stored)
        self._make_room(stored)

    def _make_room(self, stored: Stored) -> None:
        """Of too many variants the oldest leave."""
        cache = self._cache
        others = [variant for variant in self._found if variant.nominated != stored.nominated]
        for variant in others[max(cache.policy.max_variants - 1, 0) :]:
            cache.store.drop(self.key, variant)

    def _hand_out(self, stored: Stored, fetched: bool) -> None:
        """It is whole: everybody who may have it gets it."""
        self._stored = stored
        leader, waiting = self._leader, self._waiting
        self._waiting = []
        if stored.lifetime <= stored.age and not stored.while_revalidate:
            cache = self._cache
            cache.pass_by(self.key, self._settings.timers.seconds(), cache.policy.uncacheable)
        for follower in waiting:
            if follower is leader:
                follower.fetched(stored, self, fetched)
            elif self._usable(follower.asked, follower.head):
                follower.collapsed(stored, self)
            else:
                follower.alone()

    # -- a response for one --------------------------------------------------------------------------------------------

    def _pass_through(self, judgement: Judgement) -> None:
        """It is for the one who asked; the others ask for themselves, all at once."""
        cache = self._cache
        cache.ended(self)
        self._shared = False
        if judgement.stored is not None:
            self._part = judgement.stored
        elif not self._ranged:
            cache.pass_by(self.key, self._settings.timers.seconds(), cache.policy.uncacheable)
        self._state = THROUGH
        waiting, self._waiting = self._waiting, []
        self._through = self._leader or (waiting[0] if waiting else None)
        for follower in waiting:
            if follower is not self._through:
                follower.alone()
        if self._through is None:
            self._state = IGNORED

    def _keep_part(self, part: Stored) -> None:
        """A partial response is complete: combine it with what is there (RFC 9111 section 3.4)."""
        body = b"".join(self._body)
        for variant in self._found:
            if isinstance(variant.body, bytes) and variant.nominated == part.nominated:
                both = combined(variant, variant.body, part, body)
                if both is not None:
                    part, body = both
                    break
                if variant.parts is None:
                    return  # a whole one of another version, which says more than a part
        if len(body) <= self._cache.policy.max_object:
            self._keep(part.with_body(body))

    # -- the body, the end ---------------------------------------------------------------------------------------------

    def send_body(self, data: bytes) -> None:
        """A part of the body."""
        state = self._state
        if state == SPREADING and self._arriving is not None:
            self._arriving.add(data)
            self._give_up_if_useless()
        elif state == THROUGH and self._through is not None:
            if self._part is not None:
                self._part_size += len(data)
                if self._part_size > PART:
                    self._part = None
                    self._body.clear()
                else:
                    self._body.append(data)
            self._through.passing(data)
        elif state == OURS:
            self._body.append(data)

    def flush(self) -> None:
        """What came at one time was handed over."""
        if self._arriving is not None:
            self._arriving.flush()
        elif self._through is not None:
            self._through.front.flush()

    def finish(self, trailers: Fields) -> None:
        """The response is complete."""
        state = self._state
        if state == OVER:
            return
        if state == AGAIN and not self._again:
            self._ask_again()
            return
        stored, through, part = self._stored, self._through, self._part
        self._over()
        if state == SPREADING:
            self._finish_arriving()
        elif state == FRESH and stored is not None:
            self._hand_out(stored, False)
        elif state == THROUGH and through is not None:
            if part is not None and not self._spoiled:
                self._keep_part(part)
            through.passed(trailers)
        elif state in (OURS, AGAIN):
            self._fail()

    def abort(self) -> None:
        """It will never be complete."""
        through = self._through
        arriving, self._arriving = self._arriving, None
        self._over()
        if arriving is not None:
            if arriving.writer is not None:
                arriving.writer.abort()
            arriving.broken(self.record.reason)
        elif through is not None:
            through.front.abort()

    def ended(self, record: ExchangeRecord) -> None:
        """The exchange is over."""
        if self._budgeted:
            self._budgeted = False
            self._plan.way.upstream.budget.end()
        if self._state == THROUGH and self._through is not None:
            self._through.settle(record)

    def _finish_arriving(self) -> None:
        arriving = self._arriving
        assert arriving is not None
        arriving.secure()
        writer = arriving.writer
        if writer is not None:
            if arriving.storing and not self._spoiled:
                try:
                    writer.commit()
                except StoreError:  # the store has counted and told it
                    pass
                else:
                    self._cache.counters.count("stored")
                    if self._stored is not None:
                        self._make_room(self._stored)
            else:
                writer.abort()
        arriving.complete()

    def _ask_again(self) -> None:
        """The origin confirmed what we do not have: ask once more, for all of it."""
        self._again = True
        validated = self._decision.stored
        if validated is not None:
            self._cache.store.drop(self.key, validated)
        self._found = ()
        self._decision = Decision(MISS, None, self._decision.reason)
        self._shared = False
        self.start(self._settings.timers.seconds())

    # -- the origin fails ----------------------------------------------------------------------------------------------

    def _fail(self) -> None:
        """No response came: whoever may have a stale one gets it, the leader hears what happened, others try."""
        cache = self._cache
        self._send_stale(cache.wall(), "the origin does not answer")
        status, reason, fields = self._response
        waiting, self._waiting = self._waiting, []
        if self._background:
            cache.counters.count("background validation failed")
        for follower in waiting:
            if follower is self._leader:
                follower.failed(status, reason, fields, b"".join(self._body), self.record)
            else:
                follower.alone()

    def _send_stale(self, now: float, why: str) -> bool:
        """To those who may have a stale response; whether nobody is left then (in the background nobody was)."""
        cache, stored = self._cache, self._decision.fallback
        if stored is None:
            return False
        left: list[CachedExchange] = []
        waiting, self._waiting = self._waiting, []
        for follower in waiting:
            if usable_on_error(follower.asked, stored, now, cache.policy) and self._fits(follower, stored):
                follower.rescued(stored, self, why)
            else:
                left.append(follower)
        self._waiting = left
        return not left

    def _fits(self, follower: "CachedExchange", stored: Stored) -> bool:
        return follower is self._leader or nominate(stored.get_all(b"vary"), follower.head) == stored.nominated

    def _give_up_if_useless(self) -> None:
        arriving = self._arriving
        if self._state == SPREADING and arriving is not None and not arriving.readers and not arriving.storing:
            self._give_up(Termination.CLIENT_LEFT, "nobody is left who wants it, and it is not stored")

    def _give_up(self, termination: Termination, reason: str) -> None:
        """Nobody wants it any more."""
        arriving, self._arriving = self._arriving, None
        self._over()
        if arriving is not None:
            if arriving.writer is not None:
                arriving.writer.abort()
            arriving.close()
        self._exchange.client_left(termination, reason)

    def _over(self) -> None:
        self._state = OVER
        self._cache.ended(self)

    # -- what else an exchange asks of its front ----------------------------------------------------------------------

    def pause(self) -> None:
        """The one who gets it does not read."""
        if self._state == THROUGH:
            self._exchange.pause_response()

    def resume(self) -> None:
        """He reads again."""
        if self._state == THROUGH:
            self._exchange.resume_response()

    def client(self) -> ITransport:
        """That of the client who asked first."""
        return self._client

    def sink(self) -> Sink | None:
        """Where the body goes, if it only passes."""
        return self._through.splice_into() if self._through is not None and self._part is None else None

    def drive(self, driven: Driven) -> None:
        """Never asked for: a fetch starts its own exchange."""
        raise NotImplementedError("a fetch drives its exchange itself")

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Never asked for: ``speaks_interim`` is False."""

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """Never asked for: an exchange has fields."""
        raise NotImplementedError("an exchange sends fields")

    def source(self) -> None:
        """The request is complete."""

    def open_tunnel(self, tunnel: Driven) -> None:
        """Never asked for: ``can_tunnel`` is False."""
        raise NotImplementedError("a fetch has no tunnels")

    def end_tunnel_output(self) -> bool:
        """Never asked for."""
        return False

    def pause_request(self) -> None:
        """The request is complete."""

    def resume_request(self) -> None:
        """The request is complete."""


class Coming:
    """A body that is still to come: its size is known."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def open(self) -> BodyReader:
        """Never asked for: whoever gets it reads what arrives."""
        raise StoreError("the body is still arriving")


def _with(head: RequestHead, fields: Fields) -> RequestHead:
    """The same request with other fields; a HEAD becomes the GET that can be stored."""
    method = b"GET" if head.method == b"HEAD" else head.method
    told = request_fields(fields, method, head.minor, 0)
    return RequestHead(method, head.target, head.minor, head.host, head.path, head.query, told)
