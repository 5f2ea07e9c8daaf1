"""One probe and its deadline."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.errors import UnknownName
from balancer.health.attempt import MAX_REASON, Attempt
from balancer.interfaces import ProbeResult
from balancer.testing.turns import TurningLoop

PASSED = ProbeResult(True, "fine")


class AttemptCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.results: list[ProbeResult] = []
        self.unexpected: list[Failure | None] = []

    def done(self, result: ProbeResult, unexpected: Failure | None) -> None:
        self.results.append(result)
        self.unexpected.append(unexpected)

    def attempt(self, probe: Callable[[], Any], timeout: float = 2) -> Attempt:
        attempt = Attempt(probe, timeout, self.clock, self.done)
        attempt.start()
        return attempt


class Ends(AttemptCase):
    def test_a_result_ends_it_and_its_deadline(self) -> None:
        """A probe that answers, at once or later, is told once and leaves no timer."""
        later: Deferred[ProbeResult] = Deferred()
        self.attempt(lambda: succeed(PASSED))
        self.attempt(lambda: later)
        later.callback(PASSED)
        self.assertEqual((self.results, self.unexpected), ([PASSED, PASSED], [None, None]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_deadline_cancels_the_probe_and_is_a_failure_in_words(self) -> None:
        """At exactly its timeout the probe is cancelled and has failed: no answer within so many seconds."""
        cancelled: list[object] = []
        self.attempt(lambda: Deferred(cancelled.append))
        self.clock.advance(1.99)
        self.assertEqual((self.results, cancelled), ([], []))
        self.clock.advance(0.01)
        self.assertEqual(self.results, [ProbeResult(False, "no answer within 2 s")])
        self.assertEqual((len(cancelled), self.clock.getDelayedCalls()), (1, []))

    def test_an_answer_to_the_cancelling_is_not_taken_for_a_result(self) -> None:
        """A plugin that answers when it is cancelled is too late all the same."""
        self.attempt(lambda: Deferred(lambda probe: probe.callback(PASSED)))
        self.clock.advance(2)
        self.assertEqual([result.passed for result in self.results], [False])

    def test_an_answer_in_time_counts_however_late_the_loop_is(self) -> None:
        """Where the loop was away until after the deadline, it listens to its sockets before the probe has failed."""
        loop = TurningLoop()
        probe: Deferred[ProbeResult] = Deferred()
        Attempt(lambda: probe, 2, loop, self.done).start()
        loop.ready.append(lambda: loop.line.append(lambda: probe.callback(PASSED)))
        loop.turn(3)
        for _ in range(5):
            loop.turn(0)
        self.assertEqual(self.results, [PASSED])
        self.assertEqual(loop.getDelayedCalls(), [])

    def test_cancelled_when_its_time_is_over(self) -> None:
        """It can be taken back also in the moment between its deadline and its end; twice is once."""
        loop = TurningLoop()
        attempt = Attempt(lambda: Deferred(), 2, loop, self.done)
        attempt.start()
        loop.turn(3)
        attempt.cancel()
        attempt.cancel()
        for _ in range(5):
            loop.turn(0)
        self.assertEqual((self.results, loop.line), ([], []))

    def test_cancel_tells_nobody_and_leaves_nothing(self) -> None:
        """A probe that is not wanted any more is cancelled, its deadline too."""
        cancelled: list[object] = []
        self.attempt(lambda: Deferred(cancelled.append)).cancel()
        self.assertEqual((self.results, len(cancelled), self.clock.getDelayedCalls()), ([], 1, []))

    def test_what_goes_wrong_in_closing_is_logged(self) -> None:
        """A plugin that fails to close says so in the log, where it can be found."""
        attempt = self.attempt(lambda: Deferred(lambda probe: probe.errback(OSError("stuck"))))
        attempt.cancel()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class Failures(AttemptCase):
    def test_a_failure_that_says_why_is_a_failed_probe(self) -> None:
        """Our own errors carry the reason; they are nothing unexpected."""
        self.attempt(lambda: fail(UnknownName("no such probe")))
        self.assertEqual(self.results, [ProbeResult(False, "the probe failed: no such probe")])
        self.assertEqual(self.unexpected, [None])

    def test_a_plugin_that_raises_has_failed_and_it_is_unexpected(self) -> None:
        """Any exception, raised or in the Deferred, is a failed probe whose reason names it."""

        def raises() -> Any:
            raise RuntimeError("oh")

        self.attempt(raises)
        self.attempt(lambda: fail(RuntimeError("oh")))
        self.assertEqual(self.results, [ProbeResult(False, "the probe failed: RuntimeError: oh")] * 2)
        self.assertTrue(all(isinstance(failure, Failure) for failure in self.unexpected))

    def test_a_plugin_that_answers_something_else_has_failed(self) -> None:
        """True is no ProbeResult."""
        self.attempt(lambda: succeed(True))
        self.assertEqual(self.results[0].reason, "the probe plugin answered True instead of a ProbeResult")
        self.assertIsNotNone(self.unexpected[0])

    def test_a_reason_of_any_length_is_cut(self) -> None:
        """Reasons go into events and pages, and a backend may have written them."""
        self.attempt(lambda: succeed(ProbeResult(False, "x" * 10_000)))
        self.attempt(lambda: fail(RuntimeError("x" * 10_000)))
        self.assertEqual([len(result.reason) for result in self.results], [MAX_REASON, MAX_REASON])

    def test_a_listener_that_raises_is_logged(self) -> None:
        """An error in taking the result is seen, and does not vanish in a Deferred."""

        def broken(result: ProbeResult, unexpected: Failure | None) -> None:
            raise RuntimeError("broken")

        Attempt(lambda: succeed(PASSED), 2, self.clock, broken).start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
