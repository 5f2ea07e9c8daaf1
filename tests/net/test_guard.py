"""The guard at the door: counted, logged at a bounded rate, and connections that live only so long."""

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.guard import Refusal
from balancer.core.guard_policy import GuardPolicy
from balancer.net.guard import LOG_EVERY, Guard, Visit, enter, host_of
from balancer.net.listen import ConnectionLimit
from balancer.net.timers import TimerWheel


class GuardTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def guard(self, **policy: object) -> Guard:
        """One of this test."""
        return Guard("web", GuardPolicy(**policy), TimerWheel(self.clock))  # type: ignore[arg-type]

    def said(self) -> list[str]:
        """What the log was told."""
        said = [event for event in self.events if str(event.get("log_namespace")).startswith("balancer.net.guard")]
        return [str(event["log_format"]).format(**event) for event in said]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    def test_each_reason_is_counted(self) -> None:
        """Every refusal is counted under its reason, whether the port or the factory asked."""
        guard = self.guard(allow=("10.0.0.0/8",), deny=("10.9.0.0/16",), connections=1, rate=1)
        visit = guard.admit("10.0.0.1")
        assert visit is not None
        self.assertTrue(guard.refuses("10.0.0.1"))
        self.assertIsNone(guard.admit("10.0.0.1"))
        visit.end()
        self.assertTrue(guard.refuses("10.0.0.1"))
        self.assertTrue(guard.refuses("10.9.0.1"))
        self.assertTrue(guard.refuses("192.0.2.1"))
        self.assertFalse(guard.refuses("10.0.0.2"))
        self.assertEqual([guard.refused[reason] for reason in Refusal], [1, 1, 2, 1])
        guard.stop()

    def test_a_flood_is_a_line_now_and_then(self) -> None:
        """The first refusal of a kind is told at once with its reason; more are counted in a line each ten seconds;
        when it is over nothing is told and no timer is left."""
        guard = self.guard(deny=("10.0.0.0/8",))
        for number in range(1000):
            guard.refuses(f"10.0.0.{number % 200}")
        self.assertEqual(self.said(), ["listener web: refused 10.0.0.0: its network is in guard.deny"])
        self.wait(LOG_EVERY + 1)
        self.assertEqual(
            self.said()[1:], ["listener web: refused 999 more, the last 10.0.0.199: its network is in guard.deny"]
        )
        self.wait(2 * LOG_EVERY)
        self.assertEqual((len(self.said()), self.clock.getDelayedCalls()), (2, []))
        guard.refuses("10.0.0.9")
        self.assertEqual(len(self.said()), 3)
        guard.refuses("10.0.0.9")
        guard.stop()
        self.assertIn("refused 1 more", self.said()[-1])
        guard.refuses("10.0.0.9")
        self.assertEqual(len(self.said()), 5)
        guard.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_lifetime(self) -> None:
        """It is told of once, with its reason, and not at all of a connection that ended before."""
        guard = self.guard(max_lifetime=5)
        told: list[str] = []
        first, second = guard.admit("10.0.0.1"), guard.admit(None)
        assert first is not None and second is not None
        first.begin(told.append)
        second.begin(told.append)
        self.wait(4)
        second.end()
        self.wait(2)
        self.assertEqual(told, ["it was open for 5 s, its guard.max_lifetime"])
        first.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_limit_of_all(self) -> None:
        """A client for whom the listener has no room is not counted for its source either."""
        guard, limit = self.guard(connections=5), ConnectionLimit("web", 1)
        self.assertIsInstance(enter(guard, limit, "10.0.0.1"), Visit)
        self.assertIsNone(enter(guard, limit, "10.0.0.1"))
        self.assertEqual((guard.sources.connections, limit.active, limit.refused), (1, 1, 1))

    def test_without_an_address(self) -> None:
        """Clients of a UNIX socket are let in, whatever is limited by address."""
        guard = self.guard(allow=("10.0.0.0/8",), connections=1)
        self.assertIsNone(host_of(None))
        self.assertIsNotNone(guard.admit(None))
        self.assertIsNotNone(guard.admit(""))
        self.assertFalse(guard.refuses(""))

    def test_another_policy(self) -> None:
        """It holds for who comes from then on, and who is connected stays counted."""
        guard = self.guard(connections=2)
        visits = [guard.admit("10.0.0.1"), guard.admit("10.0.0.1")]
        guard.configure("renamed", GuardPolicy(connections=3, deny=("192.0.2.0/24",)))
        visits.append(guard.admit("10.0.0.1"))
        self.assertTrue(all(visits))
        self.assertIsNone(guard.admit("10.0.0.1"))
        self.assertTrue(guard.refuses("192.0.2.1"))
        self.assertIn("renamed", repr(guard))
        guard.stop()
