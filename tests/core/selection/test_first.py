"""One after the other."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.first import FIRST
from balancer.core.traits import NOTHING_KNOWN
from balancer.testing.selectors import options_with, some_members


class FirstTests(SynchronousTestCase):
    def test_in_the_order_listed(self) -> None:
        """The usable members come in the order listed, whatever their weight or load."""
        members = some_members([1, 200, 3, 4])
        members[0].backend.active = 1000
        members[2].usable = False
        selector = FIRST.selector((), members, options_with())
        self.assertEqual(list(selector.candidates(NOTHING_KNOWN)), [members[0], members[1], members[3]])
