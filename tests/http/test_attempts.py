"""Which failures are tried again, where, and how often."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.policies import RetryPolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts
from balancer.testing.fakes import make_specs
from balancer.testing.http import Bench, Party

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


def bench_with(count: int = 3, **retry: object) -> Bench:
    """Several backends, and a retry policy."""
    return Bench(count, policy=UpstreamPolicy(retry=RetryPolicy(**retry)))  # type: ignore[arg-type]  # kept short


class RetryTests(SynchronousTestCase):
    """Retries on another backend."""

    def test_connect_failure(self) -> None:
        """A refused connect is tried again on the next backend, for any method, body included."""
        for request in (GET, POST):
            bench = bench_with()
            client = bench.client(request)
            bench.refuse()
            self.assertEqual(bench.connects, ["10.0.0.1:80", "10.0.0.2:80"])
            backend = bench.accept()
            self.assertEqual(backend.received.partition(b"\r\n\r\n")[2], request.partition(b"\r\n\r\n")[2])
            bench.send(backend, OK)
            self.assertTrue(client.received.endswith(OK))
            record = bench.records[0]
            self.assertEqual((record.attempts, record.backend), (2, "10.0.0.2:80"))
            self.assertIn("retry on 10.0.0.2:80", record.decisions)
            self.assertEqual(bench.upstream.budget.active, 0)

    def test_as_often_as_the_policy_says(self) -> None:
        """No more attempts than allowed; then the last failure is the answer."""
        for attempts in (0, 1, 2):
            bench = bench_with(3, attempts=attempts)
            client = bench.client(GET)
            for _ in range(attempts + 1):
                bench.refuse()
            self.assertEqual(len(bench.connects), attempts + 1)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "))
            self.assertEqual(bench.upstream.active, 0)

    def test_never_the_same_backend(self) -> None:
        """With one backend there is nobody to ask again."""
        bench = bench_with(1, attempts=5)
        client = bench.client(GET)
        bench.refuse()
        self.assertEqual(len(bench.connects), 1)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "))
        self.assertIn("no retry: there is no other backend", bench.records[0].decisions)

    def test_empty_response(self) -> None:
        """A connection that closes before any byte is tried again where the method allows it."""
        for request, tries in ((GET, 2), (POST, 1), (GET.replace(b"GET", b"PATCH"), 1)):
            bench = bench_with()
            client = bench.client(request)
            bench.close(bench.accept())
            self.assertEqual(len(bench.connects), tries)
            if tries == 1:
                self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "))

    def test_not_after_the_first_byte(self) -> None:
        """Once a byte of a response came nothing is tried again."""
        bench = bench_with()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"H")
        bench.close(backend)
        self.assertEqual(len(bench.connects), 1)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "))

    def test_first_byte_timeout_only_where_asked_for(self) -> None:
        """A first-byte timeout is tried again only where the policy lists it."""
        for on, tries in (((), 1), (("first-byte-timeout",), 2)):
            policy = UpstreamPolicy(retry=RetryPolicy(on=on))  # type: ignore[arg-type]  # literals of a tuple
            bench = Bench(2, policy=policy, timeouts=BackendTimeouts(first_byte=1))
            bench.client(GET)
            bench.accept()
            bench.advance(1.2)
            self.assertEqual(len(bench.connects), tries)

    def test_budget(self) -> None:
        """Retries of requests that reached a backend are bounded by the budget."""
        bench = bench_with(3, budget=0.0, budget_minimum=1)
        first, second = bench.client(GET), bench.client(GET)
        bench.close(bench.accept(0))
        bench.close(bench.accept(1))
        self.assertEqual(len(bench.connects), 3)
        self.assertEqual(first.received, b"")
        self.assertTrue(second.received.startswith(b"HTTP/1.1 502 "))
        self.assertIn("no retry: the budget is used up", bench.records[0].decisions)
        bench.send(bench.accept(), OK)
        self.assertTrue(first.received.endswith(OK))
        self.assertEqual(bench.upstream.budget.active, 0)

    def test_connects_need_no_budget(self) -> None:
        """However many find a dead backend at once, all move on: nobody is asked twice."""
        bench = bench_with(2, budget=0.0, budget_minimum=0)
        clients = [bench.client(GET) for _ in range(10)]
        for which in range(10):
            bench.refuse(which)
        for which in range(10, 20):
            bench.send(bench.accept(which), OK)
        self.assertEqual([client.received for client in clients], [OK] * 10)
        self.assertEqual(bench.upstream.budget.total, 0)

    def test_other_backends_full(self) -> None:
        """A retry does not wait in the queue: what has failed is answered."""
        specs = make_specs(2, max_connections=1)
        bench = Bench(specs)
        bench.client(GET)
        bench.client(GET)
        bench.refuse(0)
        self.assertEqual(len(bench.connects), 2)
        self.assertIn("no retry: no other backend has room", bench.records[0].decisions)


class ReusedTests(SynchronousTestCase):
    """Kept connections that turn out to be closed."""

    def kept(self, count: int = 1) -> tuple[Bench, Party, Party]:
        """A bench with a kept connection."""
        bench = bench_with(count)
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, OK)
        client.received = b""
        return bench, client, backend

    def test_once_more_on_a_new_connection(self) -> None:
        """A kept connection that closes before any byte: the same backend is asked once more on a new connection.

        The backend's idle timeout is no failure of the backend, and the client notices nothing (bar 5)."""
        bench, client, backend = self.kept()
        bench.send(client, GET)
        bench.close(backend)
        self.assertEqual(bench.connects, ["10.0.0.1:80"] * 2)
        bench.send(bench.accept(), OK)
        self.assertEqual(client.received, OK)
        self.assertEqual(bench.upstream.members[0].backend.failures, 0)
        self.assertEqual(bench.upstream.members[0].backend.active, 0)
        self.assertFalse(bench.records[1].reused)

    def test_then_another_backend(self) -> None:
        """If the new connection is refused, the next backend is asked."""
        bench, client, backend = self.kept(2)
        bench.send(client, GET)
        bench.close(backend)
        bench.refuse()
        self.assertEqual(bench.connects, ["10.0.0.1:80", "10.0.0.1:80", "10.0.0.2:80"])
        bench.send(bench.accept(), OK)
        self.assertEqual(client.received, OK)

    def test_not_for_every_method(self) -> None:
        """A request that may not be repeated is answered 502; the backend is not blamed (RFC 9110 section 9.2.2)."""
        bench, client, backend = self.kept(2)
        bench.send(client, POST)
        bench.close(backend)
        self.assertEqual(len(bench.connects), 1)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "))
        self.assertEqual(bench.upstream.members[0].backend.failures, 0)
        self.assertEqual(bench.records[1].termination, Termination.BACKEND_CLOSED_EARLY)
