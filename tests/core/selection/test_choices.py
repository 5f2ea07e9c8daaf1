"""The power of a few choices."""

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.choices import RANDOM, PowerOfChoices
from balancer.testing.selectors import options_with, picks, some_members


class RandomTests(SynchronousTestCase):
    def test_idle_by_weight(self) -> None:
        """An idle upstream is shared by weight."""
        members = some_members([1, 2, 5])
        had = Counter(picks(RANDOM.selector((), members, options_with(1)), 8000))
        for member in members:
            self.assertApproximates(had[member] / 8000, member.weight / 8, 0.02)

    def test_busy_by_weight(self) -> None:
        """With many leases out they stand in proportion to the weights, much nearer than one choice would bring."""
        spread = {}
        for choices in ("1", "2"):
            members = some_members([1, 2, 3, 4] * 5)
            selector = RANDOM.selector((choices,), members, options_with(2))
            for _ in range(1000):
                picks(selector, 1)[0].backend.active += 1
            loads = [member.backend.active / member.weight for member in members]
            spread[choices] = max(loads) - min(loads)
        self.assertLess(spread["2"], 8)
        self.assertLess(2 * spread["2"], spread["1"])

    def test_the_least_loaded_of_two(self) -> None:
        """Of two members random(2) takes the one with the smaller load for its weight."""
        members = some_members([2, 1])
        members[0].backend.active, members[1].backend.active = 5, 3
        had = Counter(picks(RANDOM.selector(("2",), members, options_with(3)), 200))
        self.assertGreater(had[members[0]], 190)

    def test_cost_is_asked_of_the_drawn_only(self) -> None:
        """The cost of two is looked at, not that of a thousand."""
        asked = []
        selector = PowerOfChoices(some_members([1] * 1000), 2, Random(1), lambda member: asked.append(member) or 0.0)
        picks(selector, 1)
        self.assertEqual(len(asked), 2)

    def test_arguments(self) -> None:
        """Only a number from 1 to 32 is an argument; two is what none means."""
        for good in ((), ("1",), ("32",)):
            RANDOM.check(good)
        for bad in (("0",), ("33",), ("two",), ("",), ("2", "3"), ("-1",), ("\u0662",)):
            with self.assertRaises(ValueError) as caught:
                RANDOM.check(bad)
            self.assertRegex(str(caught.exception), "from 1 to 32|one argument")
