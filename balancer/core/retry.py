"""Whether a failed attempt is tried again: which failures, how often, and how much of it all at once.

Sources: RFC 9110 section 9.2.2 (idempotent methods may be retried automatically), Envoy's retry budget (a share of
the requests in flight, with a minimum). It never picks the next backend: candidates come in order from selection.
"""

from balancer.core.policies import RetryPolicy


class RetryBudget:
    """Counts the retries in flight of one upstream against its budget.

    :ivar active: retries in flight.
    :ivar total: retries ever made.
    :ivar refused: retries the budget did not allow.
    """

    __slots__ = ("active", "policy", "refused", "total")

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self.active = 0
        self.total = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<RetryBudget active={self.active} total={self.total} refused={self.refused}>"

    def begin(self, in_flight: int) -> bool:
        """Ask for one retry while so many requests are in flight; where it is given, :meth:`end` must follow."""
        if self.active >= max(self.policy.budget_minimum, int(self.policy.budget * in_flight)):
            self.refused += 1
            return False
        self.active += 1
        self.total += 1
        return True

    def end(self) -> None:
        """A retry's exchange ended.

        :raises ValueError: none is in flight.
        """
        if not self.active:
            raise ValueError("no retry is in flight")
        self.active -= 1
