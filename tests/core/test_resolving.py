"""What is known of a host name."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.resolving import Answer, NameMachine, Reply, ResolvePolicy

FOUR = Answer(("10.0.0.2", "10.0.0.1"), 60)
SIX = Answer(("fd00::1",), 30)
NONE = Answer((), 0)

NO_JITTER = ResolvePolicy(jitter=0)

families = st.lists(st.integers(0, 2**32 - 1), max_size=5)


def replies(shape: str) -> st.SearchStrategy[Reply]:
    """Answers with addresses of one family, repeats among them, and failures."""
    answers = st.builds(
        lambda numbers, ttl: Answer(tuple(shape.format(n % 3, n % 7) for n in numbers), ttl),
        families,
        st.floats(0, 1e6),
    )
    return st.one_of(st.text(min_size=1, max_size=5), answers)


class Results(SynchronousTestCase):
    def test_both_families_are_taken_ipv4_first_in_the_order_of_numbers(self) -> None:
        """The addresses of both families hold, in an order that the rotation of answers does not change."""
        machine = NameMachine(NO_JITTER)
        self.assertTrue(machine.result(FOUR, SIX))
        self.assertEqual(machine.addresses, ("10.0.0.1", "10.0.0.2", "fd00::1"))
        self.assertFalse(machine.result(Answer(("10.0.0.1", "10.0.0.2"), 60), SIX))

    def test_whatever_brings_no_address_keeps_the_last_good_set(self) -> None:
        """Failures and empty answers change nothing but the trouble."""
        machine = NameMachine(NO_JITTER)
        machine.result(FOUR, SIX)
        for four, six, trouble in (
            ("gone", "gone", "gone"),
            (NONE, NONE, "the name has no address"),
            ("late", NONE, "late"),
            ("late", "gone", "late; gone"),
        ):
            self.assertFalse(machine.result(four, six))
            self.assertEqual(machine.addresses, ("10.0.0.1", "10.0.0.2", "fd00::1"))
            self.assertEqual(machine.trouble, trouble)

    def test_a_family_that_fails_keeps_its_last_good_addresses_while_the_other_changes(self) -> None:
        """A failure of the AAAA question does not hold back what the A question brings, nor drop IPv6."""
        machine = NameMachine(NO_JITTER)
        machine.result(FOUR, SIX)
        self.assertTrue(machine.result(Answer(("10.0.0.9",), 60), "late"))
        self.assertEqual(machine.addresses, ("10.0.0.9", "fd00::1"))
        self.assertEqual((machine.trouble, machine.failures), ("late", 0))

    def test_a_family_that_answers_that_it_has_none_loses_its_addresses(self) -> None:
        """An empty answer beside a full one is knowledge: the name has no such address any more."""
        machine = NameMachine(NO_JITTER)
        machine.result(FOUR, SIX)
        machine.result(FOUR, NONE)
        self.assertEqual(machine.addresses, ("10.0.0.1", "10.0.0.2"))

    def test_more_addresses_than_allowed_are_cut_and_said(self) -> None:
        """A name with thousands of addresses costs no more than the limit."""
        machine = NameMachine(ResolvePolicy(max_addresses=2))
        machine.result(FOUR, SIX)
        self.assertEqual(machine.addresses, ("10.0.0.1", "10.0.0.2"))
        self.assertEqual(machine.trouble, "it has 3 addresses, 2 are used")

    @given(st.lists(st.tuples(replies("10.0.{}.{}"), replies("fd00::{}:{}")), max_size=8))
    def test_law_addresses_are_sorted_unique_and_never_lost_for_nothing(self, rounds: list) -> None:
        """Whatever is replied, addresses are unique, at most as many as allowed, and once there never none again."""
        machine = NameMachine(ResolvePolicy(max_addresses=4))
        for four, six in rounds:
            before = machine.addresses
            changed = machine.result(four, six)
            self.assertEqual(changed, machine.addresses != before)
            self.assertEqual(len(set(machine.addresses)), len(machine.addresses))
            self.assertLessEqual(len(machine.addresses), 4)
            self.assertTrue(machine.addresses or not before)


class Waits(SynchronousTestCase):
    def test_the_shortest_ttl_counts(self) -> None:
        """The next question comes when the first of the records ends."""
        machine = NameMachine(NO_JITTER)
        machine.result(FOUR, SIX)
        self.assertEqual(machine.wait(Random(1)), 30)

    def test_an_empty_family_has_no_say_in_the_wait(self) -> None:
        """A name without IPv6 is asked for at the TTL of its IPv4 records."""
        machine = NameMachine(NO_JITTER)
        machine.result(FOUR, NONE)
        self.assertEqual(machine.wait(Random(1)), 60)

    def test_failures_back_off_by_doubling_up_to_the_bound(self) -> None:
        """1, 2, 4 ... 60 seconds, and back to the TTL with the first good answer."""
        machine = NameMachine(NO_JITTER)
        waits = []
        for _ in range(8):
            machine.result("late", "late")
            waits.append(machine.wait(Random(1)))
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60])
        machine.result(FOUR, SIX)
        self.assertEqual(machine.wait(Random(1)), 30)

    @given(st.floats(0, 1e9), st.integers())
    def test_law_the_wait_is_the_ttl_within_its_bounds_and_at_most_the_jitter_longer(
        self, ttl: float, seed: int
    ) -> None:
        """No TTL makes us ask more often than min_ttl or less often than max_ttl and its jitter."""
        policy = ResolvePolicy()
        machine = NameMachine(policy)
        machine.result(Answer(("10.0.0.1",), ttl), NONE)
        base = min(max(ttl, policy.min_ttl), policy.max_ttl)
        self.assertTrue(base <= machine.wait(Random(seed)) <= base * (1 + policy.jitter))

    @given(st.integers(1, 100_000))
    def test_law_no_number_of_failures_overflows(self, failures: int) -> None:
        """A name that has been failing for a year is still asked for once in max_retry."""
        machine = NameMachine(NO_JITTER)
        machine.result("late", "late")
        machine.failures = failures
        self.assertLessEqual(machine.wait(Random(1)), 60)
