"""The tables of failures are complete."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.core.termination import Termination
from balancer.http.failures import connect_failure, response_failure


class FailureTests(SynchronousTestCase):
    """What a failure is called."""

    def test_connects(self) -> None:
        """Each kind of failed connect has its name; during the handshake it is TLS's."""
        for outcome, before, during in (
            (Outcome.CONNECT_REFUSED, Termination.CONNECT_REFUSED, Termination.CONNECT_REFUSED),
            (Outcome.CONNECT_TIMEOUT, Termination.CONNECT_TIMEOUT, Termination.BACKEND_TLS_TIMEOUT),
            (Outcome.CONNECT_FAILED, Termination.CONNECT_UNREACHABLE, Termination.BACKEND_TLS_FAILED),
            (Outcome.UNUSED, Termination.LIMIT, Termination.LIMIT),
        ):
            self.assertEqual(connect_failure(outcome, False), before)
            self.assertEqual(connect_failure(outcome, True), during)

    def test_only_what_came_to_nothing_may_be_retried(self) -> None:
        """A response that began is never tried again, and counts as the backend's failure."""
        for termination in (
            Termination.BACKEND_RESET,
            Termination.TRUNCATED_RESPONSE,
            Termination.MALFORMED_RESPONSE,
        ):
            for reused in (False, True):
                outcome, condition = response_failure(termination, reused)
                self.assertIsNone(condition)
                self.assertTrue(outcome.failure)

    def test_a_kept_connection_that_closed_blames_nobody(self) -> None:
        """It says nothing about the backend; a new one that closes does."""
        outcome, condition = response_failure(Termination.BACKEND_CLOSED_EARLY, True)
        self.assertEqual((outcome.failure, condition), (None, "reused-closed"))
        outcome, condition = response_failure(Termination.BACKEND_CLOSED_EARLY, False)
        self.assertEqual((outcome.failure, condition), (True, "empty-response"))
