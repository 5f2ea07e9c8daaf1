"""What can go wrong at any stage: it ends once, nothing is left over, and a body that ends so never looks complete."""

import gc
from collections.abc import Callable
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.policies import QueuePolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts
from balancer.http.exchange import Exchange
from balancer.http1.limits import HttpLimits
from balancer.testing.fakes import make_specs
from balancer.testing.http import Bench

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SHORT = BackendTimeouts(connect=1, first_byte=2, idle=3)


def exchanges() -> int:
    """How many there are, with the collector off: one that is over and still there is held by a circle."""
    return sum(type(thing) is Exchange for thing in gc.get_objects())


class StageTests(SynchronousTestCase):
    """What may come at any stage."""

    def test_the_total_timeout_ends_it_wherever_it_stands(self) -> None:
        """In line, connecting, or waiting: 504 once, out of the line, the connect given up, the connection reset."""
        policy = UpstreamPolicy(queue=QueuePolicy(timeout=60))
        for stage in ("line", "connect", "wait"):
            bench = Bench(make_specs(1, max_connections=1), policy=policy, timeouts=BackendTimeouts(total=1))
            if stage == "line":
                bench.client(UPGRADE)
                bench.send(bench.accept(), SWITCHED)  # a tunnel keeps the place for as long as it likes
            client = bench.client(GET)
            backend = bench.accept() if stage == "wait" else None
            self.assertEqual(len(bench.upstream.line), stage == "line")
            bench.advance(1.2)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 504 "), client.received)
            self.assertEqual([record.termination for record in bench.records], [Termination.TOTAL_TIMEOUT])
            self.assertEqual((len(bench.upstream.line), bench.upstream.active), (0, stage == "line"))
            self.assertEqual(bench.reactor.connectors[-1].stoppedConnecting, stage == "connect")
            if backend is not None:
                self.assertEqual(backend.closed, "reset")

    def test_it_ends_once(self) -> None:
        """What happens to either side after the end, and the total timeout, change nothing: one record, one answer."""
        bench = Bench(timeouts=BackendTimeouts(first_byte=2, total=5))
        client = bench.client(GET)
        backend = bench.accept()
        bench.advance(2.2)
        answer = client.received
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        bench.close(backend)
        bench.advance(10)
        bench.reset(client)
        self.assertEqual([record.termination for record in bench.records], [Termination.FIRST_BYTE_TIMEOUT])
        self.assertEqual((client.received, bench.upstream.active), (answer, 0))

    def test_nothing_is_left_in_a_circle(self) -> None:
        """An exchange that failed is gone at once, without the collector."""
        fails: list[Callable[[Bench], None]] = [
            lambda bench: bench.refuse(),
            lambda bench: bench.reset(bench.accept()),
            lambda bench: (bench.accept(), bench.advance(2.2))[1],
            lambda bench: bench.advance(1.2),
        ]
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = exchanges()
        for number, fail in enumerate(fails):
            bench = Bench(timeouts=SHORT)
            bench.client(GET)
            self.assertEqual(exchanges(), before + 1)
            fail(bench)
            self.assertEqual((len(bench.records), exchanges()), (1, before), f"failure {number}")


@dataclass(frozen=True)
class _Body:
    """An ending in the middle of a request's body."""

    rest: bytes
    status: int
    termination: Termination


class BodyEndingTests(SynchronousTestCase):
    """Endings while the request's body is under way: the backend never sees its end."""

    def test_bodies_that_are_refused(self) -> None:
        """A bad chunk is 400, one too many byte 413: the client is told, the backend is reset."""
        head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        for case in (
            _Body(b"zz\r\n", 400, Termination.CLIENT_BODY_MALFORMED),
            _Body(b"fff\r\n" + b"x" * 4095 + b"\r\n", 413, Termination.BODY_TOO_LARGE),
        ):
            bench = Bench(limits=HttpLimits(body=100))
            client = bench.client(head)
            backend = bench.accept()
            bench.send(client, case.rest)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 %d " % case.status), client.received)
            self.assertIn(b"Connection: close", client.received)
            self.assertEqual((client.closed, backend.closed), ("fin", "reset"))
            self.assertNotIn(b"0\r\n\r\n", backend.received)
            self.assertEqual([record.termination for record in bench.records], [case.termination])
            self.assertEqual(bench.upstream.active, 0)
            self.assertEqual(bench.upstream.members[0].backend.failures, 0)

    def test_body_timeout(self) -> None:
        """A body that stops arriving: 408, and the backend is reset; each byte renews the time."""
        bench = Bench()
        client = bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nab")
        backend = bench.accept()
        bench.advance(50)
        bench.send(client, b"c")
        bench.advance(50)
        self.assertEqual(client.received, b"")
        bench.advance(11)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 408 "), client.received)
        self.assertEqual((client.closed, backend.closed), ("fin", "reset"))
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_BODY_TIMEOUT])

    def test_backend_does_not_read(self) -> None:
        """A backend that does not take the body: the client is paused, then answered 504."""
        bench = Bench(timeouts=SHORT)
        client = bench.client(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n")
        backend = bench.accept()
        backend.transport.reading = False
        bench.send(client, b"x" * 500000)
        self.assertLess(backend.transport.other.peak, 262144)
        self.assertGreater(len(client.transport.waiting), 200000)
        bench.advance(2.2)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 504 "), client.received)
        self.assertEqual(backend.closed, "reset")
        self.assertEqual([record.termination for record in bench.records], [Termination.BACKEND_WRITE_TIMEOUT])
