"""Turns among members that come and go."""

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.roundrobin import ROUND_ROBIN, START_WITHIN, STATIC, RoundRobin
from balancer.core.selection.turns import period
from balancer.core.traits import NOTHING_KNOWN
from balancer.testing.selectors import options_with, picks, some_members

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


class RoundRobinTests(SynchronousTestCase):
    @given(WEIGHTS, st.integers(0, 1000))
    @settings(max_examples=60, deadline=None)
    def test_exact_shares(self, weights: list[int], seed: int) -> None:
        """Over one cycle, wherever it begins, each member is picked exactly as often as its weight says."""
        members = some_members(weights)
        had = Counter(picks(RoundRobin(members, options_with(seed)), period(weights)))
        for member in members:
            self.assertEqual(had[member], Fraction(member.weight * period(weights), sum(weights)))

    @given(WEIGHTS, st.integers(0, 2**8 - 1))
    @settings(max_examples=60, deadline=None)
    def test_the_others_take_over_in_proportion(self, weights: list[int], out: int) -> None:
        """Turns of members that are not usable go to the usable ones, again exactly by weight."""
        members = some_members(weights)
        selector = RoundRobin(members, options_with())
        for index, member in enumerate(members):
            member.usable = not out >> index & 1
        selector.refresh()
        usable = [member for member in members if member.usable]
        left = [member.weight for member in usable]
        had = Counter(picks(selector, period(left)) if left else [])
        self.assertEqual(had, Counter({member: member.weight * period(left) // sum(left) for member in usable}))

    def test_second_candidates_cost_no_turn(self) -> None:
        """Reading all the candidates of one request takes one turn, so shares stay exact."""
        members = some_members([3, 2, 1])
        selector = RoundRobin(members, options_with())
        had = Counter(list(selector.candidates(NOTHING_KNOWN))[0] for _ in range(6))
        self.assertEqual([had[member] for member in members], [3, 2, 1])

    def test_candidates_that_nobody_reads_cost_no_turn(self) -> None:
        """A turn is taken when the first candidate is read, not when candidates are asked for."""
        selector = RoundRobin(some_members([1, 1]), options_with())
        one = picks(selector, 1)
        selector.candidates(NOTHING_KNOWN)
        self.assertNotEqual(picks(selector, 1), one)

    def test_rebuilt_ones_do_not_all_begin_alike(self) -> None:
        """Rebuilt before every pick, members still get about their shares: nobody is always the first."""
        members, options = some_members([5, 3, 2]), options_with(3)
        had = Counter(picks(RoundRobin(members, options), 1)[0] for _ in range(3000))
        for member in members:
            self.assertApproximates(had[member] / 3000, member.weight / 10, 0.04)

    def test_a_long_cycle_begins_anywhere(self) -> None:
        """In a cycle of thousands of turns the first pick after a rebuild may be any of them."""
        members, options = some_members([1] * 4 * START_WITHIN), options_with(3)
        quarters = Counter(members.index(picks(RoundRobin(members, options), 1)[0]) // START_WITHIN for _ in range(30))
        self.assertEqual(set(quarters), {0, 1, 2, 3})

    def test_slow_start(self) -> None:
        """roundrobin goes by the effective weight, static-rr by the configured one."""
        members = some_members([10, 10])
        members[0].weight = 1
        for kind, share in ((ROUND_ROBIN, 1), (STATIC, 5)):
            with self.subTest(share=share):
                had = Counter(picks(kind.selector((), members, options_with()), 11 if share == 1 else 10))
                self.assertEqual(had[members[0]], share)
