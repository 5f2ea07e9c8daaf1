"""The least loaded, exactly for few and nearly for many."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Member
from balancer.core.selection.choices import load
from balancer.core.selection.leastconn import EXACT, LeastConnections
from balancer.core.traits import NOTHING_KNOWN
from balancer.testing.selectors import a_member, options_with, picks, some_members

STATE = st.tuples(st.integers(1, 256), st.integers(0, 30))


def traffic(selector: LeastConnections, members: tuple[Member, ...], rounds: int, busy: int) -> Counter[Member]:
    """Leases given and taken back at random, ``busy`` at a time; how often each member was picked."""
    chance, out, had = Random(5), [], Counter()
    for _ in range(rounds):
        member = picks(selector, 1)[0]
        had[member] += 1
        member.backend.active += 1
        out.append(member)
        if len(out) > busy:
            back = out.pop(chance.randrange(len(out)))
            back.backend.active -= 1
            selector.observe(back, 0.1, 0.0)
    return had


class LeastConnectionsTests(SynchronousTestCase):
    @given(st.lists(STATE, min_size=1, max_size=30))
    @settings(max_examples=80, deadline=None)
    def test_in_order_of_load(self, states: list[tuple[int, int]]) -> None:
        """Candidates come in the order of leases for each unit of weight."""
        members = [a_member(number, weight, active=active) for number, (weight, active) in enumerate(states)]
        loads = [load(member) for member in LeastConnections(members, options_with()).candidates(NOTHING_KNOWN)]
        self.assertEqual(loads, sorted(loads))

    def test_counters_are_read_at_the_time(self) -> None:
        """A counter that changed behind the selector's back counts at the next pick."""
        members = some_members([1, 1, 1])
        selector = LeastConnections(members, options_with())
        for idle in (2, 0, 1):
            for index, member in enumerate(members):
                member.backend.active = 0 if index == idle else 1
            self.assertEqual(picks(selector, 1), [members[idle]])

    def test_equals_by_weight(self) -> None:
        """An idle upstream is shared by weight, not given to the first."""
        for number in (4, EXACT + 40):
            with self.subTest(number=number):
                members = some_members([3 if index < number // 2 else 1 for index in range(number)])
                selector = LeastConnections(members, options_with(4))
                had: Counter[int] = Counter()
                for _ in range(6000):
                    member = picks(selector, 1)[0]
                    had[member.weight] += 1
                    selector.observe(member, 0.1, 0.0)
                self.assertApproximates(had[3] / 6000, 0.75, 0.03)

    def test_busy_upstreams_by_weight(self) -> None:
        """With many leases out, the leases out are in proportion to the weights, and so are the picks."""
        for number in (4, EXACT + 40):
            with self.subTest(number=number):
                members = some_members([1 + index % 4 for index in range(number)])
                selector = LeastConnections(members, options_with())
                had = traffic(selector, members, rounds=30 * number, busy=10 * number)
                for member in members:
                    self.assertApproximates(member.backend.active / member.weight, 4, 1.01)
                self.assertGreater(
                    sum(had[member] for member in members if member.weight == 4),
                    3 * sum(had[member] for member in members if member.weight == 1),
                )

    def test_many_are_nearly_exact(self) -> None:
        """Among many, with every lease observed, the pick is always one of the least loaded."""
        members = some_members([1] * (EXACT + 72))
        selector = LeastConnections(members, options_with())
        chance, out = Random(9), []
        for _ in range(1500):
            member = picks(selector, 1)[0]
            self.assertEqual(load(member), min(map(load, members)))
            member.backend.active += 1
            out.append(member)
            if chance.random() < 0.5:
                back = out.pop(chance.randrange(len(out)))
                back.backend.active -= 1
                selector.observe(back, 0.1, 0.0)

    def test_what_was_not_observed_is_found_later(self) -> None:
        """Among many, a load that fell unseen is found after at most as many picks as there are members."""
        members = some_members([1] * (EXACT + 72))
        for member in members:
            member.backend.active = 9
        selector = LeastConnections(members, options_with())
        members[70].backend.active = 0
        self.assertIn(members[70], picks(selector, len(members) + 1))

    def test_the_heap_stays_small(self) -> None:
        """However many leases come back, no more than two entries for each member are kept."""
        members = some_members([1] * (EXACT + 1))
        selector = LeastConnections(members, options_with())
        for _ in range(5):
            for member in members:
                selector.observe(member, 0.1, 0.0)
        self.assertLessEqual(len(selector._loads._heap), 2 * len(members))
