"""How the two parsers are used, message by message; the corpus and the laws hold what they accept."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.errors import BadResponse, RequestRefused
from balancer.http1.heads import CHUNKED, CLOSE, LENGTH, NONE, EndOfMessage, Fields, RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.parser import NEED_DATA, PAUSED, Event, RequestParser, ResponseParser

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Messages(SynchronousTestCase):
    def is_head(self, event: Event[RequestHead]) -> RequestHead:
        assert isinstance(event, RequestHead), event
        return event

    def is_response(self, event: Event[ResponseHead]) -> ResponseHead:
        assert isinstance(event, ResponseHead), event
        return event

    def ends(self, event: object, trailers: Fields | None = None) -> None:
        assert isinstance(event, EndOfMessage), event
        self.assertEqual(event.trailers, trailers or [])


class RequestTests(Messages):
    def setUp(self) -> None:
        self.parser = RequestParser(HttpLimits())

    def test_life_of_a_connection(self) -> None:
        """A message is a head, its body, its end; then the parser rests until it is told to go on."""
        parser = self.parser
        self.assertIs(parser.next_event(), NEED_DATA)
        self.assertTrue(parser.idle)
        parser.feed(POST + b"hello" + GET)
        self.assertFalse(parser.idle)
        self.assertEqual(self.is_head(parser.next_event()).framing.kind, LENGTH)
        self.assertEqual(parser.next_event(), b"hello")
        self.ends(parser.next_event())
        self.assertIs(parser.next_event(), PAUSED)
        self.assertIs(parser.next_event(), PAUSED)
        self.assertEqual(parser.unread, len(GET))
        parser.start_next()
        self.assertEqual(self.is_head(parser.next_event()).framing.kind, NONE)
        self.ends(parser.next_event())
        parser.start_next()
        self.assertTrue(parser.idle)

    def test_body_is_not_copied(self) -> None:
        """A feed that is all body comes out as the same object."""
        self.parser.feed(POST.replace(b"5", b"9"))
        self.parser.next_event()
        piece = b"hello"
        self.parser.feed(piece)
        self.assertIs(self.parser.next_event(), piece)
        self.assertIs(self.parser.next_event(), NEED_DATA)
        self.assertEqual(self.parser.unread, 0)

    def test_small_chunks_come_out_together(self) -> None:
        """Many small chunks of one feed are one event, so they cost the reader one write."""
        self.parser.feed(CHUNKED_POST + b"1\r\nx\r\n" * 50_000)
        self.parser.next_event()
        self.assertEqual(self.parser.next_event(), b"x" * 50_000)
        self.assertIs(self.parser.next_event(), NEED_DATA)

    def test_head_accessors(self) -> None:
        """Fields are found by lower-case name, first or all, and keep their spelling and order."""
        self.parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: 1\r\nX: y\r\ncookie: 2\r\n\r\n")
        head = self.is_head(self.parser.next_event())
        self.assertEqual(head.get(b"cookie"), b"1")
        self.assertEqual(head.get_all(b"cookie"), [b"1", b"2"])
        self.assertIsNone(head.get(b"accept"))
        self.assertEqual(head.get_all(b"accept"), [])
        self.assertEqual([name for name, _ in head.fields], [b"Host", b"Cookie", b"X", b"cookie"])
        self.assertEqual(repr(head), "<RequestHead b'GET' b'/' host=b'a' none>")

    def test_connection_options(self) -> None:
        """The options of all Connection fields are collected in lower case."""
        self.parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close, X-A\r\nConnection: TE\r\n\r\n")
        head = self.is_head(self.parser.next_event())
        self.assertEqual(head.connection, {b"close", b"x-a", b"te"})

    def test_expectation_comes_with_the_head(self) -> None:
        """The head of a client that waits for 100 comes out before any body byte."""
        self.parser.feed(POST.replace(b"Host", b"Expect: 100-continue\r\nHost"))
        self.assertTrue(self.is_head(self.parser.next_event()).expect_continue)
        self.assertIs(self.parser.next_event(), NEED_DATA)

    def test_refusal_lasts(self) -> None:
        """After a refusal every call refuses with the same words, and nothing is buffered."""
        self.parser.feed(b"GET / HTTP/1.1\r\nBad : x\r\n\r\n")
        first = self.assertRaises(RequestRefused, self.parser.next_event)
        self.parser.feed(GET * 10)
        second = self.assertRaises(RequestRefused, self.parser.next_event)
        self.assertEqual((first.status, first.reason), (second.status, second.reason))
        self.assertIsNot(first, second)
        self.assertEqual(self.parser.unread, 0)
        self.assertIn("refused", repr(self.parser))

    def test_refusal_says_what_was_found(self) -> None:
        """A refusal quotes what was found, escaped and cut, and names its source."""
        self.parser.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX" + b"\x1b" * 99 + b": y\r\n\r\n")
        refused = self.assertRaises(RequestRefused, self.parser.next_event)
        self.assertEqual(refused.section, "RFC 9110 section 5.1")
        self.assertIn(r"'X\x1b\x1b", refused.reason)
        self.assertNotIn("\x1b", refused.reason)
        self.assertLess(len(refused.reason), 250)

    def test_tunnel(self) -> None:
        """A tunnel gets the bytes after the message, and the parser is finished."""
        self.parser.feed(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01")
        self.is_head(self.parser.next_event())
        self.assertRaises(RuntimeError, self.parser.take_unread)
        self.ends(self.parser.next_event())
        self.assertEqual(self.parser.take_unread(), b"\x16\x03\x01")
        self.assertIs(self.parser.next_event(), PAUSED)
        self.assertRaises(RuntimeError, self.parser.feed, b"x")
        self.assertRaises(RuntimeError, self.parser.start_next)

    def test_wrong_calls_change_nothing(self) -> None:
        """start_next in the middle of a message raises, and the message goes on."""
        self.parser.feed(POST + b"he")
        self.assertRaises(RuntimeError, self.parser.start_next)
        self.is_head(self.parser.next_event())
        self.assertRaises(RuntimeError, self.parser.start_next)
        self.assertEqual(self.parser.next_event(), b"he")
        self.parser.feed(b"llo")
        self.assertEqual(self.parser.next_event(), b"llo")
        self.ends(self.parser.next_event())

    def test_end_between_messages(self) -> None:
        """A client may leave before a request, and after one while the response is still to come."""
        self.assertTrue(RequestParser(HttpLimits()).eof())
        self.parser.feed(GET)
        self.is_head(self.parser.next_event())
        self.ends(self.parser.next_event())
        self.assertTrue(self.parser.eof())
        self.parser.start_next()
        self.assertIs(self.parser.next_event(), NEED_DATA)
        self.assertTrue(self.parser.eof())
        self.assertRaises(RuntimeError, self.parser.feed, b"x")

    def test_end_in_a_message(self) -> None:
        """A client that leaves in a head or a body left a message unfinished, and it is refused."""
        for data in (b"GET / HT", GET[:-1], POST, POST + b"hell", CHUNKED_POST, CHUNKED_POST + b"5\r\nhello\r\n0\r\n"):
            parser = RequestParser(HttpLimits())
            parser.feed(data)
            while parser.next_event() is not NEED_DATA:
                pass
            self.assertFalse(parser.eof(), data)
            self.assertEqual(self.assertRaises(RequestRefused, parser.next_event).status, 400)

    def test_end_before_events_were_taken(self) -> None:
        """What was fed before the end still comes out; a pipelined part of a request is then refused."""
        self.parser.feed(CHUNKED_POST + b"5\r\nhello\r\n0\r\n\r\n" + b"GET /")
        self.is_head(self.parser.next_event())
        self.assertTrue(self.parser.eof())
        self.assertEqual(self.parser.next_event(), b"hello")
        self.assertTrue(self.parser.eof())
        self.ends(self.parser.next_event())
        self.parser.start_next()
        self.assertRaises(RequestRefused, self.parser.next_event)
        self.assertFalse(self.parser.eof())

    def test_unread_is_what_was_not_asked_for(self) -> None:
        """While the message is over, what is fed waits, is counted, and comes out in order."""
        self.parser.feed(GET)
        self.is_head(self.parser.next_event())
        self.ends(self.parser.next_event())
        for piece in (GET[:10], GET[10:], POST, b"hello"):
            self.parser.feed(piece)
        self.assertEqual(self.parser.unread, len(GET + POST) + 5)
        self.parser.start_next()
        self.is_head(self.parser.next_event())
        self.ends(self.parser.next_event())
        self.parser.start_next()
        self.is_head(self.parser.next_event())
        self.assertEqual(self.parser.next_event(), b"hello")
        self.assertEqual(self.parser.unread, 0)

    def test_events_are_bytes_from_a_grown_buffer(self) -> None:
        """Bodies that were buffered piecewise come out as bytes, which nothing changes later."""
        self.parser.feed(POST[:20])
        self.parser.next_event()
        self.parser.feed(POST[20:] + b"hel")
        self.is_head(self.parser.next_event())
        piece = self.parser.next_event()
        self.assertIs(type(piece), bytes)
        self.assertEqual(piece, b"hel")


class ResponseTests(Messages):
    def setUp(self) -> None:
        self.parser = ResponseParser(HttpLimits())

    def test_life_of_a_connection(self) -> None:
        """One response after each request; the connection is idle before and after."""
        parser = self.parser
        for _ in range(2):
            self.assertTrue(parser.idle)
            self.assertIs(parser.next_event(), PAUSED)
            parser.expect(b"GET")
            self.assertFalse(parser.idle)
            self.assertTrue(parser.awaiting)
            self.assertIs(parser.next_event(), NEED_DATA)
            parser.feed(OK + b"hel")
            self.assertFalse(parser.awaiting)
            self.assertEqual(self.is_response(parser.next_event()).status, 200)
            self.assertEqual(parser.next_event(), b"hel")
            parser.feed(b"lo")
            self.assertEqual(parser.next_event(), b"lo")
            self.ends(parser.next_event())

    def test_no_body(self) -> None:
        """Responses to HEAD, 204 and 304 end with their head, whatever length or coding they show."""
        chunked = b"Transfer-Encoding: chunked\r\n\r\n"
        length = b"Content-Length: 5\r\n\r\n"
        for method, data in (
            (b"HEAD", b"HTTP/1.1 200 OK\r\n" + length),
            (b"HEAD", b"HTTP/1.1 200 OK\r\n" + chunked),
            (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + length),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + chunked),
        ):
            self.parser.expect(method)
            self.parser.feed(data)
            head = self.is_response(self.parser.next_event())
            self.assertEqual(head.framing.kind, NONE)
            self.assertTrue(head.keep_alive)
            self.ends(self.parser.next_event())
            self.assertTrue(self.parser.idle)

    def test_head_does_not_leak_into_the_next(self) -> None:
        """After a HEAD the same connection frames a GET by its length again."""
        self.test_no_body()
        self.parser.expect(b"GET")
        self.parser.feed(OK + b"hello")
        self.is_response(self.parser.next_event())
        self.assertEqual(self.parser.next_event(), b"hello")

    def test_interim_responses(self) -> None:
        """1xx heads are events of their own; the final head, its body and its end follow."""
        self.parser.expect(b"GET")
        self.parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"hello")
        self.assertTrue(self.is_response(self.parser.next_event()).interim)
        self.assertEqual(self.is_response(self.parser.next_event()).get(b"link"), b"</a>")
        self.assertFalse(self.is_response(self.parser.next_event()).interim)
        self.assertEqual(self.parser.next_event(), b"hello")
        self.ends(self.parser.next_event())

    def test_switching_protocols(self) -> None:
        """A 101 opens a tunnel, which gets every byte after its head."""
        self.parser.expect(b"GET")
        self.assertRaises(RuntimeError, self.parser.take_unread)
        self.parser.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00")
        self.assertEqual(self.is_response(self.parser.next_event()).status, 101)
        self.assertIs(self.parser.next_event(), PAUSED)
        self.parser.feed(b"more")
        self.assertIs(self.parser.next_event(), PAUSED)
        self.assertFalse(self.parser.idle)
        self.assertEqual(self.parser.take_unread(), b"\x81\x00more")
        self.assertIs(self.parser.next_event(), PAUSED)
        self.assertRaises(RuntimeError, self.parser.expect, b"GET")
        self.assertRaises(RuntimeError, self.parser.feed, b"x")

    def test_body_until_close(self) -> None:
        """Without length and chunks the end of the stream is the end of the body, and nothing can be reused."""
        self.parser.expect(b"GET")
        self.parser.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
        head = self.is_response(self.parser.next_event())
        self.assertEqual((head.framing.kind, head.keep_alive, head.minor), (CLOSE, False, 0))
        self.assertEqual(self.parser.next_event(), b"hel")
        self.assertIs(self.parser.next_event(), NEED_DATA)
        self.parser.feed(b"lo")
        self.parser.eof()
        self.assertEqual(self.parser.next_event(), b"lo")
        self.ends(self.parser.next_event())
        self.assertIs(self.parser.next_event(), PAUSED)
        self.assertFalse(self.parser.idle)

    def test_truncated_body(self) -> None:
        """The end of the stream never completes a body that announced its end."""
        for head, kind in ((OK, LENGTH), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n", CHUNKED)):
            parser = ResponseParser(HttpLimits())
            parser.expect(b"GET")
            parser.feed(head + b"he")
            parser.eof()
            self.assertEqual(self.is_response(parser.next_event()).framing.kind, kind)
            self.assertEqual(parser.next_event(), b"he")
            self.assertFalse(self.assertRaises(BadResponse, parser.next_event).nothing_received)

    def test_nothing_received(self) -> None:
        """Only a stream that ended before the first byte of the response says that nothing was received."""
        for data, nothing in ((b"", True), (b"H", False), (b"HTTP/1.1 100 Continue\r\n\r\n", False)):
            parser = ResponseParser(HttpLimits())
            parser.expect(b"GET")
            parser.feed(data)
            while parser.next_event() is not NEED_DATA:
                pass
            parser.eof()
            self.assertIs(self.assertRaises(BadResponse, parser.next_event).nothing_received, nothing)
            self.assertIs(self.assertRaises(BadResponse, parser.next_event).nothing_received, nothing)

    def test_nothing_received_on_a_reused_connection(self) -> None:
        """The bytes of an earlier response do not count for the next."""
        self.test_life_of_a_connection()
        self.parser.expect(b"GET")
        self.parser.eof()
        self.assertTrue(self.assertRaises(BadResponse, self.parser.next_event).nothing_received)

    def test_unsolicited_bytes(self) -> None:
        """Bytes that arrive while no response is expected poison the connection, before and between requests."""
        for first in (False, True):
            parser = ResponseParser(HttpLimits())
            if first:
                parser.expect(b"GET")
                parser.feed(OK + b"hello")
                self.is_response(parser.next_event())
                self.assertEqual(parser.next_event(), b"hello")
                self.ends(parser.next_event())
            parser.feed(OK)
            self.assertFalse(parser.idle)
            self.assertRaises(RuntimeError, parser.expect, b"GET")
            self.assertRaises(BadResponse, parser.next_event)
            self.assertFalse(parser.idle)

    def test_surplus_is_no_body(self) -> None:
        """What follows a complete body belongs to nobody: the message ends, then the connection is bad."""
        self.parser.expect(b"GET")
        self.parser.feed(OK + b"hello" + OK)
        self.is_response(self.parser.next_event())
        self.assertEqual(self.parser.next_event(), b"hello")
        self.ends(self.parser.next_event())
        self.assertFalse(self.parser.idle)
        self.assertRaises(BadResponse, self.parser.next_event)

    def test_clean_close(self) -> None:
        """A backend that closes an idle connection did nothing wrong."""
        self.parser.eof()
        self.assertIs(self.parser.next_event(), PAUSED)
        self.assertFalse(self.parser.idle)

    def test_request_limits_do_not_bound_responses(self) -> None:
        """The limit of request bodies is none of responses."""
        parser = ResponseParser(HttpLimits(body=1))
        parser.expect(b"GET")
        parser.feed(OK + b"hello")
        self.is_response(parser.next_event())
        self.assertEqual(parser.next_event(), b"hello")

    def test_trailers(self) -> None:
        """Trailers come with the end; those that must not be merged are gone."""
        self.parser.expect(b"GET")
        self.parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.is_response(self.parser.next_event())
        self.parser.feed(b"0\r\nGrpc-Status: 0\r\nSet-Cookie: a\r\n\r\n")
        self.ends(self.parser.next_event(), [(b"Grpc-Status", b"0")])
        self.assertTrue(self.parser.idle)


class PassByTests(SynchronousTestCase):
    """A body's bytes that go another way."""

    def test_the_rest_of_a_body(self) -> None:
        """What is coming is known once nothing is unread, is counted down, and its last byte ends the message."""
        parser = ResponseParser(HttpLimits())
        self.assertEqual(parser.coming, 0)
        parser.expect(b"GET")
        parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
        parser.next_event()
        self.assertEqual(parser.coming, 0)
        self.assertEqual(parser.next_event(), b"123")
        self.assertEqual(parser.coming, 7)
        parser.pass_by(4)
        self.assertEqual(parser.coming, 3)
        self.assertRaises(RuntimeError, parser.pass_by, 4)
        self.assertEqual(parser.coming, 3)
        parser.pass_by(3)
        self.assertEqual(parser.coming, 0)
        self.assertIsInstance(parser.next_event(), EndOfMessage)
        self.assertTrue(parser.idle)

    def test_what_has_no_length(self) -> None:
        """Of a chunked body, or one that ends with the stream, nothing is known to come."""
        for head in (b"Transfer-Encoding: chunked\r\n", b""):
            parser = ResponseParser(HttpLimits())
            parser.expect(b"GET")
            parser.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
            parser.next_event()
            parser.next_event()
            self.assertEqual(parser.coming, 0)
            self.assertRaises(RuntimeError, parser.pass_by, 1)
