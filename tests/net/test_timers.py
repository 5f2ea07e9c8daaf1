"""Laws of the timer wheel, on a virtual clock."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.timers import TimerWheel
from balancer.testing.turns import TurningLoop

TICK = 0.1
SLACK = 1e-6


class TimerWheelTests(SynchronousTestCase):
    """One timer, then several."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1234.567
        self.wheel = TimerWheel(self.clock, TICK)
        self.fired: list[float] = []

    def fire(self) -> None:
        self.fired.append(self.clock.seconds())

    def run_for(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def test_it_fires_once_not_early_and_at_most_a_tick_late(self) -> None:
        """A timer of one second fires once, between 1.0 and 1.1 seconds later."""
        due = self.clock.seconds() + 1.0
        timer = self.wheel.schedule(1.0, self.fire)
        self.assertTrue(timer.active)
        self.run_for(3)
        self.assertEqual(len(self.fired), 1)
        self.assertTrue(due <= self.fired[0] <= due + TICK + 0.01 + SLACK, self.fired)
        self.assertFalse(timer.active)

    def test_a_clock_at_rest_has_no_call(self) -> None:
        """The wheel asks the reactor for calls only while a timer is pending."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        first, second = self.wheel.schedule(5, self.fire), self.wheel.schedule(9, self.fire)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        first.cancel()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        second.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wheel.schedule(1, self.fire)
        self.run_for(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_sleeps_until_the_first_bucket(self) -> None:
        """A far timer costs one call to the reactor, not one a tick; a nearer one moves that call."""
        self.wheel.schedule(3600, self.fire)
        (call,) = self.clock.getDelayedCalls()
        self.assertGreater(call.getTime() - self.clock.seconds(), 3599)
        self.wheel.schedule(1, self.fire)
        (call,) = self.clock.getDelayedCalls()
        self.assertLess(call.getTime() - self.clock.seconds(), 1.2)

    def test_rearming_moves_it_later(self) -> None:
        """A timer that is re-armed again and again fires only when that stops."""
        timer = self.wheel.schedule(1.0, self.fire)
        for _ in range(50):
            self.clock.advance(0.5)
            timer.rearm(1.0)
        self.assertEqual(self.fired, [])
        stopped = self.clock.seconds()
        self.run_for(2)
        self.assertEqual(len(self.fired), 1)
        self.assertTrue(stopped + 1.0 <= self.fired[0] <= stopped + 1.0 + TICK + 0.01 + SLACK)

    def test_rearming_moves_it_earlier(self) -> None:
        """A timer re-armed to an earlier time fires then."""
        timer = self.wheel.schedule(3600, self.fire)
        timer.rearm(0.5)
        self.run_for(1)
        self.assertEqual(len(self.fired), 1)

    def test_rearming_revives_it(self) -> None:
        """One that fired, and one that was cancelled, can be armed again."""
        timer = self.wheel.schedule(0.2, self.fire)
        self.run_for(1)
        timer.rearm(0.2)
        self.run_for(1)
        self.assertEqual(len(self.fired), 2)
        timer.cancel()
        timer.rearm(0.2)
        timer.cancel()
        timer.cancel()
        self.run_for(1)
        self.assertEqual(len(self.fired), 2)

    def test_a_callback_that_raises_is_logged(self) -> None:
        """A callback that raises is logged and does not stop the others of its bucket."""

        def fail() -> None:
            raise ZeroDivisionError("on purpose")

        self.wheel.schedule(0.55, self.fire)
        self.wheel.schedule(0.55, fail)
        self.wheel.schedule(0.55, self.fire)
        self.run_for(1)
        self.assertEqual(len(self.fired), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_callback_may_cancel_and_schedule(self) -> None:
        """A callback may cancel its neighbour, and schedule at once without end: each fires in a tick of its own."""
        neighbours = []

        def again() -> None:
            self.fire()
            self.wheel.schedule(0, again)

        def first() -> None:
            for timer in neighbours:
                timer.cancel()
            self.wheel.schedule(0, again)

        neighbours.append(self.wheel.schedule(0.5, first))
        neighbours.append(self.wheel.schedule(0.5, lambda: self.fail("was cancelled")))
        self.run_for(1)
        self.assertTrue(4 <= len(self.fired) <= 6, self.fired)

    def test_what_is_cancelled_is_not_kept(self) -> None:
        """Timers of an hour that are cancelled at once leave nothing in the wheel."""
        keep = self.wheel.schedule(3600, self.fire)
        for _ in range(1000):
            self.wheel.schedule(3600, self.fire).cancel()
        self.assertEqual(len(self.wheel), 1)
        self.assertEqual(sum(map(len, self.wheel._buckets.values())), 1)
        keep.cancel()

    def test_it_rests(self) -> None:
        """One that rests does not fire, is not active, leaves the wheel by itself, and can be armed again."""
        timer = self.wheel.schedule(1.0, self.fire)
        timer.rest()
        self.assertFalse(timer.active)
        self.run_for(2)
        self.assertEqual((self.fired, len(self.wheel)), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        timer.rearm(1.0)
        timer.rest()
        timer.rearm(0.3)
        due = self.clock.seconds() + 0.3
        self.run_for(2)
        self.assertEqual(len(self.fired), 1)
        self.assertTrue(due <= self.fired[0] <= due + TICK + 0.01 + SLACK)
        timer.rest()
        timer.cancel()

    def test_one_timer_serves_one_user_after_the_other(self) -> None:
        """The call that is set when it fires is the one that is made."""
        timer = self.wheel.schedule(1.0, lambda: self.fail("the former user"))
        timer.callback = self.fire
        self.run_for(2)
        self.assertEqual(len(self.fired), 1)

    def test_a_leap_of_the_clock_fires_all(self) -> None:
        """After a long pause of the process every timer that is due fires."""
        for delay in (0.5, 7, 70, 700):
            self.wheel.schedule(delay, self.fire)
        self.clock.advance(1000)
        self.assertEqual(len(self.fired), 4)


class LateLoopTests(SynchronousTestCase):
    """What is due in a loop that is late."""

    def setUp(self) -> None:
        self.loop = TurningLoop()
        self.wheel = TimerWheel(self.loop, TICK)
        self.fired: list[float] = []

    def fire(self) -> None:
        self.fired.append(self.loop.seconds())

    def test_what_has_arrived_comes_before_the_timeout(self) -> None:
        """A loop that was away until after the deadline looks at its sockets first, and hears out what they put in
        line: what they cancel does not fire, and what they re-arm fires later."""
        cancelled = self.wheel.schedule(1.0, self.fire)
        rearmed = self.wheel.schedule(1.0, self.fire)
        rested = self.wheel.schedule(1.0, self.fire)

        def connected() -> None:
            cancelled.cancel()
            rearmed.rearm(5.0)
            rested.rest()

        self.loop.ready.append(lambda: self.loop.line.append(connected))  # uvloop tells of a connection a turn later
        self.loop.turn(4.0)
        for _ in range(10):
            self.loop.turn(0.0)
        self.assertEqual(self.fired, [])
        self.assertTrue(rearmed.active)
        self.loop.turn(5.2)
        for _ in range(10):
            self.loop.turn(0.0)
        self.assertEqual(len(self.fired), 1)
        self.assertEqual(len(self.wheel), 0)

    def test_each_has_its_look(self) -> None:
        """A timer that comes due while the loop looks for the sake of another waits for a look of its own."""
        self.wheel.schedule(1.0, self.fire)
        later = self.wheel.schedule(4.1, self.fire)
        self.loop.turn(4.0)
        self.loop.ready.append(later.cancel)
        while not self.fired:
            self.loop.turn(1.0)
        for _ in range(10):
            self.loop.turn(1.0)
        self.assertEqual(len(self.fired), 1)

    def test_one_that_is_due_again_and_again(self) -> None:
        """What is armed and cancelled while the loop looks neither stops the others nor fires without a look."""
        self.wheel.schedule(1.0, self.fire)
        self.loop.turn(4.0)
        other = self.wheel.schedule(0.0, lambda: self.fail("was cancelled"))
        self.loop.turn(0.0)
        self.assertEqual(self.fired, [])
        other.cancel()
        for _ in range(10):
            self.loop.turn(0.0)
        self.assertEqual(len(self.fired), 1)

    def test_nothing_is_left_to_fire(self) -> None:
        """Where all are cancelled while the loop looks, the wheel asks for no more calls, and can be used again."""
        timer = self.wheel.schedule(1.0, self.fire)
        self.loop.turn(4.0)
        timer.cancel()
        for _ in range(10):
            self.loop.turn(0.0)
        self.assertEqual((self.loop.calls, self.loop.line), ([], []))
        timer.rearm(1.0)
        for _ in range(10):
            self.loop.turn(0.5)
        self.assertEqual(len(self.fired), 1)


class TimerLawTests(SynchronousTestCase):
    """Any history."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["schedule", "rearm", "rest", "cancel", "advance"]),
                st.integers(0, 7),
                st.floats(0, 3, allow_nan=False),
            ),
            max_size=60,
        )
    )
    def test_never_early_and_about_a_tick_late(self, steps: list[tuple[str, int, float]]) -> None:
        """Whatever is armed, re-armed and cancelled: each fires when it last was due, at most about a tick late."""
        clock = Clock()
        wheel = TimerWheel(clock, TICK)
        due: dict[int, float] = {}
        timers = {}

        def fire(number: int) -> None:
            late = clock.seconds() - due.pop(number)
            self.assertTrue(-SLACK <= late <= 2 * TICK + SLACK, late)

        resting: set[int] = set()
        for what, number, amount in steps:
            if what == "advance":
                for _ in range(int(amount * 20)):
                    clock.advance(0.05)
            elif what in ("cancel", "rest"):
                if number in timers:
                    getattr(timers[number], what)()
                    due.pop(number, None)
                    (resting.add if what == "rest" else resting.discard)(number)
            else:
                due[number] = clock.seconds() + amount
                resting.discard(number)
                if number in timers:
                    timers[number].rearm(amount)
                else:
                    timers[number] = wheel.schedule(amount, lambda number=number: fire(number))
            self.assertTrue(len(due) <= len(wheel) <= len(due) + len(resting))
            self.assertEqual(len(clock.getDelayedCalls()), 1 if len(wheel) else 0)
        for _ in range(80):
            clock.advance(0.05)
        self.assertEqual(due, {})
        self.assertEqual(clock.getDelayedCalls(), [])
