"""A body in pieces reads as it was written."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.chunks import CHUNK_COST, PIECE, Chunks

SIZES = st.lists(st.sampled_from([0, 1, 7, 1000, PIECE - 1, PIECE, PIECE + 1, 50000]), max_size=12)


class Laws(SynchronousTestCase):
    """Of any pieces."""

    @settings(max_examples=100, deadline=None)
    @given(SIZES, st.integers(0, 300000), st.integers(0, 300000))
    def test_reads(self, sizes: list[int], offset: int, size: int) -> None:
        """Reads return what stands there, at most what is asked for, and none only at the end; small pieces are
        joined, so that what it costs is near to what it holds."""
        chunks = Chunks()
        reader = chunks.open()
        whole = b""
        for number, length in enumerate(sizes):
            data = bytes([number]) * length
            chunks.append(data)
            whole += data
        self.assertEqual((chunks.size, chunks.joined()), (len(whole), whole))
        self.assertLessEqual(chunks.cost, len(whole) + CHUNK_COST * (2 * len(whole) // PIECE + 1))
        data = reader.read(offset, size)
        assert isinstance(data, bytes)
        self.assertEqual(data, whole[offset : offset + size][: len(data)])
        self.assertEqual(not data, not whole[offset : offset + size])
        self.assertIsNone(reader.file)

    def test_not_copied(self) -> None:
        """A piece that is wanted whole is handed out as it is."""
        data = b"x" * 70000
        chunks = Chunks()
        chunks.append(data)
        self.assertIs(chunks.read(0, 100000), data)
        self.assertIs(chunks.joined(), data)
        self.assertEqual(chunks.read(-1, 5), b"")
        self.assertEqual(repr(chunks), "<Chunks 70000 bytes in 1>")
