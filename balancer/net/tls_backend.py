"""The TLS of a connection to a backend, between the TCP connection and whom it is for.

It does the handshake and the check of the name, then the bytes; it never decides what a failure means.
"""

from types import SimpleNamespace
from typing import Any, Protocol

from OpenSSL.SSL import Connection as TlsConnection
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from balancer.net.tls import TlsClient
from balancer.net.tls_stream import TlsStream


class Securing(Protocol):
    """Who began the connection."""

    def secured(self) -> IProtocol:
        """The handshake is done and the name is right: whom is the connection for?"""

    def unsecured(self, reason: Failure) -> None:
        """The connection was lost during the handshake."""


class BackendTlsStream(TlsStream):
    """See the module."""

    __slots__ = ("_attempt", "_client")

    factory = SimpleNamespace(wrappedFactory=None)
    """Where Twisted looks for protocols to agree on; there are none."""

    def __init__(self, attempt: Securing, client: TlsClient) -> None:
        super().__init__()
        self._attempt: Securing | None = attempt
        self._client = client

    def tls_side(self) -> TlsConnection:
        """With the name to ask for and to verify."""
        twisted: Any = self  # it asks for Twisted's own transport, and uses of it what is here
        connection = self._client.creator.clientConnectionForTLS(twisted)
        connection.set_connect_state()
        return connection

    def secured(self) -> IProtocol:
        """The handshake is done."""
        attempt, self._attempt = self._attempt, None
        assert attempt is not None  # it is asked once
        return attempt.secured()

    def unsecured(self, reason: Failure) -> None:
        """It was not."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.unsecured(reason)
