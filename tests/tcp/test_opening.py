"""Finding a backend: failover, the line, clients that leave, and who is blamed."""

from typing import Any

from balancer.core.model import AdminState
from balancer.core.policies import QueuePolicy, RetryPolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.core.upstream import Upstream
from balancer.testing.fakes import make_specs, make_upstream

from .stage import StageTestCase


class FailoverTests(StageTestCase):
    """Candidates in order."""

    def test_refused_blackholed_alive(self) -> None:
        """The first refuses, the second never accepts, the third serves: each tried once, nothing is lost."""
        client = self.client()
        client.transport.write(b"hello")
        self.flush()
        self.refuse()
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
        self.wait(3.2)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.assertTrue(self.reactor.connectors[1].stoppedConnecting)
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.data, b"hello")
        backend.transport.loseConnection()
        client.transport.loseConnection()
        record = self.over()
        self.assertEqual((record.attempts, record.backend), (3, "10.0.0.3:80"))
        self.assertEqual(
            record.decisions, ["10.0.0.1:80 refused the connection", "10.0.0.2:80 did not accept within 3 s"]
        )
        self.assertApproximates(record.connect or 0, 3.0, 0.3)
        self.assertEqual([member.backend.failures for member in self.upstream.members], [1, 1, 0])

    def test_nobody_accepts(self) -> None:
        """Where every candidate fails the client is reset, and the record names the last failure."""
        client = self.client()
        for _ in range(3):
            self.refuse()
        self.flush()
        self.assertEqual(client.fate, "reset")
        record = self.over()
        self.assertIs(record.termination, Termination.CONNECT_REFUSED)
        self.assertEqual(record.reason, "10.0.0.3:80 refused the connection")
        self.assertEqual(record.bytes_out, 0)

    def test_nobody_is_there(self) -> None:
        """An upstream without an available backend resets the client at once."""
        self.stage(make_upstream(0))
        client = self.client()
        self.flush()
        self.assertEqual(client.fate, "reset")
        self.assertIs(self.over().termination, Termination.NO_BACKEND)

    def test_the_number_of_tries_is_bounded(self) -> None:
        """At most ``max_tries`` backends are tried for one connection."""
        self.stage(make_upstream(20), max_tries=4)
        self.client()
        for _ in range(4):
            self.refuse()
        self.assertEqual(len(self.tried), 4)
        self.assertIs(self.over().termination, Termination.CONNECT_REFUSED)

    def test_retries_that_are_off_are_off(self) -> None:
        """Without attempts, or without connect-failure among the conditions, the first failure is the last."""
        for policy in (RetryPolicy(attempts=0), RetryPolicy(on=("reused-closed",))):
            self.stage(make_upstream(3, UpstreamPolicy(retry=policy)))
            self.client()
            self.refuse()
            self.assertEqual(len(self.tried), 1)
            self.over()

    def test_the_budget_does_not_count_here(self) -> None:
        """A hundred clients at one time, whose first backend refuses, are all served by the second."""
        self.stage(make_upstream(2, UpstreamPolicy(retry=RetryPolicy(budget=0, budget_minimum=0))))
        clients = [self.client(port) for port in range(50000, 50100)]
        for attempt in range(100):
            if self.tried[attempt] == "10.0.0.1":
                self.refuse(attempt)
        for attempt, host in enumerate(self.tried):
            if host == "10.0.0.2":
                self.accept(attempt).transport.write(b"served")
        self.flush()
        self.assertEqual({client.data for client in clients}, {b"served"})

    def test_a_selector_that_raises_resets_the_client(self) -> None:
        """A selector is a plugin: one that raises is logged, and its client does not hang."""
        self.stage()

        def fail(traits: object) -> None:
            raise ZeroDivisionError("on purpose")

        self.upstream.selector.candidates = fail  # type: ignore[method-assign]
        client = self.client()
        self.flush()
        self.assertEqual(client.fate, "reset")
        self.assertIs(self.over().termination, Termination.INTERNAL)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_drained_backend_finishes_what_it_has(self) -> None:
        """A drain touches no connection that is there, and gives the backend no new one."""
        self.stage(make_upstream(2))
        client, backend = self.pair()
        self.upstream.members[0].backend.administer(AdminState.DRAIN, "maintenance", self.reactor.seconds())
        self.client(40001)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
        client.transport.write(b"still here")
        self.flush()
        self.assertEqual(backend.data, b"still here")


class LeavingTests(StageTestCase):
    """Clients that do not wait."""

    def assert_cancelled(self) -> None:
        """The connect was given up, and the backend is not blamed."""
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        record = self.over()
        self.assertIs(record.termination, Termination.CLIENT_LEFT)
        self.assertEqual(self.upstream.members[0].backend.failures, 0)
        self.assertEqual(len(self.tried), 1)

    def test_a_reset_cancels_the_connect(self) -> None:
        """A client that resets while the connect is pending cancels it, whatever it sent before."""
        for sent in (b"", b"question"):
            self.stage()
            client = self.client()
            client.transport.write(sent)
            self.flush()
            client.transport.abortConnection()
            self.flush()
            self.assert_cancelled()

    def test_a_close_without_a_byte_cancels_the_connect(self) -> None:
        """A client that closes without having sent a byte waits for nothing: the connect is cancelled."""
        client = self.client()
        client.transport.loseConnection()
        self.flush()
        self.assert_cancelled()

    def test_a_thousand_that_leave_leave_nothing(self) -> None:
        """A thousand clients that leave while their connects are pending: each connect is cancelled."""
        clients = [self.client(port) for port in range(50000, 51000)]
        for number, client in enumerate(clients):
            if number % 2:
                client.transport.abortConnection()
            else:
                client.transport.loseConnection()
        self.flush()
        self.assertEqual(sum(connector.stoppedConnecting for connector in self.reactor.connectors), 1000)
        self.assert_nothing_left()
        self.assertEqual({record.termination for record in self.records}, {Termination.CLIENT_LEFT})


class LineTests(StageTestCase):
    """Backends at their ``max_connections``."""

    def line(self, limit: int = 10, backends: int = 1, **changes: Any) -> None:
        """Backends that take one connection each, and a line."""
        policy = UpstreamPolicy(queue=QueuePolicy(limit=limit, timeout=3.0), **changes)
        upstream: Upstream = make_upstream(make_specs(backends, max_connections=1), policy)
        self.stage(upstream)

    def test_first_in_first_served(self) -> None:
        """Those who wait are connected in the order they came, each when one before it has closed."""
        self.line()
        first, backend = self.pair()
        self.client(40001)
        third = self.client(40002)
        self.assertEqual((len(self.tried), len(self.upstream.line)), (1, 2))
        third.transport.write(b"third")
        self.flush()
        self.reactor.advance(1)
        first.transport.loseConnection()
        self.flush()
        self.assertEqual(len(self.tried), 1)
        backend.transport.loseConnection()
        self.flush()
        self.assertEqual((len(self.tried), len(self.upstream.line)), (2, 1))
        second_backend = self.accept()
        second_backend.transport.abortConnection()
        self.flush()
        self.assertEqual(len(self.tried), 3)
        third_backend = self.accept()
        self.flush()
        self.assertEqual(third_backend.data, b"third")
        self.assertEqual(self.upstream.members[0].backend.active, 1)
        self.assertEqual(self.records[1].queue, 1.0)

    def test_the_wait_has_an_end(self) -> None:
        """Who waited for the queue's timeout is reset, and keeps nobody else from their place."""
        self.line()
        self.pair()
        second = self.client(40001)
        self.wait(2)
        self.client(40002)
        self.wait(1.2)
        self.assertEqual(second.fate, "reset")
        (record,) = self.records
        self.assertIs(record.termination, Termination.QUEUE_TIMEOUT)
        self.assertApproximates(record.queue or 0, 3.0, 0.3)
        self.assertEqual(len(self.upstream.line), 1)

    def test_the_line_has_an_end(self) -> None:
        """Who finds the line full is reset at once."""
        self.line(limit=1)
        self.pair()
        self.client(40001)
        third = self.client(40002)
        self.flush()
        self.assertEqual(third.fate, "reset")
        self.assertEqual([record.termination for record in self.records], [Termination.QUEUE_FULL])

    def test_who_leaves_the_line_frees_the_place(self) -> None:
        """A client that leaves while it waits gives its place up, and is not connected later."""
        self.line()
        client, backend = self.pair()
        second = self.client(40001)
        second.transport.loseConnection()
        self.flush()
        self.assertEqual(len(self.upstream.line), 0)
        self.assertEqual([record.termination for record in self.records], [Termination.CLIENT_LEFT])
        backend.transport.loseConnection()
        client.transport.loseConnection()
        self.flush()
        self.assertEqual(len(self.tried), 1)
        self.assert_nothing_left()

    def test_a_connect_that_fails_makes_room(self) -> None:
        """A lease that came back because the connect failed lets the next one in line try."""
        self.line(backends=2)
        self.client()
        self.client(40001)
        self.client(40002)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
        self.refuse(0)  # the first now waits for the second backend; the third takes the first's place
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2", "10.0.0.1"])
        self.assertEqual(len(self.upstream.line), 1)

    def test_a_backend_that_comes_back_is_used_by_those_who_wait(self) -> None:
        """When the operator gives a backend back, who waits is connected to it."""
        self.line(backends=2)
        other = self.upstream.members[1].backend
        other.administer(AdminState.DRAIN, "maintenance", 0)
        self.pair()
        self.client(40001)
        self.assertEqual(len(self.tried), 1)
        other.administer(AdminState.READY, "back", 1)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
