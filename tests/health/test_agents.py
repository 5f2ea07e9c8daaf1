"""Agents beside the checks: what they say, when they are asked, and what stays."""

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.core.agent import report
from balancer.core.agent_settings import AgentSettings
from balancer.core.health import CheckSettings
from balancer.core.model import AdminState, Backend, BackendSpec, Health
from balancer.health.asking import FIRST_WITHIN
from balancer.health.monitor import Monitor
from balancer.interfaces import AgentResult, IProbePlugin, ProbeResult, ProbeTarget
from balancer.registry import Registry
from balancer.testing.probes import FAILED, PASSED, ScriptedProbe

CHECK = CheckSettings(jitter=0)
AGENT = AgentSettings(port=9777, jitter=0)


class AgentsTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said = b""
        self.check = ScriptedProbe()
        self.asked = ScriptedProbe(self.answer)
        self.registry = Registry(self.clock.seconds, Random(1))
        plugins: dict[str, Any] = {"tcp": self.check, "agent": self.asked}
        lookup: Callable[[str], IProbePlugin] = plugins.__getitem__
        self.monitor = Monitor(self.registry, self.clock, Random(1), lookup)
        self.monitor.start()

    def answer(self, target: ProbeTarget) -> Any:
        """What the agent says now; nobody is there where it says nothing."""
        told = report(self.said)
        result = AgentResult(True, f"agent: {told.reason}", told) if self.said else FAILED
        return succeed(result)

    def apply(
        self, agent: AgentSettings | None = AGENT, check: CheckSettings | None = CHECK, names: str = "web"
    ) -> None:
        """Configure upstreams that all have the one server."""
        servers = (ServerConfig(address="10.0.0.1:80"),)
        upstream = UpstreamConfig(servers=servers, check=check, agent=agent)
        self.registry.apply(Configuration(upstream=dict.fromkeys(names.split(), upstream)))
        for name in names.split():
            self.registry.publish(name, [BackendSpec(host="10.0.0.1", port=80, weight=10)])
        self.clock.advance(FIRST_WITHIN)

    def say(self, words: bytes) -> None:
        """The agent says this from now on, and is asked."""
        self.said = words
        self.clock.pump([0.1] * 21)

    @property
    def backend(self) -> Backend:
        (found,) = self.registry.find("10.0.0.1:80")
        return found

    def told(self) -> list[str]:
        """The events of the backend."""
        return [f"{type(event).__name__}: {event.reason}" for event in self.backend.events]

    def test_health(self) -> None:
        """Both have to say up; an agent that says nothing of it has no say."""
        self.apply()
        self.assertIs(self.backend.health, Health.UP)
        self.say(b"down #no disk")
        self.assertEqual((self.backend.health, self.backend.why), (Health.DOWN, "agent: down (no disk)"))
        self.say(b"50%")
        self.assertIs(self.backend.health, Health.DOWN)
        self.say(b"up")
        self.assertIs(self.backend.health, Health.UP)
        self.assertEqual(self.told()[-1], "BackendUp: agent: up")
        self.check.answer = FAILED
        self.clock.pump([0.5] * 40)
        self.assertIs(self.backend.health, Health.DOWN)

    def test_states_and_numbers(self) -> None:
        """Everything in one answer takes effect; what the next one does not speak of stays; each change is told with
        its reason, and what is said again is not."""
        self.apply()
        self.say(b"drain 50% maxconn:7")
        self.say(b"drain 50% maxconn:7 #still")
        self.assertEqual(
            (self.backend.admin, self.backend.percent, self.backend.max_connections), (AdminState.DRAIN, 50, 7)
        )
        self.say(b"ready")
        self.assertEqual(
            (self.backend.admin, self.backend.percent, self.backend.max_connections), (AdminState.READY, 50, 7)
        )
        words = "agent: drain 50% maxconn:7"
        self.assertEqual(self.told()[-3:], [f"Drained: {words}", f"Advised: {words}", "Enabled: agent: ready"])

    def test_the_agents_own_maintenance_can_be_ended_by_it(self) -> None:
        """The check stops, the agent is asked on; its ready brings both back."""
        self.apply()
        self.say(b"maint")
        self.assertIs(self.backend.admin, AdminState.MAINT)
        probes = len(self.check.targets)
        self.clock.pump([1.0] * 20)
        self.assertEqual(len(self.check.targets), probes)
        self.say(b"ready")
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((self.backend.admin, self.backend.health), (AdminState.READY, Health.UP))

    def test_the_operators_maintenance_stops_the_agent(self) -> None:
        """It is not asked, and asked at once when that ends; its ready never ends the operator's drain."""
        self.apply()
        self.say(b"ready")
        self.registry.administer("10.0.0.1:80", AdminState.MAINT, "by hand")
        asked = len(self.asked.targets)
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.asked.targets), asked)
        self.registry.administer("10.0.0.1:80", AdminState.DRAIN, "by hand")
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((len(self.asked.targets), self.backend.admin), (asked + 1, AdminState.DRAIN))

    def test_silence_changes_nothing(self) -> None:
        """An agent that is gone leaves what it said last, and the log hears of it once."""
        self.apply()
        self.say(b"drain")
        self.say(b"")
        self.say(b"")
        self.assertIs(self.backend.admin, AdminState.DRAIN)
        self.assertIs(self.backend.health, Health.UP)

    def test_shared(self) -> None:
        """Two upstreams with equal agents ask once; the target is the agent's port."""
        self.apply(names="web api")
        self.assertEqual(len(self.asked.targets), 1)
        self.assertEqual((self.asked.targets[0].host, self.asked.targets[0].port), ("10.0.0.1", 9777))

    def test_another_configuration(self) -> None:
        """With other settings what was said stays until the new one speaks; without an agent it is taken back."""
        self.apply(check=None)
        self.say(b"drain down 20% maxconn:3")
        self.said = b""
        self.apply(AgentSettings(port=9778, jitter=0), None)
        self.assertEqual((self.backend.admin, self.backend.percent), (AdminState.DRAIN, 20))
        self.assertIs(self.backend.health, Health.DOWN)
        self.apply(None, None)
        self.assertEqual((self.backend.admin, self.backend.percent), (AdminState.READY, 100))
        self.assertEqual((self.backend.max_connections, self.backend.health), (0, Health.UNKNOWN))
        self.assertEqual(self.monitor.agents.streams, {})
        self.monitor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """Nothing is asked any more, also where a question is under way; what was said stays."""
        self.apply(check=None)
        self.say(b"drain")
        self.asked.answer = None
        self.clock.advance(2.0)
        self.assertEqual(len(self.asked.pending), 1)
        self.monitor.stop()
        self.assertEqual((self.asked.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.assertIs(self.backend.admin, AdminState.DRAIN)

    def test_a_plugin_that_answers_something_else(self) -> None:
        """A result that says nothing of an agent, and one that raises, change nothing."""
        self.apply(check=None)
        self.asked.answer = PASSED
        self.clock.pump([0.1] * 21)

        def fail(target: ProbeTarget) -> ProbeResult:
            raise ZeroDivisionError

        self.asked.answer = fail
        self.clock.pump([0.1] * 21)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.backend.available)
