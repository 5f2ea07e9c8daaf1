"""Sessions of datagrams without a socket."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.datagrams import QUIET, Drop, Drops, Tally, UdpPolicy

COUNTS = st.integers(0, 5)


class TallyTests(SynchronousTestCase):
    @given(requests=COUNTS, responses=COUNTS, events=st.lists(st.booleans(), max_size=40))
    def test_what_it_says(self, requests: int, responses: int, events: list[bool]) -> None:
        """Complete is: answers are expected, each datagram has its number of them, and where datagrams are counted all
        came. Full is: they are counted and all came. Silent is: answers are expected and none came."""
        tally = Tally(UdpPolicy(requests=requests, responses=responses))
        for asked in events:
            if asked:
                tally.asked += 1
            else:
                tally.answered += 1
            full = requests > 0 and tally.asked >= requests
            enough = responses > 0 and tally.answered >= responses * tally.asked
            self.assertIs(tally.full, full)
            self.assertIs(tally.complete, enough and (full or requests == 0))
            self.assertIs(tally.silent, responses > 0 and tally.answered == 0)

    @given(responses=st.integers(1, 5), asked=st.integers(1, 50))
    def test_answers_in_order_complete_it_once(self, responses: int, asked: int) -> None:
        """With every datagram answered it is complete with the last answer, and not with the one before."""
        tally = Tally(UdpPolicy(responses=responses))
        tally.asked, tally.answered = asked, asked * responses - 1
        self.assertFalse(tally.complete)
        tally.answered += 1
        self.assertTrue(tally.complete)


class DropsTests(SynchronousTestCase):
    def test_the_first_is_told_at_once(self) -> None:
        """The first of a kind is told, those after it only once QUIET seconds are over, with their number."""
        drops = Drops()
        self.assertEqual([drops.note(Drop.LOOP, at) for at in (5.0, 5.0, 5.0 + QUIET / 2)], [1, 0, 0])
        self.assertEqual(drops.note(Drop.LOOP, 5.0 + QUIET), 3)
        self.assertEqual(drops.note(Drop.TO_CLIENT, 5.0 + QUIET), 1)
        self.assertEqual((drops.counts[Drop.LOOP], drops.total), (4, 5))
        self.assertEqual(repr(drops), "<Drops loop=4 to_client=1>")

    @given(times=st.lists(st.floats(0, 100), max_size=60))
    def test_every_one_is_counted(self, times: list[float]) -> None:
        """Whatever comes when: all are counted, no more are told than came, and never two lines within QUIET."""
        drops = Drops()
        told = [(at, drops.note(Drop.NO_BACKEND, at)) for at in sorted(times)]
        lines = [at for at, count in told if count]
        self.assertEqual(drops.total, len(times))
        self.assertLessEqual(sum(count for _, count in told), len(times))
        self.assertTrue(all(later - earlier >= QUIET for earlier, later in zip(lines, lines[1:], strict=False)))

    def test_words(self) -> None:
        """Each reason has a word and a sentence of its own."""
        self.assertEqual(len({drop.value for drop in Drop}), len({drop.words for drop in Drop}))
        self.assertTrue(all(drop.value == drop.name.lower() for drop in Drop))
