"""What the kernel is to do, decided."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Backend, BackendSpec, Member
from balancer.core.nat import (
    MOST_SLOTS,
    MOST_TARGETS,
    SOURCE_SLOTS,
    Draw,
    Entrance,
    Ruleset,
    draw_of,
    source_slots,
    translation,
    turn_slots,
)
from balancer.core.nat_policy import NatSettings, checked_source, checked_table


def member(host: str, weight: int = 1, usable: bool = True) -> Member:
    """A member that may be chosen, or not."""
    spec = BackendSpec(host=host, port=80, weight=weight)
    made = Member(Backend(spec.key), spec)
    made.usable = usable
    return made


def members(*weights: int) -> list[Member]:
    """Some of these weights."""
    return [member(f"10.0.{index >> 8}.{index & 255}", weight) for index, weight in enumerate(weights)]


class DrawTests(SynchronousTestCase):
    """``draw_of``."""

    def test_can(self) -> None:
        """What the kernel can do is found, with and without empty parentheses."""
        self.assertEqual([draw_of(draw.value) for draw in Draw], list(Draw))
        self.assertIs(draw_of(" source() "), Draw.SOURCE)

    def test_cannot(self) -> None:
        """Anything else is refused with a list of what it can: other kinds, arguments, chains."""
        for text in ("leastconn", "random(2)", "source or random", "hdr(x)", "first"):
            with self.assertRaisesRegex(ValueError, "the kernel can do roundrobin, random, source"):
                draw_of(text)


class TurnTests(SynchronousTestCase):
    """``turn_slots``."""

    @given(st.lists(st.integers(1, 16), min_size=1, max_size=12), st.data())
    def test_shares(self, weights: list[int], data: st.DataObject) -> None:
        """Each usable member has exactly its weight's share of the slots, the others none."""
        listed = members(*weights)
        for each in listed:
            each.usable = data.draw(st.booleans())
        slots = turn_slots(listed)
        found = Counter(slots)
        total = sum(each.weight for each in listed if each.usable)
        for index, each in enumerate(listed):
            wanted = each.weight * len(slots) if each.usable else 0
            self.assertEqual(found[index] * total, wanted)

    def test_spread(self) -> None:
        """Turns are spread, so that no server gets its share in a row."""
        slots = turn_slots(members(1, 2, 3))
        self.assertEqual(sorted(slots), [0, 1, 1, 2, 2, 2])
        self.assertNotIn((2, 2, 2), zip(slots, slots[1:], slots[2:], strict=False))

    def test_limit(self) -> None:
        """A cycle longer than the table is cut, and shares are right to one slot."""
        slots = turn_slots(members(251, 256, 255, 243, 239))
        self.assertEqual(len(slots), MOST_SLOTS)
        for index, weight in enumerate((251, 256, 255, 243, 239)):
            self.assertLessEqual(abs(slots.count(index) - weight * MOST_SLOTS / 1244), 1)

    def test_nobody(self) -> None:
        """Where nobody is usable there are no slots."""
        self.assertEqual(turn_slots([]), ())
        self.assertEqual(turn_slots([member("10.0.0.1", usable=False)]), ())


class SourceTests(SynchronousTestCase):
    """``source_slots``."""

    @given(st.lists(st.integers(1, 8), min_size=2, max_size=8), st.data())
    def test_only_its_own_move(self, weights: list[int], data: st.DataObject) -> None:
        """While a member is away only its own slots are others', and they are its again when it is back."""
        listed = members(*weights)
        for each in listed:
            each.usable = True
        before = source_slots(listed)
        gone = data.draw(st.integers(0, len(listed) - 1))
        listed[gone].usable = False
        during = source_slots(listed)
        self.assertEqual([slot for slot, owner in enumerate(before) if during[slot] != owner],
                         [slot for slot, owner in enumerate(before) if owner == gone])  # fmt: skip
        listed[gone].usable = True
        self.assertEqual(source_slots(listed), before)

    def test_shares(self) -> None:
        """Slots are shared by weight, and those of a member that is away among all others."""
        listed = members(1, 1, 2)
        found = Counter(source_slots(listed))
        self.assertLessEqual(abs(found[2] - SOURCE_SLOTS / 2), 2)
        listed[2].usable = False
        found = Counter(source_slots(listed))
        self.assertEqual(sum(found.values()), SOURCE_SLOTS)
        self.assertLessEqual(abs(found[0] - SOURCE_SLOTS / 2), SOURCE_SLOTS / 10)

    def test_order(self) -> None:
        """The order of the members does not matter: another balancer sends a source where this one does."""
        listed = members(1, 2, 3)
        turned = listed[::-1]
        self.assertEqual([listed[index] for index in source_slots(listed)],
                         [turned[index] for index in source_slots(turned)])  # fmt: skip

    def test_nobody(self) -> None:
        """Nobody usable, or only of weight 0: no slots."""
        self.assertEqual(source_slots([]), ())
        self.assertEqual(source_slots([member("10.0.0.1", 0)]), ())
        self.assertEqual(source_slots([member("10.0.0.1", usable=False)]), ())


class TranslationTests(SynchronousTestCase):
    """``translation``."""

    def test_family(self) -> None:
        """Only servers of the listener's family of addresses are targets; those that are not usable are, without
        a slot."""
        listed = [member("10.0.0.1"), member("fd00::1"), member("10.0.0.2", usable=False)]
        four = translation(Entrance("a", "tcp", 4, "", 80), NatSettings(), Draw.ROUNDROBIN, listed)
        self.assertEqual(([target.host for target in four.targets], four.slots), (["10.0.0.1", "10.0.0.2"], (0,)))
        six = translation(Entrance("b", "udp", 6, "", 80), NatSettings(), Draw.SOURCE, listed)
        self.assertEqual([str(target) for target in six.targets], ["[fd00::1]:80/udp"])
        self.assertEqual(Ruleset("t", (four, six)).targets, (*four.targets, *six.targets))

    def test_spellings(self) -> None:
        """Two spellings of an address are one server, and an address with a zone, which no rule can name, is none:
        else the kernel would refuse the rules of every listener."""
        listed = [member("fd00::1"), member("FD00:0::1"), member("fe80::1%eth0")]
        made = translation(Entrance("b", "tcp", 6, "", 80), NatSettings(), Draw.RANDOM, listed)
        self.assertEqual([target.host for target in made.targets], ["fd00::1", "fd00::1"])
        self.assertEqual(len(Ruleset("t", (made,)).targets), 1)

    def test_equal(self) -> None:
        """What says the same is equal, so that nothing is sent to the kernel for it."""
        entrance = Entrance("a", "tcp", 4, "10.0.0.9", 80)
        made = [translation(entrance, NatSettings(), Draw.RANDOM, members(1, 2)) for _ in range(2)]
        self.assertEqual(made[0], made[1])

    def test_limit(self) -> None:
        """Servers beyond the limit are left out."""
        listed = members(*[1] * (MOST_TARGETS + 5))
        made = translation(Entrance("a", "tcp", 4, "", 80), NatSettings(), Draw.RANDOM, listed)
        self.assertEqual((len(made.targets), max(made.slots)), (MOST_TARGETS, MOST_TARGETS - 1))

    def test_place(self) -> None:
        """A place reads as people write it."""
        self.assertEqual(str(Entrance("a", "tcp", 4, "", 80)), "0.0.0.0:80")
        self.assertEqual(str(Entrance("a", "udp", 6, "", 53)), "[::]:53")
        self.assertEqual(str(Entrance("a", "udp", 6, "fd00::1", 53)), "[fd00::1]:53")


class SettingsTests(SynchronousTestCase):
    """Texts of the configuration."""

    def test_source(self) -> None:
        """Two words or an address."""
        self.assertEqual([checked_source(text) for text in ("client", "masquerade", "FD00::1")],
                         ["client", "masquerade", "fd00::1"])  # fmt: skip
        for text in ("eth0", "fe80::1%eth0"):
            with self.assertRaisesRegex(ValueError, "masquerade"):
                checked_source(text)

    def test_table(self) -> None:
        """A name that nft reads back."""
        self.assertEqual(checked_table("twistd_balancer"), "twistd_balancer")
        for name in ("", "a b", "1a", "a-b", "a" * 65):
            self.assertRaises(ValueError, checked_table, name)
