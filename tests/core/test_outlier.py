"""Ejection by traffic: which outcomes count, for how long, and that every group has to allow it."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.core.model import Backend, Event
from balancer.core.outlier import record
from balancer.core.policies import OutlierPolicy

POLICY = OutlierPolicy()


class Team:
    """A group that answers as told."""

    def __init__(self, spares: bool = True) -> None:
        self.spares = spares

    def backend_changed(self, backend: Backend, event: Event) -> None:
        """Nothing to settle."""

    def backend_settled(self, backend: Backend, event: Event) -> None:
        """Nothing to do."""

    def backend_vacant(self, backend: Backend) -> None:
        """Nobody waits."""

    def may_lose(self, backend: Backend) -> bool:
        return self.spares


class Ejections(SynchronousTestCase):
    """When a backend is taken out."""

    def setUp(self) -> None:
        self.backend = Backend(("10.0.0.1", 80, None))
        self.backend.join(Team(), 0)

    def fail(self, times: int, now: float = 0.0, policy: OutlierPolicy = POLICY) -> list[bool]:
        """So many failures; whether each ejected."""
        return [record(policy, self.backend, Outcome.CONNECT_REFUSED, now) for _ in range(times)]

    def test_fifth(self) -> None:
        """The fifth failure in a row ejects, for ten seconds, and the reason says what happened."""
        self.assertEqual(self.fail(5), [False] * 4 + [True])
        self.assertEqual(self.backend.ejected_until, 10.0)
        self.assertEqual(self.backend.why, "5 failures in a row, the last: connect refused; out for 10 s")

    def test_success_between(self) -> None:
        """A success begins the count anew; what says nothing about the backend does not."""
        self.fail(4)
        record(POLICY, self.backend, Outcome.CLIENT_LEFT, 0.0)
        record(POLICY, self.backend, Outcome.UNUSED, 0.0)
        self.assertEqual(self.backend.failures_in_row, 4)
        record(POLICY, self.backend, Outcome.SUCCESS, 0.0)
        self.assertEqual(self.fail(5), [False] * 4 + [True])

    def test_longer_each_time(self) -> None:
        """The n-th ejection in close succession lasts n times ten seconds, up to the longest."""
        lengths, now = [], 0.0
        policy = OutlierPolicy(max_time=35.0)
        for _ in range(6):
            self.fail(5, now, policy)
            until = self.backend.ejected_until or 0.0
            lengths.append(until - now)
            self.backend.readmit("its time is over", until)
            now = until + 1.0
        self.assertEqual(lengths, [10.0, 20.0, 30.0, 35.0, 35.0, 35.0])

    def test_forgiven(self) -> None:
        """Each ten seconds served without failing again forgive one; never more than reach the longest are owed."""
        policy = OutlierPolicy(max_time=30.0)
        for _ in range(50):
            self.fail(5, 0.0, policy)
            self.backend.readmit("its time is over", 0.0)
        self.fail(5, 20.0, policy)
        self.assertEqual(self.backend.ejected_until, 20.0 + 20.0)
        self.backend.readmit("its time is over", 40.0)
        self.fail(5, 1000.0, policy)
        self.assertEqual(self.backend.ejected_until, 1010.0)

    def test_off(self) -> None:
        """With 0 failures nothing ejects."""
        self.assertEqual(set(self.fail(100, policy=OutlierPolicy(failures=0))), {False})

    def test_every_group(self) -> None:
        """One group that cannot do without it keeps it; it is judged again at its next failure."""
        needy = Team(spares=False)
        self.backend.join(needy, 0)
        self.assertEqual(set(self.fail(7)), {False})
        needy.spares = True
        self.assertEqual(self.fail(1), [True])

    def test_nobodys(self) -> None:
        """A backend that no upstream lists is not ejected: nobody would bring it back."""
        self.backend.leave(self.backend.groups[0])
        self.assertEqual(set(self.fail(9)), {False})

    def test_while_out(self) -> None:
        """Failures of what was under way do not prolong the ejection, and count no more once it is back."""
        self.fail(9)
        self.assertEqual((self.backend.ejected_until, self.backend.ejections), (10.0, 1))
        self.backend.readmit("its time is over", 10.0)
        self.assertEqual(self.backend.failures_in_row, 0)
