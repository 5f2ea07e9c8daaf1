"""Connecting to a backend: no Deferred, cancellable at any time, failures told by kind.

The kinds are those of :class:`~balancer.core.lease.Outcome`. Nothing is resolved here (discovery has done it),
nothing is tried twice, and nothing is decided: whoever asked does that.
"""

from collections.abc import Callable
from errno import errorcode
from typing import Protocol as Structure
from typing import cast

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.error import ConnectBindError, ConnectError, ConnectionRefusedError, TCPTimedOutError
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IProtocol,
    IReactorTime,
)
from twisted.python.failure import Failure

from balancer.core.lease import Outcome
from balancer.core.model import join_address
from balancer.net.proxy_backend import Preface
from balancer.net.timers import Timer, TimerWheel, nothing
from balancer.net.tls import TlsClient, tls_words
from balancer.net.tls_backend import BackendTlsStream

OURS = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL", "EADDRINUSE", "EAFNOSUPPORT"})
"""Errors of socket(2), bind(2) and connect(2) that tell something of this machine, and nothing of the backend."""

Failed = Callable[[Outcome, str], None]
"""Told once why there is no connection: the kind, and a sentence."""


class ConnectingReactor(Structure):
    """What of the reactor is used: ``IReactorTCP.connectTCP`` and ``IReactorTime``."""

    seconds: Callable[[], float]
    callLater: Callable[..., IDelayedCall]
    connectTCP: Callable[..., IConnector]


class Pending(Structure):
    """A connection that is not made yet: an ``IConnector``, or what the uvloop reactor has in its place."""

    def stopConnecting(self) -> None:
        """Give it up."""


class Connector:
    """Connects to backends.

    :param timers: the wheel that keeps the connect timeouts; an own one where none is given.
    :ivar direct: the reactor's short way to an IP address, where it has one.
    """

    def __init__(self, reactor: ConnectingReactor, timers: TimerWheel | None = None) -> None:
        self.reactor = reactor
        self.timers = timers or TimerWheel(cast(IReactorTime, reactor))
        self.direct: Callable[[str, int, Attempt, bool], Pending | None] | None = getattr(
            reactor, "connect_literal", None
        )

    def connect(
        self,
        host: str,
        port: int,
        protocol: IProtocol,
        failed: Failed,
        *,
        timeout: float,
        tls: TlsClient | None = None,
        tls_timeout: float = 5.0,
        bind_address: tuple[str, int] | None = None,
        timer: Timer | None = None,
        preface: bytes = b"",
    ) -> "Attempt":
        """Begin one attempt; neither ``protocol`` nor ``failed`` is called before this returns.

        :param host: an IP address.
        :param protocol: its ``makeConnection`` means success; with TLS after the handshake and the name check. Its
            class may say ``bare``: it assigns nothing to its transport and starts no TLS on it.
        :param failed: called at most once, and never after success or :meth:`Attempt.cancel`, with CONNECT_REFUSED,
            CONNECT_TIMEOUT, CONNECT_FAILED, or UNUSED where the fault is ours (no descriptor or local port is left)
            and tells nothing of the backend. Nothing of the attempt is left by then.
        :param timeout: seconds for the TCP connection.
        :param tls_timeout: seconds for the TLS handshake after it.
        :param bind_address: the local address and port to come from.
        :param timer: of the caller's, lent in place of one of the attempt's own; back and at rest when this is over.
        :param preface: what is sent before anything else, TLS included.
        """
        attempt = Attempt(self, host, port, protocol, failed, tls, tls_timeout, timer, preface)
        attempt.begin(timeout, bind_address)
        return attempt


def unwanted(outcome: Outcome, words: str) -> None:
    """Who is told of an attempt that is over."""


class Attempt:
    """One attempt. (For Twisted it is the client factory of its one connection.)

    :ivar host: where to, and ``port``.
    :ivar pending: neither connected, nor failed, nor cancelled.
    :ivar handshaking: the TCP connection was made and TLS came next: tells the two apart where it failed.
    """

    __slots__ = (
        "_connector",
        "_failed",
        "_handshake",
        "_lent",
        "_owner",
        "_preface",
        "_protocol",
        "_timeout",
        "_timer",
        "_tls",
        "_tls_timeout",
        "handshaking",
        "host",
        "pending",
        "port",
    )

    noisy = False

    def __init__(
        self,
        owner: Connector,
        host: str,
        port: int,
        protocol: IProtocol,
        failed: Failed,
        tls: TlsClient | None,
        tls_timeout: float,
        timer: Timer | None = None,
        preface: bytes = b"",
    ) -> None:
        self.host = host
        self.port = port
        self.pending = True
        self.handshaking = False
        self._owner = owner
        self._protocol: IProtocol | None = protocol
        self._failed = failed
        self._preface = preface
        self._tls = tls
        self._tls_timeout = tls_timeout
        self._lent = timer is not None
        self._timer: Timer | None = timer or Timer(owner.timers, nothing)
        self._timeout = 0.0
        self._handshake: BackendTlsStream | None = None
        self._connector: Pending | None = None

    def __repr__(self) -> str:
        return f"<Attempt to {self.address} {'pending' if self.pending else 'over'}>"

    @property
    def address(self) -> str:
        """Where to, ``host:port``; made when asked for, as few attempts ever need it."""
        return join_address(self.host, self.port)

    def begin(self, timeout: float, bind_address: tuple[str, int] | None) -> None:
        """Start; :meth:`Connector.connect` does."""
        timer = self._timer
        assert timer is not None  # an attempt begins once
        self._timeout = timeout
        timer.callback = self._expired
        timer.rearm(timeout)
        owner = self._owner
        if owner.direct is not None and bind_address is None:
            bare = self._tls is not None or getattr(self._protocol, "bare", False)
            self._connector = owner.direct(self.host, self.port, self, bare)
            if self._connector is not None:
                return
        reactor = owner.reactor
        try:
            # The wheel keeps the time, so Twisted is given none.
            self._connector = reactor.connectTCP(self.host, self.port, self, timeout=None, bindAddress=bind_address)
        except OSError as error:  # an IPv6 zone that does not exist, for example
            reactor.callLater(0, self._fail, Outcome.CONNECT_FAILED, f"{self.address}: {error.strerror or error}")

    def cancel(self) -> None:
        """The connection is no longer wanted: nothing is called any more and no socket is left behind.

        Does nothing once connected or failed.
        """
        if self.pending:
            self._stop()

    def _expired(self) -> None:
        if self.handshaking:
            reason = f"the TLS handshake with {self.address} was not done within {self._tls_timeout:g} s"
        else:
            reason = f"{self.address} did not accept within {self._timeout:g} s"
        self._fail(Outcome.CONNECT_TIMEOUT, reason)

    def _fail(self, outcome: Outcome, reason: str) -> None:
        if self.pending:
            self._stop()(outcome, reason)

    def _stop(self) -> Failed:
        handshake, connector = self._handshake, self._connector
        failed = self._settle()
        if handshake is not None:
            handshake.abortConnection()
        elif connector is not None:
            connector.stopConnecting()
        return failed

    def _settle(self) -> Failed:
        """It is over: let go of everything, for Twisted keeps the attempt as long as the connection lives."""
        failed, self._failed = self._failed, unwanted
        timer, self._timer = self._timer, None
        assert timer is not None  # it is over once
        self.pending = False
        self._protocol = None
        timer.callback = nothing
        if self._lent:
            timer.rest()  # it is soon armed again
        else:
            timer.cancel()
        self._connector = self._handshake = None
        return failed

    def _wanted(self) -> IProtocol:
        """It succeeded: whom the connection is for."""
        protocol = self._protocol
        assert protocol is not None  # it succeeds once
        self._settle()
        return protocol

    # -- TLS ----------------------------------------------------------------------------------------------------

    def secured(self) -> IProtocol:
        """The handshake is done and the name is right: whom the connection is for (called by the handshake)."""
        return self._wanted()

    def unsecured(self, reason: Failure) -> None:
        """The connection was lost during the handshake (called by the handshake)."""
        if self.pending:
            words = f"the TLS handshake with {self.address} failed: {_tls_words(reason.value, self._tls)}"
            self._settle()(Outcome.CONNECT_FAILED, words)

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def startedConnecting(self, connector: IConnector) -> None:
        """It is under way."""

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        """TCP is connected."""
        return self.connected()

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """There is no connection; after :meth:`cancel` that is no news."""
        self.unconnected(reason.value)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """The protocol has heard of it."""

    # -- what the reactor's short way calls ----------------------------------------------------------------------

    def connected(self) -> IProtocol:
        """TCP is connected: hand out the caller's protocol, or the TLS handshake in front of it; the preface first."""
        if self._preface:
            preface, self._preface = self._preface, b""
            return cast(IProtocol, Preface(self, preface))  # which asks again
        timer, tls = self._timer, self._tls
        if tls is None:
            return self._wanted()
        assert timer is not None  # it connects once
        self.handshaking = True
        timer.rearm(self._tls_timeout)
        self._handshake = BackendTlsStream(self, tls)
        return self._handshake

    def unconnected(self, error: BaseException | None) -> None:
        """There is no connection; after :meth:`cancel` that is no news."""
        if self.pending:
            self._settle()(*_kind(error, self.address))


def _kind(error: BaseException | None, address: str) -> tuple[Outcome, str]:
    """The kind of a failed connect, and a sentence about it."""
    if isinstance(error, ConnectionRefusedError):
        return Outcome.CONNECT_REFUSED, f"{address} refused the connection"
    if isinstance(error, TCPTimedOutError):
        return Outcome.CONNECT_TIMEOUT, f"{address} did not accept: the system gave up"
    number = error.osError if isinstance(error, ConnectError) else None
    words = str(error.args[0]) if isinstance(error, ConnectError) and error.args[0] else str(error)
    if isinstance(error, ConnectBindError) or errorcode.get(number or 0) in OURS:
        return Outcome.UNUSED, f"no connection to {address} could be begun on this machine: {words}"
    return Outcome.CONNECT_FAILED, f"{address} cannot be reached: {words}"


def _tls_words(error: BaseException | None, tls: TlsClient | None) -> str:
    if isinstance(error, VerificationError):
        return f"the certificate is not for {tls.name if tls else 'it'}"
    if isinstance(error, TlsError):
        return tls_words(error)
    return "it closed the connection"
