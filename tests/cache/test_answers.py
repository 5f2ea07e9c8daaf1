"""What is sent from a stored response."""

from email import message_from_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.answers import Answer, answer
from balancer.cache.asked import Asked
from balancer.cache.messages import PlainRequest
from balancer.cache.policy import CachePolicy
from balancer.cache.ranges import MAX_RANGES
from balancer.cache.stored import Fields, Stored

BODY = bytes(range(256)) * 8
DATE = b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\n"
MODIFIED = b"Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n"
TYPE = b"Content-Type: text/plain\r\n"
ETAG = b'ETag: "a"\r\n'


def stored(lines: bytes = DATE + TYPE + ETAG, body: bytes = BODY, status: int = 200) -> Stored:
    """A whole response."""
    return Stored(status, b"Fine", lines + b"Content-Length: %d\r\n" % len(body), 1000.0, 0.0, 60.0, body=body)


def ask(kept: Stored, *fields: tuple[bytes, bytes], method: bytes = b"GET", secret: bytes = b"") -> Answer:
    """What such a request gets."""
    request = PlainRequest(method, b"a", b"/", None, list(fields))
    return answer(Asked(request, CachePolicy()), request, kept, secret)


def ranged(value: bytes, *fields: tuple[bytes, bytes], kept: Stored | None = None) -> Answer:
    """What a request for ranges gets."""
    return ask(kept or stored(), (b"Range", value), *fields)


def body_of(given_out: Answer, kept: bytes = BODY) -> bytes:
    """The bytes as they are sent."""
    return b"".join(piece if isinstance(piece, bytes) else kept[piece[0] : piece[1]] for piece in given_out.pieces)


def field(given_out: Answer, name: bytes) -> list[bytes]:
    """Every value of a field."""
    lines = given_out.lines.split(b"\r\n")
    return [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(name + b":")]


class WholeTests(SynchronousTestCase):
    """Plain requests."""

    def test_get(self) -> None:
        """All of it, as it was stored."""
        kept = stored()
        given_out = ask(kept)
        self.assertEqual((given_out.status, given_out.reason, given_out.lines), (200, b"Fine", kept.lines))
        self.assertEqual((given_out.pieces, given_out.length), ([(0, 2048)], 2048))

    def test_empty(self) -> None:
        """Nothing has no pieces."""
        given_out = ask(stored(body=b""))
        self.assertEqual((given_out.pieces, given_out.length), ([], 0))

    def test_head(self) -> None:
        """HEAD gets the fields of the GET, its Content-Length too, and no content (RFC 9110 section 9.3.2)."""
        for fields in ([], [(b"Range", b"bytes=0-1")], [(b"Range", b"bytes=5000-")]):
            given_out = ask(stored(), *fields, method=b"HEAD")
            self.assertEqual((given_out.status, given_out.lines), (200, stored().lines))
            self.assertEqual((given_out.pieces, given_out.length), ([], 0))

    def test_other_status(self) -> None:
        """Conditions and ranges change nothing but a success (sections 13.2.1, 14.2)."""
        for status in (404, 301, 500):
            given_out = ask(stored(status=status), (b"If-None-Match", b'"a"'), (b"Range", b"bytes=0-1"))
            self.assertEqual((given_out.status, given_out.length), (status, 2048))
        self.assertEqual(ask(stored(status=203), (b"If-None-Match", b'"a"')).status, 304)
        self.assertEqual(ask(stored(status=203), (b"Range", b"bytes=0-1")).status, 203)


class NotModifiedTests(SynchronousTestCase):
    """304."""

    LINES = (
        b"content-location: /a\r\n" + DATE + TYPE + ETAG + MODIFIED + b"Vary: Accept\r\nVary: X\r\nSet-Cookie: a=b\r\n"
        b"Cache-Control: max-age=5\r\nExpires: 0\r\nContent-Encoding: gzip\r\n"
    )

    def test_fields(self) -> None:
        """It has only what section 15.4.5 names, and no Content-Length."""
        for method in (b"GET", b"HEAD"):
            given_out = ask(stored(self.LINES), (b"If-None-Match", b'"a"'), method=method)
            self.assertEqual((given_out.status, given_out.reason), (304, b"Not Modified"))
            self.assertEqual((given_out.pieces, given_out.length), ([], 0))
            self.assertEqual(
                given_out.lines,
                b"content-location: /a\r\n" + DATE + ETAG + b"Vary: Accept\r\nVary: X\r\n"
                b"Cache-Control: max-age=5\r\nExpires: 0\r\n",
            )

    def test_last_modified(self) -> None:
        """Last-Modified only without an ETag."""
        given_out = ask(stored(DATE + MODIFIED + TYPE), (b"If-Modified-Since", MODIFIED[15:-2]))
        self.assertEqual((given_out.status, given_out.lines), (304, DATE + MODIFIED))

    def test_before_ranges(self) -> None:
        """Conditions come before ranges (section 13.2.2), satisfiable or not."""
        for value in (b"bytes=0-1", b"bytes=99999-"):
            self.assertEqual(ranged(value, (b"If-None-Match", b'"a"')).status, 304)
            self.assertIn(ranged(value, (b"If-None-Match", b'"b"')).status, (206, 416))

    def test_query(self) -> None:
        """Not to other methods."""
        self.assertEqual(ask(stored(), (b"If-None-Match", b'"a"'), method=b"QUERY").status, 200)


class RangeTests(SynchronousTestCase):
    """206 and 416."""

    def test_single(self) -> None:
        """One range: Content-Range and its length beside the fields of the whole (section 15.3.7.1)."""
        given_out = ranged(b"bytes=16-31")
        self.assertEqual((given_out.status, given_out.reason), (206, b"Partial Content"))
        self.assertEqual((given_out.pieces, given_out.length), ([(16, 32)], 16))
        self.assertEqual(
            given_out.lines, DATE + TYPE + ETAG + b"Content-Range: bytes 16-31/2048\r\nContent-Length: 16\r\n"
        )

    def test_digest_of_the_content(self) -> None:
        """What is true of the whole content only is not said of a part; what is of the representation is."""
        lines = b"Content-Digest: sha-256=:x:\r\nContent-MD5: y\r\nRepr-Digest: sha-256=:z:\r\n"
        given_out = ranged(b"bytes=0-0", kept=stored(lines))
        self.assertTrue(given_out.lines.startswith(b"Repr-Digest: sha-256=:z:\r\nContent-Range:"))

    def test_unsatisfiable(self) -> None:
        """416 says how long the whole is, and has no content (section 15.5.17)."""
        for value in (b"bytes=2048-", b"bytes=-0", b"bytes=5000-6000,7000-"):
            given_out = ranged(value)
            self.assertEqual((given_out.status, given_out.pieces, given_out.length), (416, [], 0))
            self.assertEqual(given_out.lines, DATE + b"Content-Range: bytes */2048\r\nContent-Length: 0\r\n")

    def test_of_nothing(self) -> None:
        """Of an empty representation no byte can be asked for; its last bytes are all of it."""
        self.assertEqual(ranged(b"bytes=0-", kept=stored(body=b"")).status, 416)
        self.assertEqual(ranged(b"bytes=-5", kept=stored(body=b"")).status, 200)

    def test_ignored(self) -> None:
        """Invalid ranges, other units and too many get the whole."""
        for value in (b"bytes=2-1", b"items=0-1", b"", b"bytes=" + b"0-0," * (MAX_RANGES + 1)):
            self.assertEqual((ranged(value).status, ranged(value).length), (200, 2048), value)

    def test_if_range(self) -> None:
        """The whole where If-Range does not hold; a range where it does (section 13.1.5)."""
        self.assertEqual(ranged(b"bytes=0-1", (b"If-Range", b'"a"')).status, 206)
        for value in (b'"b"', b'W/"a"', b"nonsense"):
            self.assertEqual(ranged(b"bytes=0-1", (b"If-Range", value)).status, 200, value)
            self.assertEqual(ranged(b"bytes=9999-", (b"If-Range", value)).status, 200, value)

    def test_one_left(self) -> None:
        """Several that became one, or of which one is there, are sent as one."""
        for value in (b"bytes=0-9,5-15", b"bytes=0-15,5000-", b"bytes=0-0,15-15"):
            given_out = ranged(value)
            self.assertEqual((field(given_out, b"content-range"), given_out.pieces), ([b"bytes 0-15/2048"], [(0, 16)]))


class MultipartTests(SynchronousTestCase):
    """Several ranges (sections 14.6 and 15.3.7.2)."""

    def test_parts(self) -> None:
        """A part for each range, in the order asked for, with the type of the whole and its range."""
        given_out = ranged(b"bytes=1000-1009,0-9")
        body = body_of(given_out)
        self.assertEqual(given_out.status, 206)
        self.assertEqual(field(given_out, b"content-length"), [b"%d" % len(body)])
        self.assertEqual(field(given_out, b"content-range"), [])
        (kind,) = field(given_out, b"content-type")
        self.assertTrue(kind.startswith(b"multipart/byteranges; boundary="))
        read = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body)
        parts = read.get_payload()
        assert isinstance(parts, list)
        self.assertEqual([part["Content-Range"] for part in parts], ["bytes 1000-1009/2048", "bytes 0-9/2048"])
        self.assertEqual([part["Content-Type"] for part in parts], ["text/plain", "text/plain"])
        boundary = kind.partition(b"boundary=")[2]
        first = b"--%b\r\nContent-Type: text/plain\r\nContent-Range: bytes 1000-1009/2048\r\n\r\n" % boundary
        self.assertTrue(body.startswith(first + BODY[1000:1010] + b"\r\n--" + boundary + b"\r\n"))
        self.assertTrue(body.endswith(BODY[0:10] + b"\r\n--" + boundary + b"--\r\n"))

    def test_without_type(self) -> None:
        """Parts of what has no type have none."""
        self.assertNotIn(b"Content-Type", body_of(ranged(b"bytes=1000-1009,0-9", kept=stored(ETAG))))

    def test_boundary(self) -> None:
        """It depends on the secret, the response and the ranges, so it is in no body by chance or by intent."""
        asked = (b"Range", b"bytes=1000-1009,0-9")
        other = (b"Range", b"bytes=1000-1010,0-9")
        kinds = [
            field(ask(kept, *fields, secret=secret), b"content-type")[0]
            for kept in (stored(), stored(ETAG))
            for fields in ([asked], [other])
            for secret in (b"", b"1", b"2" * 64)
        ]
        self.assertEqual(len(set(kinds)), len(kinds))
        self.assertEqual(kinds[0], field(ask(stored(), asked), b"content-type")[0])

    def test_no_more_than_the_whole(self) -> None:
        """Parts that are together no less than the whole are sent as the whole."""
        small = stored(body=b"x" * 300)
        given_out = ranged(b"bytes=0-9,200-299", kept=small)
        self.assertEqual((given_out.status, given_out.length), (200, 300))


class PartialTests(SynchronousTestCase):
    """From partial content."""

    def kept(self, total: int = 1024) -> Stored:
        """Bytes 100-199 and 300-399."""
        lines = DATE + ETAG + b"Content-Range: bytes 9-9/9\r\nContent-Length: 200\r\n"
        parts = ((100, 200), (300, 400))
        return Stored(206, b"Partial Content", lines, 0.0, 0.0, 60.0, body=b"x" * 200, parts=parts, total=total)

    def test_range(self) -> None:
        """A range of a part, from where it lies in the body; with the length of the whole where that is known."""
        for total, shown in ((1024, b"1024"), (-1, b"*")):
            given_out = ranged(b"bytes=310-319", kept=self.kept(total))
            self.assertEqual((given_out.status, given_out.pieces, given_out.length), (206, [(110, 120)], 10))
            self.assertEqual(field(given_out, b"content-range"), [b"bytes 310-319/" + shown])
            self.assertEqual(field(given_out, b"content-length"), [b"10"])

    def test_not_modified(self) -> None:
        """Whoever has it gets 304."""
        self.assertEqual(ranged(b"bytes=310-319", (b"If-None-Match", b'"a"'), kept=self.kept()).status, 304)

    def test_not_covered(self) -> None:
        """Nobody gets incomplete content for whole: the call is wrong."""
        for fields in ([], [(b"Range", b"bytes=0-1")], [(b"Range", b"bytes=310-319"), (b"If-Range", b'"b"')]):
            self.assertRaises(ValueError, ask, self.kept(), *fields)
        self.assertRaises(ValueError, ask, self.kept(), method=b"HEAD")


_values = st.one_of(
    st.binary(max_size=40),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 900)), min_size=1, max_size=6).map(
        lambda specs: b"bytes=" + b",".join(b"%d-%d" % (first, first + more) for first, more in specs)
    ),
    st.sampled_from([b'"a"', b"*", b"bytes=-7", b"bytes=0-", b"Tue, 24 Nov 2026 10:00:00 GMT"]),
)
_names = st.sampled_from([b"Range", b"If-Range", b"If-None-Match", b"If-Modified-Since", b"X"])


class Laws(SynchronousTestCase):
    """For all requests."""

    @given(
        st.lists(st.tuples(_names, _values), max_size=4),
        st.sampled_from([b"GET", b"HEAD", b"QUERY"]),
        st.sampled_from([b"", BODY[:1], BODY]),
        st.booleans(),
    )
    def test_lengths(self, fields: Fields, method: bytes, body: bytes, tagged: bool) -> None:
        """Content-Length is what is sent; every piece lies in the body and has something; 304 and HEAD have none."""
        kept = stored(DATE + MODIFIED + TYPE + (ETAG if tagged else b""), body)
        given_out = ask(kept, *fields, method=method)
        self.assertIn(given_out.status, (200, 206, 304, 416))
        for piece in given_out.pieces:
            self.assertTrue(piece if isinstance(piece, bytes) else 0 <= piece[0] < piece[1] <= len(body))
        sent = body_of(given_out, body)
        self.assertEqual(len(sent), given_out.length)
        lengths = field(given_out, b"content-length")
        if given_out.status == 304:
            self.assertEqual((lengths, sent), ([], b""))
        elif method == b"HEAD":
            self.assertEqual((lengths, sent), ([b"%d" % len(body)], b""))
        else:
            self.assertEqual(lengths, [b"%d" % len(sent)])
        self.assertTrue(given_out.lines.endswith(b"\r\n"))
        self.assertNotIn(b"\r\n\r\n", given_out.lines)
        if given_out.status in (304, 200):
            self.assertEqual(field(given_out, b"content-range"), [])
        elif given_out.status == 416:
            self.assertEqual(field(given_out, b"content-range"), [b"bytes */%d" % len(body)])
