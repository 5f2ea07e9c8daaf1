"""Connecting on the uvloop reactor: uvloop's own way to an IP address, else Twisted's up to the connected socket.

An address literal needs nothing of what Twisted does around connect(2), which costs three times the connect. Names,
local addresses and IPv6 zones go Twisted's way; the transport that a connection gets is uvloop's in any case. Timeouts
and states are those of Twisted's connector, and errors are Twisted's own. Nothing is tried twice.
"""

from typing import Any

from twisted.internet import tcp

from balancer.net.uvloop_client import DirectClient, LiteralClient, is_literal
from balancer.net.uvloop_transport import ClientTransport

# These have nothing of their own: they are the classes of Python that compiled ones leave to be made, whose objects
# have room for what people, and TLS that starts later, assign to a transport.


class TcpClientTransport(ClientTransport):
    """A connection that Twisted made and uvloop has."""


class TcpLiteralTransport(LiteralClient):
    """A connection to an IP address, for a connector."""


class TcpDirectTransport(DirectClient):
    """A connection to an IP address, for an owner."""


class TcpClient(tcp.Client):
    """A connection that is not made yet, Twisted's way."""

    _transport: TcpClientTransport | None = None

    def _connectDone(self) -> None:
        """The socket is connected (Twisted's hook): hand it to uvloop."""
        self._transport = TcpClientTransport(self.reactor, self.socket, self.realAddress, self.connector)
        self._transport.open()

    def failIfNotConnected(self, err: Any) -> None:
        """It was given up, also while uvloop is about to tell of it."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cancel()
        super().failIfNotConnected(err)


class TcpConnector(tcp.Connector):
    """``connectTCP`` makes it."""

    def _makeTransport(self) -> Any:
        host, port = self.host, self.port
        if self.bindAddress is None and is_literal(host, port):
            transport = TcpLiteralTransport(self.reactor, None, (host, port), self)
            transport.connect()
            return transport
        return TcpClient(host, port, self.bindAddress, self, self.reactor)
