"""Connections to backends: kept, reused, checked, expired, and closed with their backend."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import AdminState
from balancer.core.policies import PoolPolicy
from balancer.core.termination import Termination
from balancer.testing.fakes import make_specs
from balancer.testing.http import Bench, Party

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


class PoolTests(SynchronousTestCase):
    """The pool of one backend as the engine uses it."""

    def served(self, bench: Bench, count: int = 1, answer: bytes = OK) -> list[Party]:
        """So many requests at one time, each served; the backend connections."""
        for _ in range(count):
            bench.client(GET)
        backends = [bench.accept(index) for index in range(len(bench.connects) - count, len(bench.connects))]
        for backend in backends:
            bench.send(backend, answer)
        return backends

    def test_the_last_one_is_used_first(self) -> None:
        """The connection used last is reused first, so that the others can grow old."""
        bench = Bench()
        first, second = self.served(bench, 2)
        second.received = b""
        bench.client(GET)
        self.assertIn(b"GET /", second.received)
        self.assertEqual(bench.http["web"].idle, 1)

    def test_limit(self) -> None:
        """For longer than a moment no more are kept than the policy says; the oldest goes."""
        bench = Bench(pool=PoolPolicy(idle=2))
        backends = self.served(bench, 3)
        self.assertEqual(bench.http["web"].idle, 3)
        bench.advance(1.5)
        self.assertEqual([backend.closed for backend in backends], ["fin", "open", "open"])
        self.assertEqual(bench.http["web"].idle, 2)

    def test_none_kept(self) -> None:
        """With none to keep the backend is told so, and each connection closes."""
        bench = Bench(pool=PoolPolicy(idle=0))
        (backend,) = self.served(bench)
        self.assertIn(b"\r\nConnection: close\r\n", backend.received)
        self.assertEqual(backend.closed, "fin")

    def test_requests(self) -> None:
        """A connection closes after so many requests."""
        bench = Bench(pool=PoolPolicy(requests=2))
        (backend,) = self.served(bench)
        bench.client(GET)
        bench.send(backend, OK)
        self.assertEqual(backend.closed, "fin")

    def test_the_backend_closes_after_its_answer(self) -> None:
        """``Connection: close`` and HTTP/1.0 end a connection."""
        for answer in (OK.replace(b"Date", b"Connection: close\r\nDate"), OK.replace(b"HTTP/1.1", b"HTTP/1.0")):
            bench = Bench()
            (backend,) = self.served(bench, answer=answer)
            self.assertEqual((backend.closed, bench.http["web"].idle), ("fin", 0))

    def test_expiry(self) -> None:
        """A connection that lies idle for too long is closed, by one timer for all of them, which then rests."""
        bench = Bench(pool=PoolPolicy(idle_timeout=8))
        first, second = self.served(bench, 2)
        bench.advance(5)
        second.received = b""
        bench.client(GET)
        bench.send(second, OK)
        bench.advance(3.5)
        self.assertEqual((first.closed, second.closed), ("fin", "open"))
        bench.advance(6)
        self.assertEqual((second.closed, bench.http["web"].idle), ("fin", 0))

    def test_unasked_bytes_poison(self) -> None:
        """Bytes on an idle connection, and bytes after a response, make it useless: no next request gets them (B2)."""
        bench = Bench()
        (backend,) = self.served(bench)
        bench.send(backend, b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(backend.closed, "reset")
        client = bench.client(GET)
        fresh = bench.accept()
        bench.send(fresh, OK + b"HTTP/1.1 200 EVIL\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((client.received, fresh.closed), (OK, "fin"))
        self.assertEqual(bench.http["web"].idle, 0)
        self.assertEqual({record.termination for record in bench.records}, {Termination.DONE})

    def test_closed_while_idle(self) -> None:
        """A connection the backend closed is not used again, and not kept."""
        for how in (Bench.close, Bench.reset, Bench.end):
            bench = Bench()
            (backend,) = self.served(bench)
            how(bench, backend)
            self.assertEqual(bench.http["web"].idle, 0)
            bench.client(GET)
            self.assertEqual(len(bench.connects), 2)

    def test_taken_out(self) -> None:
        """MAINT, DRAIN and leaving the upstream close the idle connections; one in use closes after its response."""
        for state in (AdminState.MAINT, AdminState.DRAIN, None):
            bench = Bench(2)
            idle, busy = self.served(bench, 2)
            client = bench.client(GET)
            backend = bench.upstream.members[0].backend
            if state is None:
                bench.upstream.update(make_specs(2)[1:], bench.backends.intern, 0)
            else:
                backend.administer(state, "test", 0)
            bench.http["web"].heed(backend.events[-1] if backend.events else bench.upstream.events[-1])
            bench.run()
            self.assertEqual((idle.closed, busy.closed), ("fin", "open"))
            bench.send(busy, OK)
            self.assertEqual((client.received, busy.closed), (OK, "fin"))

    def test_close(self) -> None:
        """A replaced upstream closes what is idle now, and what is in use when its response is done."""
        bench = Bench()
        idle, busy = self.served(bench, 2)
        client = bench.client(GET)
        bench.http["web"].close()
        bench.run()
        self.assertEqual((idle.closed, busy.closed), ("fin", "open"))
        bench.send(busy, OK)
        self.assertEqual((client.received, busy.closed), (OK, "fin"))


class ManyTests(SynchronousTestCase):
    """Many requests."""

    def test_no_more_connections_than_requests_at_one_time(self) -> None:
        """2,000 requests at concurrency 8 open 8 backend connections (bar 5 in small)."""
        bench = Bench()
        clients = [bench.client(GET) for _ in range(8)]
        backends = [bench.accept(index) for index in range(8)]
        for _ in range(250):
            for backend in backends:
                backend.transport.write(OK)
            bench.run()
            for client in clients:
                self.assertTrue(client.received.endswith(OK))
                client.received = b""
                client.transport.write(GET)
            bench.run()
        self.assertEqual(len(bench.connects), 8)
        self.assertEqual(len(bench.records), 2000)
