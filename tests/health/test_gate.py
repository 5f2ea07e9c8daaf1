"""The bound on probes at one time."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.health.gate import Gate


class Gates(SynchronousTestCase):
    def test_no_more_than_the_limit_are_inside_and_the_rest_come_in_order(self) -> None:
        """Who is too many waits, and enters first come, first served."""
        gate = Gate(2)
        begun: list[int] = []
        for number in range(4):
            gate.enter(lambda number=number: begun.append(number) is None)
        self.assertEqual((begun, gate.inside), ([0, 1], 2))
        gate.leave()
        self.assertEqual((begun, gate.inside), ([0, 1, 2], 2))

    def test_one_that_is_not_wanted_any_more_takes_no_place(self) -> None:
        """A probe that was called off while it waited lets the next one in."""
        gate = Gate(1)
        begun: list[str] = []
        gate.enter(lambda: True)
        gate.enter(lambda: False)
        gate.enter(lambda: begun.append("next") is None)
        gate.leave()
        self.assertEqual((begun, gate.inside), (["next"], 1))

    def test_thousands_that_end_at_once_do_not_grow_the_stack(self) -> None:
        """Probes that are over before they return are taken one after the other."""
        gate = Gate(1)
        over: list[int] = []

        def begin() -> bool:
            over.append(1)
            gate.leave()
            return True

        gate.enter(lambda: True)
        for _ in range(5000):
            gate.enter(begin)
        gate.leave()
        self.assertEqual((len(over), gate.inside), (5000, 0))

    def test_wrong_use_is_refused(self) -> None:
        """Nobody leaves who did not enter, and a gate lets at least one through."""
        with self.assertRaises(ValueError):
            Gate(1).leave()
        with self.assertRaises(ValueError):
            Gate(0)

    @given(st.integers(1, 4), st.lists(st.booleans(), max_size=40))
    def test_law_the_limit_holds_and_nobody_waits_beside_a_free_place(self, limit: int, steps: list[bool]) -> None:
        """Whatever the order of entering and leaving: inside is the lesser of those who want in and the limit."""
        gate = Gate(limit)
        wanting = 0
        for enters in steps:
            if enters:
                gate.enter(lambda: True)
                wanting += 1
            elif gate.inside:
                gate.leave()
                wanting -= 1
            self.assertEqual(gate.inside, min(wanting, limit))
