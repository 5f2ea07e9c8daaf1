"""Who may be chosen: the available, the backups, all (panic), the waiting; and with which weight."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core import tiers
from balancer.core.model import AdminState, Backend, BackendSpec, Health, Member


def members(pattern: str) -> list[Member]:
    """One member a letter: u up, d down, w waiting, e ejected, m in maintenance, 0 of weight 0; capitals: backups."""
    made = []
    for number, letter in enumerate(pattern, 1):
        kind = letter.lower()
        spec = BackendSpec(host=f"10.0.0.{number}", port=80, backup=letter.isupper(), weight=0 if kind == "0" else 1)
        backend = Backend(spec.key)
        if kind == "d":
            backend.judge("tcp", Health.DOWN, "refused", 0.0)
        elif kind == "w":
            backend.judge("tcp", Health.UNKNOWN, "not probed yet", 0.0, waits=True)
        elif kind == "e":
            backend.eject(float(number), "failures", 0.0)
        elif kind == "m":
            backend.administer(AdminState.MAINT, "repair", 0.0)
        made.append(Member(backend, spec))
    return made


class Usable(SynchronousTestCase):
    """Tiers and panic."""

    def chosen(self, pattern: str, threshold: float = 0.5) -> str:
        """The usable ones as ``x`` in the pattern, ``!`` behind it for panic."""
        every = members(pattern)
        usable, panic = tiers.usable(every, threshold)
        return "".join("x" if member in usable else "." for member in every) + "!" * panic

    def test_available(self) -> None:
        """While enough are available exactly those are used."""
        self.assertEqual(self.chosen("uude"), "xx..")
        self.assertEqual(self.chosen("ud"), "x.")
        self.assertEqual(self.chosen("uuUU"), "xx..")

    def test_panic(self) -> None:
        """Below the threshold all are used but those the operator took out and those without weight."""
        self.assertEqual(self.chosen("udd"), "xxx!")
        self.assertEqual(self.chosen("dddm0"), "xxx..!")
        self.assertEqual(self.chosen("eedd", 1.0), "xxxx!")

    def test_no_panic(self) -> None:
        """With threshold 0 only the available are ever used, be there one or none."""
        self.assertEqual(self.chosen("uddd", 0.0), "x...")
        self.assertEqual(self.chosen("dddd", 0.0), "....")

    def test_backups(self) -> None:
        """Backups serve where no primary is available, and help where too few are; a dead server is never used while
        one of them answers."""
        self.assertEqual(self.chosen("ddUU"), "..xx")
        self.assertEqual(self.chosen("uddU"), "x..x")
        self.assertEqual(self.chosen("uddU", 0.0), "x...")
        self.assertEqual(self.chosen("mmUD"), "..x.")

    def test_backups_dead(self) -> None:
        """Where no backup is available either, the primaries panic, not the backups."""
        self.assertEqual(self.chosen("dddD"), "xxx.!")
        self.assertEqual(self.chosen("uddD"), "xxx.!")

    def test_only_backups(self) -> None:
        """Where the operator took every primary out the backups are the tier, panic included."""
        self.assertEqual(self.chosen("mDDU"), ".xxx!")

    def test_waiting(self) -> None:
        """Those that wait for a first probe neither help nor hurt, and serve where there is nothing else."""
        self.assertEqual(self.chosen("uwww"), "x...")
        self.assertEqual(self.chosen("ww"), "xx")
        self.assertEqual(self.chosen("dw", 0.0), ".x")

    def test_operator(self) -> None:
        """What the operator took out is never used, and its absence is no reason for panic."""
        self.assertEqual(self.chosen("ummm"), "x...")
        self.assertEqual(self.chosen("mmm"), "...")
        self.assertEqual(self.chosen(""), "")

    @given(st.text("udwem0UDWEM", max_size=10), st.floats(0, 1))
    def test_laws(self, pattern: str, threshold: float) -> None:
        """Never one the operator took out or of weight 0; without panic only available ones or, where none is, those
        that wait; somebody wherever somebody is available."""
        every = members(pattern)
        usable, panic = tiers.usable(every, threshold)
        self.assertFalse({m for m in usable if m.backend.admin is AdminState.MAINT or not m.spec.weight})
        available = {m for m in every if m.backend.available and m.spec.weight}
        if not panic:
            self.assertTrue(usable <= available or all(m.backend.waits for m in usable))
        if available:
            self.assertTrue(usable & available)


class Weights(SynchronousTestCase):
    """Slow start."""

    def test_ramp(self) -> None:
        """One that came back grows by tenths, in proportion to its weight, and then all is as configured."""
        every = members("uu")
        every[0].backend.up_since = 100.0
        seen = [tiers.weights(every, 20.0, now)[0] for now in (100.0, 104.0, 110.0, 119.9, 120.0)]
        self.assertEqual(seen, [[1, 10], [2, 10], [5, 10], [9, 10], [1, 1]])

    def test_when_again(self) -> None:
        """While one grows they are to be asked again after a tenth of the time, else never."""
        every = members("uu")
        every[0].backend.up_since = 100.0
        self.assertEqual(tiers.weights(every, 20.0, 104.0)[1], 106.0)
        self.assertEqual(tiers.weights(every, 20.0, 120.0)[1], float("inf"))

    def test_off(self) -> None:
        """Without slow start, or never having been out, a member has the weight it was given."""
        every = members("uu")
        self.assertEqual(tiers.weights(every, 20.0, 0.0)[0], [1, 1])
        every[0].backend.up_since = 100.0
        self.assertEqual(tiers.weights(every, 0.0, 100.0)[0], [1, 1])


class Shares(SynchronousTestCase):
    """How many may be ejected."""

    def test_rounded_down(self) -> None:
        """The share is a limit: rounded down, but not by how floats are stored."""
        counted = [tiers.allowed(*pair) for pair in ((3, 0.5), (4, 0.5), (100, 0.29), (5, 0.1), (3, 1.0))]
        self.assertEqual(counted, [1, 2, 29, 0, 3])

    def can_lose(self, pattern: str, share: float = 0.5) -> bool:
        """Whether the first may go."""
        every = members(pattern)
        return tiers.can_lose(every, every[0].backend, share)

    def test_can_lose(self) -> None:
        """One may go within the share, and where another that can serve remains."""
        patterns = ("uu", "uud", "u", "ud", "um", "u0", "uw", "uue", "uuue")
        self.assertEqual([pattern for pattern in patterns if self.can_lose(pattern)], ["uu", "uud", "uuue"])
        self.assertTrue(self.can_lose("uue", 1.0))
        self.assertFalse(self.can_lose("uu", 0.0))

    def surplus(self, pattern: str, share: float = 0.5) -> int | None:
        """The place of the one whose ejection is to end."""
        every = members(pattern)
        backend = tiers.surplus(every, share)
        return None if backend is None else [member.backend for member in every].index(backend)

    def test_surplus(self) -> None:
        """Too many, or one that nobody else can stand in for: the one whose time is over first comes back."""
        self.assertEqual([self.surplus(pattern) for pattern in ("eu", "eeu", "e", "eed")], [None, 0, 0, 0])
        self.assertEqual([self.surplus("eedd", 1.0), self.surplus("de", 1.0), self.surplus("eu", 0.0)], [0, 1, 0])

    def test_no_help(self) -> None:
        """One that could not serve anyway does not come back for want of others."""
        every = members("eddd")
        every[0].backend.administer(AdminState.DRAIN, "upgrade", 0.0)
        self.assertIsNone(tiers.surplus(every, 0.5))


LETTERS = "udwem0UDWEM"


@settings(deadline=None)
@given(st.text(LETTERS, min_size=1, max_size=8), st.data(), st.sampled_from((0.0, 0.5, 1.0)))
def test_tally_one_by_one(pattern: str, data: st.DataObject, threshold: float) -> None:
    """A tally that was told of one change after the other says what a new one says; and where it says that the same
    standings serve, no other member turned."""
    every = members(pattern)
    tally = tiers.Tally(every, threshold)
    for _ in range(4):
        member = data.draw(st.sampled_from(every))
        before = {each: tally.usable(each) for each in every}
        health = data.draw(st.sampled_from(Health))
        member.backend.judge("tcp", health, "a test", 0.0, waits=health is Health.UNKNOWN)
        if data.draw(st.booleans()):
            member.backend.eject(9.0, "a test", 0.0)
        turned = tally.update(member)
        fresh = tiers.Tally(every, threshold)
        assert (tally.serving, tally.panic, tally.ejected) == (fresh.serving, fresh.panic, fresh.ejected)
        assert turned or all(tally.usable(each) is before[each] for each in every if each is not member)
