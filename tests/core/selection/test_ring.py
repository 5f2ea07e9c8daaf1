"""Laws of the ring."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Member
from balancer.core.selection.digest import digest
from balancer.core.selection.places import walk
from balancer.core.selection.ring import MAX_POINTS, POINTS, Ring, counts
from balancer.testing.selectors import a_member, some_members

KEYS = [digest(b"key %d" % number) for number in range(400)]
WEIGHTS = st.lists(st.integers(1, 12), min_size=2, max_size=10)


def owners(members: tuple[Member, ...]) -> list[Member]:
    places = Ring(members)
    return [next(walk(places, key)) for key in KEYS]


class RingTests(SynchronousTestCase):
    @given(WEIGHTS, st.data())
    @settings(max_examples=40, deadline=None)
    def test_removing_one_moves_only_its_keys(self, weights: list[int], data: st.DataObject) -> None:
        """Without one of its members a ring keeps every key that was not that member's; in any order of listing."""
        members = some_members(weights)
        gone = data.draw(st.sampled_from(members))
        rest = data.draw(st.permutations([member for member in members if member is not gone]))
        for before, after in zip(owners(members), owners(tuple(rest)), strict=True):
            self.assertTrue(after is before or before is gone)

    @given(WEIGHTS, st.data())
    @settings(max_examples=40, deadline=None)
    def test_an_unusable_one_is_as_good_as_removed(self, weights: list[int], data: st.DataObject) -> None:
        """Where keys go while a member is not usable is where they would go without it."""
        members = some_members(weights)
        out = data.draw(st.sampled_from(members))
        without = owners(tuple(member for member in members if member is not out))
        out.usable = False
        self.assertEqual(owners(members), without)

    @given(WEIGHTS, st.integers(1, 12), st.data())
    @settings(max_examples=30, deadline=None)
    def test_growing_only_takes(self, weights: list[int], more: int, data: st.DataObject) -> None:
        """A member whose weight grows takes keys and gives none."""
        index = data.draw(st.integers(0, len(weights) - 1))
        members = some_members(weights)
        grown = some_members([weight + more * (number == index) for number, weight in enumerate(weights)])
        for before, after in zip(owners(members), owners(grown), strict=True):
            self.assertTrue(members.index(before) == grown.index(after) or after is grown[index])

    def test_slow_start_moves_only_the_starting_ones_keys(self) -> None:
        """While one member is in slow start (all weights scaled up), keys of the others stay, and it has fewer."""
        members = some_members([4, 4, 4])
        before = owners(members)
        for member, step in zip(members, (3, 10, 10), strict=True):
            member.weight = member.spec.weight * step
        after = owners(members)
        self.assertTrue(all(new is old for old, new in zip(before, after, strict=True) if old is not members[0]))
        self.assertTrue(0 < after.count(members[0]) < before.count(members[0]))

    def test_shares_follow_weights(self) -> None:
        """The circle is shared by weight, within four times what so many points allow."""
        members = some_members([10, 20, 30])
        places = Ring(members)
        had = [0.0] * 3
        for index, owner in enumerate(places.owners):
            had[owner] += (places.points[index] - (places.points[index - 1] if index else 0)) / 2**64
        for member, share in zip(members, had, strict=True):
            error = 4 / (POINTS * member.weight) ** 0.5
            self.assertApproximates(share * 60 / member.weight, 1, error)

    def test_points_have_a_limit(self) -> None:
        """However many members and weights, a ring has at most so many points, by weight, and each member at least
        one."""
        members = tuple(a_member(number, 256 if number else 1) for number in range(100))
        numbers = counts(members)
        self.assertTrue(MAX_POINTS / 2 < sum(numbers) <= MAX_POINTS)
        self.assertTrue(all(number >= 1 for number in numbers))
        self.assertEqual(counts(members[:2]), [POINTS, 256 * POINTS])
        self.assertEqual(counts([a_member(1, 0), a_member(2, 3)]), [0, 3 * POINTS])

    def test_a_key_meets_the_next_point(self) -> None:
        """The place of a key is that of the next greater point, whatever the bucket it falls in."""
        places = Ring(some_members([1, 2]))
        points = list(places.points)
        self.assertEqual(points, sorted(points))
        for key in [*KEYS, 0, 2**64 - 1, points[0], points[-1], points[5] - 1, points[5], Random(1).getrandbits(64)]:
            expected = next((index for index, point in enumerate(points) if point > key), 0)
            self.assertEqual(places.locate(key), (expected, 1))

    def test_it_is_the_same_ring_everywhere(self) -> None:
        """The first points of a known ring are what they were in every release."""
        self.assertEqual(list(Ring(some_members([1])).points[:2]), [164816914800222829, 169121594667177688])
        self.assertEqual(len(Ring(some_members([1])).points), 64)
