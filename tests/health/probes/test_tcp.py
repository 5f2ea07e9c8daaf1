"""The probe tcp, in memory."""

from twisted.internet.error import ConnectionRefusedError, NoRouteError, TimeoutError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.core.health import CheckSettings
from balancer.health.probes import TCP
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from balancer.testing.probes import PlayedBackend

TARGET = ProbeTarget(host="10.0.0.1", port=80, tls_name=None, name="db")


class Tcp(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = PlayedBackend()
        self.probe = TCP.probe(TARGET, CheckSettings(), self.backend.reactor)

    def test_it_is_a_probe_plugin_with_the_settings_every_check_has(self) -> None:
        """A check by default and one that says tcp are equal, and so one stream."""
        verifyObject(IProbePlugin, TCP)
        self.assertEqual(TCP.settings(type="tcp"), CheckSettings())

    def test_an_accepted_connection_passes_and_is_closed_at_once(self) -> None:
        """It connects to the target, sends nothing, and lets go."""
        self.assertEqual(self.backend.address, ("10.0.0.1", 80))
        self.backend.accept()
        self.assertEqual(self.successResultOf(self.probe), ProbeResult(True, "connect to 10.0.0.1:80 accepted"))
        self.assertEqual((self.backend.transport.value(), self.backend.closed), (b"", True))

    def test_failures_say_what_happened(self) -> None:
        """Refused, timed out, unreachable: a sentence each."""
        for error, reason in (
            (ConnectionRefusedError(), "connect to 10.0.0.1:80 refused"),
            (TimeoutError(), "connect to 10.0.0.1:80 timed out"),
            (NoRouteError("no way"), "connect to 10.0.0.1:80 failed: No route to host: no way."),
        ):
            probe = TCP.probe(TARGET, CheckSettings(), self.backend.reactor)
            self.backend.refuse(error)
            self.assertEqual(self.successResultOf(probe), ProbeResult(False, reason))

    def test_cancelling_stops_connecting_and_leaves_nothing(self) -> None:
        """A connect that is pending is taken back at once."""
        self.probe.cancel()
        self.failureResultOf(self.probe)
        self.assertTrue(self.backend.closed)
        self.assertEqual(self.backend.reactor.getDelayedCalls(), [])

    def test_ipv6_addresses_are_connected_to_as_they_are(self) -> None:
        """No name is looked up for an address."""
        target = ProbeTarget(host="fd00::1", port=80, tls_name=None, name="db")
        probe = TCP.probe(target, CheckSettings(), self.backend.reactor)
        self.assertEqual(self.backend.address, ("fd00::1", 80))
        self.backend.refuse(ConnectionRefusedError())
        self.assertEqual(self.successResultOf(probe).reason, "connect to [fd00::1]:80 refused")
