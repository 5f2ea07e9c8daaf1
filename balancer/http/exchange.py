"""One request and its response, retries included: gate, route, admission, lease, backend, response, end.

Read it from top to bottom: the methods stand in the order in which they happen. What can go wrong on the way is told
in :mod:`balancer.http.fallible`. An exchange knows nothing of the wire format its request came in on (that is its
:class:`~balancer.http.front.Front`), it only decides and passes on. It holds no bytes itself.
"""

from twisted.internet.interfaces import ITransport

from balancer.core.forwarded import BackendRequest
from balancer.core.headers import response_fields, trailer_fields
from balancer.core.lease import Lease, Outcome
from balancer.core.termination import Termination
from balancer.errors import BadResponse, RequestRefused
from balancer.http.attempts import Attempts
from balancer.http.backend import BackendConnection
from balancer.http.bulk import download
from balancer.http.failures import GATEWAY_ERRORS
from balancer.http.fallible import CONNECTING, QUEUED, STREAMING, TUNNEL, WAITING, Fallible
from balancer.http.messages import backend_head, client_fields, client_framing
from balancer.http.plans import Plan, Reply, plan_of
from balancer.http.traits import RequestTraits
from balancer.http.tunnel import Tunnel
from balancer.http.upload import NO_UPLOAD
from balancer.http1.heads import Fields, ResponseHead


class Exchange(Fallible):
    """See the module. ``start`` begins it; the front and the backend connection drive it.

    What it is made with is said at :class:`~balancer.http.fallible.Fallible`.
    """

    __slots__ = ("_request", "_wire")

    _request: BackendRequest | None
    _wire: bytes  # the head for the backend, where it is the same for all of them; else empty

    # -- gate, route, admission -----------------------------------------------------------------------------------

    def start(self, now: float, plan: Plan | None = None) -> None:
        """Find the upstream, unless there is a plan, and a backend; the answer comes now or later."""
        head, settings, record, peer = self._head, self._settings, self._record, self._peer
        if plan is None:
            known = head.notes
            plan = known if isinstance(known, Plan) and known.holds_for(settings) else self._find_way()
            if plan is None:
                return
        self._way = way = plan.way
        record.route = plan.route
        record.upstream = plan.upstream
        if plan.plain and not peer.trusted:
            self._request = None
            record.request_id = settings.forwarding.new_id() if settings.forwarding.id_name else b""
            self._wire = plan.head_from(peer, record.request_id)
        else:
            self._request = request = peer.request(head, self._upgrade)
            self._wire = b""
            record.client = request.client
            record.request_id = request.request_id
        if way.timeouts.total:
            self._total = settings.timers.schedule(way.timeouts.total, self._took_too_long)
        self._attempts = attempts = Attempts(way, RequestTraits(head, record.client), record, now)
        lease = attempts.next(now)
        if lease is not None:
            self._use(lease, now)
        elif attempts.full:
            self._queue()
        else:
            self._fail(Termination.NO_BACKEND, f"upstream {plan.upstream}: no backend is available")

    def _find_way(self) -> Plan | None:
        """Gate and route; ``None`` where the request ends here."""
        try:
            plan = plan_of(self._head, self._settings)
        except RequestRefused as refusal:
            self._fail(Termination.REFUSED, refusal.reason, refusal=refusal)
            return None
        if plan is None:
            self._fail(Termination.NO_ROUTE, "no route matches and the listener has no default")
        return plan

    def _queue(self) -> None:
        line = self._way.upstream.line
        if not line.join(self):
            self._fail(Termination.QUEUE_FULL, f"{len(line)} wait already")
            return
        self._state = QUEUED
        self._record.note(f"every backend is full: place {len(line)} in the queue")
        self._timer.rearm(line.policy.timeout)

    def vacancy(self) -> Lease | None:
        """In the queue: there may be room."""
        return self._attempts.again(self._seconds())

    def admitted(self, lease: Lease) -> None:
        """In the queue: there is."""
        self._timer.rest()
        self._use(lease, self._seconds())

    def _drop(self) -> None:
        """Leave the queue, and what else is under way."""
        if self._state == QUEUED:
            self._way.upstream.line.leave(self)
        super()._drop()

    # -- lease, connection ------------------------------------------------------------------------------------------

    def _use(self, lease: Lease, now: float, fresh: bool = False) -> None:
        """Send the request to this backend, on a kept connection, unless a fresh one is wanted, or on a new one."""
        self._state = CONNECTING
        connection = self._attempts.use(lease, fresh, now)
        if connection is not None:
            self._send(connection, now)
        else:
            self._attempts.connect(self, self._connect_failed)

    def introduced(self) -> tuple[ITransport, bytes]:
        """For whom a connection is opened: the client, and this request."""
        return self._front.client(), self._record.request_id

    # -- the request goes to the backend ----------------------------------------------------------------------------

    def backend_connected(self, connection: BackendConnection) -> None:
        """The new connection is open."""
        self._send(connection, self._seconds())

    def _send(self, connection: BackendConnection, now: float) -> None:
        """There is a connection, kept or new: send the head, and what of the body is here."""
        way = self._way
        lease = self._attempts.connected(now)
        self._state = WAITING
        self._connection = connection
        if self._paused:
            connection.pause()
        self._timer.until(now + way.timeouts.first_byte)
        wire = self._wire
        if self._request is not None:
            closing = not way.policy.idle and self._upgrade is None
            wire = backend_head(self._head, self._request, lease, closing)
        upload = self._upload
        connection.send_request(self, self._head.method, wire if upload is NO_UPLOAD else wire + upload.first())
        upload.begin(connection)

    def request_body(self, data: bytes) -> None:
        """A part of the request's body arrived."""
        self._record.bytes_in += len(data)
        self._sent_more()
        self._upload.add(data)

    def request_moved(self, size: int) -> None:
        """The kernel moved a part of the request's body."""
        self._record.bytes_in += size

    def request_end(self, trailers: Fields) -> None:
        """The request is complete."""
        self._sent_more()
        self._upload.end(trailers)

    def _sent_more(self) -> None:
        """The first byte of the response is waited for from the request's end, so from here at the earliest."""
        if self._state == WAITING:
            self._timer.rearm(self._way.timeouts.first_byte)

    def backend_blocked(self) -> None:
        """The backend does not read: it has as long for that as from the last byte it was sent, or took of a splice."""
        self._sent_more()
        self._upload.pause()

    def backend_ready(self) -> None:
        """It reads again."""
        if not self._upload.complete:
            self._sent_more()
        self._upload.resume()

    def backend_deaf(self) -> None:
        """It gets no more: it may have answered before it closed."""
        self._upload.stop()

    # -- the response goes to the client ------------------------------------------------------------------------------

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx goes on to whoever understands it (RFC 9110 section 15.2)."""
        self._attempts.first_byte(self._seconds())
        self._timer.rearm(self._way.timeouts.first_byte)
        if self._front.speaks_interim:
            self._front.send_interim(head.status, head.reason, response_fields(head.fields, head.connection))

    def response_head(self, head: ResponseHead) -> None:
        """The final head."""
        self._attempts.first_byte(self._seconds())
        if head.status == 101:
            self._switch(head)
            return
        self._state = STREAMING
        self._response = head
        self._record.status = head.status
        last = False
        if not self._upload.complete:
            # It answers before it has the whole request. One that goes well may go on reading; one that refuses or
            # closes gets no more, for writing to a closed connection would reset it and lose the answer.
            if head.status >= 300 or not head.keep_alive:
                self._upload.stop()
            last = not self._upload.wanted or (self._head.expect_continue and not self._record.bytes_in)
        self._timer.rearm(self._way.timeouts.idle)
        fields = client_fields(head, self._settings)
        self._front.send_head(head.status, head.reason, fields, client_framing(head), last)

    def response_whole(self, head: ResponseHead, body: bytes) -> bool:
        """A final response that arrived at one time: what the four methods around do, in one step. ``False`` where
        that cannot be done, and they are to be called."""
        reply = Reply.to(head, self._settings)
        if reply is None or not self._upload.complete:
            return False
        now = self._seconds()
        self._attempts.first_byte(now)
        self._response = head
        self._record.status = reply.status
        self._record.bytes_out = len(body)
        self._front.send_whole(reply, body)
        self._done(now)
        self._front.finish([])
        return True

    def response_body(self, data: bytes) -> None:
        """A part of its body."""
        self._record.bytes_out += len(data)
        self._timer.rearm(self._way.timeouts.idle)
        self._front.send_body(data)

    def response_moved(self, size: int) -> None:
        """The kernel moved a part of its body."""
        self._record.bytes_out += size
        self._timer.rearm(self._way.timeouts.idle)

    def response_flush(self) -> None:
        """All of one read was handed over."""
        if self._response is not None:
            self._front.flush()
            connection, settings = self._connection, self._settings
            if connection is not None and 0 < settings.splice <= connection.coming and connection.may_splice:
                download(connection, self._front, settings)

    def pause_response(self) -> None:
        """The client does not read: neither do we, and it is not the backend that keeps us waiting."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause()
            if self._state == STREAMING:
                self._timer.rest()

    def resume_response(self) -> None:
        """The client reads again."""
        self._paused = False
        if self._connection is not None:
            if self._state == STREAMING:
                self._timer.rearm(self._way.timeouts.idle)
            self._connection.resume()

    def response_end(self, trailers: Fields) -> None:
        """The response is complete."""
        self._done(self._seconds())
        self._front.finish(trailer_fields(trailers) if trailers else trailers)

    def _done(self, now: float) -> None:
        """Keep the connection and give the lease back, before the client can ask for more."""
        connection, head, upload = self._connection, self._response, self._upload
        assert connection is not None and head is not None
        self._connection = None
        if connection.release() and upload.complete and upload.wanted and head.keep_alive:
            self._way.keep(connection, now)
        elif upload.complete:
            connection.close()
        else:
            connection.abort()
        failed = head.status in GATEWAY_ERRORS
        self._end(Termination.DONE, Outcome.SERVER_ERROR if failed else Outcome.SUCCESS, "", now)

    def _switch(self, head: ResponseHead) -> None:
        """101: become a tunnel, if that was asked for and the request is over."""
        connection, upgrade = self._connection, head.get(b"upgrade")
        assert connection is not None
        if self._upgrade is None or upgrade is None or not self._upload.complete:
            connection.abort()
            error = BadResponse("101 to a request that did not ask for it", "RFC 9110 section 15.2.2")
            self.response_failed(Termination.MALFORMED_RESPONSE, error)
            return
        self._state = TUNNEL
        self._response = head
        self._record.status = 101
        if self._total is not None:
            self._total.cancel()  # a tunnel may be open for as long as it is used
        self._tunnel = Tunnel(self._front, connection, self._timer, self._settings, self._record, self._end)
        self._tunnel.open(head.reason, response_fields(head.fields, head.connection, upgrade=upgrade))
