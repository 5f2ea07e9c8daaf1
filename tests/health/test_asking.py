"""Asking again and again: one question at a time, in the gate's places, until it is halted."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.health.asking import FIRST_WITHIN, Asking, Surroundings
from balancer.health.gate import Gate
from balancer.interfaces import ProbeResult


class AskingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.gate = Clock(), Gate(1)
        self.out: list[Deferred[ProbeResult]] = []
        self.results: list[ProbeResult] = []
        self.asking = self.another()

    def another(self) -> Asking:
        def ask() -> "Deferred[ProbeResult]":
            self.out.append(Deferred())
            return self.out[-1]

        def answered(result: ProbeResult, unexpected: Failure | None) -> None:
            self.results.append(result)
            asking.again(5.0)

        surroundings = Surroundings(self.clock, Random(1), self.gate, lambda name: self.fail(name))
        asking = Asking(surroundings, ask, 2.0, answered)
        return asking

    def test_again_and_again(self) -> None:
        """The first question comes soon, the next one as long after the answer as was said."""
        self.asking.start()
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((len(self.out), self.asking.asking), (1, True))
        self.out[0].callback(ProbeResult(True, "yes"))
        self.assertEqual((len(self.results), self.asking.asking, self.asking.active), (1, False, True))
        self.clock.advance(4.9)
        self.assertEqual(len(self.out), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.out), 2)

    def test_halt(self) -> None:
        """Halted, wherever it is, it asks no more and leaves its place to others; started again it asks once."""
        other = self.another()
        self.asking.start()
        self.clock.advance(FIRST_WITHIN)
        other.start()
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((len(self.out), other.active, other.asking), (1, True, False))  # it waits for the place
        other.halt()
        other.start()
        self.asking.halt()
        self.assertFalse(self.asking.active)
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((len(self.out), other.asking, self.results), (2, True, []))
        other.halt()
        self.assertEqual(self.clock.getDelayedCalls(), [])
