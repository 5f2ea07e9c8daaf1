"""What is tried again, and how much of it at one time."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.policies import IDEMPOTENT, RetryPolicy
from balancer.core.retry import RetryBudget


class Conditions(SynchronousTestCase):
    """Which failures may be tried again."""

    def test_nothing_sent(self) -> None:
        """A connect that failed may be tried again whatever the method: the server saw nothing."""
        self.assertTrue(RetryPolicy().allows("connect-failure", b"POST", False))

    def test_idempotent_only(self) -> None:
        """Once something was sent only idempotent methods are tried again (RFC 9110 section 9.2.2)."""
        for condition in ("reused-closed", "empty-response"):
            allowed = {
                m for m in (*IDEMPOTENT, b"POST", b"PATCH", b"CONNECT", b"get", b"FOO") if self.ask(condition, m)
            }
            self.assertEqual(allowed, IDEMPOTENT)

    def ask(self, condition: str, method: bytes) -> bool:
        """The default policy's word."""
        return RetryPolicy().allows(condition, method, False)

    def test_body_gone(self) -> None:
        """A body that has begun to be sent cannot be sent again."""
        self.assertFalse(RetryPolicy().allows("reused-closed", b"PUT", True))

    def test_listed_only(self) -> None:
        """What the policy does not name is not tried again."""
        self.assertFalse(self.ask("first-byte-timeout", b"GET"))
        self.assertTrue(RetryPolicy(on=("first-byte-timeout",)).allows("first-byte-timeout", b"GET", False))
        self.assertFalse(RetryPolicy(on=()).allows("connect-failure", b"GET", False))


class Budgets(SynchronousTestCase):
    """How much at one time."""

    @given(
        st.floats(0, 1),
        st.integers(0, 5),
        st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=60),
    )
    def test_never_exceeded(self, share: float, minimum: int, steps: list[int | None]) -> None:
        """No retry begins beyond the share of what is in flight or the minimum, none within it is refused, and
        those in flight are those begun and not ended."""
        budget = RetryBudget(RetryPolicy(budget=share, budget_minimum=minimum))
        active = refused = 0
        for in_flight in steps:
            if in_flight is None:
                if active:
                    budget.end()
                    active -= 1
            elif budget.begin(in_flight):
                active += 1
                self.assertTrue(active <= minimum or active <= share * in_flight)
            else:
                refused += 1
                self.assertTrue(active >= minimum and active + 1 > share * in_flight)
            self.assertEqual((budget.active, budget.refused), (active, refused))

    def test_default(self) -> None:
        """By default 3 are always allowed, and 20 % of more than 15 in flight."""
        budget = RetryBudget(RetryPolicy())
        self.assertEqual([budget.begin(1) for _ in range(4)], [True, True, True, False])
        self.assertEqual([budget.begin(25) for _ in range(3)], [True, True, False])

    def test_end_without_begin(self) -> None:
        """Ending what never began raises and changes nothing."""
        budget = RetryBudget(RetryPolicy())
        self.assertRaises(ValueError, budget.end)
        self.assertEqual(repr(budget), "<RetryBudget active=0 total=0 refused=0>")
