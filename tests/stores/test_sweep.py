"""A sweep passes over all entries in slices, and then lets the ledger forget."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import Ledger, Purge
from balancer.stores.sweep import GRACE, PAUSE, SLICE, Sweep


class SweepTests(SynchronousTestCase):
    """Over three slices of entries."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger = Ledger()
        self.places: list[int] = []
        self.sweep = Sweep(self.clock, self.ledger, self.judge)

    def judge(self, place: int, count: int) -> int:
        """Three slices there are."""
        self.places.append(place)
        self.assertEqual(count, SLICE)
        return place + count if place < 2 * SLICE else 0

    def purge(self, what: bytes) -> None:
        """One purge."""
        self.ledger.add(Purge(kind="url", what=what))
        self.sweep.wake()

    def turns(self, count: int) -> None:
        """Turns of the reactor."""
        for _ in range(count):
            self.clock.advance(PAUSE)

    def test_slices(self) -> None:
        """It goes on from where it was, one slice a turn, and ends."""
        self.assertEqual(self.places, [])
        self.purge(b"u")
        self.assertEqual(self.places, [])
        self.turns(1)
        self.assertEqual(self.places, [0])
        self.assertEqual(repr(self.sweep), f"<Sweep of 1, at {SLICE}>")
        self.turns(10)
        self.assertEqual(self.places, [0, SLICE, 2 * SLICE])
        self.assertEqual(repr(self.sweep), "<Sweep passed 1>")

    def test_purge_meanwhile(self) -> None:
        """A purge meanwhile makes one more sweep of all, whatever their number."""
        self.purge(b"u")
        self.turns(2)
        for _ in range(5):
            self.purge(b"v")
        self.turns(20)
        self.assertEqual(self.places, [0, SLICE, 2 * SLICE] * 2)

    def test_forgets(self) -> None:
        """A while after a sweep the ledger forgets what was purged before it began, and nothing later."""
        self.purge(b"u")
        self.turns(1)
        self.purge(b"v")
        self.turns(2)
        self.assertEqual(self.ledger.records, 2)
        self.clock.advance(GRACE - 3 * PAUSE)
        self.assertEqual(self.ledger.records, 2)
        self.clock.advance(3 * PAUSE)
        self.assertEqual(self.ledger.records, 1)
        self.turns(10)
        self.clock.advance(GRACE)
        self.assertEqual(self.ledger.records, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """After its stop nothing waits any more."""
        self.purge(b"u")
        self.turns(10)
        self.purge(b"u")
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.sweep.stop()
        self.sweep.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
