"""What the probes share: a connection to the target, TLS where it is wanted, and words for what went wrong.

It never looks into what is exchanged.
"""

import os
from functools import lru_cache
from typing import Any, TypeVar

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.health import CheckSettings
from balancer.core.model import join_address
from balancer.core.tls import BackendTls
from balancer.health.settings import SecureCheckSettings
from balancer.interfaces import ProbeResult, ProbeTarget
from balancer.net.proxy_backend import Preface
from balancer.net.tls import TlsClients

T = TypeVar("T")

TLS_SETTINGS = 16
"""Different TLS settings of checks whose contexts are kept: reading the authorities for each probe takes too long."""

FAILURES = (ConnectError, ConnectionClosed, SSL.Error, VerificationError)
"""What a connection may fail with: a word on the backend, not on the probe."""


def narrow(settings: object, kind: type[T]) -> T:
    """The settings as the probe's own.

    :raises TypeError: they are another probe's.
    """
    if not isinstance(settings, kind):
        raise TypeError(f"this probe is set up by {kind.__name__}, not by {settings!r}")
    return settings


def endpoint(target: ProbeTarget, _settings: CheckSettings, reactor: Any) -> IStreamClientEndpoint:
    """The target, plain. It has no timeout of its own: who probes cancels that (:meth:`IProbePlugin.probe`).

    :param _settings: as of :func:`secure_endpoint`, so that either will do.
    """
    kind = TCP6ClientEndpoint if ":" in target.host else TCP4ClientEndpoint
    never: Any = None  # Twisted takes it, and says a number
    made: IStreamClientEndpoint = kind(reactor, target.host, target.port, timeout=never)
    return Prefaced(made, target.preface) if target.preface else made


def secure_endpoint(target: ProbeTarget, settings: SecureCheckSettings, reactor: Any) -> IStreamClientEndpoint:
    """The target, behind TLS.

    :raises TlsSettingsError: a file, or the name, cannot be used.
    """
    files = settings.ca, settings.certificate, settings.key
    modified = tuple(os.stat(file).st_mtime if file and os.path.exists(file) else 0.0 for file in files)
    clients = _clients(settings.backend_tls, modified)
    creator = clients.client(server_name(target, settings)).creator
    made: IStreamClientEndpoint = wrapClientTLS(creator, endpoint(target, settings, reactor))
    return made


def server_name(target: ProbeTarget, settings: SecureCheckSettings) -> str:
    """The name that TLS asks for and verifies."""
    return settings.tls_name or target.tls_name or target.name


@lru_cache(maxsize=TLS_SETTINGS)
def _clients(settings: BackendTls, _modified: tuple[float, ...]) -> TlsClients:
    """:param _modified: when each file was, so that a new one is read."""
    return TlsClients(settings)


@implementer(IStreamClientEndpoint)
class Prefaced:
    """An endpoint whose connections begin with these bytes, before TLS."""

    def __init__(self, where: IStreamClientEndpoint, preface: bytes) -> None:
        self._where = where
        self._preface = preface

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """See ``IStreamClientEndpoint``."""
        connecting: Deferred[Any] = self._where.connect(_Prefacing(protocolFactory, self._preface))
        return connecting.addCallback(lambda preface: preface.following)


class _Prefacing(Factory):
    """In front of a factory. It is the owner of its one :class:`~balancer.net.proxy_backend.Preface`."""

    noisy = False

    def __init__(self, behind: IProtocolFactory, preface: bytes) -> None:
        self._behind = behind
        self._preface = preface
        self._address: Any = None

    def doStart(self) -> None:
        self._behind.doStart()

    def doStop(self) -> None:
        self._behind.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """TCP is connected (called by Twisted)."""
        self._address = addr
        return Preface(self, self._preface)

    def connected(self) -> IProtocol:
        """Whom it is for."""
        protocol = self._behind.buildProtocol(self._address)
        assert protocol is not None  # none of a probe's factories refuses
        return protocol


class Conversation(Protocol):
    """One connection of a probe. Its ``done`` fires with what it found, or fails with why the connection ended."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.done: Deferred[Any] = Deferred()

    def finish(self, found: object) -> None:
        """It is found; the first find counts."""
        if not self.done.called:
            self.done.callback(found)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.done.errback(reason)

    def close(self) -> None:
        """At once, in whatever state it is."""
        if self.transport is not None:
            self.transport.abortConnection()


class Only(Factory):
    """Gives the one protocol it was made with, and says nothing: Twisted logs two lines for other factories."""

    noisy = False

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def buildProtocol(self, addr: object) -> Conversation:
        """The connection is open (called by Twisted)."""
        return self.conversation


async def hold(where: IStreamClientEndpoint, conversation: Conversation) -> Any:
    """Connect, wait for what the conversation finds, and close, also when cancelled."""
    try:
        await where.connect(Only(conversation))
        return await conversation.done
    finally:
        conversation.close()


def failed(target: ProbeTarget, error: BaseException, connected: bool) -> ProbeResult:
    """The failed result for what a connection failed with.

    :param connected: whether it was ever established.
    """
    return ProbeResult(False, trouble(join_address(target.host, target.port), error, connected))


def trouble(address: str, error: BaseException, connected: bool) -> str:
    """What went wrong, in one sentence."""
    if isinstance(error, VerificationError):
        return f"TLS with {address}: the certificate is not for the expected name"
    if isinstance(error, SSL.Error):
        return f"TLS with {address} failed: {_tls_words(error)}"
    if isinstance(error, ConnectionRefusedError):
        return f"connect to {address} refused"
    if isinstance(error, TimeoutError):
        return f"connect to {address} timed out"
    if isinstance(error, ConnectionClosed):
        return f"{address} closed the connection" if connected else f"connect to {address} failed: closed"
    return f"connect to {address} failed: {error}" if not connected else f"{address}: {error}"


def _tls_words(error: SSL.Error) -> str:
    """OpenSSL's own words: its errors carry a list of (library, function, reason)."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in entries if entry) or "the peer closed during the handshake"
