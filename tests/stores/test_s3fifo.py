"""S3-FIFO keeps what is asked for, whatever passes by once, and its queues stay whole."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.s3fifo import MAX_LOOKS, Ghosts, S3Fifo


class Cached:
    """A cache of nothing: numbers that cost the same."""

    def __init__(self, room: int) -> None:
        self.policy = S3Fifo(room)
        self.room = room
        self.slots: dict[int, int] = {}
        self.numbers: dict[int, int] = {}

    def ask(self, number: int, cost: int = 1) -> bool:
        """Whether it is there; it is afterwards."""
        if number in self.slots:
            self.policy.use(self.slots[number])
            return True
        slot = self.policy.add(hash(b"%d" % number), cost)
        assert slot > 1 and slot not in self.numbers
        self.slots[number] = slot
        self.numbers[slot] = number
        while self.policy.used > self.room:
            self.leave(self.policy.victim())
        return False

    def leave(self, slot: int) -> None:
        """A victim leaves."""
        number = self.numbers.pop(slot)
        del self.slots[number]
        self.policy.left(slot, hash(b"%d" % number))

    def remove(self, number: int) -> None:
        """It is dropped."""
        slot = self.slots.pop(number)
        del self.numbers[slot]
        self.policy.remove(slot)


class Scans(SynchronousTestCase):
    """What the policy is for."""

    def test_scan(self) -> None:
        """A scan of ten times the cache's size leaves what is asked for often; an LRU would keep none of it."""
        cached = Cached(1000)
        for _ in range(3):
            for number in range(800):
                cached.ask(number)
        for number in range(10000, 20000):
            cached.ask(number)
        self.assertGreaterEqual(sum(cached.ask(number) for number in range(800)), 790)

    def test_scan_within_traffic(self) -> None:
        """The same while the rest goes on."""
        cached, chance = Cached(1000), Random(1)
        hot = [chance.randrange(500) for _ in range(40000)]
        found = [cached.ask(number) for number in hot[:20000]]
        found = []
        for step, number in enumerate(hot[20000:]):
            cached.ask(10**6 + step)
            found.append(cached.ask(number))
        self.assertGreater(sum(found) / len(found), 0.99)

    def test_comes_back(self) -> None:
        """What left and is asked for again soon goes to the main queue at once, past the next scan."""
        cached = Cached(100)
        for number in range(150):
            cached.ask(number)
        self.assertFalse(cached.ask(45))
        for number in range(1000, 1500):
            cached.ask(number)
        self.assertTrue(cached.ask(45))

    def test_bounded_looks(self) -> None:
        """One that leaves is found in bounded time, also where all were used."""
        cached = Cached(10 * MAX_LOOKS)
        for _ in range(5):
            for number in range(10 * MAX_LOOKS):
                cached.ask(number)
        before = sum(cached.policy.uses)
        self.assertFalse(cached.ask(-1))
        self.assertEqual(len(cached.slots), 10 * MAX_LOOKS)
        self.assertGreaterEqual(sum(cached.policy.uses), before - 4 * MAX_LOOKS)


class Slots(SynchronousTestCase):
    """What is known of a slot."""

    def test_again(self) -> None:
        """A slot is used again, and nothing is left of what was known of it."""
        policy = S3Fifo(100)
        slot = policy.add(1, 5)
        for _ in range(9):
            policy.use(slot)
        self.assertEqual(policy.uses[slot], 3)
        policy.remove(slot)
        self.assertEqual(policy.add(2, 7), slot)
        self.assertEqual((policy.uses[slot], policy.used, policy.victim()), (0, 7, slot))
        self.assertEqual(repr(policy), "<S3Fifo 1 entries, 7 of 100 bytes, 7 of them small>")


class Laws(SynchronousTestCase):
    """Of any history."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.booleans()), max_size=200))
    def test_counts(self, history: list[tuple[int, int, bool]]) -> None:
        """What is used and how many there are is the sum of what is there; it never exceeds the room, and empties."""
        cached = Cached(50)
        costs: dict[int, int] = {}
        for number, cost, removed in history:
            if removed and number in cached.slots:
                cached.remove(number)
            elif cached.ask(number, cost):
                cached.policy.resize(cached.slots[number], cost - costs[number])
                costs[number] = cost
                while cached.policy.used > cached.room:
                    cached.leave(cached.policy.victim())
            else:
                costs[number] = cost
            self.assertEqual(cached.policy.used, sum(costs[number] for number in cached.slots))
            self.assertEqual(cached.policy.count, len(cached.slots))
            self.assertLessEqual(cached.policy.slots, 50 + 3)
        while slot := cached.policy.victim():
            cached.leave(slot)
        self.assertEqual((cached.policy.used, cached.policy.count, cached.slots), (0, 0, {}))


class GhostTests(SynchronousTestCase):
    """What left."""

    def test_remembered(self) -> None:
        """So many are remembered as there is room for, the last ones, also after the table grew; strangers are not."""
        ghosts = Ghosts()
        keys = [hash(b"%d" % number) for number in range(600)]
        for key in keys:
            ghosts.add(key)
        for _ in range(2):
            last = [ghosts.has(key, 100) for key in keys]
            self.assertEqual(sum(last[:500]), 0)
            self.assertGreater(sum(last[500:]), 80)  # some meet in one place of the table
            self.assertEqual(sum(ghosts.has(hash(b"x%d" % number), 100) for number in range(1000)), 0)
            ghosts.fit(5000)
