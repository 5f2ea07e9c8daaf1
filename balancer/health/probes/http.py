"""The probe ``http``: one request by way of treq, answered as expected. It follows no redirect and keeps no connection.

The connection always goes to the target, whatever the Host field says, and what it may send is bounded as a whole.
"""

import re
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.plugin import IPlugin
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from balancer.core.model import join_address
from balancer.health.probes.wire import FAILURES, endpoint, narrow, secure_endpoint, trouble
from balancer.health.settings import HttpCheckSettings, spell_ranges
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

HEAD_LIMIT = 65536
"""Bytes of a response beside its body's limit: heads (as for traffic: 64 KiB) and what chunks add to a body. The
client that treq drives bounds lines, but not their number."""

SHOWN = 60
"""Characters of a field's value that a reason shows."""

AGENT = "twistd-balancer health check"
"""What a backend's log says who asked."""


class _Meter(ProtocolWrapper):
    """Counts what arrives, and ends a connection that sends more than it may."""

    def __init__(self, factory: "_Line", wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._line = factory
        factory.meter = self

    def dataReceived(self, data: bytes) -> None:
        self._line.left -= len(data)
        if self._line.left < 0:
            self._line.close()
        else:
            self.wrappedProtocol.dataReceived(data)


class _Line(WrappingFactory[_Meter]):
    """The one connection of a probe.

    :ivar left: bytes that may still arrive; below 0 once more have.
    :ivar meter: the connection; ``None`` until there is one.
    """

    protocol = _Meter
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, allowed: int) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]  # Twisted has no annotations here
        self.left = allowed
        self.meter: _Meter | None = None

    def close(self) -> None:
        """At once, in whatever state it is."""
        transport: Any = self.meter.transport if self.meter is not None else None
        if transport is not None:
            transport.abortConnection()


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Route:
    """Where the one request goes, whatever its URL says: to the target.

    :ivar line: the connection; ``None`` before it is begun.
    """

    def __init__(self, where: IStreamClientEndpoint, allowed: int) -> None:
        self._where = where
        self._allowed = allowed
        self.line: _Line | None = None

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.line = _Line(protocolFactory, self._allowed)
        connecting: Deferred[Any] = self._where.connect(self.line)
        return connecting.addCallback(lambda meter: meter.wrappedProtocol)

    def close(self) -> None:
        """At once, in whatever state it is."""
        if self.line is not None:
            self.line.close()

    @property
    def connected(self) -> bool:
        """Whether there ever was a connection."""
        return self.line is not None and self.line.meter is not None

    @property
    def overrun(self) -> bool:
        """Whether more arrived than may."""
        return self.line is not None and self.line.left < 0


@implementer(IAgent)
class _Identity:
    """An agent that neither asks for nor undoes content codings: treq would decompress without a bound."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        if headers is not None:
            headers.removeHeader(b"Accept-Encoding")
        asked: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(self._as_it_is)

    def _as_it_is(self, response: IResponse) -> IResponse:
        response.headers.removeHeader(b"Content-Encoding")
        return response


class _Body(Protocol):
    """Collects a body up to the limit. ``done`` fires with it, or fails with why it was cut short."""

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._limit = limit
        self._received = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._received += data[: self._limit - len(self._received)]
        if len(self._received) >= self._limit and not self.done.called:
            self.done.callback(bytes(self._received))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the latter: ended by the close, as HTTP/1.0 does
            self.done.callback(bytes(self._received))
        else:
            self.done.errback(reason)


@implementer(IPlugin, IProbePlugin)
class HttpProbe:
    """Passes when the status, the fields and the body are as expected. Only what is asked for is read."""

    name = "http"
    settings = HttpCheckSettings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, HttpCheckSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: HttpCheckSettings, reactor: Any) -> ProbeResult:
        secure = settings.tls or target.tls_name is not None
        make = secure_endpoint if secure else endpoint
        route = _Route(make(target, settings, reactor), HEAD_LIMIT + settings.body_limit)
        try:
            return await _exchange(target, settings, secure, route, reactor)
        except (ResponseFailed, RequestTransmissionFailed, *FAILURES) as error:
            if isinstance(error, ResponseFailed) and any(reason.check(CancelledError) for reason in error.reasons):
                raise CancelledError from error  # how the client words it
            return ProbeResult(False, _why(target, settings, route, error))
        finally:
            route.close()


async def _exchange(
    target: ProbeTarget, settings: HttpCheckSettings, secure: bool, route: _Route, reactor: Any
) -> ProbeResult:
    agent = Agent.usingEndpointFactory(reactor, route, HTTPConnectionPool(reactor, persistent=False))
    headers = Headers()
    for name, value in (("User-Agent", AGENT), ("Host", host_field(target, settings, secure)), *settings.headers):
        headers.setRawHeaders(name, [value])
    # The route decides where it goes and the Host field is set, so the URL's host is nobody's (RFC 6761 section 6.4).
    url = f"{'https' if secure else 'http'}://target.invalid{settings.path}"
    response = await HTTPClient(_Identity(agent)).request(
        settings.method, url, headers=headers, allow_redirects=False, unbuffered=True, reactor=reactor
    )
    wrong = _unexpected(response, settings)
    if wrong or not settings.expect_body:
        return _result(settings, response, wrong)
    body = _Body(settings.body_limit)
    response.deliverBody(body)
    if re.search(settings.expect_body.encode(), await body.done) is None:
        wrong = f"its body does not match {settings.expect_body!r}"
    return _result(settings, response, wrong)


def host_field(target: ProbeTarget, settings: HttpCheckSettings, secure: bool) -> str:
    """The Host field: as set, or the backend's name, with the port where it is not the scheme's own."""
    if settings.host:
        return settings.host
    name = f"[{target.name}]" if ":" in target.name else target.name
    return name if target.port == (443 if secure else 80) else f"{name}:{target.port}"


def _unexpected(response: IResponse, settings: HttpCheckSettings) -> str:
    """What of the head is not as expected, in words; empty where all is."""
    if not any(first <= response.code <= last for first, last in settings.status):
        return f"expected {spell_ranges(settings.status)}"
    for name, wanted in settings.expect_headers:
        values = [value.decode("latin-1") for value in response.headers.getRawHeaders(name.encode(), [])]
        if not values:
            return f"without the field {name}"
        if wanted and wanted not in values:
            return f"its field {name} is {values[0][:SHOWN]!r}, expected {wanted!r}"
    return ""


def _result(settings: HttpCheckSettings, response: IResponse, wrong: str) -> ProbeResult:
    answered = f"{settings.method} {settings.path} answered {response.code}"
    return ProbeResult(False, f"{answered}, {wrong}") if wrong else ProbeResult(True, answered)


def _why(target: ProbeTarget, settings: HttpCheckSettings, route: _Route, error: BaseException) -> str:
    """Why there is no whole answer."""
    asked = f"{settings.method} {settings.path}"
    if route.overrun:
        return f"{asked} answered with more than {HEAD_LIMIT + settings.body_limit} bytes"
    if isinstance(
        error, ResponseFailed | RequestTransmissionFailed
    ):  # the client's own reasons, the first of them is the cause
        error = error.reasons[0].value if error.reasons else error
    if isinstance(error, FAILURES):
        reason = trouble(join_address(target.host, target.port), error, route.connected)
        return f"{asked}: {reason}" if route.connected else reason
    return f"{asked} was not answered in HTTP: {type(error).__name__}: {error}"


HTTP = HttpProbe()
