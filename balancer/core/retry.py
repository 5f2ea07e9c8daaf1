"""Whether a failed attempt is tried again: which failures, how often, and how much of it all at once.

Sources: RFC 9110 section 9.2.2 (idempotent methods may be retried automatically), Envoy's retry budget (a share of
the requests in flight, with a minimum). It never picks the next backend: candidates come in order from selection.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import Doc

from balancer.core.units import Count, CountOrZero, Share

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"})
"""RFC 9110 section 9.2.2, and QUERY (safe by its definition)."""

RetryCondition = Literal["connect-failure", "reused-closed", "empty-response", "first-byte-timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What may be tried again."""

    __pydantic_config__ = {"extra": "forbid"}

    attempts: Annotated[
        CountOrZero, Doc("Further attempts after the first, each on another backend; 0 turns retries off.")
    ] = 1
    connects: Annotated[
        Count,
        Doc(
            "Servers tried for one TCP connection (mode tcp) at most, which failed connects alone decide: eight at 3 s "
            "each are as long as people wait, and bound the SYNs one client can cause."
        ),
    ] = 8
    on: Annotated[
        tuple[RetryCondition, ...],
        Doc(
            "Failures that are tried again: `connect-failure` (nothing was sent, any method), `reused-closed` (a kept "
            "connection closed before any byte), `empty-response` (a new one did), `first-byte-timeout`; the last "
            "three only for idempotent methods whose body, if any, has not begun to be sent."
        ),
    ] = ("connect-failure", "reused-closed", "empty-response")
    budget: Annotated[
        Share,
        Doc(
            "Retries in flight at most, as a share of the upstream's requests in flight. Failed connects, which gave "
            "no server any work, do not count."
        ),
    ] = 0.2
    budget_minimum: Annotated[CountOrZero, Doc("Retries in flight that are always allowed.")] = 3

    def allows(self, condition: RetryCondition, method: bytes, body_sent: bool) -> bool:
        """Whether this kind of failure may be tried again at all."""
        if condition not in self.on:
            return False
        return condition == "connect-failure" or (method in IDEMPOTENT and not body_sent)


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
