"""Listening on the uvloop reactor: Twisted's ports, whose connections get the transports of uvloop.

Everything about the listening socket is Twisted's own (what a port number, an interface or a path may be, lock files,
running out of file descriptors); a connection that was accepted is handed to uvloop.
"""

from typing import Any

from twisted.internet import tcp
from twisted.python import log

from balancer.net.uvloop_transport import ServerTransport


class UvloopPort(tcp.Port):
    """What TCP and UNIX ports share: accepting."""

    def doRead(self) -> None:
        """Clients arrived: accept all there are, up to as many as came the time before and some more.

        (Twisted's own loop, without what it does for each connection.)
        """
        try:
            accepted = 0
            with tcp._BuffersLogs(self._logger.namespace, self._logger.observer) as logger:
                clients = tcp._accept(logger, range(self.numberAccepts), self.socket, tcp._reservedFD)
                for sock, peer in clients:
                    accepted += 1
                    self.accepted(sock, peer)
            self.numberAccepts = accepted + 20 if accepted == self.numberAccepts else max(1, accepted)
        except BaseException:
            log.err()

    def accepted(self, sock: Any, peer: Any) -> None:
        """One client (the children do)."""
        raise NotImplementedError


class TcpPort(UvloopPort):
    """``listenTCP`` makes it."""

    def accepted(self, sock: Any, peer: Any) -> None:
        """One client."""
        factory: Any = self.factory
        number, self.sessionno = self.sessionno, self.sessionno + 1
        ServerTransport(self.reactor, sock, peer, factory.buildProtocol, self, number).open()
