"""The probe expect, in memory."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.core.health import CheckSettings
from balancer.health.probes import EXPECT
from balancer.health.settings import ExpectCheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from balancer.testing.probes import PlayedBackend

TARGET = ProbeTarget(host="10.0.0.1", port=6379, tls_name=None, name="db")


class ExpectCase(SynchronousTestCase):
    def begin(self, **keys: object) -> Deferred[ProbeResult]:
        self.backend = PlayedBackend()
        probe = EXPECT.probe(TARGET, ExpectCheckSettings(**keys), self.backend.reactor)  # type: ignore[arg-type]
        self.backend.accept()
        return probe


class Expect(ExpectCase):
    def test_it_is_a_probe_plugin(self) -> None:
        """It provides IProbePlugin whole."""
        verifyObject(IProbePlugin, EXPECT)

    def test_what_is_sent_and_expected_is_unescaped(self) -> None:
        """A redis PING: CR and LF as escapes, both ways."""
        probe = self.begin(send=r"PING\r\n", expect=r"+PONG\r\n")
        self.assertEqual(self.backend.transport.value(), b"PING\r\n")
        self.backend.send(b"+PONG\r\n")
        self.assertEqual(self.successResultOf(probe), ProbeResult(True, "10.0.0.1:6379 answered as expected"))
        self.assertTrue(self.backend.closed)

    def test_the_expected_is_found_however_it_is_cut(self) -> None:
        """Whole, byte by byte and randomly cut, after other bytes or alone."""
        wire = b"220 mail.example ESMTP ready\r\n"
        random = Random(7)
        cuts = [[wire], [wire[i : i + 1] for i in range(len(wire))]]
        for _ in range(20):
            at = sorted(random.sample(range(len(wire)), 4))
            cuts.append([wire[i:j] for i, j in zip([0, *at], [*at, len(wire)], strict=True)])
        for pieces in cuts:
            probe = self.begin(expect="ESMTP ready")
            self.backend.send(*pieces)
            self.assertTrue(self.successResultOf(probe).passed)

    def test_a_regular_expression_is_matched_where_asked_for(self) -> None:
        """With regex a dot is any byte; without, it is a dot."""
        probe = self.begin(expect="^2.0 .*\r\n", regex=True)
        self.backend.send(b"220 hello\r\n")
        self.assertTrue(self.successResultOf(probe).passed)
        probe = self.begin(expect="2.0", read_limit=3)
        self.backend.send(b"220")
        self.assertFalse(self.successResultOf(probe).passed)

    def test_more_than_the_limit_without_the_expected_fails(self) -> None:
        """A backend that talks without end is not listened to for ever; the reason shows how it began."""
        probe = self.begin(expect="x", read_limit=100)
        self.backend.send(b"a" * 90, b"b" * 90)
        expected = f"10.0.0.1:6379 answered otherwise than expected (got {b'a' * 60!r})"
        self.assertEqual(self.successResultOf(probe), ProbeResult(False, expected))
        self.assertTrue(self.backend.closed)

    def test_what_comes_beyond_the_limit_does_not_count(self) -> None:
        """The expected must be complete within the limit, in whatever pieces it comes."""
        probe = self.begin(expect="abc", read_limit=4)
        self.backend.send(b"..abc")
        self.assertFalse(self.successResultOf(probe).passed)

    def test_a_close_before_the_expected_fails(self) -> None:
        """With what came before it, or without anything."""
        probe = self.begin(expect="x")
        self.backend.lose()
        self.assertEqual(self.successResultOf(probe).reason, "10.0.0.1:6379 closed the connection")
        probe = self.begin(expect="x")
        self.backend.send(b"-ERR\r\n")
        self.backend.lose()
        self.assertEqual(self.successResultOf(probe).reason, r"10.0.0.1:6379 closed the connection (got b'-ERR\r\n')")

    def test_nothing_expected_is_a_connect_check(self) -> None:
        """Without `expect` the accepted connection is enough."""
        self.assertTrue(self.successResultOf(self.begin()).passed)

    def test_a_refused_connect_fails(self) -> None:
        """In the words of the tcp probe."""
        backend = PlayedBackend()
        probe = EXPECT.probe(TARGET, ExpectCheckSettings(expect="x"), backend.reactor)
        backend.refuse(ConnectionRefusedError())
        self.assertEqual(self.successResultOf(probe).reason, "connect to 10.0.0.1:6379 refused")

    def test_cancelling_closes_at_once(self) -> None:
        """In the midst of waiting for the answer."""
        probe = self.begin(expect="x")
        probe.cancel()
        self.failureResultOf(probe)
        self.assertTrue(self.backend.closed)
        self.backend.lose()
        self.assertEqual(self.backend.reactor.getDelayedCalls(), [])

    def test_another_checks_settings_are_refused(self) -> None:
        """A stranger's settings are a wrong call."""
        with self.assertRaises(TypeError):
            EXPECT.probe(TARGET, CheckSettings(), PlayedBackend().reactor)
