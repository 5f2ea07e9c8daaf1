"""Which backends an exchange gets, one after the other: the first, the one it queued for, and those of its retries.

Selection gives the order, policy and budget say whether there is another; each backend is met once. It never connects.
"""

from balancer.core.lease import Lease, Outcome
from balancer.core.record import ExchangeRecord
from balancer.core.retry import RetryCondition
from balancer.core.traits import Traits
from balancer.core.upstream import Upstream


class Attempts:
    """See the module.

    :ivar full: some backend was passed over because it has no room.
    """

    __slots__ = ("_placement", "_record", "_retries", "upstream")

    def __init__(self, upstream: Upstream, traits: Traits, record: ExchangeRecord, now: float) -> None:
        self.upstream = upstream
        self._placement = upstream.place(traits, now)
        self._record = record
        self._retries = 0

    @property
    def full(self) -> bool:
        """Whether waiting may help."""
        return self._placement.full

    def first(self, now: float) -> Lease | None:
        """The best backend, if one is available and has room."""
        return self._placement.next(now)

    def vacancy(self, now: float) -> Lease | None:
        """After a wait: the same question again."""
        return self._placement.again(now)

    def another(self, condition: RetryCondition | None, method: bytes, body_sent: bool, now: float) -> Lease | None:
        """The next backend after one that failed under this condition; the record says why there is none."""
        policy, record = self.upstream.policy.retry, self._record
        if condition is None or self._retries >= policy.attempts or not policy.allows(condition, method, body_sent):
            return None
        lease = self._placement.next(now)
        if lease is None:
            record.note("no retry: no other backend has room" if self.full else "no retry: there is no other backend")
            return None
        if not self._retries and not self.upstream.budget.begin(self.upstream.active):
            lease.release(Outcome.UNUSED, now)
            record.note("no retry: the budget is used up")
            return None
        self._retries += 1
        record.note(f"retry on {lease.backend.address}")
        return lease

    def end(self) -> None:
        """The exchange is over."""
        if self._retries:
            self.upstream.budget.end()
