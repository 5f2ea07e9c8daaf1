"""One attempt to connect: success, each kind of failure, cancelling; on a fake reactor."""

import errno
import os

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectBindError, ConnectionLost, TimeoutError, UserError, getConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Outcome
from balancer.net.connector import Attempt, Connector
from balancer.testing.transports import Wire

ADDRESS = IPv4Address("TCP", "192.0.2.7", 80)


class ConnectorTests(SynchronousTestCase):
    """Plain TCP."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.connector = Connector(self.reactor)
        self.protocol = Protocol()
        self.failures: list[tuple[Outcome, str]] = []

    def failed(self, outcome: Outcome, reason: str) -> None:
        self.failures.append((outcome, reason))

    def connect(self) -> Attempt:
        return self.connector.connect("192.0.2.7", 80, self.protocol, self.failed, timeout=3.0)

    def fail_with(self, error: Exception) -> tuple[Outcome, str]:
        """Begin, let the reactor fail it, and give the one failure that was told."""
        attempt = self.connect()
        attempt.clientConnectionFailed(self.reactor.connectors[-1], Failure(error))
        self.assertFalse(attempt.pending)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        (told,) = self.failures
        return told

    def test_success(self) -> None:
        """The protocol is connected, nothing else is called and no timer is left."""
        attempt = self.connect()
        host, port, factory, timeout, _ = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), ("192.0.2.7", 80, None))
        self.assertTrue(attempt.pending)
        self.assertIs(factory.buildProtocol(ADDRESS), self.protocol)
        self.assertFalse(attempt.pending)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        attempt.cancel()
        self.assertFalse(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.failures, [])

    def test_refused(self) -> None:
        """A refusal is told as such, at once, with the address."""
        told = self.fail_with(getConnectError((errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))))
        self.assertEqual(told, (Outcome.CONNECT_REFUSED, "192.0.2.7:80 refused the connection"))

    def test_timeout_of_ours(self) -> None:
        """After the timeout the attempt is stopped, so no socket is left, and then told."""
        self.connect()
        self.reactor.advance(2.9)
        self.assertEqual(self.failures, [])
        self.reactor.advance(0.3)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.failures, [(Outcome.CONNECT_TIMEOUT, "192.0.2.7:80 did not accept within 3 s")])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_timeout_of_the_system(self) -> None:
        """The kernel's own timeout is a timeout."""
        outcome, _ = self.fail_with(getConnectError((errno.ETIMEDOUT, "timed out")))
        self.assertIs(outcome, Outcome.CONNECT_TIMEOUT)

    def test_unreachable(self) -> None:
        """No route is a failed connect, in the system's words."""
        outcome, reason = self.fail_with(getConnectError((errno.ENETUNREACH, "Network is unreachable")))
        self.assertIs(outcome, Outcome.CONNECT_FAILED)
        self.assertIn("192.0.2.7:80 cannot be reached: Network is unreachable", reason)

    def test_what_is_our_own_fault_says_nothing_about_the_backend(self) -> None:
        """No descriptor, no local port: such an attempt is unused, for a healthy backend must not be ejected for it."""
        for error in (
            ConnectBindError(errno.EMFILE, "Too many open files"),
            getConnectError((errno.EADDRNOTAVAIL, "Cannot assign requested address")),
        ):
            self.failures.clear()
            outcome, reason = self.fail_with(error)
            self.assertIs(outcome, Outcome.UNUSED)
            self.assertIs(outcome.failure, None)
            self.assertIn("on this machine", reason)

    def test_cancelled(self) -> None:
        """After a cancel nothing is called, and Twisted is told to close the socket; twice is once."""
        attempt = self.connect()
        attempt.cancel()
        attempt.cancel()
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        attempt.clientConnectionFailed(self.reactor.connectors[0], Failure(UserError()))
        self.reactor.advance(10)
        self.assertEqual(self.failures, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_failure_is_told_once(self) -> None:
        """What comes after the failure is not told again."""
        attempt = self.connect()
        attempt.clientConnectionFailed(self.reactor.connectors[0], Failure(TimeoutError()))
        attempt.clientConnectionFailed(self.reactor.connectors[0], Failure(TimeoutError()))
        attempt.cancel()
        self.assertEqual(len(self.failures), 1)

    def test_an_address_that_cannot_even_be_begun(self) -> None:
        """An IPv6 zone that does not exist fails like any other attempt: later, once, and can be cancelled."""

        def refuse(*arguments: object, **named: object) -> None:
            raise OSError(errno.ENODEV, "No such device")

        self.reactor.connectTCP = refuse  # type: ignore[assignment, method-assign]
        self.connect()
        cancelled = self.connect()
        cancelled.cancel()
        self.assertEqual(self.failures, [])
        self.reactor.advance(0)
        self.assertEqual(self.failures, [(Outcome.CONNECT_FAILED, "192.0.2.7:80: No such device")])

    def test_ipv6_is_written_with_brackets(self) -> None:
        """The address in a reason can be copied."""
        attempt = self.connector.connect("2001:db8::1", 80, self.protocol, self.failed, timeout=1)
        self.assertEqual(attempt.address, "[2001:db8::1]:80")
        self.assertIn("pending", repr(attempt))
        attempt.cancel()

    def test_losing_a_made_connection_is_the_protocols_matter(self) -> None:
        """After success a loss is told to the protocol only."""
        lost = []
        self.protocol.connectionLost = lambda reason: lost.append(reason.type)  # type: ignore[method-assign]
        attempt = self.connect()
        attempt.buildProtocol(ADDRESS)
        wire = Wire(Protocol(), self.protocol).open()
        wire.right.lose(ConnectionLost())
        self.assertEqual((lost, self.failures), ([ConnectionLost], []))
