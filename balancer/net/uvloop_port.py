"""Listening on the uvloop reactor: Twisted's ports, whose connections get the transports of uvloop.

Everything about the listening socket is Twisted's own (what a port number, an interface or a path may be, lock files,
running out of file descriptors); a connection that was accepted is handed to uvloop.

A factory's class may say ``bare``: its ``buildProtocol`` does without the address, for which it gets ``None``, and
nobody assigns anything to its transports or starts TLS on them. Then they have no ``__dict__``.

A factory may have a ``guard`` (:class:`balancer.net.guard.Guard`): whom it refuses is reset before there is a
transport.
"""

import socket
from functools import partial
from os import close
from struct import pack
from typing import Any

from twisted.internet import tcp
from twisted.python import log

from balancer.net.uvloop_transport import BareServer, ServerTransport


class TcpServerTransport(ServerTransport):
    """A TCP connection that was accepted, or adopted. (The class of Python that the compiled one leaves to be made: its
    objects have room for what people, and TLS that starts later, assign to a transport.)"""


class UvloopPort(tcp.Port):
    """What TCP and UNIX ports share: accepting. (The reactor calls ``doRead`` without a word to the log.)"""

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
            self._expect(accepted)
        except BaseException:
            log.err()

    def accepted(self, sock: Any, peer: Any) -> None:
        """One client (the children do)."""
        raise NotImplementedError

    def _expect(self, accepted: int) -> None:
        """So many came this time."""
        self.numberAccepts = accepted + 20 if accepted == self.numberAccepts else max(1, accepted)


class Accepted(socket.SocketType):
    """A socket that was accepted, without what ``socket.socket`` does in Python. uvloop closes the descriptor itself,
    so that closing this means letting go of it."""

    __slots__ = ()

    close = socket.SocketType.detach  # type: ignore[assignment]  # which returns what nobody looks at


RESET = pack("ii", 1, 0)
"""``SO_LINGER`` for no time: closing sends a reset (socket(7))."""


class TcpPort(UvloopPort):
    """``listenTCP`` makes it.

    :ivar keep_alive: connections inherit keep-alive probes from the listening socket (tcp(7)), for the factory's
        class says that all are to have them.
    """

    keep_alive = False

    def createInternetSocket(self) -> socket.socket:
        """Before it listens, so that there is no connection yet."""
        sock: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]  # Twisted's has no types
        if getattr(self.factory, "keep_alive", False):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.keep_alive = True
        return sock

    def doRead(self) -> None:
        """As the parent's, in the plain case, which needs no log."""
        try:
            family = self.addressFamily
            listening: Any = self.socket
            accept = listening._accept  # accept(2) alone: descriptor and address
            accepted = 0
            while accepted < self.numberAccepts:
                try:
                    descriptor, peer = accept()
                except BlockingIOError:
                    break
                except OSError:
                    super().doRead()  # Twisted knows what to do about it, should it come again
                    return
                accepted += 1
                self.accepted(Accepted(family, socket.SOCK_STREAM, 0, descriptor), peer)
            self._expect(accepted)
        except BaseException:
            log.err()

    def accepted(self, sock: Any, peer: Any) -> None:
        """One client."""
        factory: Any = self.factory
        build, guard = factory.buildProtocol, getattr(factory, "guard", None)
        if guard is not None:
            if guard.refuses(peer[0]):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                close(sock.detach())
                return
            build = partial(factory.welcome, guard, peer[0])
        number, self.sessionno = self.sessionno, self.sessionno + 1
        kind = BareServer if getattr(factory, "bare", False) else TcpServerTransport
        kind(self.reactor, sock, peer, build, self, number).open()
