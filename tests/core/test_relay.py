"""What an end, a close or a reset of one connection means for the other."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.core.relay import Relay, Step
from balancer.core.termination import Termination

CLIENT, BACKEND = True, False


class RelayTests(SynchronousTestCase):
    """One rule each."""

    def setUp(self) -> None:
        self.relay = Relay()

    def finish(self) -> tuple[Termination | None, Outcome]:
        self.assertTrue(self.relay.over)
        return self.relay.cause, self.relay.outcome

    def test_an_end_goes_one_way(self) -> None:
        """The client's end is passed on and the answer goes on; with the backend's end both close; that is success."""
        self.assertIs(self.relay.ended(CLIENT), Step.END_OTHER)
        self.assertIs(self.relay.ended(BACKEND), Step.CLOSE_BOTH)
        self.relay.lost(BACKEND, True)
        self.assertIsNone(self.relay.cause)
        self.relay.lost(CLIENT, True)
        self.assertEqual(self.finish(), (Termination.DONE, Outcome.SUCCESS))

    def test_the_same_the_other_way_round(self) -> None:
        """The backend's end is passed on, and what the client still sends reaches it."""
        self.assertIs(self.relay.ended(BACKEND), Step.END_OTHER)
        self.assertIs(self.relay.ended(CLIENT), Step.CLOSE_BOTH)

    def test_an_end_told_twice_is_one(self) -> None:
        """A reactor that tells the end again changes nothing."""
        self.relay.ended(CLIENT)
        self.assertIs(self.relay.ended(CLIENT), Step.NOTHING)

    def test_where_the_other_cannot_half_close_it_is_closed(self) -> None:
        """Towards a client behind TLS the backend's end closes both."""
        self.assertIs(self.relay.ended(BACKEND, other_half_closes=False), Step.CLOSE_BOTH)

    def test_a_reset_is_passed_on_both_ways(self) -> None:
        """A reset of one side aborts the other; the backend is blamed only for its own."""
        self.assertIs(self.relay.lost(CLIENT, False, "reset by peer"), Step.ABORT_OTHER)
        self.relay.lost(BACKEND, False)
        self.assertEqual(self.finish(), (Termination.CLIENT_LEFT, Outcome.CLIENT_LEFT))
        self.assertEqual(self.relay.reason, "reset by peer")
        self.relay = Relay()
        self.assertIs(self.relay.lost(BACKEND, False), Step.ABORT_OTHER)
        self.relay.lost(CLIENT, False)
        self.assertEqual(self.finish(), (Termination.BACKEND_RESET, Outcome.RESET))

    def test_a_client_that_resets_while_it_is_answered(self) -> None:
        """A client that had ended and is gone before it has the answer: the backend is aborted at once."""
        self.relay.ended(CLIENT)
        self.assertIs(self.relay.lost(CLIENT, False), Step.ABORT_OTHER)
        self.assertIs(self.relay.cause, Termination.CLIENT_LEFT)

    def test_a_backend_that_ended_and_resets_has_sent_all(self) -> None:
        """A server that closed and resets what the client still sends takes nothing of the answer from the client."""
        self.relay.ended(BACKEND)
        self.assertIs(self.relay.lost(BACKEND, False), Step.CLOSE_OTHER)
        self.relay.lost(CLIENT, True)
        self.assertEqual(self.finish(), (Termination.DONE, Outcome.SUCCESS))

    def test_a_backend_that_resets_after_the_clients_end(self) -> None:
        """It aborts the client, for the answer may be cut; but many servers close so, and it is no failure."""
        self.relay.ended(CLIENT)
        self.assertIs(self.relay.lost(BACKEND, False), Step.ABORT_OTHER)
        self.assertEqual((self.relay.cause, self.relay.outcome), (Termination.BACKEND_RESET, Outcome.SUCCESS))

    def test_a_clean_close_of_both_directions_at_once(self) -> None:
        """TLS closes both directions: the other is closed once what is on its way is written."""
        self.assertIs(self.relay.lost(BACKEND, True), Step.CLOSE_OTHER)
        self.assertIs(self.relay.ended(CLIENT), Step.CLOSE_BOTH)
        self.relay.lost(CLIENT, True)
        self.assertEqual(self.finish(), (Termination.DONE, Outcome.SUCCESS))

    def test_the_first_cause_counts(self) -> None:
        """A timeout that aborts both is the cause, not the aborts that follow; and no failure of the backend."""
        self.relay.settle(Termination.TUNNEL_IDLE, "nothing for an hour")
        self.relay.lost(BACKEND, False)
        self.relay.lost(CLIENT, False)
        self.assertEqual(self.finish(), (Termination.TUNNEL_IDLE, Outcome.SUCCESS))
        self.assertEqual(self.relay.reason, "nothing for an hour")


class RelayLawTests(SynchronousTestCase):
    """Any order of events."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["end", "close", "reset"]), st.booleans()), max_size=8))
    def test_nobody_is_forgotten(self, events: list[tuple[str, bool]]) -> None:
        """Whenever one side is gone, or both have ended, every side that is left has been told to close or abort."""
        relay = Relay()
        gone: set[bool] = set()
        ended: set[bool] = set()
        told: set[bool] = set()
        for what, side in events:
            if side in gone:
                continue
            step = relay.ended(side) if what == "end" else relay.lost(side, what == "close")
            if what == "end":
                ended.add(side)
            else:
                gone.add(side)
            if step is Step.CLOSE_BOTH:
                told |= {CLIENT, BACKEND}
            elif step in (Step.CLOSE_OTHER, Step.ABORT_OTHER):
                told.add(not side)
            if gone or len(ended) == 2:
                self.assertTrue({CLIENT, BACKEND} <= told | gone, (events, relay))
            self.assertEqual(relay.over, len(gone) == 2)
            self.assertTrue(not relay.over or relay.cause is not None)
