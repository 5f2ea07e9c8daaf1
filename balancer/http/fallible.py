"""What an exchange holds, and what can go wrong with it: what a failure means, and the end that all ways out share.

The story of a request that goes well is told in :mod:`balancer.http.exchange`. Here it is decided whether another
backend is asked; else the client is answered, or reset where that is too late, the lease is given back once and the
record is logged once. It never passes anything on from one side to the other.
"""

from balancer.core.forwarded import Peer
from balancer.core.headers import may_upgrade
from balancer.core.lease import Lease, Outcome
from balancer.core.policies import RetryCondition
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import BadResponse, RequestRefused
from balancer.http.answers import failed, refused
from balancer.http.attempts import Attempts
from balancer.http.backend import BackendConnection
from balancer.http.failures import REFUSALS, connect_failure, response_failure
from balancer.http.front import Front
from balancer.http.settings import HttpSettings
from balancer.http.tunnel import Tunnel
from balancer.http.upload import NO_UPLOAD, Upload
from balancer.http.upstreams import HttpUpstream
from balancer.http1.heads import RequestHead, ResponseHead
from balancer.net.timers import Timer, nothing

NEW, QUEUED, CONNECTING, WAITING, STREAMING, TUNNEL, DONE = range(7)
"""Where an exchange stands: not started; in line for a backend; connecting; the request is being sent or was, and no
final head came; the response is under way; it became a tunnel; over."""
_NAMES = ("new", "queued", "connecting", "waiting", "streaming", "tunnel", "done")


class Fallible:
    """See the module. An :class:`~balancer.http.exchange.Exchange` is one, with no ``__init__`` of its own: a second
    object, or a second call, is what each request would pay for.

    :param begun: when the request's first byte came, by the clock of the timers.
    :param complete: the whole request is here: ``request_end`` will not be called.
    :param body: of a request that is complete.
    """

    __slots__ = (
        "_attempts", "_begun", "_connection", "_front", "_head", "_paused", "_peer", "_record", "_response",
        "_seconds", "_settings", "_state", "_timer", "_total", "_tunnel", "_upgrade", "_upload", "_way",
    )  # fmt: skip

    _attempts: Attempts  # it and the way: from the moment it is placed
    _tunnel: Tunnel
    _way: HttpUpstream

    def __init__(
        self,
        settings: HttpSettings,
        front: Front,
        head: RequestHead,
        peer: Peer,
        record: ExchangeRecord,
        begun: float,
        complete: bool,
        body: bytes = b"",
    ) -> None:
        self._settings = settings
        self._front = front
        self._head = head
        self._peer = peer
        self._record = record
        self._begun = begun
        if complete and not body:
            self._upload: Upload = NO_UPLOAD
        else:
            self._upload = Upload(head, front, settings, complete, body)
            record.bytes_in = len(body)
        self._seconds = settings.timers.seconds
        self._state = NEW
        upgrade = head.upgrade
        self._upgrade = upgrade if upgrade is not None and may_upgrade(upgrade) and front.can_tunnel else None
        self._paused = False  # the client does not read
        self._connection: BackendConnection | None = None
        self._response: ResponseHead | None = None  # the final head, which went to the client
        self._timer = front.timer
        self._timer.callback = self._timed_out
        self._total: Timer | None = None

    @property
    def answered(self) -> bool:
        """Whether a backend's final head came: else what the client gets is of our own making."""
        return self._response is not None

    def __repr__(self) -> str:
        return f"<Exchange {_NAMES[self._state]} {self._head.method!r} {self._head.target!r}>"

    def _use(self, lease: Lease, now: float, fresh: bool = False) -> None:
        """Send the request to this backend: the exchange does."""
        raise NotImplementedError

    # -- a backend fails --------------------------------------------------------------------------------------------

    def _connect_failed(self, outcome: Outcome, reason: str) -> None:
        termination = connect_failure(outcome, self._attempts.failed())
        self._attempt_failed(termination, outcome, "connect-failure", reason)

    def response_failed(self, termination: Termination, error: BadResponse) -> None:
        """The connection is lost before the response's end, or what came on it is no response."""
        connection = self._lose_connection()
        assert connection is not None
        outcome, condition = response_failure(termination, connection.requests > 1)
        policy = self._way.upstream.policy.retry
        if self._response is not None:
            self._fail(termination, error.reason, outcome)
        elif condition == "reused-closed" and policy.allows(condition, self._head.method, self._upload.begun):
            # It closed while it was idle, as any server may; the backend itself has not been asked yet.
            self._record.note(f"{self._record.backend}: the kept connection was closed: once more on a new one")
            assert self._attempts.lease is not None
            self._use(self._attempts.lease, self._seconds(), True)  # on a fresh connection
        else:
            self._attempt_failed(termination, outcome, condition, error.reason)

    def _attempt_failed(
        self, termination: Termination, outcome: Outcome, condition: RetryCondition | None, reason: str
    ) -> None:
        """No response came from this backend: try another, or answer with what happened."""
        self._record.note(f"{self._record.backend}: {termination.value}: {reason}")
        now = self._seconds()
        self._attempts.release(outcome, now)
        again = self._attempts.another(condition, self._head.method, self._upload.begun, now)
        if again is not None:
            self._use(again, now, False)
        else:
            self._fail(termination, reason)

    # -- it takes too long ------------------------------------------------------------------------------------------

    def _timed_out(self) -> None:
        """The timer of the present state fired."""
        state, timeouts = self._state, self._way.timeouts
        if state == QUEUED:
            limit = self._way.upstream.policy.queue.timeout
            self._fail(Termination.QUEUE_TIMEOUT, f"no backend had room within {limit:g} s")
        elif state == STREAMING and not self._paused:
            self._fail(Termination.BACKEND_IDLE_TIMEOUT, f"no byte for {timeouts.idle:g} s", Outcome.TIMEOUT)
        elif state == TUNNEL:
            self._tunnel.idled()
        elif state == WAITING:
            self._no_first_byte(timeouts.first_byte)

    def _no_first_byte(self, limit: float) -> None:
        connection = self._connection
        assert connection is not None
        if not self._upload.complete and not connection.blocked:
            self._timer.rearm(limit)  # it is the client who keeps us waiting, and the front has a timeout for that
            return
        self._lose_connection()
        connection.abort()
        if not self._upload.complete:
            reason = f"no byte of the request was taken for {limit:g} s"
            self._attempt_failed(Termination.BACKEND_WRITE_TIMEOUT, Outcome.TIMEOUT, None, reason)
        else:
            reason = f"no byte of a response within {limit:g} s"
            self._attempt_failed(Termination.FIRST_BYTE_TIMEOUT, Outcome.TIMEOUT, "first-byte-timeout", reason)

    def _took_too_long(self) -> None:
        reason = f"it took longer than {self._way.timeouts.total:g} s"
        # A response that has begun may be slow because of the client: that is no fault of the backend.
        outcome = Outcome.TIMEOUT if self._response is None else Outcome.CLIENT_LEFT
        self._fail(Termination.TOTAL_TIMEOUT, reason, outcome)

    # -- the client -------------------------------------------------------------------------------------------------

    def request_refused(self, refusal: RequestRefused) -> None:
        """The request's body is not forwarded to its end: whoever has got a part of it never gets the rest."""
        termination = REFUSALS.get(refusal.status, Termination.CLIENT_BODY_MALFORMED)
        self._fail(termination, refusal.reason, refusal=refusal)

    def client_left(self, termination: Termination, reason: str) -> None:
        """The client is gone: so is the backend connection, at once."""
        self._drop()
        self._end(termination, Outcome.CLIENT_LEFT, reason)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _fail(
        self,
        termination: Termination,
        reason: str,
        outcome: Outcome = Outcome.CLIENT_LEFT,
        refusal: RequestRefused | None = None,
    ) -> None:
        """Answer with what happened; where the response has begun, abort it, so that it never looks complete."""
        self._drop()
        if self._response is not None:
            self._end(termination, outcome, reason)
            self._front.abort()
            return
        settings, method = self._settings, self._head.method
        answer = refused(refusal, settings) if refusal is not None else failed(termination, settings)
        self._record.status = answer.status
        self._record.bytes_out = 0 if method == b"HEAD" else len(answer.body)
        self._end(termination, outcome, reason)
        answer.send(self._front, method, refusal is not None or not self._upload.complete)

    def _lose_connection(self) -> BackendConnection | None:
        connection, self._connection = self._connection, None
        self._upload.lose()
        return connection

    def _drop(self) -> None:
        """Give up what is under way: cancel the connect, abort the connection."""
        if self._state == CONNECTING:
            self._attempts.cancel()
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _end(self, termination: Termination, outcome: Outcome, reason: str, now: float | None = None) -> None:
        """Give back what is out and log: once, whatever happens afterwards."""
        now = self._seconds() if now is None else now
        if not self._record.end(termination, now - self._begun, reason):
            return
        state, self._state = self._state, DONE
        self._timer.rest()
        self._timer.callback = nothing  # so that nothing of us is left in a circle
        if self._total is not None:
            self._total.cancel()
        if state != NEW:
            self._attempts.end(outcome, now)
        self._front.ended(self._record)
