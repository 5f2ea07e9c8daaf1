"""The probe that asks an agent."""

from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.core.agent_settings import AgentSettings
from balancer.core.states import Health
from balancer.health.probes.agent import AGENT
from balancer.interfaces import AgentResult, IProbePlugin, ProbeResult, ProbeTarget
from balancer.testing.probes import PlayedBackend

TARGET = ProbeTarget(host="10.0.0.1", port=9777, tls_name=None, name="web1")


class AgentProbeTests(SynchronousTestCase):
    """See the module."""

    def ask(self, **settings: object) -> None:
        """Begin to ask."""
        self.agent = PlayedBackend()
        made = AgentSettings(port=9777, **settings)  # type: ignore[arg-type]
        self.asked = AGENT.probe(TARGET, made, self.agent.reactor)

    def result(self) -> ProbeResult:
        """What was found; the connection is closed."""
        self.assertTrue(self.agent.closed)
        found: ProbeResult = self.successResultOf(self.asked)
        return found

    def test_it_is_a_plugin(self) -> None:
        """It provides the interface of all probes."""
        verifyObject(IProbePlugin, AGENT)

    def test_a_line_however_it_is_cut(self) -> None:
        """The first line counts, in whatever pieces it comes, and the connection is closed at once."""
        for pieces in ([b"up 50%\n"], [b"u", b"p 5", b"0%", b"\r", b"\n"], [b"up 50%\nand more"]):
            self.ask()
            self.agent.accept()
            self.agent.send(*pieces)
            found = self.result()
            assert isinstance(found, AgentResult) and found.report is not None
            self.assertEqual((found.report.health, found.report.percent), (Health.UP, 50))
            self.assertEqual(found.reason, "the agent at 10.0.0.1:9777 says up 50%")
        self.assertEqual(self.agent.address, ("10.0.0.1", 9777))
        self.assertEqual(self.agent.transport.value(), b"")

    def test_what_is_sent(self) -> None:
        """As it is written, once connected."""
        self.ask(send="web1\n")
        self.agent.accept()
        self.assertEqual(self.agent.transport.value(), b"web1\n")

    def test_half_a_line(self) -> None:
        """What has no end is no answer, whether the agent closes or goes on and on."""
        self.ask()
        self.agent.accept()
        self.agent.send(b"up")
        self.agent.lose(ConnectionDone())
        found = self.successResultOf(self.asked)
        self.assertEqual((type(found), found.passed), (ProbeResult, False))
        self.ask(read_limit=8)
        self.agent.accept()
        self.agent.send(b"up " * 100)
        self.assertFalse(self.result().passed)

    def test_nobody_there(self) -> None:
        """Refused, or closed without a word."""
        self.ask()
        self.agent.refuse(ConnectionRefusedError())
        self.assertIn("refused", self.successResultOf(self.asked).reason)
        self.ask()
        self.agent.accept()
        self.agent.lose(ConnectionDone())
        self.assertIn("closed", self.successResultOf(self.asked).reason)

    def test_cancelled(self) -> None:
        """It closes everything."""
        self.ask()
        self.agent.accept()
        self.asked.cancel()
        self.assertTrue(self.agent.closed)
        self.failureResultOf(self.asked)
