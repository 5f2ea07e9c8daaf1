"""The factory: the limit of clients, configuration, shutdown, and standing alone."""

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.core.guard import Refusal
from balancer.core.guard_policy import GuardPolicy
from balancer.core.termination import Termination
from balancer.net.guard import Guard
from balancer.tcp.factory import forward
from balancer.tcp.settings import TcpSettings
from balancer.testing.fakes import make_upstream

from .stage import StageTestCase


class LimitTests(StageTestCase):
    """Clients at one time."""

    def test_one_too_many_is_reset_at_once(self) -> None:
        """Above the limit a client is reset and no backend is asked; when one leaves the next is let in."""
        self.stage(max_connections=2)
        first, backend = self.pair()
        self.client(40001)
        third = self.client(40002)
        self.flush()
        self.assertEqual((third.fate, len(self.tried), self.factory.limit.refused), ("reset", 2, 1))
        first.transport.abortConnection()
        self.flush()
        self.assertEqual(backend.fate, "reset")
        fourth = self.client(40003)
        self.flush()
        self.assertEqual((fourth.fate, len(self.tried)), ("", 3))

    def test_a_new_configuration_is_for_those_who_come(self) -> None:
        """Connections keep what they began with; who comes gets the new settings."""
        client, backend = self.pair()
        self.factory.configure(make_upstream(1, name="other"), TcpSettings(name="new", max_connections=2), None)
        client.transport.write(b"as before")
        self.flush()
        self.assertEqual(backend.data, b"as before")
        second = self.client(40001)
        third = self.client(40002)
        self.flush()
        self.assertEqual((second.fate, third.fate), ("", "reset"))


class GuardTests(StageTestCase):
    """Who is let in at all."""

    def guard(self, **policy: object) -> Guard:
        """Have one."""
        self.factory.guard = Guard("tcp", GuardPolicy(**policy), self.timers)  # type: ignore[arg-type]
        return self.factory.guard

    def test_a_source_at_its_limit(self) -> None:
        """Its next client is reset and no backend is asked; a place is free when both sides of one are gone."""
        guard = self.guard(connections=1)
        first, backend = self.pair()
        second = self.client(40001)
        self.flush()
        self.assertEqual((second.fate, len(self.tried), guard.refused[Refusal.CONNECTIONS]), ("reset", 1, 1))
        first.transport.abortConnection()
        self.flush()
        self.assertEqual((guard.sources.connections, backend.fate), (0, "reset"))
        self.client(40002)
        self.assertEqual(len(self.tried), 2)

    def test_the_longest_a_connection_lives(self) -> None:
        """It is reset on both sides, and its record says why; one that ended before leaves no timer."""
        self.guard(max_lifetime=5)
        client, backend = self.pair()
        self.wait(4)
        client.transport.write(b"still")
        self.flush()
        self.assertEqual((client.fate, backend.data), ("", b"still"))
        self.wait(2)
        self.assertEqual((client.fate, backend.fate), ("reset", "reset"))
        record = self.over()
        self.assertIs(record.termination, Termination.MAX_LIFETIME)
        self.assertIn("guard.max_lifetime", record.reason)

    def test_the_limit_of_all_counts_too(self) -> None:
        """Above max_connections a client of another source is reset, and not counted for it."""
        self.stage(max_connections=1)
        guard = self.guard(connections=5)
        self.pair()
        second = self.client(40001)
        self.flush()
        self.assertEqual((second.fate, guard.sources.connections, self.factory.limit.refused), ("reset", 1, 1))


class ShutdownTests(StageTestCase):
    """Drain, then close."""

    def test_drained_when_the_last_is_gone(self) -> None:
        """The drain ends when the last connection has ended in order, on both sides."""
        client, backend = self.pair()
        drained = self.factory.drained()
        client.transport.loseConnection()
        self.flush()
        self.assertNoResult(drained)
        self.assertEqual(self.factory.connections, 1)
        backend.transport.write(b"the last word")
        backend.transport.loseConnection()
        self.flush()
        self.successResultOf(drained)
        self.successResultOf(self.factory.drained())

    def test_what_is_left_is_aborted(self) -> None:
        """Aborting ends every connection, whatever its state, and blames no backend."""
        joined, backend = self.pair()
        connecting = self.client(40001)
        drained = self.factory.drained()
        self.factory.abort_all()
        self.flush()
        self.successResultOf(drained)
        self.assertEqual((joined.fate, backend.fate, connecting.fate), ("reset", "reset", "reset"))
        self.assertEqual({record.termination for record in self.records}, {Termination.SHUTDOWN})
        self.assertTrue(self.reactor.connectors[1].stoppedConnecting)
        self.assertEqual([member.backend.failures for member in self.upstream.members], [0, 0, 0])
        self.assert_nothing_left()


class ForwardTests(SynchronousTestCase):
    """Without the rest of the balancer."""

    def test_it_is_a_factory_for_any_endpoint(self) -> None:
        """It provides Twisted's interface, has the servers given, and leaves the clock at rest."""
        reactor = MemoryReactorClock()
        factory = forward(reactor, "10.0.0.1:5432", "[2001:db8::1]:5432")
        verifyObject(IProtocolFactory, factory)
        addresses = [member.backend.address for member in factory.upstream.members]
        self.assertEqual(sorted(addresses), ["10.0.0.1:5432", "[2001:db8::1]:5432"])
        self.assertEqual(reactor.getDelayedCalls(), [])
        self.assertIn("connections=0", repr(factory))

    def test_what_is_no_address_is_said(self) -> None:
        """A name, or an address without a port, is an error that says what is expected."""
        reactor = MemoryReactorClock()
        self.assertIn("BalancerService", str(self.assertRaises(ValueError, forward, reactor, "db1:5432")))
        self.assertIn("PORT", str(self.assertRaises(ValueError, forward, reactor, "10.0.0.1")))
