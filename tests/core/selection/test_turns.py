"""Laws of smooth turns."""

from collections import Counter
from fractions import Fraction
from itertools import islice
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection import turns
from balancer.core.selection.turns import period, smooth

WEIGHTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def order(weights: list[int], number: int) -> list[int]:
    return list(islice(smooth(range(len(weights)), weights), number))


class SmoothTests(SynchronousTestCase):
    @given(WEIGHTS, st.integers(0, 500))
    @settings(max_examples=80, deadline=None)
    def test_exact_over_a_cycle(self, weights: list[int], start: int) -> None:
        """Over one cycle, wherever it is cut, each item comes exactly as often as its share says."""
        cycle = period(weights)
        shares = Counter({index: Fraction(weight * cycle, sum(weights)) for index, weight in enumerate(weights)})
        self.assertEqual(Counter(order(weights, start + cycle)[start:]), shares)

    @given(WEIGHTS)
    @settings(max_examples=60, deadline=None)
    def test_never_a_turn_off(self, weights: list[int]) -> None:
        """After any number of turns each weight has had its share of them, rounded down or up; spread cannot be
        better."""
        had: Counter[int] = Counter()
        for number, index in enumerate(order(weights, 2 * period(weights)), 1):
            had[weights[index]] += 1
            for weight, items in Counter(weights).items():
                self.assertLess(abs(had[weight] - Fraction(number * weight * items, sum(weights))), 1)

    @given(WEIGHTS)
    @settings(max_examples=60, deadline=None)
    def test_equals_take_turns(self, weights: list[int]) -> None:
        """Among items of one weight none comes twice before each of the others has come once."""
        for weight in set(weights):
            equals = [index for index in order(weights, 2 * period(weights)) if weights[index] == weight]
            number = weights.count(weight)
            self.assertTrue(all(len(set(equals[at : at + number])) == number for at in range(len(equals) - number)))

    def test_known_order(self) -> None:
        """Of 5, 1, 1 the light ones stand 4 and 3 turns apart (in nginx's order, aabacaa, 2 and 5)."""
        self.assertEqual("".join("abc"[index] for index in order([5, 1, 1], 14)), "aabaaac" * 2)

    def test_equal_weights_are_a_rotation(self) -> None:
        """Equal weights, whatever they are, mean one after the other."""
        self.assertEqual(order([7, 7, 7], 7), [0, 1, 2, 0, 1, 2, 0])

    def test_nothing(self) -> None:
        """No items, no turns."""
        self.assertEqual(order([], 3), [])
        self.assertEqual(period([]), 0)

    def test_long_cycles_are_not_kept(self) -> None:
        """A cycle too long to keep repeats exactly as one that is kept."""
        expected = order([5, 3, 1], 27)
        with mock.patch.object(turns, "RECORDED", 8):
            self.assertEqual(order([5, 3, 1], 27), expected)
