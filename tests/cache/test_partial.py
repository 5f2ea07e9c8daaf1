"""Partial content that is stored."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.messages import PlainRequest
from balancer.cache.partial import MAX_PARTS, combined, complete, covers, place
from balancer.cache.ranges import Span
from balancer.cache.stored import ALWAYS_VALIDATE, HEURISTIC, MUST_REVALIDATE, Stored

WHOLE = bytes(range(256)) * 4
ETAG = b'ETag: "a"\r\n'


def part(*parts: Span, total: int = len(WHOLE), lines: bytes = ETAG, **more: object) -> tuple[Stored, bytes]:
    """A stored response with these parts of WHOLE, and its body."""
    body = b"".join(WHOLE[first:end] for first, end in parts)
    values: dict[str, object] = {"arrived": 1000.0, "age": 0.0, "lifetime": 60.0, **more}
    return Stored(206, b"Partial Content", lines, parts=parts, total=total, **values), body  # type: ignore[arg-type]


def asking(value: bytes | None, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> PlainRequest:
    """A request for a range."""
    return PlainRequest(method, b"a", b"/", None, [*fields, *([(b"Range", value)] if value is not None else [])])


class CoversTests(SynchronousTestCase):
    """What it answers (RFC 9111 section 3.3)."""

    def covered(self, value: bytes | None, *fields: tuple[bytes, bytes], total: int = 1024) -> bool:
        """Whether bytes 100-199 and 300-1023 have what is asked for."""
        return covers(part((100, 200), (300, 1024), total=total)[0], asking(value, *fields))

    def test_whole(self) -> None:
        """A whole response covers every request."""
        whole = Stored(200, b"OK", b"", 0.0, 0.0, 1.0)
        for value in (None, b"bytes=0-1", b"nonsense"):
            self.assertTrue(covers(whole, asking(value)))

    def test_within_one_part(self) -> None:
        """A range is covered that lies within one part."""
        for value in (b"bytes=100-199", b"bytes=150-150", b"bytes=300-", b"bytes=-1", b"bytes=1000-5000"):
            self.assertTrue(self.covered(value), value)
        for value in (b"bytes=99-199", b"bytes=100-200", b"bytes=150-350", b"bytes=0-", b"bytes=-1000"):
            self.assertFalse(self.covered(value), value)

    def test_not_for_one_range(self) -> None:
        """The whole, several ranges, none that is there, or a Range that is not heeded are not covered."""
        for value in (None, b"", b"items=100-101", b"bytes=100-101,300-301", b"bytes=1024-", b"bytes=-0"):
            self.assertFalse(self.covered(value), value)
        stored = part((0, 10))[0]
        self.assertFalse(covers(stored, asking(b"bytes=0-1", method=b"HEAD")))

    def test_unknown_length(self) -> None:
        """Where the length of the whole is unknown, only a range with both ends can be covered."""
        self.assertTrue(self.covered(b"bytes=300-1023", total=-1))
        for value in (b"bytes=300-", b"bytes=-5", b"bytes=300-1024"):
            self.assertFalse(self.covered(value, total=-1), value)

    def test_if_range(self) -> None:
        """With an If-Range that does not hold the whole is asked for."""
        self.assertTrue(self.covered(b"bytes=100-101", (b"If-Range", b'"a"')))
        self.assertFalse(self.covered(b"bytes=100-101", (b"If-Range", b'"b"')))
        self.assertFalse(self.covered(b"bytes=100-101", (b"If-Range", b'W/"a"')))

    def test_place(self) -> None:
        """The parts lie in the body one after the other."""
        stored, body = part((100, 200), (300, 400))
        at = place(stored, 310, 320)
        self.assertEqual(body[at : at + 10], WHOLE[310:320])
        self.assertEqual((place(stored, 100, 200), place(stored, 199, 201), place(stored, 0, 1)), (0, -1, -1))


class CompleteTests(SynchronousTestCase):
    """Whether a part has what it says."""

    def test_complete(self) -> None:
        """It has as many bytes as its parts, no more and no fewer."""
        stored, body = part((0, 10), (20, 25))
        self.assertTrue(complete(stored, body))
        self.assertFalse(complete(stored, body[1:]))
        self.assertFalse(complete(stored, body + b"x"))


class CombinedTests(SynchronousTestCase):
    """Two become one (RFC 9111 section 3.4)."""

    def test_parts(self) -> None:
        """Parts that are apart stay apart."""
        result = combined(*part((100, 200)), *part((300, 400)))
        assert result is not None
        stored, body = result
        self.assertEqual((stored.status, stored.parts, stored.total), (206, ((100, 200), (300, 400)), 1024))
        self.assertEqual(body, WHOLE[100:200] + WHOLE[300:400])
        self.assertEqual(stored.get(b"content-length"), b"200")
        self.assertIsNone(stored.get(b"content-range"))

    def test_whole(self) -> None:
        """With nothing missing it is a 200 with the length of all."""
        lines = ETAG + b"Content-Type: text/plain\r\nContent-Range: bytes 0-511/1024\r\nContent-Length: 512\r\n"
        result = combined(*part((512, 1024)), *part((0, 512), lines=lines))
        assert result is not None
        stored, body = result
        self.assertEqual((stored.status, stored.reason, stored.parts, stored.total), (200, b"OK", None, 1024))
        self.assertEqual(body, WHOLE)
        self.assertEqual(stored.lines, ETAG + b"Content-Type: text/plain\r\nContent-Length: 1024\r\n")

    def test_unknown_length(self) -> None:
        """What is not known to be whole is not; the length that one of them knows counts for both."""
        result = combined(*part((0, 512), total=-1), *part((512, 1024), total=-1))
        assert result is not None
        self.assertEqual((result[0].status, result[0].parts, result[0].total), (206, ((0, 1024),), -1))
        result = combined(*part((0, 512), total=-1), *part((512, 1024)))
        assert result is not None
        self.assertEqual(result[0].status, 200)

    def test_fields(self) -> None:
        """The new one's fields replace those of the same names; the others stay; what is of a part's content goes."""
        old = ETAG + b"X-A: 1\r\nX-A: 2\r\nX-B: 1\r\nContent-Digest: x\r\nDate: old\r\n"
        new = b"x-a: 3\r\nDate: new\r\nContent-Range: bytes 0-1/1024\r\nContent-MD5: y\r\n" + ETAG
        result = combined(*part((5, 9), lines=old), *part((0, 2), lines=new))
        assert result is not None
        self.assertEqual(result[0].lines, b"X-B: 1\r\nx-a: 3\r\nDate: new\r\n" + ETAG + b"Content-Length: 6\r\n")

    def test_freshness_of_the_new(self) -> None:
        """Age, lifetime, flags and tags are the new one's; the serial the older one's."""
        fresh = ETAG + b"Cache-Control: max-age=5\r\n"
        old = part((5, 9), flags=ALWAYS_VALIDATE | MUST_REVALIDATE, lifetime=1.0, serial=3, tags=(b"x",))
        new = part((0, 2), lines=fresh, flags=HEURISTIC, lifetime=5.0, age=2.0, arrived=2000.0, serial=4)
        result = combined(*old, *new)
        assert result is not None
        stored = result[0]
        self.assertEqual((stored.arrived, stored.age, stored.lifetime, stored.flags), (2000.0, 2.0, 5.0, HEURISTIC))
        self.assertEqual((stored.serial, stored.tags), (3, (b"x",)))

    def test_freshness_of_the_old(self) -> None:
        """What the stored one says of its reuse counts still where the new one says nothing of it."""
        old = part((5, 9), lines=ETAG + b"Cache-Control: no-cache\r\n", flags=ALWAYS_VALIDATE, lifetime=1.0)
        result = combined(*old, *part((0, 2), flags=HEURISTIC, lifetime=5.0))
        assert result is not None
        self.assertEqual((result[0].flags, result[0].lifetime), (HEURISTIC | ALWAYS_VALIDATE, 1.0))

    def test_refused(self) -> None:
        """Without a strong validator in common, of other variants, of contradicting lengths or whole ones: nothing."""
        old = part((0, 10))
        for new in (
            part((10, 20), lines=b'ETag: "b"\r\n'),
            part((10, 20), lines=b'ETag: W/"a"\r\n'),
            part((10, 20), lines=b""),
            part((10, 20), lines=ETAG + b'ETag: "b"\r\n'),
            part((10, 20), total=2000),
            part((10, 20), nominated=b"x"),
            (part((10, 20))[0], b"short"),
            (Stored(200, b"OK", ETAG, 0.0, 0.0, 1.0), WHOLE),
        ):
            self.assertIsNone(combined(*old, *new), new)
            self.assertIsNone(combined(*new, *old), new)
        weak = part((0, 10), lines=b'ETag: W/"a"\r\n')
        self.assertIsNone(combined(*weak, *weak))
        self.assertIsNone(combined(*part((0, 10), total=-1), *part((10, 600), total=-1, lines=b"")))

    def test_beyond_the_end(self) -> None:
        """A part that lies behind the end which the other one knows contradicts it."""
        self.assertIsNone(combined(*part((0, 10), total=500), *part((490, 510), total=-1)))

    def test_too_many_parts(self) -> None:
        """More parts than the limit are not kept together."""
        spans = tuple((at, at + 1) for at in range(0, 2 * MAX_PARTS, 2))
        self.assertIsNone(combined(*part(*spans), *part((500, 501))))
        self.assertIsNotNone(combined(*part(*spans), *part((0, 1))))


def apart(numbers: list[int]) -> list[Span]:
    """Ascending parts that do not touch."""
    spans: list[Span] = []
    for first, end in zip(sorted(numbers)[::2], sorted(numbers)[1::2], strict=False):
        if first < end and (not spans or first > spans[-1][1]):
            spans.append((first, end))
    return spans


_parts = st.lists(st.integers(0, len(WHOLE)), min_size=2, max_size=8).map(apart).filter(bool)


class Laws(SynchronousTestCase):
    """For all parts."""

    @given(st.lists(_parts, min_size=2, max_size=4))
    def test_slices_of_the_whole(self, several: list[list[Span]]) -> None:
        """However many are combined, what is there is what the representation has there, no more and no less."""
        stored, body = part(*several[0])
        for parts in several[1:]:
            result = combined(stored, body, *part(*parts))
            assert result is not None
            stored, body = result
            if stored.parts is None:
                break
        expected = {at for parts in several for first, end in parts for at in range(first, end)}
        held = stored.parts if stored.parts is not None else ((0, stored.total),)
        self.assertEqual([at for first, end in held for at in range(first, end)], sorted(expected))
        self.assertEqual(body, bytes(WHOLE[at] for at in sorted(expected)))
        self.assertEqual(stored.get(b"content-length"), b"%d" % len(body))
        self.assertTrue(all(before[1] < after[0] for before, after in zip(held, held[1:], strict=False)))

    @given(_parts, st.integers(0, 1100), st.integers(1, 1100))
    def test_covers(self, parts: list[Span], first: int, size: int) -> None:
        """A range is covered exactly if every byte of it that there is, is there."""
        stored = part(*parts)[0]
        there = {at for begin, end in parts for at in range(begin, end)}
        asked = set(range(first, min(first + size, len(WHOLE))))
        found = covers(stored, asking(b"bytes=%d-%d" % (first, first + size - 1)))
        self.assertEqual(found, bool(asked) and asked <= there)
