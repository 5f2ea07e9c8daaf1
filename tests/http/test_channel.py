"""The client's side of the wire: persistence, pipelining, deadlines, framing for each kind of client."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.testing.http import Bench

GET = b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n"
ONE = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


class PersistenceTests(SynchronousTestCase):
    """When a connection carries another request."""

    def test_keep_alive(self) -> None:
        """One connection carries request after request, over one backend connection (bar L)."""
        bench = Bench()
        client = bench.client(ONE)
        backend = bench.accept()
        for _ in range(20):
            bench.send(backend, OK)
            self.assertTrue(client.received.endswith(OK), client.received)
            client.received = b""
            bench.send(client, ONE)
        self.assertEqual(len(bench.connects), 1)
        self.assertEqual([record.termination for record in bench.records], [Termination.DONE] * 20)

    def test_pipelining(self) -> None:
        """Pipelined requests are served one after the other, in order, over one backend connection."""
        bench = Bench()
        client = bench.client(b"".join(GET % number for number in range(20)))
        backend = bench.accept()
        for number in range(20):
            self.assertEqual(backend.received.count(b"GET /"), 1)
            self.assertIn(b"GET /%d HTTP/1.1\r\n" % number, backend.received)
            backend.received = b""
            bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number)
        self.assertEqual(client.received.count(b"HTTP/1.1 200"), 20)
        self.assertLess(client.received.index(b"\r\n\r\n018"), client.received.index(b"\r\n\r\n019"))
        self.assertEqual(len(bench.connects), 1)

    def test_pipelined_input_is_bounded(self) -> None:
        """A client that pipelines more than the buffer is not read until requests are worked off."""
        bench = Bench(buffer=1000)
        client = bench.client(ONE)
        client.transport.bufferSize = 500
        bench.send(client, ONE * 500)
        self.assertGreater(len(client.transport.waiting), 10000)
        backend = bench.accept()
        for _ in range(501):
            bench.send(backend, OK)
        self.assertEqual(client.received.count(b"HTTP/1.1 200"), 501)

    def test_pipelined_answers_are_bounded(self) -> None:
        """A client that pipelines and reads nothing makes us hold no more answers than the write buffer and one."""
        bench = Bench(default="")
        client = bench.client()
        client.transport.reading = False
        bench.send(client, ONE * 2000)
        self.assertLess(client.transport.other.peak, 70000)
        client.transport.reading = True
        bench.run()
        self.assertEqual(client.received.count(b"HTTP/1.1 404"), 2000)

    def test_close_when_asked(self) -> None:
        """``Connection: close``: the answer says so too, and the connection closes."""
        bench = Bench()
        client = bench.client(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        bench.send(bench.accept(), OK)
        self.assertIn(b"\r\nConnection: close\r\n", client.received)
        self.assertEqual(client.closed, "fin")

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client gets HTTP/1.0's ways: closed by default, kept when asked for, never chunks or 1xx."""
        bench = Bench()
        client = bench.client(b"GET / HTTP/1.0\r\n\r\n")
        backend = bench.accept()
        self.assertTrue(backend.received.startswith(b"GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n"), backend.received)
        bench.send(backend, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        bench.send(backend, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n")
        self.assertNotIn(b"103", client.received)
        self.assertNotIn(b"chunked", client.received)
        self.assertTrue(client.received.endswith(b"\r\nConnection: close\r\n\r\nok"), client.received)
        self.assertEqual(client.closed, "fin")
        kept = bench.client(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        bench.send(backend, OK)
        self.assertIn(b"\r\nConnection: keep-alive\r\n", kept.received)
        self.assertEqual(kept.closed, "open")

    def test_answer_before_the_body_closes(self) -> None:
        """A final answer before the request's end closes the connection, but lets the client read the answer."""
        bench = Bench()
        client = bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 99\r\n\r\nab")
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        self.assertIn(b"\r\nConnection: close\r\n", client.received)
        self.assertTrue(client.received.endswith(b"no"))
        self.assertEqual((client.closed, client.lost), ("fin", None))
        self.assertEqual(backend.closed, "reset")
        self.assertEqual(bench.http["web"].idle, 0)
        bench.send(client, b"x" * 97)  # still taken, and dropped
        self.assertNotIn(b"xx", backend.received)
        self.assertEqual(bench.factory.connections, 1)
        bench.advance(2.2)
        self.assertEqual(bench.factory.connections, 0)

    def test_both_ways_at_one_time(self) -> None:
        """A backend may answer well and go on reading: the body still goes to it, and both connections are kept."""
        bench = Bench()
        client = bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nab")
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nAB")
        bench.send(client, b"cd")
        self.assertTrue(backend.received.endswith(b"\r\n\r\nabcd"))
        bench.send(backend, b"CD")
        self.assertTrue(client.received.endswith(b"\r\n\r\nABCD"))
        self.assertEqual((client.closed, backend.closed), ("open", "open"))
        self.assertEqual(bench.http["web"].idle, 1)

    def test_refusal_is_read_by_a_client_that_still_sends(self) -> None:
        """After a refusal the sending side closes first, what comes is dropped, and the socket closes in time."""
        bench = Bench()
        client = bench.client(b"GET /\x01 HTTP/1.1\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 400 "))
        self.assertEqual((client.closed, client.lost), ("fin", None))
        bench.send(client, b"x" * 100000)
        self.assertEqual(bench.factory.connections, 1)
        bench.advance(2.2)
        self.assertEqual(bench.factory.connections, 0)


class DeadlineTests(SynchronousTestCase):
    """How long a client is waited for."""

    def test_dripped_head(self) -> None:
        """A head that comes a byte a second is answered 408 after ten seconds from its beginning (bar N)."""
        bench = Bench()
        client = bench.client()
        for second in range(9):
            bench.send(client, ONE[second : second + 1])
            bench.advance(1)
            self.assertEqual(client.received, b"")
        bench.advance(1.2)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 408 "), client.received)
        self.assertEqual(client.closed, "fin")
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_HEAD_TIMEOUT])

    def test_dripped_second_head(self) -> None:
        """The next head's time counts from its own first byte."""
        bench = Bench()
        client = bench.client(ONE)
        bench.send(bench.accept(), OK)
        bench.advance(30)
        client.received = b""
        bench.send(client, b"GET")
        bench.advance(9.5)
        self.assertEqual(client.received, b"")
        bench.advance(1)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 408 "))

    def test_nothing_at_all(self) -> None:
        """A connection on which nothing comes is closed without a word, as browsers expect of preconnects."""
        bench = Bench()
        client = bench.client()
        bench.advance(9.5)
        self.assertEqual(client.closed, "open")
        bench.advance(1)
        self.assertEqual((client.received, client.closed), (b"", "fin"))
        self.assertEqual(bench.records, [])

    def test_idle(self) -> None:
        """A kept connection is closed without a word after the keep-alive timeout."""
        bench = Bench()
        client = bench.client(ONE)
        bench.send(bench.accept(), OK)
        bench.advance(74)
        self.assertEqual(client.closed, "open")
        bench.advance(1.2)
        self.assertEqual((client.received, client.closed), (client.received, "fin"))
        self.assertTrue(client.received.endswith(OK))

    def test_keep_alive_does_not_end_a_request(self) -> None:
        """A request that takes longer than the keep-alive timeout is not hurt by it."""
        bench = Bench()
        client = bench.client(ONE)
        backend = bench.accept()
        bench.send(backend, OK)
        bench.advance(50)
        bench.send(client, ONE)
        bench.advance(50)
        bench.send(backend, OK)
        self.assertEqual(client.received.count(b"200 OK"), 2)

    def test_client_that_takes_no_answer(self) -> None:
        """A connection that is to close but whose client never reads is reset after the write timeout."""
        bench = Bench(default="")
        client = bench.client()
        client.transport.reading = False
        bench.send(client, b"GET / HTTP/1.0\r\n\r\n")
        bench.advance(59)
        self.assertEqual(bench.factory.connections, 1)
        bench.advance(2)
        self.assertEqual(bench.factory.connections, 0)
        self.assertEqual(client.closed, "reset")

    def test_body_timeout_waits_while_we_do_not_read(self) -> None:
        """A client whose body we do not read is not blamed for being slow."""
        bench = Bench(buffer=1000)
        client = bench.client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        backend = bench.accept()
        backend.transport.reading = False
        bench.send(client, b"x" * 200000)
        bench.advance(59)
        self.assertEqual(client.received, b"")


class UploadTests(SynchronousTestCase):
    """Bodies under back-pressure."""

    def test_reading_goes_on_after_the_body(self) -> None:
        """A body whose last part the backend has not taken yet does not leave the client unheard."""
        for leaves in (False, True):
            bench = Bench()
            client = bench.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            backend = bench.accept()
            backend.transport.reading = False
            bench.send(client, b"x" * 100000)
            self.assertGreater(len(backend.transport.other.waiting), 65536)
            if leaves:
                bench.reset(client)
                self.assertEqual(backend.closed, "reset")
                continue
            backend.transport.reading = True
            bench.run()
            bench.send(backend, OK)
            bench.send(client, ONE)
            bench.send(backend, OK)
            self.assertEqual(client.received, OK + OK)

    def test_body_before_the_connection(self) -> None:
        """A body that comes before there is a connection is held up to the buffer, then the client is paused."""
        bench = Bench(buffer=100000)
        client = bench.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        bench.send(client, b"x" * 1000000)
        self.assertGreater(len(client.transport.waiting), 800000)
        backend = bench.accept()
        self.assertEqual(backend.received.partition(b"\r\n\r\n")[2], b"x" * 1000000)
        bench.send(backend, OK)
        self.assertEqual(client.received, OK)


class FramingTests(SynchronousTestCase):
    """Bodies come out framed as the client understands them, never as they happened to come in."""

    def exchange(self, request: bytes, *answers: bytes) -> tuple[bytes, bytes]:
        """What client and backend receive."""
        bench = Bench()
        client = bench.client(request)
        backend = bench.accept()
        for answer in answers:
            bench.send(backend, answer)
        return client.received, backend.received

    def test_chunks_are_reframed(self) -> None:
        """Chunks are decoded and written anew, extensions gone, trailers kept (bar C)."""
        client, _ = self.exchange(
            ONE,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
            b"3;a=b\r\nabc\r\n",
            b"00002\r\nde\r\n",
            b"0;z\r\nX-Sum: 5\r\nContent-Length: 7\r\n\r\n",
        )
        head, _, body = client.partition(b"\r\n\r\n")
        self.assertEqual(body, b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
        self.assertEqual(head.count(b"Transfer-Encoding: chunked"), 1)
        self.assertIn(b"Trailer: X-Sum", head)

    def test_body_until_close(self) -> None:
        """A body that ends with the backend's connection goes to HTTP/1.1 in chunks, and the client is kept."""
        bench = Bench()
        client = bench.client(ONE)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.0 200 OK\r\n\r\nabc")
        bench.close(backend)
        self.assertTrue(client.received.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
        self.assertEqual(client.closed, "open")
        self.assertEqual(bench.http["web"].idle, 0)

    def test_no_body(self) -> None:
        """HEAD, 204 and 304 have no body whatever their fields say; a 204 says no length."""
        for request, answer, announced in (
            (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", True),
            (ONE, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", True),
            (ONE, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False),
        ):
            bench = Bench()
            client = bench.client(request)
            backend = bench.accept()
            bench.send(backend, answer)
            self.assertTrue(client.received.endswith(b"\r\n\r\n"))
            self.assertEqual(b"Content-Length" in client.received, announced)
            self.assertNotIn(b"chunked", client.received)
            client.received = b""
            bench.send(client, ONE)
            bench.send(backend, OK)
            self.assertTrue(client.received.endswith(OK))

    def test_head_is_answered_without_a_body(self) -> None:
        """Our own answer to HEAD announces a length and has no body."""
        bench = Bench(default="")
        client = bench.client(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"Content-Length: ", client.received)
        self.assertTrue(client.received.endswith(b"\r\n\r\n"))

    def test_chunked_upload(self) -> None:
        """A chunked body is streamed to the backend in chunks of ours, with its trailers (bar K)."""
        bench = Bench()
        client = bench.client(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n")
        backend = bench.accept()
        head, _, body = backend.received.partition(b"\r\n\r\n")
        self.assertEqual(head.count(b"Transfer-Encoding: chunked"), 1)
        self.assertEqual(body, b"3\r\nabc\r\n")
        bench.send(client, b"0001\r\nd\r\n0\r\nX-Sum: 4\r\nHost: evil\r\n\r\n")
        self.assertTrue(backend.received.endswith(b"3\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 4\r\n\r\n"), backend.received)

    def test_byte_by_byte(self) -> None:
        """Requests and responses may come in any pieces."""
        bench = Bench()
        client = bench.client()
        for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
            bench.send(client, bytes([byte]))
        backend = bench.accept()
        for byte in OK:
            bench.send(backend, bytes([byte]))
        self.assertTrue(backend.received.endswith(b"\r\n\r\nabc"))
        self.assertEqual(client.received, OK)

    def test_fields(self) -> None:
        """Repeats and order are kept; what belongs to the hop is not (bar D)."""
        bench = Bench()
        client = bench.client(
            b"GET http://site.example/p?q HTTP/1.1\r\nHost: other\r\nCookie: a=1\r\nX-Secret: 1\r\nCookie: b=2\r\n"
            b"TE: trailers\r\nConnection: close, X-Secret, TE\r\nUpgrade: foo\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        )
        backend = bench.accept()
        self.assertTrue(backend.received.startswith(b"GET /p?q HTTP/1.1\r\nHost: site.example\r\n"), backend.received)
        self.assertIn(b"\r\nCookie: a=1\r\nCookie: b=2\r\n", backend.received)
        for gone in (b"TE:", b"Upgrade", b"X-Secret", b"Connection", b"6.6.6.6"):
            self.assertNotIn(gone, backend.received)
        bench.send(
            backend,
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
            b"Content-Length: 0\r\n\r\n",
        )
        self.assertIn(b"\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n", client.received)
        for gone in (b"X-Hop", b"Keep-Alive"):
            self.assertNotIn(gone, client.received)


class InterimTests(SynchronousTestCase):
    """1xx responses, and Expect."""

    def test_early_hints(self) -> None:
        """103 then 200 arrive as such (bar E1)."""
        bench = Bench()
        client = bench.client(ONE)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        self.assertEqual(client.received, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        bench.send(backend, OK)
        self.assertTrue(client.received.endswith(b"\r\n\r\n" + OK))

    def test_expect_continue(self) -> None:
        """The expectation goes to the backend, its 100 to the client, then the body to the backend."""
        bench = Bench()
        client = bench.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        backend = bench.accept()
        self.assertIn(b"\r\nExpect: 100-continue\r\n", backend.received)
        bench.send(backend, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(client.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        bench.send(client, b"ab")
        bench.send(backend, OK)
        self.assertTrue(client.received.endswith(OK))
        self.assertEqual((client.closed, backend.closed), ("open", "open"))

    def test_expectation_refused(self) -> None:
        """A final answer instead of 100 is passed on, and closes: the client may or may not send the body."""
        for status in (b"417 No", b"200 OK"):
            bench = Bench()
            client = bench.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            backend = bench.accept()
            bench.send(backend, b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 " + status))
            self.assertIn(b"\r\nConnection: close\r\n", client.received)
            self.assertEqual((client.closed, backend.closed), ("fin", "reset"))


class OwnTimeoutTests(SynchronousTestCase):
    """The listener's own figures count."""

    def test_own_timeouts(self) -> None:
        """Head, keep-alive and linger are as the settings say."""
        bench = Bench(clients=ClientTimeouts(head=1, keep_alive=2, linger=0.5))
        client = bench.client(ONE)
        bench.send(bench.accept(), OK)
        bench.advance(1.8)
        self.assertEqual(client.closed, "open")
        bench.advance(0.4)
        self.assertEqual(client.closed, "fin")
        slow = bench.client(b"GET")
        bench.advance(1.2)
        self.assertTrue(slow.received.startswith(b"HTTP/1.1 408 "))
        bench.advance(0.6)
        self.assertEqual(bench.factory.connections, 0)
