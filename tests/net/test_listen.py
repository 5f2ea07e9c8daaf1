"""Listening: descriptions, errors that say what to change, and the limit of clients."""

import errno
import os

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from balancer.errors import ListenError
from balancer.net.listen import BACKLOG, ClosedAtOnce, ConnectionLimit, listen
from balancer.testing.transports import Wire, flush


class ListenTests(SynchronousTestCase):
    """Endpoint descriptions."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.factory = Factory.forProtocol(Protocol)

    def message(self, description: str) -> str:
        """What the error says."""
        error = self.failureResultOf(listen(self.reactor, "web", description, self.factory), ListenError)
        return str(error.value)

    def refuse(self, number: int) -> str:
        """What is said where the system refuses with this error."""

        def listen_tcp(port: int, *arguments: object, **named: object) -> None:
            raise CannotListenError("127.0.0.1", port, OSError(number, os.strerror(number)))

        self.reactor.listenTCP = listen_tcp  # type: ignore[assignment, method-assign]
        return self.message("tcp:80:interface=127.0.0.1")

    def test_it_listens_with_a_backlog_that_does_for_a_rush(self) -> None:
        """A description without a backlog gets ours, one with a backlog keeps its own."""
        self.successResultOf(listen(self.reactor, "web", "tcp:8080:interface=127.0.0.1", self.factory))
        self.successResultOf(listen(self.reactor, "web", "tcp:8081:backlog=7", self.factory))
        self.assertEqual([server[2] for server in self.reactor.tcpServers], [BACKLOG, 7])
        self.assertEqual(self.reactor.tcpServers[0][3], "127.0.0.1")

    def test_taken(self) -> None:
        """A port in use names the listener, the address, the cause and what to change."""
        self.assertEqual(
            self.refuse(errno.EADDRINUSE),
            'address already in use: listener "web" cannot listen on "tcp:80:interface=127.0.0.1"; '
            'stop what uses it, or change "listen" of listener.web',
        )

    def test_not_permitted(self) -> None:
        """A port below 1024 without privileges says how to get them."""
        self.assertIn("; start as root", self.refuse(errno.EACCES))

    def test_not_ours(self) -> None:
        """An address of another machine is said to be that; any other error is given in the system's words."""
        self.assertIn("this machine has no such address", self.refuse(errno.EADDRNOTAVAIL))
        self.assertIn(os.strerror(errno.EMFILE), self.refuse(errno.EMFILE))

    def test_no_description(self) -> None:
        """What is no description is told with an example of one."""
        for description in ("8080:", "nonsense:80", "tcp:http", "", "tcp"):
            message = self.message(description)
            self.assertIn(f'listener "web" cannot listen on "{description}"', message)
            self.assertIn("tcp:8080", message)


class ConnectionLimitTests(SynchronousTestCase):
    """Counting clients."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def said(self) -> list[str]:
        return [event["log_level"].name for event in self.events if event.get("log_namespace") == "balancer.net.listen"]

    def test_the_limit(self) -> None:
        """The limit is exact: one more is refused and counted, and one that leaves makes room."""
        limit = ConnectionLimit("web", 2)
        self.assertEqual([limit.enter(), limit.enter(), limit.enter()], [True, True, False])
        limit.leave()
        self.assertTrue(limit.enter())
        self.assertEqual((limit.active, limit.total, limit.refused), (2, 3, 1))

    def test_it_is_logged_once_per_change(self) -> None:
        """A thousand refusals are one warning, the return below the limit is one line that counts them."""
        limit = ConnectionLimit("web", 10)
        for _ in range(1010):
            limit.enter()
        self.assertEqual(self.said(), ["warn"])
        limit.leave()
        self.assertEqual(self.said(), ["warn", "info"])
        self.assertEqual(self.events[-1]["refused"], 1000)
        limit.leave()
        self.assertEqual(self.said(), ["warn", "info"])

    def test_hovering_at_the_limit_is_not_a_change(self) -> None:
        """A client that leaves and one that comes, at a limit of 100, do not log each time."""
        limit = ConnectionLimit("web", 100)
        for _ in range(101):
            limit.enter()
        for _ in range(50):
            limit.leave()
            limit.enter()
            limit.enter()
        self.assertEqual(self.said(), ["warn"])

    def test_no_limit(self) -> None:
        """Zero is no limit; nobody can leave who is not in."""
        limit = ConnectionLimit("web", 0)
        self.assertTrue(all(limit.enter() for _ in range(20000)))
        self.assertEqual(self.said(), [])
        self.assertRaises(ValueError, ConnectionLimit("web", 1).leave)

    def test_closed_at_once(self) -> None:
        """One too many is reset, so that it knows."""
        wire = Wire(ClosedAtOnce(), Protocol()).open()
        flush(wire)
        self.assertTrue(wire.left.aborted and wire.right.disconnected)
