"""The origin is asked on behalf of a cache: once, for everybody who waits for the same thing.

A fetch is the :class:`~balancer.http.front.Front` of an ordinary exchange, so it has its leases, retries and timeouts.
What comes is stored, if it may be, and goes to everyone who waits while it arrives; what may not be reused goes to the
one who asked first, and the others are let go, all at once, to ask for themselves. Where the origin fails, those who
may get a stale response get it. It never decides what HTTP allows (:mod:`balancer.cache` does), and never sends
anything to a client itself (:mod:`balancer.http.cached` does).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.cache.asked import Asked
from balancer.cache.lines import names_in
from balancer.cache.messages import PlainResponse
from balancer.cache.partial import covers
from balancer.cache.reuse import MISS, Decision
from balancer.cache.stored import UNSIZED, Stored
from balancer.cache.storing import NOT_KEPT, Judgement, judge
from balancer.cache.validation import fetching, freshened, identified, validating
from balancer.core.headers import without
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import StoreError
from balancer.http.arriving import Arriving
from balancer.http.bulk import Sink
from balancer.http.complete_front import CompleteFront
from balancer.http.exchange import Exchange
from balancer.http.gathering import AGAIN, FRESH, IGNORED, OURS, OVER, SPREADING, STARTED, THROUGH
from balancer.http.messages import new_record
from balancer.http.part import COMBINED, Part
from balancer.http.plans import Reply
from balancer.http.reading import read_whole
from balancer.http.sources import Coming
from balancer.http1.framing import request_fields
from balancer.http1.heads import CHUNKED, Fields, Framing, RequestHead
from balancer.http1.serialize import field_lines
from balancer.interfaces import ICacheWriter
from balancer.net.timers import Timer, nothing

if TYPE_CHECKING:
    from balancer.http.cache import Cache
    from balancer.http.cached import CachedExchange

log = Logger()

ERRORS = frozenset({500, 502, 503, 504})
"""Statuses in place of which a stale response may be sent (RFC 5861 section 4)."""


_CLIENTS_WISHES = frozenset({b"cache-control", b"pragma"})


class Fetch(CompleteFront):
    """See the module; what it is made with is said at :class:`~balancer.http.gathering.Gathering`."""

    __slots__ = (
        "_again", "_body", "_budgeted", "_client", "_content", "_exchange", "_part", "_peer", "_plan",
        "_port", "_response", "_sent", "_serial", "timer",
    )  # fmt: skip

    _exchange: Exchange

    def __init__(
        self,
        cache: "Cache",
        leader: "CachedExchange",
        decision: Decision,
        found: Sequence[Stored],
        shared: bool,
        background: bool = False,
    ) -> None:
        super().__init__(cache, leader, decision, found, shared, background)
        self.speaks_interim = self.can_tunnel = False
        self.timer = Timer(leader.settings.timers, nothing)
        self._content = leader.content
        self._plan = leader.plan
        self._peer = leader.peer
        self._port = leader.port
        self._client = leader.front.client()
        self._response: tuple[int, bytes, Fields] = (0, b"", [])
        self._body: list[bytes] = []  # of an answer of our own
        self._part: Part | None = None  # a 206 to be kept
        self._sent = 0.0
        self._serial = 0
        self._budgeted = False
        self._again = False

    # -- the request --------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Ask."""
        cache, decision = self._cache, self._decision
        if self._shared:
            cache.began(self)
        head, plan = self._head, self._plan
        validated = decision.stored
        if validated is not None:
            fields = validating(head, validated, self._found)
            if self._background:  # it is ours: what the client wants of caches is no part of it
                fields = without(fields, _CLIENTS_WISHES)
            head = _with(head, fields)
        elif self._asked.conditional or (self._asked.ranged and not self._ranged) or head.method == b"HEAD":
            head = _with(head, fetching(head, whole=not self._ranged))
        if head is not self._head:
            plan = plan.again(head)
            if head.method != self._head.method:
                self._asked = Asked(head, cache.policy)  # what answers GET may be stored
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
        self._response = (status, reason, fields)
        if not self._exchange.answered:
            self._state = OURS
            return
        judgement = self._judged(status, reason, fields)
        if judgement is None:
            return
        stored = judgement.stored
        if stored is not None and stored.parts is None:
            size = -1 if framing.kind is CHUNKED else framing.length
            if size < 0:
                stored.flags |= UNSIZED
            writer = self._cache.store.begin(self.key, stored, size, self._store_ready)
            if writer is not None or 0 <= size <= self._settings.buffer:
                self._spread(stored, size, writer)
                return
            judgement = Judgement(None, "not kept by the store")  # nor here: who reads slowly would stop all others
            self._cache.counters.count(f"not stored: {judgement.reason}")
        self._pass_through(judgement)
        if self._through is not None:
            self._through.through(self._response, framing, last, judgement.reason)
        else:
            self._give_up(Termination.CLIENT_LEFT, "nobody waits for what may not be stored")

    def send_whole(self, reply: Reply, body: bytes) -> None:
        """A whole response."""
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
        self.own = _withheld(stored, self._response[2])
        self._over()
        if not self._spoiled and len(body) <= self._cache.policy.max_object:
            self._keep(stored)
        self._hand_out(stored, True)

    def _judged(self, status: int, reason: bytes, fields: Fields) -> Judgement | None:
        """What a response of the origin is good for; ``None`` where that is settled."""
        cache, decision = self._cache, self._decision
        now = cache.wall()
        self.answered = status
        response = PlainResponse(status, fields, reason)
        self.aged = response.get(b"age") is not None
        if status == 304 and decision.stored is not None:
            self._freshen(response, now)
            return None
        if status in ERRORS and self._send_stale(now, f"the origin answered {status}"):
            self._state = IGNORED
            return None
        judgement = judge(
            self._asked, self._head, response, fields, cache.policy, asked_at=self._sent, now=now, serial=self._serial
        )
        if judgement.stored is not None and self._settings.forwarding.varies_by_client(response.get_all(b"vary")):
            judgement = Judgement(None, "varies by the client")
        if judgement.stored is None:
            cache.counters.count(f"not stored: {judgement.reason}")
            if decision.stored is not None and _says_what_is_there(status):
                cache.store.drop(self.key, decision.stored)  # the origin has something else there by now
        return judgement

    def _freshen(self, response: PlainResponse, now: float) -> None:
        """304 (RFC 9111 section 4.3.4)."""
        cache = self._cache
        new = freshened(
            self._asked, self._head, self._found, response, response.fields, cache.policy,
            asked_at=self._sent, now=now, serial=self._serial,
        )  # fmt: skip
        if new is None and self._asked.authorized and self._confirmed_for_one(response, now):
            return
        about = identified(self._head, self._found, response, now)
        for outdated in about if new is None else about[1:]:  # it is not what the origin says any more
            cache.store.drop(self.key, outdated)
        if new is None or not covers(new, self._head):
            self._state = AGAIN
            return
        self._state = FRESH
        self._stored = new
        if cache.policy.set_cookie != "store":
            self.own = field_lines([(b"Set-Cookie", cookie) for cookie in response.get_all(b"set-cookie")])
        cache.counters.count("revalidated")
        if not self._spoiled:
            self._keep(new)

    def _confirmed_for_one(self, response: PlainResponse, now: float) -> bool:
        """What a 304 to Authorization confirms may be sent to that client, though nothing of it may be stored; it says
        nothing against what is stored."""
        anonymous = Asked(_with(self._head, without(self._head.fields, (b"authorization",))), self._cache.policy)
        own = freshened(
            anonymous, self._head, self._found, response, response.fields, self._cache.policy,
            asked_at=self._sent, now=now, serial=self._serial,
        )  # fmt: skip
        if own is None or not covers(own, self._head):
            return False
        self._state = FRESH
        self._stored = own
        return True

    # -- a response for everybody -------------------------------------------------------------------------------------

    def _spread(self, stored: Stored, size: int, writer: ICacheWriter | None) -> None:
        """It may be stored: it goes to the store, and to all who may have it while it arrives."""
        cache, exchange = self._cache, self._exchange
        self.own = _withheld(stored, self._response[2])
        self._state = SPREADING
        self._stored = stored
        self._arriving = arriving = Arriving(
            writer, cache.policy.max_object, self._settings.buffer, exchange.pause_response, exchange.resume_response,
            self._settings.timers,
        )  # fmt: skip
        if size >= 0:
            self._stored = stored = stored.with_body(Coming(size))
        self._mark(stored)
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
        if stored.nominated:
            found = self._cache.store.get(self.key)  # anew: others may have come meanwhile
            if isinstance(found, Deferred):
                found.addCallback(self._drop_surplus).addErrback(self._not_found)
            else:
                self._drop_surplus(found)

    def _not_found(self, failure: Failure) -> None:
        log.failure("a store of cache '{name}' failed to look something up", failure, name=self._cache.name)

    def _drop_surplus(self, found: Sequence[Stored]) -> None:
        cache = self._cache
        for variant in list(found)[cache.policy.max_variants :]:
            cache.store.drop(self.key, variant)

    # -- a response for one --------------------------------------------------------------------------------------------

    def _pass_through(self, judgement: Judgement) -> None:
        """It is for the one who asked; the others ask for themselves, all at once."""
        cache = self._cache
        cache.ended(self)
        self._shared = False
        if judgement.stored is not None:
            self._part = Part(judgement.stored, cache.parts)
        elif not (self._ranged or self._spoiled or self._asked.authorized) and _says_what_is_there(self.answered):
            cache.pass_by(self.key, self._settings.timers.seconds(), cache.policy.uncacheable)
        self._state = THROUGH
        waiting, self._waiting = self._waiting, []
        self._through = self._leader  # without him it is for nobody: it was asked with what he is known by
        for follower in waiting:
            if follower is not self._through:
                follower.alone()
        if self._through is None:
            self._state = IGNORED

    def _keep_part(self, part: Part) -> None:
        """A partial response is complete: keep it, together with what is there."""
        other = part.other(self._found)
        if other is None:
            self._keep_combined(part.combined(None, b""))
        elif other.size > COMBINED:
            self._keep_combined(part.combined(None, b"") if other.parts is not None else None)
        elif isinstance(other.body, bytes):
            self._keep_combined(part.combined(other, other.body))
        else:
            read_whole(other.body).addCallbacks(
                lambda body: self._keep_combined(part.combined(other, body)), self._keep_alone, errbackArgs=(part,)
            )

    def _keep_alone(self, failure: Failure, part: Part) -> None:
        """What it belongs to cannot be read."""
        failure.trap(StoreError)
        self._keep_combined(part.combined(None, b""))

    def _keep_combined(self, whole: Stored | None) -> None:
        if whole is not None and whole.size <= self._cache.policy.max_object:
            self._keep(whole)

    # -- the body, the end ---------------------------------------------------------------------------------------------

    def send_body(self, data: bytes) -> None:
        """A part of the body."""
        state = self._state
        if state == SPREADING and self._arriving is not None:
            storing = self._arriving.storing
            self._arriving.add(data)
            if storing and not self._arriving.storing:  # it is too large: its like is for one client each
                cache = self._cache
                cache.pass_by(self.key, self._settings.timers.seconds(), cache.policy.uncacheable)
            self._give_up_if_useless()
        elif state == THROUGH and self._through is not None:
            if self._part is not None and not self._part.add(data):
                self._part.close()
                self._part = None
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

    def _give_up(self, termination: Termination, reason: str) -> None:
        """Nobody wants it any more."""
        arriving, self._arriving = self._arriving, None
        self._over()
        if arriving is not None:
            if arriving.writer is not None:
                arriving.writer.abort()
            arriving.close()
        self._exchange.client_left(termination, reason)

    def _close(self) -> None:
        self._cache.ended(self)

    def _over(self) -> None:
        if self._part is not None:
            self._part.close()  # what it holds is counted no more; whoever has it may still use it
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


def _withheld(stored: Stored, fields: Fields) -> bytes:
    """Lines that are not stored, and are for the client who asked."""
    kept = names_in(stored.lines)
    return field_lines([field for field in fields if (name := field[0].lower()) not in kept and name not in NOT_KEPT])


def _says_what_is_there(status: int) -> bool:
    """Whether such a response is about the resource, not about one client or one moment."""
    return status < 400 or status in (404, 410)


def _with(head: RequestHead, fields: Fields) -> RequestHead:
    """The same request with other fields; a HEAD becomes the GET that can be stored."""
    method = b"GET" if head.method == b"HEAD" else head.method
    told = request_fields(fields, method, head.minor, 0)
    return RequestHead(method, head.target, head.minor, head.host, head.path, head.query, told)
