"""Packing a stored response loses nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.stores.packing import flagged, flags_of, nominated_of, packed, tags_of, unpacked
from balancer.testing.stored import head_of

SECONDS = st.floats(allow_nan=False)
OFFSETS = st.integers(0, 2**63)
STORED = st.builds(
    Stored,
    st.integers(0, 999),
    st.binary(max_size=20),
    st.binary(max_size=200),
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    st.integers(0, 63),
    st.binary(max_size=20),
    st.lists(st.binary(max_size=5), max_size=3).map(tuple),
    st.just(7),
    st.binary(max_size=20),
    st.none() | st.lists(st.tuples(OFFSETS, OFFSETS), min_size=1, max_size=3).map(tuple),
    st.integers(-1, 2**63 - 1),
)


class Laws(SynchronousTestCase):
    """Of any response."""

    @settings(max_examples=200, deadline=None)
    @given(STORED)
    def test_round_trip(self, stored: Stored) -> None:
        """What is unpacked is what was packed, with its body behind it or apart; its parts can be read alone."""
        head = packed(stored)
        assert head is not None and isinstance(stored.body, bytes)
        for found in (unpacked(head + stored.body, 7, None), unpacked(head, 7, stored.body)):
            self.assertEqual(head_of(found), head_of(stored))
            self.assertEqual((found.body, found.serial), (stored.body, 7))
        kept = head + stored.body
        self.assertEqual(
            (nominated_of(kept), tags_of(kept), flags_of(kept)), (stored.nominated, stored.tags, stored.flags)
        )
        again = unpacked(flagged(kept, SOFT_PURGED), 7, None)
        stored.flags = SOFT_PURGED
        self.assertEqual((head_of(again), again.body), (head_of(stored), stored.body))


class Limits(SynchronousTestCase):
    """Numbers that no response has."""

    def test_refused(self) -> None:
        """What does not fit is refused, never cut and never raised."""
        for fields in ({"total": 2**63}, {"total": -(2**70)}, {"flags": 2**16}, {"parts": ((0, 2**64),)}):
            self.assertIsNone(packed(Stored(200, b"", b"", 0.0, 0.0, 0.0, **fields)))
        self.assertIsNone(packed(Stored(70000, b"", b"", 0.0, 0.0, 0.0)))
