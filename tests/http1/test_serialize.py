"""What the serializer writes, to the byte."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.http1 import serialize


class SerializeTests(SynchronousTestCase):
    def test_request(self) -> None:
        """A request head is its line, its fields in order, an empty line."""
        head = serialize.request_head(b"GET", b"/a?b", [(b"Host", b"a"), (b"X", b""), (b"X", b"2")])
        self.assertEqual(head, b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: \r\nX: 2\r\n\r\n")

    def test_response(self) -> None:
        """A response head keeps the space before an empty reason, which RFC 9112 section 4 wants."""
        self.assertEqual(serialize.response_head(299, b"", []), b"HTTP/1.1 299 \r\n\r\n")
        head = serialize.response_head(200, b"OK", [(b"A", b"b")], minor=0)
        self.assertEqual(head, b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n")

    def test_no_line_of_its_own(self) -> None:
        """No part can write a line of its own: response splitting ends here."""
        for evil in (b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb", b"a\0b", b"\r\n"):
            self.assertRaises(ValueError, serialize.response_head, 200, evil, [])
            self.assertRaises(ValueError, serialize.response_head, 200, b"OK", [(b"Location", evil)])
            self.assertRaises(ValueError, serialize.response_head, 200, b"OK", [(evil, b"x")])
            self.assertRaises(ValueError, serialize.request_head, b"GET", evil, [])
            self.assertRaises(ValueError, serialize.last_chunk, [(b"X", evil)])

    def test_chunks(self) -> None:
        """A chunk is its size in hexadecimal and its data; no data is no chunk, never the last one."""
        self.assertEqual(serialize.chunk(b"x" * 26), b"1a\r\n" + b"x" * 26 + b"\r\n")
        self.assertEqual(serialize.chunk(b""), b"")
        self.assertEqual(serialize.last_chunk([]), serialize.LAST_CHUNK)
        self.assertEqual(serialize.last_chunk([(b"X", b"y")]), b"0\r\nX: y\r\n\r\n")

    def test_reasons(self) -> None:
        """Registered statuses have their phrase, others none."""
        self.assertEqual(serialize.reason(404), b"Not Found")
        self.assertEqual(serialize.reason(799), b"")
