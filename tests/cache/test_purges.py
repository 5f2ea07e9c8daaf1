"""The ledger of purges says of each stored response just what going through all purges would say."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import GONE, KEEP, SOFT, Ledger, Purge, host_of_uri, uri_of_key
from balancer.cache.stored import Stored

URIS = [b"http://a/", b"http://a/x", b"https://a/x", b"http://b/a/", b"http://a:81/x?y", b""]
TAGS = [b"red", b"green"]
BEGINNINGS = st.builds(lambda uri, size: uri[:size], st.sampled_from(URIS), st.integers(0, 20))

PURGES = st.one_of(
    st.builds(Purge, kind=st.just("url"), what=st.sampled_from(URIS), soft=st.booleans()),
    st.builds(Purge, kind=st.just("host"), what=st.sampled_from([b"a", b"b", b"a:81", b""]), soft=st.booleans()),
    st.builds(Purge, kind=st.just("tag"), what=st.sampled_from(TAGS), soft=st.booleans()),
    st.builds(Purge, kind=st.just("prefix"), what=BEGINNINGS, soft=st.booleans()),
    st.builds(Purge, kind=st.just("all"), soft=st.booleans()),
)


def stored_at(serial: int, *tags: bytes) -> Stored:
    """A response asked for then."""
    return Stored(200, b"OK", b"", 0.0, 0.0, 60.0, serial=serial, tags=tags)


def meets(purge: Purge, uri: bytes, tags: tuple[bytes, ...]) -> bool:
    """Whether a purge meets an entry, as the words say."""
    if purge.kind == "host":
        return uri.partition(b"://")[2].partition(b"/")[0] == purge.what
    if purge.kind == "prefix":
        return uri.startswith(purge.what)
    return purge.kind == "all" or purge.what in ((uri,) if purge.kind == "url" else tags)


class Laws(SynchronousTestCase):
    """Against going through all purges."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(PURGES, max_size=12),
        st.sampled_from(URIS),
        st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
        st.integers(0, 12),
        st.integers(0, 12),
    )
    def test_verdict(self, made: list[Purge], uri: bytes, tags: tuple[bytes, ...], serial: int, forgotten: int) -> None:
        """The strongest purge that is later than the entry and meets it decides, also after what is older than the
        entry was forgotten."""
        ledger = Ledger()
        self.assertEqual([ledger.add(purge) for purge in made], list(range(1, len(made) + 1)))
        if forgotten <= serial:
            ledger.forget(forgotten)
        met = [purge for number, purge in enumerate(made, 1) if number > serial and meets(purge, uri, tags)]
        expected = max((SOFT if purge.soft else GONE for purge in met), default=KEEP)
        for key in (uri + b"\nmain", uri + b"\n", uri):
            self.assertEqual(ledger.verdict(key, stored_at(serial, *tags)), expected)
            self.assertEqual(ledger.arriving(key, stored_at(serial, *tags)), expected)


class Serials(SynchronousTestCase):
    """What is counted and remembered."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def test_removed(self) -> None:
        """A removal meets what was asked for before and arrives later, not what is there; the hard one counts."""
        self.assertEqual(self.ledger.removed(b"u", True), 1)
        self.assertEqual((self.ledger.serial, self.ledger.last), (1, 0))
        self.assertEqual(self.ledger.verdict(b"u\n", stored_at(0)), KEEP)
        self.assertEqual(self.ledger.arriving(b"u\n", stored_at(0)), SOFT)
        self.assertEqual(self.ledger.arriving(b"v\n", stored_at(0)), KEEP)
        self.ledger.removed(b"u", False)
        self.ledger.removed(b"u", True)
        self.assertEqual(self.ledger.arriving(b"u\n", stored_at(2)), GONE)
        self.assertEqual(self.ledger.arriving(b"u\n", stored_at(3)), KEEP)

    def test_many_removals(self) -> None:
        """Removals are bounded: what was asked for before a forgotten one is not kept."""
        ledger = Ledger(max_removals=2)
        for uri in (b"u", b"v", b"w"):
            ledger.removed(uri, False)
        self.assertEqual(ledger.arriving(b"x\n", stored_at(0)), GONE)
        self.assertEqual(ledger.arriving(b"x\n", stored_at(1)), KEEP)

    def test_many_purges(self) -> None:
        """Purges are bounded: one too many makes one purge of everything of all."""
        ledger = Ledger(max_records=2)
        for what in (b"u", b"v"):
            ledger.add(Purge(kind="url", what=what))
        self.assertEqual(ledger.verdict(b"x\n", stored_at(0)), KEEP)
        ledger.add(Purge(kind="url", what=b"w", soft=True))
        self.assertEqual(ledger.verdict(b"x\n", stored_at(2)), GONE)
        self.assertEqual(ledger.verdict(b"x\n", stored_at(3)), KEEP)
        self.assertEqual(ledger.records, 0)

    def test_forget(self) -> None:
        """What is older than every entry is forgotten; what was asked for before that and arrives now is not kept."""
        for what in (b"u", b"v", b"u"):
            self.ledger.add(Purge(kind="prefix", what=what))
        self.assertEqual(self.ledger.records, 2)
        self.ledger.forget(2)
        self.assertEqual((self.ledger.records, self.ledger.serial, self.ledger.last), (1, 3, 3))
        self.assertEqual(self.ledger.arriving(b"x\n", stored_at(1)), GONE)
        self.assertEqual(self.ledger.arriving(b"x\n", stored_at(2)), KEEP)
        self.assertEqual(self.ledger.arriving(b"u\n", stored_at(2)), GONE)
        self.assertEqual(repr(self.ledger), "<Ledger serial=3 records=1>")

    def test_noted(self) -> None:
        """A store that comes back notes the purges it kept, with their serials."""
        self.ledger.note(7, Purge(kind="url", what=b"u"))
        self.assertEqual((self.ledger.serial, self.ledger.last), (7, 7))
        self.assertEqual(self.ledger.verdict(b"u\n", stored_at(6)), GONE)
        self.assertEqual(self.ledger.add(Purge(kind="all", soft=True)), 8)

    def test_places(self) -> None:
        """Keys have their URI in front, URIs their authority."""
        self.assertEqual(uri_of_key(b"http://a/?b\nrest\nmore"), b"http://a/?b")
        self.assertEqual(host_of_uri(b"http://a.org:81/b/c"), b"a.org:81")
        self.assertEqual((host_of_uri(b"http://a"), host_of_uri(b"nothing")), (b"a", b""))
