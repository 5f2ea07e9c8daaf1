"""Every way an exchange can end: its status, its termination, what both sides see, and that nothing is left over."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import AdminState
from balancer.core.policies import QueuePolicy, RetryPolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts
from balancer.testing.fakes import make_specs
from balancer.testing.http import Bench, Party

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
NO_RETRY = UpstreamPolicy(retry=RetryPolicy(attempts=0))
SHORT = BackendTimeouts(connect=1, first_byte=2, idle=3)


def head_of(client: Party) -> bytes:
    """What the client got of the head."""
    return client.received.partition(b"\r\n\r\n")[0]


class EndingTests(SynchronousTestCase):
    """Each test plays one ending on an upstream of one backend and looks at everything that must hold after it."""

    def check(self, bench: Bench, termination: Termination, status: int) -> None:
        """One record, no lease out, no timer pending but those of open connections, no socket left behind."""
        self.assertEqual([record.termination for record in bench.records], [termination])
        self.assertEqual(bench.records[0].status, status)
        self.assertIsNotNone(bench.records[0].total)
        self.assertEqual(bench.upstream.active, 0)
        self.assertEqual(sum(member.backend.active for member in bench.upstream.members), 0)
        self.assertEqual(bench.upstream.budget.active, 0)
        self.assertEqual(len(bench.upstream.line), 0)

    def assert_answered(self, client: Party, status: int) -> None:
        """The client got one whole answer of ours."""
        head, _, body = client.received.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), client.received)
        self.assertIn(b"\r\nContent-Type: text/plain", head)
        self.assertIn(b"\r\nDate: Sun, 06 Nov 1994 08:49:", head)
        self.assertIn(b"\r\nContent-Length: %d\r\n" % len(body), head + b"\r\n")
        self.assertTrue(body.startswith(b"%d " % status))
        self.assertNotIn(b"10.0.0", client.received)

    def test_done(self) -> None:
        """A response that is passed on whole ends DONE, with its timers; both connections stay open."""
        bench = Bench()
        client = bench.client(GET)
        bench.advance(0.5)
        backend = bench.accept()
        bench.advance(0.25)
        bench.send(backend, b"HTTP/1.1 404 Not here\r\nContent-Length: 2\r\nX: 1\r\n\r\nab")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 404 Not here\r\nContent-Length: 2\r\nX: 1\r\n"))
        self.assertTrue(client.received.endswith(b"\r\n\r\nab"))
        self.check(bench, Termination.DONE, 404)
        record = bench.records[0]
        self.assertEqual((record.queue, record.bytes_out), (0, 2))
        self.assertAlmostEqual(record.connect or 0, 0.5)
        self.assertAlmostEqual(record.first_byte or 0, 0.25)
        self.assertAlmostEqual(record.total or 0, 0.75)
        self.assertEqual((client.closed, backend.closed), ("open", "open"))

    def test_connect_refused(self) -> None:
        """Refused: 502 at once."""
        bench = Bench(policy=NO_RETRY)
        client = bench.client(GET)
        bench.refuse()
        self.assert_answered(client, 502)
        self.check(bench, Termination.CONNECT_REFUSED, 502)
        self.assertEqual(client.closed, "open")

    def test_connect_timeout(self) -> None:
        """Nobody accepts: 504 after the connect timeout, and the attempt is given up."""
        bench = Bench(timeouts=SHORT)
        client = bench.client(GET)
        bench.advance(0.8)
        self.assertEqual(client.received, b"")
        bench.advance(0.4)
        self.assert_answered(client, 504)
        self.check(bench, Termination.CONNECT_TIMEOUT, 504)
        self.assertTrue(bench.reactor.connectors[0].stoppedConnecting)

    def test_no_backend(self) -> None:
        """No backend is available: 503 with Retry-After."""
        bench = Bench()
        bench.upstream.members[0].backend.administer(AdminState.MAINT, "test", 0)
        client = bench.client(GET)
        self.assert_answered(client, 503)
        self.assertIn(b"\r\nRetry-After: 5", head_of(client))
        self.check(bench, Termination.NO_BACKEND, 503)
        self.assertEqual(bench.connects, [])

    def full(self, queue: QueuePolicy) -> tuple[Bench, Party]:
        """A bench whose one backend serves its one request already; and its client."""
        bench = Bench(make_specs(1, max_connections=1), policy=UpstreamPolicy(queue=queue))
        busy = bench.client(GET)
        return bench, busy

    def test_queue_timeout(self) -> None:
        """No room within the queue's timeout: 503."""
        bench, _ = self.full(QueuePolicy(timeout=1))
        client = bench.client(GET)
        bench.advance(1.2)
        self.assert_answered(client, 503)
        self.assertIn(b"\r\nRetry-After: 5", head_of(client))
        self.assertEqual(bench.records[0].termination, Termination.QUEUE_TIMEOUT)
        self.assertEqual((len(bench.upstream.line), bench.upstream.active), (0, 1))

    def test_queue_full(self) -> None:
        """No place in the queue: 503 at once."""
        bench, _ = self.full(QueuePolicy(limit=0))
        client = bench.client(GET)
        self.assert_answered(client, 503)
        self.assertEqual(bench.records[0].termination, Termination.QUEUE_FULL)

    def test_queue_served(self) -> None:
        """Whoever waits is served as soon as there is room, on the connection that became free."""
        bench, _ = self.full(QueuePolicy())
        client = bench.client(GET)
        bench.advance(0.5)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(backend.received.count(b"GET /"), 2)
        bench.send(backend, b"HTTP/1.1 201 Second\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 201 Second"))
        self.assertAlmostEqual(bench.records[1].queue or 0, 0.5)

    def test_queued_client_leaves(self) -> None:
        """A client that leaves while it waits leaves the queue."""
        bench, _ = self.full(QueuePolicy())
        client = bench.client(GET)
        bench.reset(client)
        self.assertEqual(len(bench.upstream.line), 0)
        self.assertEqual(bench.records[0].termination, Termination.CLIENT_LEFT)

    def test_first_byte_timeout(self) -> None:
        """The backend says nothing: 504, and its connection is not used again."""
        bench = Bench(timeouts=SHORT)
        client = bench.client(GET)
        backend = bench.accept()
        bench.advance(2.2)
        self.assert_answered(client, 504)
        self.check(bench, Termination.FIRST_BYTE_TIMEOUT, 504)
        self.assertEqual(backend.closed, "reset")

    def test_total_timeout(self) -> None:
        """The whole takes too long: 504 where nothing was answered."""
        bench = Bench(timeouts=BackendTimeouts(total=1))
        client = bench.client(GET)
        backend = bench.accept()
        bench.advance(1.2)
        self.assert_answered(client, 504)
        self.check(bench, Termination.TOTAL_TIMEOUT, 504)
        self.assertEqual(backend.closed, "reset")

    def test_total_timeout_in_the_response(self) -> None:
        """The whole takes too long while the response comes: the client is reset."""
        bench = Bench(timeouts=BackendTimeouts(total=1))
        client = bench.client(GET)
        bench.send(bench.accept(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        bench.advance(1.2)
        self.assertEqual(client.closed, "reset")
        self.check(bench, Termination.TOTAL_TIMEOUT, 200)

    def test_closed_without_a_byte(self) -> None:
        """A new connection that closes before any byte: 502, not an empty 200 (bar A)."""
        for how in (Bench.close, Bench.reset):
            bench = Bench()
            client = bench.client(GET)
            how(bench, bench.accept())
            self.assert_answered(client, 502)
            self.check(bench, Termination.BACKEND_CLOSED_EARLY, 502)
            self.assertEqual(client.closed, "open")

    def test_malformed_head(self) -> None:
        """What is no response, or has two readings: 502, for nothing was passed on."""
        for data in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            bench = Bench()
            client = bench.client(GET)
            backend = bench.accept()
            bench.send(backend, data)
            self.assert_answered(client, 502)
            self.check(bench, Termination.MALFORMED_RESPONSE, 502)
            self.assertEqual(backend.closed, "reset")

    def test_truncated_head(self) -> None:
        """A head that is cut off: 502."""
        bench = Bench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-")
        bench.close(backend)
        self.assert_answered(client, 502)
        self.check(bench, Termination.TRUNCATED_RESPONSE, 502)

    def test_truncated_body(self) -> None:
        """A body that is cut off aborts the client's connection, however it was framed (bar B)."""
        heads = (b"Content-Length: 9\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        for version in (b"1.1", b"1.0"):
            for head in heads:
                bench = Bench()
                client = bench.client(b"GET / HTTP/%b\r\nHost: test\r\n\r\n" % version)
                backend = bench.accept()
                bench.send(backend, b"HTTP/1.1 200 OK\r\n" + head)
                bench.close(backend)
                self.assertIn(b"200 OK", client.received)
                self.assertNotIn(b"0\r\n\r\n", client.received)
                self.assertEqual(client.closed, "reset")
                self.check(bench, Termination.TRUNCATED_RESPONSE, 200)

    def test_reset_in_the_body(self) -> None:
        """A body that ends with the connection is not complete where the connection was reset."""
        bench = Bench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\n\r\nab")
        bench.reset(backend)
        self.assertEqual(client.closed, "reset")
        self.check(bench, Termination.BACKEND_RESET, 200)

    def test_malformed_body(self) -> None:
        """Chunks that are none: the client's connection is aborted, never finished."""
        bench = Bench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n")
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))
        self.check(bench, Termination.MALFORMED_RESPONSE, 200)

    def test_idle_in_the_body(self) -> None:
        """A backend that stops in the middle: the client is reset after the idle timeout, which each byte renews."""
        bench = Bench(timeouts=SHORT)
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        bench.advance(2.5)
        bench.send(backend, b"cd")
        bench.advance(2.5)
        self.assertEqual(client.closed, "open")
        bench.advance(1)
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))
        self.check(bench, Termination.BACKEND_IDLE_TIMEOUT, 200)

    def test_client_leaves(self) -> None:
        """A client that leaves, at any stage and in any way: the backend is reset at once (bar J)."""
        for how in (Bench.close, Bench.reset):
            for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"):
                bench = Bench()
                client = bench.client(GET)
                backend = bench.accept()
                if answer:
                    bench.send(backend, answer)
                how(bench, client)
                self.assertEqual(backend.closed, "reset")
                self.assertEqual(bench.http["web"].idle, 0)
                self.check(bench, Termination.CLIENT_LEFT, 200 if answer else 0)

    def test_client_leaves_during_connect(self) -> None:
        """A client that leaves while the connect is pending cancels it (bar P)."""
        bench = Bench()
        bench.reset(bench.client(GET))
        self.assertTrue(bench.reactor.connectors[0].stoppedConnecting)
        self.check(bench, Termination.CLIENT_LEFT, 0)

    def test_client_reads_nothing(self) -> None:
        """A client that does not read pauses the backend, and is reset after the write timeout."""
        bench = Bench(timeouts=SHORT)
        client = bench.client(GET)
        backend = bench.accept()
        client.transport.reading = False
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 999999)
        self.assertLess(client.transport.other.peak, 262144)
        self.assertGreater(len(backend.transport.waiting), 700000)
        bench.advance(58)  # the backend's idle timeout, 3 s, does not count meanwhile
        self.assertEqual(client.closed, "open")
        bench.advance(3)
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))
        self.check(bench, Termination.CLIENT_WRITE_TIMEOUT, 200)

    def test_no_route(self) -> None:
        """No route and no default: 404, and the connection stays usable."""
        bench = Bench(default="")
        client = bench.client(GET)
        self.assert_answered(client, 404)
        self.check(bench, Termination.NO_ROUTE, 404)
        self.assertEqual(client.closed, "open")

    def test_max_forwards(self) -> None:
        """TRACE and OPTIONS are counted hop by hop: one less each, and at 0 they end here; other methods are not."""
        for method, value, expected in (
            (b"OPTIONS", b"3", b"\r\nMax-Forwards: 2\r\n"),
            (b"TRACE", b"1", b"\r\nMax-Forwards: 0\r\n"),
            (b"OPTIONS", b"many", b"\r\nMax-Forwards: many\r\n"),
            (b"GET", b"0", b"\r\nMax-Forwards: 0\r\n"),
        ):
            bench = Bench(1)
            for _ in range(2):  # the same again, which the listener remembers
                bench.client(method + b" / HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + value + b"\r\n\r\n")
                self.assertIn(expected, bench.accept().received)
        bench = Bench(1)
        client = bench.client(b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 501 "), client.received)
        self.assertEqual(bench.connects, [])

    def test_connect_method(self) -> None:
        """CONNECT is not served: 501, and the connection closes, for what follows may not be HTTP."""
        bench = Bench()
        client = bench.client(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        self.assert_answered(client, 501)
        self.assertIn(b"Connection: close", head_of(client))
        self.assertEqual(client.closed, "fin")
        self.check(bench, Termination.REFUSED, 501)

    def test_refused_head(self) -> None:
        """A request that the gate refuses is answered, logged, and closes the connection."""
        bench = Bench()
        client = bench.client(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        self.assert_answered(client, 400)
        self.assertEqual(client.closed, "fin")
        self.check(bench, Termination.REFUSED, 400)
        self.assertEqual(bench.connects, [])

    def test_gateway_errors_count_against_the_backend(self) -> None:
        """502, 503 and 504 of a backend are passed on, and are its failures; 500 is not."""
        for status, failures in ((500, 0), (502, 1), (503, 1), (504, 1)):
            bench = Bench()
            client = bench.client(GET)
            bench.send(bench.accept(), b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 %d X" % status))
            self.assertEqual(bench.upstream.members[0].backend.failures, failures)
            self.check(bench, Termination.DONE, status)

    def test_shutdown(self) -> None:
        """Whatever is under way when the time to drain is over is reset, and logged as that."""
        bench = Bench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.factory.abort_all()
        bench.run()
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))
        self.check(bench, Termination.SHUTDOWN, 0)
        self.assertEqual(bench.factory.connections, 0)
