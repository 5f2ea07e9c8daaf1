"""Laws of drawing by weight."""

from collections import Counter
from fractions import Fraction
from itertools import islice
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.draw import Draw, columns
from balancer.testing.selectors import some_members


class DrawTests(SynchronousTestCase):
    @given(st.lists(st.integers(1, 2560), min_size=1, max_size=30))
    @settings(max_examples=80, deadline=None)
    def test_columns_hold_the_weights(self, weights: list[int]) -> None:
        """The parts of all columns sum to each weight's share of the whole."""
        thresholds, aliases = columns(weights)
        shares: Counter[int] = Counter()
        for index, (threshold, alias) in enumerate(zip(thresholds, aliases, strict=True)):
            self.assertTrue(0 <= threshold - index <= 1)
            shares[index] += threshold - index
            shares[alias] += index + 1 - threshold
        for index, weight in enumerate(weights):
            self.assertAlmostEqual(shares[index], float(Fraction(weight * len(weights), sum(weights))), places=9)

    def test_shares_follow_weights(self) -> None:
        """Of many draws each member gets its share by weight, within four standard deviations."""
        members = some_members([1, 2, 3, 4, 90])
        draw = Draw(members, Random(7))
        number = 20000
        had = Counter(draw.one() for _ in range(number))
        for member in members:
            share = member.weight / 100
            self.assertLess(abs(had[member] - number * share), 4 * (number * share * (1 - share)) ** 0.5)

    def test_second_choices_follow_weights(self) -> None:
        """What one member cannot serve spreads over the others by weight."""
        members = some_members([50, 1, 3])
        draw = Draw(members, Random(8))
        had = Counter(next(draw.others({members[0]})) for _ in range(4000))
        self.assertEqual(set(had), set(members[1:]))
        self.assertApproximates(had[members[2]] / 4000, 0.75, 0.03)

    @given(st.lists(st.integers(1, 300), max_size=20), st.integers(1, 25), st.randoms(use_true_random=False))
    @settings(max_examples=60, deadline=None)
    def test_several_differ(self, weights: list[int], count: int, random: Random) -> None:
        """Several are different ones, never more than asked for, and at least one where there is one."""
        members = some_members(weights)
        drawn = Draw(members, random).several(count)
        self.assertEqual(len(drawn), len(set(drawn)))
        self.assertTrue(min(1, len(members)) <= len(drawn) <= count)

    def test_two_of_two(self) -> None:
        """Two drawn of two equals are nearly always both."""
        draw = Draw(some_members([1, 1]), Random(2))
        both = sum(len(draw.several(2)) == 2 for _ in range(1000))
        self.assertGreater(both, 990)

    def test_others_stop_where_asked(self) -> None:
        """The others can be left after the first; those already taken never come."""
        members = some_members([1] * 50)
        taken = set(members[:48])
        self.assertEqual(set(islice(Draw(members, Random(1)).others(taken), 2)), set(members[48:]))
