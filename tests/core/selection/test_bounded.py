"""Bounded load holds."""

from collections import Counter
from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.bounded import BoundedLoad
from balancer.core.selection.hashed import HASH, SOURCE
from balancer.testing.selectors import Asked, a_member, options_with, some_members


class BoundedLoadTests(SynchronousTestCase):
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=6),
        st.sampled_from([101, 110, 125, 200, 1000]),
        st.sampled_from(["ring", "maglev"]),
        st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60),
    )
    @settings(max_examples=25, deadline=None)
    def test_never_beyond_the_factor(
        self, weights: list[int], factor: int, kind: str, story: list[tuple[int, bool]]
    ) -> None:
        """However few and popular the keys are and however leases come back, no pick exceeds factor times the mean."""
        members = some_members(weights)
        selector = SOURCE.selector((), members, options_with(hash_type=kind, balance_factor=factor))
        out = []
        for key, back in story:
            member = next(selector.candidates(Asked(source_address=f"192.0.2.{key}")))
            member.backend.active += 1
            out.append(member)
            total = sum(other.backend.active for other in members)
            self.assertLessEqual(
                member.backend.active, ceil(Fraction(factor * total * member.weight, 100 * sum(weights)))
            )
            if back:
                out.pop(0).backend.active -= 1

    def test_one_key_alone(self) -> None:
        """A single key spreads over members by weight, as nearly as the factor says, and stays where there is room."""
        members = some_members([1, 2, 3])
        selector = SOURCE.selector((), members, options_with(balance_factor=150))
        had: Counter[int] = Counter()
        for _ in range(600):
            member = next(selector.candidates(Asked()))
            member.backend.active += 1
            had[member.weight] += 1
        self.assertTrue(all(had[weight] <= 150 * weight + 1 for weight in had))
        self.assertTrue(any(had[weight] >= 149 * weight for weight in had))

    def test_the_new_request_counts(self) -> None:
        """The mean is that with the new request: at 150 % one of two equals may hold all of three, not of four."""
        members = [a_member(1, active=1), a_member(2)]
        bound = BoundedLoad(members, 150)
        self.assertTrue(bound.has_room(members[0]))
        members[0].backend.active = 2
        self.assertTrue(bound.has_room(members[0]))
        members[0].backend.active = 3
        self.assertFalse(bound.has_room(members[0]))

    def test_the_others_have_room(self) -> None:
        """A member with more than its bound comes after those with room; all are offered."""
        members = [a_member(1, active=5), a_member(2), a_member(3, active=1)]
        found = list(BoundedLoad(members, 125).order(iter(members)))
        self.assertEqual(found, [members[1], members[2], members[0]])

    def test_unusable_members_are_no_share(self) -> None:
        """After refresh only the members usable now share the load."""
        members = [a_member(1, active=4), a_member(2, active=4)]
        bound = BoundedLoad(members, 101)
        self.assertTrue(bound.has_room(members[0]))
        members[0].backend.active = 6
        self.assertFalse(bound.has_room(members[0]))
        members[1].usable = False
        bound.refresh()
        self.assertTrue(bound.has_room(members[0]))

    def test_off(self) -> None:
        """Without a factor a popular key stays with its member."""
        selector = HASH.selector(("path",), some_members([1, 1]), options_with())
        found = set()
        for _ in range(9):
            member = next(selector.candidates(Asked()))
            member.backend.active += 1
            found.add(member)
        self.assertEqual(len(found), 1)
