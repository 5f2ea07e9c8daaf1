"""The probe ``tls``: the handshake succeeds, the certificate verified. It never sends application data."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.x509 import Certificate
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IHandshakeListener
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.core.model import join_address
from balancer.health.probes.wire import FAILURES, Conversation, failed, hold, narrow, secure_endpoint
from balancer.health.settings import TlsCheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

REMEMBERED = 1024
"""Certificates whose warning is remembered; beyond that all are forgotten, and warned of once more."""


@implementer(IHandshakeListener)
class _Handshake(Conversation):
    connected_once = False

    def connectionMade(self) -> None:
        self.connected_once = True

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport  # over TLS it has getPeerCertificate as well
        self.finish(transport.getPeerCertificate())


@implementer(IPlugin, IProbePlugin)
class TlsProbe:
    """Passes when the handshake does; warns, once, of a certificate that is about to end.

    :param now: the calendar, which certificates go by and the reactor's clock need not.
    """

    name = "tls"
    settings = TlsCheckSettings
    log = Logger()

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._warned: set[tuple[str, int]] = set()

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, TlsCheckSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: TlsCheckSettings, reactor: Any) -> ProbeResult:
        handshake = _Handshake()
        address = join_address(target.host, target.port)
        try:
            certificate = await hold(secure_endpoint(target, settings, reactor), handshake)
        except FAILURES as error:
            result = failed(target, error, handshake.connected_once)
            if handshake.connected_once and isinstance(error, ConnectionClosed):
                return ProbeResult(False, f"{result.reason} before the TLS handshake was done")
            return result
        ending = self._ending(address, certificate.to_cryptography(), settings) if certificate is not None else ""
        return ProbeResult(True, f"TLS with {address} established{ending}")

    def _ending(self, address: str, certificate: Certificate, settings: TlsCheckSettings) -> str:
        """The words of a certificate that is about to end, else none."""
        left = (certificate.not_valid_after_utc - self._now()).total_seconds()
        if not settings.expiry_warning or left > settings.expiry_warning:
            return ""
        days = max(0, int(left // 86400))
        seen = (address, certificate.serial_number)
        if seen not in self._warned:
            if len(self._warned) >= REMEMBERED:
                self._warned.clear()
            self._warned.add(seen)
            self.log.warn("the certificate of {address} ends in {days} days", address=address, days=days)
        return f"; its certificate ends in {days} days"


TLS = TlsProbe()
