"""Laws of the maglev table."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Member
from balancer.core.selection.maglev import TABLE_SIZE, Maglev
from balancer.core.selection.places import walk
from balancer.testing.selectors import some_members

SMALL = 4099
"""A prime; the laws hold for any."""


def table(members: tuple[Member, ...], size: int = SMALL) -> list[Member]:
    return [members[owner] for owner in Maglev(members, size).owners]


class MaglevTests(SynchronousTestCase):
    @given(st.lists(st.integers(1, 256), min_size=1, max_size=12))
    @settings(max_examples=40, deadline=None)
    def test_shares_are_exact(self, weights: list[int]) -> None:
        """Each member owns its weight's share of the places, at most two places off."""
        members = some_members(weights)
        had = Counter(table(members))
        for member in members:
            self.assertLessEqual(abs(had[member] - SMALL * member.weight / sum(weights)), 2)

    @given(st.integers(2, 40), st.integers(0, 10**6))
    @settings(max_examples=12, deadline=None)
    def test_removing_one_moves_little_more_than_its_keys(self, number: int, seed: int) -> None:
        """Without one of n members at most 1/n + 2 % of the places change hands (equal weights, the real size)."""
        members = some_members([1] * number)
        gone = members[seed % number]
        rest = tuple(member for member in members if member is not gone)
        changed = sum(a is not b for a, b in zip(table(members, TABLE_SIZE), table(rest, TABLE_SIZE), strict=True))
        self.assertLessEqual(changed / TABLE_SIZE, 1 / number + 0.02)

    def test_removing_one_of_different_weight(self) -> None:
        """With weights, at most its share and 2 % change hands."""
        chance = Random(11)
        members = some_members([chance.randint(1, 256) for _ in range(100)])
        before = table(members, TABLE_SIZE)
        for gone in chance.sample(members, 3):
            after = table(tuple(member for member in members if member is not gone), TABLE_SIZE)
            changed = sum(a is not b for a, b in zip(before, after, strict=True)) / TABLE_SIZE
            self.assertLessEqual(changed, before.count(gone) / TABLE_SIZE + 0.02)

    @given(st.lists(st.integers(1, 5), min_size=2, max_size=8), st.data())
    @settings(max_examples=30, deadline=None)
    def test_an_unusable_one_loses_only_its_own(self, weights: list[int], data: st.DataObject) -> None:
        """While a member is not usable its keys go elsewhere, to several, and no other key moves."""
        members = some_members(weights)
        places = Maglev(members, SMALL)
        points = [Random(number).getrandbits(64) for number in range(200)]
        before = [next(walk(places, point)) for point in points]
        out = data.draw(st.sampled_from(members))
        out.usable = False
        after = [next(walk(places, point)) for point in points]
        self.assertTrue(all(new is old or old is out for old, new in zip(before, after, strict=True)))
        self.assertNotIn(out, after)

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.randoms(use_true_random=False))
    @settings(max_examples=20, deadline=None)
    def test_the_order_of_listing_is_nothing(self, weights: list[int], random: Random) -> None:
        """Members listed in another order (a set has none) make the same table."""
        members = some_members(weights)
        other = random.sample(members, len(members))
        self.assertEqual(table(members), table(tuple(other)))

    def test_every_place_is_met(self) -> None:
        """From any key the steps lead to all places, for the size is prime and the step is never its multiple."""
        places = Maglev(some_members([1, 1]), 13)
        for point in (0, 12, 13, 2**64 - 1, 12 << 32, 11 << 32):
            start, step = places.locate(point)
            self.assertEqual({(start + step * number) % 13 for number in range(13)}, set(range(13)))

    def test_more_members_than_places(self) -> None:
        """Members beyond the number of places own none, and are still offered."""
        members = some_members([1] * 20)
        self.assertEqual(set(walk(Maglev(members, 13), 5)), set(members))

    def test_it_is_the_same_table_everywhere(self) -> None:
        """A known table is what it was in every release, for another would move every client."""
        self.assertEqual(list(Maglev(some_members([1, 2, 1]), 13).owners), [0, 0, 1, 2, 1, 1, 0, 2, 1, 2, 1, 1, 1])
