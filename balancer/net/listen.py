"""Where clients arrive: endpoint descriptions, errors that say what to change, and the limit of clients.

It never accepts by itself (Twisted's ports do) and never says what a client is to get.
"""

import re
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from typing import Any

from OpenSSL.SSL import NO_OVERLAPPING_PROTOCOLS
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IProtocolNegotiationFactory, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.errors import ListenError

BACKLOG = 4096
"""Connections the kernel keeps until they are accepted. Twisted's 50 drops SYNs, and so costs a second, when a few
hundred clients connect at once; the kernel's own bound (net.core.somaxconn) is 4096. ``:backlog=`` overrides it."""

_WITH_BACKLOG = re.compile(r"(tcp|tcp6|ssl|unix):(?!.*\bbacklog=)")


def listen(reactor: Any, name: str, description: str, factory: IProtocolFactory) -> Deferred[IListeningPort]:
    """Listen where an endpoint description says.

    :param name: the listener's name, for messages.
    :param description: ``"tcp:8080"``, ``"tcp:80:interface=127.0.0.1"``, ``"unix:/run/web.sock"``, …
    :returns: the port; or a :class:`~balancer.errors.ListenError` that names listener, address, cause and remedy.
    """
    wanted = f"{description}:backlog={BACKLOG}" if _WITH_BACKLOG.match(description) else description
    if not IProtocolNegotiationFactory.providedBy(factory):
        reactor = _WithoutAlpn(reactor)
    try:
        listening: Deferred[IListeningPort] = serverFromString(reactor, wanted).listen(factory)
    except Exception as error:  # parsers of endpoint plugins raise what they like
        return fail(explained(name, description, error))
    return listening.addErrback(_explain, name, description)


class _WithoutAlpn:
    """A reactor whose TLS ports agree on no protocol with clients that offer some (ALPN, RFC 7301 section 3.2).

    Who forwards bytes does not know which protocol they are. Twisted breaks the handshake off where the factory names
    none, and a context cannot be changed once it is in use: so it is changed on its way to the port.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenSSL(self, port: int, factory: IProtocolFactory, contextFactory: Any, *rest: Any, **options: Any) -> Any:
        """As the reactor's."""
        contextFactory.getContext().set_alpn_select_callback(_no_protocol)
        return self._reactor.listenSSL(port, factory, contextFactory, *rest, **options)


def _no_protocol(_connection: object, _offered: object) -> Any:
    return NO_OVERLAPPING_PROTOCOLS


def readable(reactor: Any, name: str, description: str) -> None:
    """Have Twisted read an endpoint description, with the certificates it names; nothing is opened.

    What systemd passes on is passed to the service alone, so its kind is not looked at.

    :raises ListenError: as :func:`listen` would answer.
    """
    if description.startswith("systemd:"):
        return
    try:
        serverFromString(reactor, description)
    except Exception as error:  # parsers of endpoint plugins raise what they like
        raise explained(name, description, error) from error


def _explain(failure: Failure, name: str, description: str) -> Failure:
    return Failure(explained(name, description, failure.value))


def explained(name: str, description: str, error: BaseException | None) -> ListenError:
    """The cause first: of a daemon's error twistd passes on no more than 100 bytes."""
    where = f'listener "{name}" cannot listen on "{description}"'
    key = f'change "listen" of listener.{name}'
    number = getattr(error.socketError, "errno", None) if isinstance(error, CannotListenError) else None
    if number == EADDRINUSE:
        return ListenError(f"address already in use: {where}; stop what uses it, or {key}")
    if number == EACCES:
        return ListenError(
            f"permission denied: {where}; start as root (and give --uid), grant CAP_NET_BIND_SERVICE, or {key}"
        )
    if number == EADDRNOTAVAIL:
        return ListenError(f"this machine has no such address: {where}; {key}")
    if isinstance(error, CannotListenError):
        return ListenError(f"{error.socketError}: {where}; {key}")
    if isinstance(error, OSError):  # a certificate that is missing, a socket's folder
        return ListenError(f"{error}: {where}; {key}")
    words = str(error) or type(error).__name__
    return ListenError(f'{words}: {where}; it is to be an endpoint description such as "tcp:8080"; {key}')


class ConnectionLimit:
    """The clients of one listener: a factory asks :meth:`enter` for each, and says :meth:`leave` when it is gone.

    :param maximum: clients at one time, 0 for no limit.
    :ivar active: clients now.
    :ivar total: clients ever let in.
    :ivar refused: clients closed at once.
    """

    __slots__ = ("_refused_before", "active", "maximum", "name", "refused", "total")

    def __init__(self, name: str, maximum: int) -> None:
        self.name = name
        self.maximum = maximum
        self.active = 0
        self.total = 0
        self.refused = 0
        self._refused_before: int | None = None  # None while nobody is being refused

    def __repr__(self) -> str:
        return f"<ConnectionLimit {self.name} {self.active}/{self.maximum or 'unlimited'} refused={self.refused}>"

    def enter(self) -> bool:
        """Let one client in; ``False`` where it is one too many, which is counted and logged once per change."""
        if 0 < self.maximum <= self.active:
            if self._refused_before is None:
                self._refused_before = self.refused
                _log.warn(
                    "listener {name}: {maximum} clients are connected, which is its max_connections; "
                    "more are closed at once",
                    name=self.name,
                    maximum=self.maximum,
                )
            self.refused += 1
            return False
        self.active += 1
        self.total += 1
        return True

    def leave(self) -> None:
        """One that was let in is gone.

        :raises ValueError: nobody is in.
        """
        if not self.active:
            raise ValueError(f"no client of listener {self.name} is connected")
        self.active -= 1
        # Back at nine tenths, so that a listener that hovers at its limit does not log with every client.
        if self._refused_before is not None and self.active <= self.maximum * 9 // 10:
            refused, self._refused_before = self.refused - self._refused_before, None
            _log.info(
                "listener {name}: clients are let in again; {refused} were closed", name=self.name, refused=refused
            )


class ClosedAtOnce(Protocol):
    """What a client that is one too many gets: a reset, so that it knows and nothing of it is kept.

    (``buildProtocol`` may answer ``None`` only below plain TCP: TLS wrappers do not understand it.)
    """

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Reset the connection."""
        self.transport.abortConnection()


_log = Logger()
