"""Events are facts: frozen, told apart by kind, with a reason."""

from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from balancer.core import events


class Facts(SynchronousTestCase):
    """What an event is."""

    def test_frozen(self) -> None:
        """An event cannot be changed after the fact."""
        event = events.BackendUp(1.0, "10.0.0.1:80", "2 passes in a row")
        with self.assertRaises((FrozenInstanceError, TypeError)):
            event.reason = "another"

    def test_kind_counts(self) -> None:
        """Two events of different kinds are not equal, whatever else they say; two of one kind are values."""
        up, down = (kind(1.0, "10.0.0.1:80", "why") for kind in (events.BackendUp, events.BackendDown))
        self.assertNotEqual(up, down)
        self.assertEqual(up, events.BackendUp(1.0, "10.0.0.1:80", "why"))

    def test_readable(self) -> None:
        """Its repr says kind, time, subject and reason."""
        shown = repr(events.Ejected(2.5, "10.0.0.1:80", "5 failures in a row"))
        self.assertEqual(shown, "Ejected(at=2.5, subject='10.0.0.1:80', reason='5 failures in a row')")
