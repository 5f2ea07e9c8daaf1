"""The kernel's counters, read."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.nat import Target
from balancer.core.traffic import Traffic
from balancer.nat.counts import counts, refused, traffic
from tests.nat.stage import counter


class CountTests(SynchronousTestCase):
    """A listing."""

    def test_read(self) -> None:
        """Counters are found by name; what a listing has besides, and what is not of their form, is passed over."""
        listing = [
            {"metainfo": {"version": "1.0.6"}},
            counter("new/tcp/10.0.0.1/80", 2, 120),
            {"counter": "x"},
            {"counter": {"name": 7, "packets": 1, "bytes": 1}},
            {"counter": {"name": "y", "packets": "1"}},
        ]
        self.assertEqual(counts(listing), {"new/tcp/10.0.0.1/80": (2, 120)})

    def test_traffic(self) -> None:
        """A server's three counters are one value; one that is missing counts nothing."""
        found = {"new/udp/fd00__1/53": (2, 100), "in/udp/fd00__1/53": (5, 500), "refused/dns": (3, 9)}
        target = Target("udp", "fd00::1", 53)
        self.assertEqual(traffic(found, [target]), {target: Traffic(2, 5, 500, 0, 0)})
        self.assertEqual(refused(found), {"dns": 3})

    def test_sum(self) -> None:
        """What TCP and UDP counted for one server adds up."""
        self.assertEqual(Traffic(1, 2, 3, 4, 5) + Traffic(1, 1, 1, 1, 1), Traffic(2, 3, 4, 5, 6))
