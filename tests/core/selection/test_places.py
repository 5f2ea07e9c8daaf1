"""The walk from a key's place."""

from array import array
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Member
from balancer.core.selection.places import WALK_FACTOR, WALK_LEAST, walk
from balancer.testing.selectors import some_members


class Circle:
    """Places in a known order."""

    def __init__(self, members: Sequence[Member], owners: list[int], step: int = 1) -> None:
        self.members, self.owners, self.step = members, array("L", owners), step

    def locate(self, point: int) -> tuple[int, int]:
        return point % len(self.owners), self.step


class WalkTests(SynchronousTestCase):
    def test_the_order_of_places(self) -> None:
        """Members come in the order of their places from the key on, round the circle, each once."""
        members = some_members([1, 1, 1])
        a, b, c = members
        self.assertEqual(list(walk(Circle(members, [0, 1, 1, 2, 0]), 1)), [b, c, a])
        self.assertEqual(list(walk(Circle(members, [0, 1, 1, 2, 0], step=2), 0)), [a, b, c])

    def test_who_has_no_place_comes_last(self) -> None:
        """A usable member without a place of its own is still offered, after those that have one."""
        members = some_members([1, 1, 1])
        self.assertEqual(list(walk(Circle(members, [1, 1]), 0)), [members[1], members[0], members[2]])
        self.assertEqual(set(walk(Circle(members, []), 7)), set(members))

    def test_a_long_way_is_cut_short(self) -> None:
        """The walk looks at a bounded number of places and still offers everyone."""
        members = some_members([1, 1])
        owners = [0] * 10 * (2 * WALK_FACTOR + WALK_LEAST) + [1]
        self.assertEqual(list(walk(Circle(members, owners), 0)), list(members))
