"""An exchange's way to a backend: the first one, the one it queued for, and those of its retries; lease and connect.

Selection gives the order, policy and budget say whether there is another; each backend is leased once, and each lease
is given back once. It never sends anything and never decides what a failure means to the client.
"""

from balancer.core.lease import Lease, Outcome
from balancer.core.policies import RetryCondition
from balancer.core.record import ExchangeRecord
from balancer.core.traits import Traits
from balancer.core.upstream import Placement
from balancer.http.backend import BackendConnection, BackendOpener
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Attempt, Failed


class Attempts(Placement):
    """See the module. It knows its exchange only while it connects for it, so that the two make no circle.

    :ivar lease: the one that is out.
    """

    __slots__ = ("_attempt", "_budgeted", "_mark", "_record", "_retries", "_way", "lease")

    def __init__(self, way: HttpUpstream, traits: Traits, record: ExchangeRecord, now: float) -> None:
        super().__init__(way.upstream, traits, now)
        self.lease: Lease | None = None
        self._way = way
        self._record = record
        self._attempt: Attempt | None = None
        self._mark = now  # when the present step began: the queue, the connect, the wait for the first byte
        self._retries = 0
        self._budgeted = False

    def another(self, condition: RetryCondition | None, method: bytes, body_sent: bool, now: float) -> Lease | None:
        """The next backend after one that failed under this condition; the record says why there is none."""
        upstream, record = self.upstream, self._record
        policy = upstream.policy.retry
        if condition is None or self._retries >= policy.attempts or not policy.allows(condition, method, body_sent):
            return None
        lease = self.next(now)
        if lease is None:
            record.note("no retry: no other backend has room" if self.full else "no retry: there is no other backend")
            return None
        # The budget keeps a sick upstream from getting more work by being asked twice. A connect that failed gave
        # nobody any work, so moving on costs nothing of it: however many find a dead backend at once all move on.
        if condition != "connect-failure" and not self._budgeted:
            if not upstream.budget.begin(upstream.active):
                lease.release(Outcome.UNUSED, now)
                record.note("no retry: the budget is used up")
                return None
            self._budgeted = True
        self._retries += 1
        record.note(f"retry on {lease.backend.address}")
        return lease

    def use(self, lease: Lease, fresh: bool, now: float) -> BackendConnection | None:
        """A kept connection to this backend, unless a fresh one is wanted; ``None``: one is to be opened."""
        record = self._record
        if record.queue is None:
            record.queue = now - self._mark
        self.lease = lease
        self._mark = now
        record.backend = lease.backend.address
        record.attempts += 1
        connection = None if fresh else self._way.take(lease.backend, now)
        record.reused = connection is not None
        return connection

    def connect(self, user: BackendOpener, failed: Failed) -> None:
        """Open a connection to the backend of the lease that is out."""
        assert self.lease is not None
        self._attempt = self._way.connect(self.lease, user, failed)

    def connected(self, now: float) -> Lease:
        """There is a connection; the lease it is for."""
        assert self.lease is not None
        self._attempt = None
        self._record.connect = now - self._mark + (self._record.connect or 0.0)
        self._mark = now
        return self.lease

    def first_byte(self, now: float) -> None:
        """The backend began to answer."""
        lease = self.lease
        assert lease is not None
        if lease.latency is None:
            lease.first_byte(now)
            self._record.first_byte = now - self._mark

    def failed(self) -> bool:
        """The connect failed; whether it did so in the TLS handshake."""
        attempt, self._attempt = self._attempt, None
        return attempt is not None and attempt.handshaking

    def release(self, outcome: Outcome, now: float) -> None:
        """Give the lease back, if one is out."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release(outcome, now)

    def cancel(self) -> None:
        """Give up a connect that is under way."""
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None

    def end(self, outcome: Outcome, now: float) -> None:
        """The exchange is over."""
        self.release(outcome, now)
        if self._budgeted:
            self.upstream.budget.end()
