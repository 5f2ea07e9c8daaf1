"""The probe ``agent``: connects, sends what it is told to, and reads the one line of an agent. It changes nothing."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.agent import line_in, report
from balancer.core.agent_settings import AgentSettings
from balancer.core.model import join_address
from balancer.health.probes.wire import FAILURES, Conversation, failed, hold, narrow
from balancer.interfaces import AgentResult, IProbePlugin, ProbeResult, ProbeTarget


class _Question(Conversation):
    """Finds the line, or ``None`` where it has no end."""

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__()
        self._settings = settings
        self._received = b""
        self.connected_once = False

    def connectionMade(self) -> None:
        self.connected_once = True
        if self._settings.send:
            self.transport.write(self._settings.send.encode())

    def dataReceived(self, data: bytes) -> None:
        self._received += data[: self._settings.read_limit - len(self._received)]
        line = line_in(self._received)
        if line is not None or len(self._received) >= self._settings.read_limit:
            self.finish(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._received:
            self.finish(None)
        super().connectionLost(reason)


@implementer(IPlugin, IProbePlugin)
class AgentProbe:
    """Passes when a whole line came, whatever it says."""

    name = "agent"
    settings = AgentSettings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`; where a line came it is an :class:`~balancer.interfaces.AgentResult`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, AgentSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: AgentSettings, reactor: Any) -> ProbeResult:
        question, address = _Question(settings), join_address(target.host, target.port)
        kind = TCP6ClientEndpoint if ":" in target.host else TCP4ClientEndpoint
        never: Any = None  # Twisted takes it, and says a number
        try:
            line = await hold(kind(reactor, target.host, target.port, timeout=never), question)
        except FAILURES as error:
            return failed(target, error, question.connected_once)
        if line is None:
            return ProbeResult(False, f"{address} answered no whole line within {settings.read_limit} bytes")
        said = report(line)
        return AgentResult(True, f"the agent at {address} says {said.reason or 'nothing'}", said)


AGENT = AgentProbe()
