"""Connecting on the uvloop reactor: Twisted's own way up to the connected socket, uvloop's from there.

So names, bind addresses, timeouts and errors are exactly those of ``twisted.internet.tcp``; what is replaced is the
transport that a connection gets.
"""

from typing import Any

from twisted.internet import tcp

from balancer.net.uvloop_transport import ClientTransport


class TcpClient(tcp.Client):
    """A connection that is not made yet."""

    _transport: ClientTransport | None = None

    def _connectDone(self) -> None:
        """The socket is connected (Twisted's hook): hand it to uvloop."""
        self._transport = ClientTransport(self.reactor, self.socket, self.realAddress, self.connector)
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
        return TcpClient(self.host, self.port, self.bindAddress, self, self.reactor)
