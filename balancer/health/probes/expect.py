"""The probe ``expect``: sends bytes, expects others. It reads no further than it must."""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.core.model import join_address
from balancer.health.probes.wire import FAILURES, Conversation, endpoint, failed, hold, narrow, secure_endpoint
from balancer.health.settings import ExpectCheckSettings, unescape
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

SHOWN = 60
"""Bytes of what arrived instead that a reason shows."""


@implementer(IHandshakeListener)
class _Dialogue(Conversation):
    """Finds what arrived, when it is what was expected or more than may arrive."""

    def __init__(self, settings: ExpectCheckSettings, secure: bool) -> None:
        super().__init__()
        literal = settings.expect.encode() if settings.regex else re.escape(unescape(settings.expect))
        self._expected = re.compile(literal, re.DOTALL)
        self._send = unescape(settings.send)
        self._secure = secure
        self._limit = settings.read_limit
        self.received = bytearray()
        self.connected_once = False

    def connectionMade(self) -> None:
        self.connected_once = True
        self.transport.write(self._send)  # over TLS it waits for the handshake by itself
        if not self._secure:
            self._look()

    def handshakeCompleted(self) -> None:
        self._look()

    def dataReceived(self, data: bytes) -> None:
        # Bytes that come with the last allowed one are not looked at.
        self.received += data[: self._limit - len(self.received)]
        self._look()

    def _look(self) -> None:
        if self._expected.search(self.received):
            self.finish(True)
        elif len(self.received) >= self._limit:
            self.finish(False)


@implementer(IPlugin, IProbePlugin)
class ExpectProbe:
    """Passes when the expected bytes arrive anywhere in the first ``read_limit`` bytes."""

    name = "expect"
    settings = ExpectCheckSettings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, ExpectCheckSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: ExpectCheckSettings, reactor: Any) -> ProbeResult:
        secure = target.tls_name is not None
        dialogue = _Dialogue(settings, secure)
        address = join_address(target.host, target.port)
        try:
            make = secure_endpoint if secure else endpoint
            found = await hold(make(target, settings, reactor), dialogue)
        except FAILURES as error:
            result = failed(target, error, dialogue.connected_once)
            return ProbeResult(False, f"{result.reason}{_got(dialogue)}") if dialogue.received else result
        if found:
            return ProbeResult(True, f"{address} answered as expected")
        return ProbeResult(False, f"{address} answered otherwise than expected{_got(dialogue)}")


def _got(dialogue: _Dialogue) -> str:
    return f" (got {bytes(dialogue.received[:SHOWN])!r})"


EXPECT = ExpectProbe()
