"""Single results become UP and DOWN by rise and fall."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.health import CheckSettings, CheckTiming, HealthMachine
from balancer.core.model import Health

PASS, FAIL = True, False
UNKNOWN, UP, DOWN = Health.UNKNOWN, Health.UP, Health.DOWN


def told(machine: HealthMachine, *results: bool) -> list[Health]:
    """The health after each result."""
    seen = []
    for passed in results:
        before = machine.health
        changed = machine.result(passed)
        assert changed is (machine.health is not before)
        seen.append(machine.health)
    return seen


class RiseAndFall(SynchronousTestCase):
    """When the verdict changes."""

    def test_defaults(self) -> None:
        """With fall 3 and rise 2 the change comes on exactly the third and second result."""
        machine = HealthMachine(CheckTiming())
        self.assertEqual(told(machine, PASS), [UP])
        self.assertEqual(told(machine, FAIL, FAIL, FAIL), [UP, UP, DOWN])
        self.assertEqual(told(machine, PASS, PASS), [DOWN, UP])

    def test_streak_broken(self) -> None:
        """Results that disagree with each other begin the count anew."""
        machine = HealthMachine(CheckTiming())
        self.assertEqual(told(machine, PASS, FAIL, FAIL, PASS, FAIL, FAIL, FAIL), [UP] * 6 + [DOWN])
        self.assertEqual(told(machine, PASS, FAIL, PASS, PASS), [DOWN] * 3 + [UP])

    def test_start(self) -> None:
        """A new backend comes up with one pass, one that starts down needs `rise` of them, and one that never
        passed is down after `fall` failures."""
        self.assertEqual(told(HealthMachine(CheckTiming(start="up")), PASS), [UP])
        self.assertEqual(told(HealthMachine(CheckTiming(start="down")), PASS, PASS), [DOWN, UP])
        self.assertEqual(told(HealthMachine(CheckTiming()), FAIL, FAIL, FAIL), [UNKNOWN, UNKNOWN, DOWN])

    @given(st.integers(1, 5), st.integers(1, 5), st.lists(st.booleans(), max_size=60))
    def test_agreeing_only(self, rise: int, fall: int, results: list[bool]) -> None:
        """It flips exactly when the last `rise` (or `fall`) results agree against it, and never otherwise."""
        machine = HealthMachine(CheckTiming(rise=rise, fall=fall, start="down"))
        expected = DOWN
        for count, passed in enumerate(results, 1):
            needed = fall if expected is UP else rise
            against = [passed_ is (expected is DOWN) for passed_ in results[:count]]
            if len(against) >= needed and all(against[-needed:]):
                expected = UP if expected is DOWN else DOWN
            self.assertEqual(told(machine, passed), [expected])


class Waits(SynchronousTestCase):
    """When the next probe is due."""

    TIMING = CheckTiming(interval=5.0, fast_interval=1.0, down_interval=9.0, jitter=0.0)

    def wait(self, timing: CheckTiming, *results: bool) -> float:
        """The wait after these results."""
        machine = HealthMachine(timing)
        told(machine, *results)
        return machine.wait(Random(1))

    def test_settled(self) -> None:
        """A settled state takes its own interval, and down without one the usual."""
        self.assertEqual(self.wait(self.TIMING, PASS), 5.0)
        self.assertEqual(self.wait(self.TIMING, FAIL, FAIL, FAIL), 9.0)
        self.assertEqual(self.wait(CheckTiming(jitter=0.0), FAIL, FAIL, FAIL), 5.0)

    def test_changing(self) -> None:
        """While nothing is known, or results disagree with the state, it goes faster, but never slower."""
        self.assertEqual(self.wait(self.TIMING), 1.0)
        self.assertEqual(self.wait(self.TIMING, PASS, FAIL), 1.0)
        self.assertEqual(self.wait(self.TIMING, FAIL, FAIL, FAIL, PASS), 1.0)
        self.assertEqual(self.wait(CheckTiming(interval=0.5, fast_interval=1.0, jitter=0.0), PASS, FAIL), 0.5)

    @given(st.integers(), st.floats(0, 1))
    def test_jitter(self, seed: int, jitter: float) -> None:
        """A wait differs from its interval by no more than the jitter."""
        machine = HealthMachine(CheckTiming(interval=5.0, jitter=jitter))
        machine.result(PASS)
        self.assertTrue(5 * (1 - jitter) - 1e-9 <= machine.wait(Random(seed)) <= 5 * (1 + jitter) + 1e-9)

    def test_spread(self) -> None:
        """Two streams with one timing do not march in step."""
        machine = HealthMachine(CheckTiming())
        random = Random(1)
        self.assertGreater(len({machine.wait(random) for _ in range(10)}), 1)


class Settings(SynchronousTestCase):
    """What makes two checks one."""

    def test_equal_settings(self) -> None:
        """Equal settings are one key, so that a backend of five listeners is probed once."""
        self.assertEqual(len({CheckSettings(), CheckSettings(), CheckSettings(port=81)}), 2)

    def test_repr(self) -> None:
        """The repr tells the machine whole."""
        machine = HealthMachine(CheckTiming())
        told(machine, PASS, FAIL)
        self.assertEqual(repr(machine), "<HealthMachine up streak=1 rise=2 fall=3>")
