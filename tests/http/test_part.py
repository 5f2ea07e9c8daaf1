"""A part of which a copy is kept."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.stored import Stored
from balancer.http.part import LARGEST, Part, Parts


def a_part(first: int, end: int, body: bytes = b"") -> Stored:
    """Of ten bytes."""
    return Stored(206, b"", b'ETag: "a"\r\n', 0.0, 0.0, 60.0, body=body, parts=((first, end),), total=10)


class PartTests(SynchronousTestCase):
    """What becomes of it."""

    def kept(self, stored: Stored, *pieces: bytes) -> Part:
        """One that came in these pieces."""
        part = Part(stored, Parts())
        for piece in pieces:
            self.assertTrue(part.add(piece))
        return part

    def test_alone(self) -> None:
        """It is kept as it came."""
        found = self.kept(a_part(0, 4), b"01", b"23").combined(None, b"")
        assert found is not None
        self.assertEqual((found.parts, found.body), (((0, 4),), b"0123"))

    def test_combined(self) -> None:
        """With the rest of the same representation it is the whole."""
        other = a_part(4, 10, b"456789")
        part = self.kept(a_part(0, 4), b"0123")
        self.assertIs(part.other([other]), other)
        found = part.combined(other, b"456789")
        assert found is not None
        self.assertEqual((found.status, found.body), (200, b"0123456789"))

    def test_all_in_one(self) -> None:
        """A part that is everything is the whole."""
        found = self.kept(a_part(0, 10), b"0123456789").combined(None, b"")
        assert found is not None
        self.assertEqual((found.status, found.parts, found.body), (200, None, b"0123456789"))

    def test_other_length(self) -> None:
        """One that has not the bytes its Content-Range says is not kept."""
        for pieces in ((), (b"012",), (b"01234",)):
            self.assertIsNone(self.kept(a_part(0, 4), *pieces).combined(None, b""), pieces)

    def test_too_large(self) -> None:
        """One that is too large is not kept."""
        part = Part(a_part(0, 4), Parts())
        self.assertTrue(part.add(bytes(LARGEST)))
        self.assertFalse(part.add(b"x"))
