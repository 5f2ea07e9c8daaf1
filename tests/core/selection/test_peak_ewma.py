"""Latency, its peaks and how they are forgotten."""

from collections import Counter
from dataclasses import replace
from math import exp

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.peak_ewma import PEAK_EWMA, WORST, PeakEwma
from balancer.testing.selectors import HandClock, a_member, options_with, picks, some_members


class PeakEwmaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HandClock()
        self.options = replace(options_with(1), seconds=self.clock.seconds)
        self.members = some_members([1, 1])
        self.selector = PeakEwma(self.members, self.options, decay=10.0)

    def hear(self, index: int, latency: float) -> None:
        self.selector.observe(self.members[index], latency, self.clock.now)

    def test_the_quick_one(self) -> None:
        """Of two the one that answers sooner is taken."""
        self.hear(0, 0.2)
        self.hear(1, 0.1)
        self.assertGreater(Counter(picks(self.selector, 100))[self.members[1]], 95)

    def test_leases_out_count(self) -> None:
        """Latency counts once for each lease out and the one to come."""
        self.hear(0, 0.1)
        self.hear(1, 0.15)
        self.members[0].backend.active = 1
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 0.2)
        self.assertGreater(Counter(picks(self.selector, 100))[self.members[1]], 95)

    def test_weight_divides(self) -> None:
        """Twice the weight is half the cost."""
        self.hear(0, 0.1)
        self.members[0].weight = 2
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 0.05)

    def test_peaks_at_once_and_recovery_by_time(self) -> None:
        """A latency above the average becomes the average; a lower one is approached with the time constant."""
        self.hear(0, 0.1)
        self.hear(0, 2.0)
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 2.0)
        self.clock.now = 10.0
        self.hear(0, 0.1)
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 2.0 * exp(-1) + 0.1 * (1 - exp(-1)))

    def test_silence_forgives(self) -> None:
        """A slow one that is left alone is forgotten with the time constant, and so tried again."""
        self.hear(0, 2.0)
        self.clock.now = 30.0
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 2.0 * exp(-3))

    def test_the_unknown_is_tried_once(self) -> None:
        """A new member is taken at once, and not again before it has answered."""
        self.hear(0, 0.1)
        self.assertGreater(Counter(picks(self.selector, 100))[self.members[1]], 95)
        self.members[1].backend.active = 1
        self.members[0].backend.active = 50
        self.assertGreater(Counter(picks(self.selector, 100))[self.members[0]], 95)

    def test_failing_quickly_is_not_being_quick(self) -> None:
        """A failure doubles what is remembered, up to a limit, however soon it came."""
        self.hear(0, 0.1)
        self.members[0].backend.failures_in_row = 1
        self.hear(0, 0.001)
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 0.2)
        for _ in range(50):
            self.hear(0, 0.001)
        self.assertAlmostEqual(self.selector.cost(self.members[0]), WORST)

    def test_a_clock_that_stands_or_goes_back(self) -> None:
        """An observation older than the last one changes nothing about the past."""
        self.clock.now = 10.0
        self.hear(0, 0.5)
        self.selector.observe(self.members[0], 0.1, 4.0)
        self.assertAlmostEqual(self.selector.cost(self.members[0]), 0.5)

    def test_memory_outlives_a_rebuild(self) -> None:
        """The successor knows what was learned of backends that stayed, and nothing of those that left."""
        self.hear(0, 0.3)
        self.hear(1, 0.4)
        successor = PeakEwma((self.members[0], a_member(9)), self.options)
        successor.inherit(self.selector)
        self.assertAlmostEqual(successor.cost(self.members[0]), 0.3)
        self.assertEqual(successor.cost(self.members[1]), 0.0)

    def test_arguments(self) -> None:
        """The decay is a duration from 1 ms to 1 h."""
        for good in ((), ("5s",), ("250ms",), ("1h",)):
            PEAK_EWMA.check(good)
        for bad in (("5",), ("2h",), ("0s",), ("soon",), ("1s", "2s")):
            with self.assertRaises(ValueError):
                PEAK_EWMA.check(bad)
