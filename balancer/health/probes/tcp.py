"""The probe ``tcp``: the connection is accepted. It never sends a byte."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.core.health import CheckSettings
from balancer.core.model import join_address
from balancer.health.probes.wire import FAILURES, Conversation, endpoint, failed, hold, narrow
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget


class _Greeting(Conversation):
    def connectionMade(self) -> None:
        self.finish(None)


@implementer(IPlugin, IProbePlugin)
class TcpProbe:
    """Passes when the target accepts. Its settings are those that every check has, so that a check by default and
    one that says ``type = "tcp"`` are the same stream."""

    name = "tcp"
    settings = CheckSettings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, CheckSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: CheckSettings, reactor: Any) -> ProbeResult:
        try:
            await hold(endpoint(target, settings, reactor), _Greeting())
        except FAILURES as error:
            return failed(target, error, connected=False)
        return ProbeResult(True, f"connect to {join_address(target.host, target.port)} accepted")


TCP = TcpProbe()
