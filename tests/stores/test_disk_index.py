"""The index of a disk store: what is found, and what goes first."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.disk_index import CHANCES, PAGE, Entry, Index, charge, name_of

URI = b"http://a.org/"


def entry(key: bytes, nominated: bytes = b"", size: int = 100, version: int = 1) -> Entry:
    return Entry(name_of(key, nominated), version, size)


class FindingTests(SynchronousTestCase):
    """By key and by URI."""

    def test_against_a_model(self) -> None:
        """After any history of additions and removals just what is there is found, in the right order."""
        chance = Random(3)
        index, model = Index(), []
        uris = [b"http://a.org/%d" % number for number in range(4)]
        for version in range(3000):
            key = chance.choice(uris) + chance.choice((b"\n", b"\nx", b"\ny"))
            nominated = chance.choice((b"", b"1", b"2"))
            one = entry(key, nominated, chance.randrange(9000), version)
            old = index.named(one.name)
            self.assertIs(old, next((other for _, other in model if other.name == one.name), None))
            if old is not None:
                index.remove(old)
                model = [pair for pair in model if pair[1] is not old]
                self.assertTrue(old.gone)
            if chance.random() < 0.6:
                if chance.random() < 0.8:
                    index.add(one)
                    model.insert(0, (key, one))
                else:
                    index.add_old(one)
                    model.append((key, one))
            for key in (chance.choice(uris) + b"\nx", chance.choice(uris) + b"\n"):
                self.assertEqual(list(index.find(key)), [other for where, other in model if where == key])
            uri = chance.choice(uris)
            under = {other for where, other in model if where.startswith(uri + b"\n")}
            self.assertEqual((set(index.under(uri)), len(index)), (under, len(model)))
            self.assertEqual(index.bytes, sum(charge(other.size) for _, other in model))
            self.assertEqual(set(index), {other for _, other in model})

    def test_renewed_and_resized(self) -> None:
        """One that is renewed is the most recent of its key; one that is resized counts with its new size."""
        index, one, two = Index(), entry(URI + b"\n"), entry(URI + b"\n", b"n")
        index.add(one)
        index.add(two)
        self.assertEqual(index.find(URI + b"\n"), (two, one))
        index.renew(one)
        index.resize(one, PAGE + 1)
        self.assertEqual((index.find(URI + b"\n"), index.bytes), ((one, two), 3 * PAGE))
        index.remove(one)
        index.remove(two)
        self.assertEqual((index.bytes, len(index), index.find(URI + b"\n"), index.under(URI)), (0, 0, (), []))


class VictimTests(SynchronousTestCase):
    """What goes first."""

    def filled(self, room: int, asked: list[int]) -> set[int]:
        """Which of the numbers are there when all were asked for in order, each stored where it was not there."""
        index, entries = Index(), {}
        for number in asked:
            one = entries.get(number)
            if one is not None and not one.gone:
                one.used = True
                continue
            entries[number] = one = entry(b"%d\n" % number)
            index.add(one)
            while index.bytes > room:
                victim = index.victim(room)
                assert victim is not None
                index.remove(victim)
        return {number for number, one in entries.items() if not one.gone}

    def test_a_scan_pushes_out_only_itself(self) -> None:
        """What is asked for again and again stays, but for a few, however many others are asked for once."""
        popular = list(range(50)) * 3
        scan = list(range(1000, 3000))
        kept = self.filled(100 * PAGE, popular + scan)
        self.assertEqual(len(kept), 100)
        self.assertGreater(len(kept & set(range(50))), 45)

    def test_it_always_ends(self) -> None:
        """Where everything was used something goes all the same, after a few steps."""
        index = Index()
        entries = [entry(b"%d\n" % number) for number in range(10 * CHANCES)]
        for one in entries:
            index.add(one)
            one.used = True
        victim = index.victim(PAGE)
        self.assertIn(victim, entries)
        self.assertLessEqual(sum(not one.used for one in entries), CHANCES)

    def test_nothing(self) -> None:
        """From nothing nothing goes."""
        self.assertIsNone(Index().victim(PAGE))
