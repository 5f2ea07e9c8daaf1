"""The keys of a URI are found, whatever their rests."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.uris import MAX_COMMON, Uris

KEYS = st.builds(lambda uri, rest: b"u%d\n%d" % (uri, rest), st.integers(0, 3), st.integers(0, 3 * MAX_COMMON))


class Laws(SynchronousTestCase):
    """Of any history."""

    @settings(max_examples=50, deadline=None)
    @given(st.lists(KEYS, max_size=300))
    def test_keys(self, history: list[bytes]) -> None:
        """Keys that were added and not discarded are found under their URI, each once, and no others."""
        uris = Uris()
        there: set[bytes] = set()
        for key in history:
            if key in there:
                there.discard(key)
                uris.discard(key)
            else:
                there.add(key)
                uris.add(key)
        for uri in (b"u0", b"u1", b"u2", b"u3", b"u"):
            expected = sorted(key for key in there if key.partition(b"\n")[0] == uri)
            self.assertEqual(sorted(uris.keys(uri, there)), expected)

    def test_listed(self) -> None:
        """Common rests cost nothing; a rest that comes when there are many already is listed, and costs."""
        uris = Uris()
        self.assertEqual({uris.add(b"u\n%d" % number) for number in range(MAX_COMMON)}, {0})
        self.assertGreater(uris.add(b"u\nrare"), 0)
        self.assertEqual(uris.add(b"v\n0"), 0)
        uris.discard(b"v\n0")
        uris.discard(b"u\n0")
        self.assertEqual(uris.add(b"v\nrare"), 0)
        self.assertEqual(sorted(uris.keys(b"u", {b"u\n1"})), [b"u\n1", b"u\nrare"])
        self.assertEqual(uris.keys(b"v", {b"v\nrare"}), [b"v\nrare"])
        uris.discard(b"u\nrare")
        uris.discard(b"v\nrare")
        self.assertEqual(uris.keys(b"v", ()), [])
