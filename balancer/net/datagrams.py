"""UDP sockets: the port where clients' datagrams arrive, and the sockets that are connected to one server each.

A port reads a bounded number of datagrams in a turn, so that a flood leaves the reactor to others (Twisted's own UDP
port bounds bytes, of which empty datagrams have none). Where it is open at every address of the machine, an answer goes
out from the address that was asked (``IP_PKTINFO``, RFC 3542 section 6.1). It never knows what a session is, never
merges or splits datagrams, and has room for the largest.
"""

import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.config.listen import place
from balancer.core.datagrams import LARGEST
from balancer.net.listen import explained

BATCH = 64
"""Datagrams a port reads in one turn: about a millisecond or two of work before other sockets are looked at again."""

Key = Any
"""Whom to answer: the client's address as the socket tells it, and where that is not certain the address it asked."""

Receive = Callable[[bytes, Key], None]

Connect = Callable[[str, int, tuple[int, int]], socket.socket]
"""Makes a socket that is connected to an address and a port, with these buffers; see :func:`connected`."""

IP_PKTINFO = 8
"""Linux's number (``linux/in.h``); Python 3.11 does not name it."""

_PKTINFO4 = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, our address, the header's destination
_PKTINFO6 = struct.Struct("=16sI")  # struct in6_pktinfo: address, interface
_NONBLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)  # Linux makes it so in the same system call
_SPACE = socket.CMSG_SPACE(max(_PKTINFO4.size, _PKTINFO6.size))


def listen_udp(
    reactor: Any, name: str, description: str, buffers: tuple[int, int], received: Receive
) -> "Deferred[UdpPort]":
    """Open a UDP port where a description says.

    :param name: the listener's, for messages.
    :param description: ``"udp:53"``, ``"udp6:53:interface=\\:\\:1"``.
    :param buffers: bytes of the kernel's receive and send buffer, 0 for the system's.
    :param received: told of each datagram, and whom to answer.
    :returns: the port; or a :class:`~balancer.errors.ListenError` that names listener, address, cause and remedy.
    """
    return execute(_listen, reactor, name, description, buffers, received)


def _listen(reactor: Any, name: str, description: str, buffers: tuple[int, int], received: Receive) -> "UdpPort":
    where = place(description)
    family = socket.AF_INET6 if where.family == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that udp and udp6 may have one port
        sock.bind((where.address, where.port))
        kind = UdpPort if where.address else AnyAddressPort
        port = kind(reactor, sock, name, received)
    except OSError as error:
        sock.close()
        raise explained(name, description, CannotListenError(where.address, where.port, error)) from error
    port.set_buffers(*buffers)
    port.startListening()
    return port


@implementer(IListeningPort, IReadDescriptor)
class UdpPort:
    """A socket that is open at one address.

    :ivar host: that address; ``port``: its port.
    """

    def __init__(self, reactor: Any, sock: socket.socket, name: str, received: Receive) -> None:
        self._reactor = reactor
        self._socket = sock
        self._name = name
        self._received = received
        self.host, self.port = sock.getsockname()[:2]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name} at {self.host} port {self.port}>"

    # -- datagrams -----------------------------------------------------------------------------------------------

    def reply(self, data: bytes, key: Key) -> None:
        """Answer.

        :raises OSError: the system does not take it.
        """
        self._socket.sendto(data, key)

    def client(self, key: Key) -> tuple[str, int]:
        """The client's address and port."""
        host, port = key[:2]
        return host, port

    def own(self, key: Key) -> bool:
        """Whether a datagram has this port for its sender."""
        return bool(key[1] == self.port and key[0] == self.host)

    def _read(self) -> tuple[bytes, Key]:
        return self._socket.recvfrom(LARGEST)

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def startListening(self) -> None:
        """Read."""
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Read no more, and close."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it is open."""
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("UDP", self.host, self.port)

    def fileno(self) -> int:
        """The socket's descriptor, -1 where it is closed."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Take what is there, at most :data:`BATCH`."""
        for _ in range(BATCH):
            try:
                data, key = self._read()
            except BlockingIOError:
                return
            except OSError as error:  # an error that waited on the socket; what follows is read the next time
                _log.debug("listener '{name}': {words}", name=self._name, words=error.strerror)
                return
            try:
                self._received(data, key)
            except Exception:  # a reactor would close the port
                _log.failure("listener '{name}' failed with a datagram", name=self._name)
            if self._socket.fileno() < 0:
                return

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return self._name

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops; or it took an error that waits on the socket for an end, and then it is to read on."""
        if self._socket.fileno() >= 0 and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._reactor.addReader(self)
        else:
            self.stopListening()

    def set_buffers(self, receive: int, send: int) -> None:
        """Have the kernel keep so many bytes, 0 for what the system says; it logs where the kernel has other ideas."""
        set_buffers(self._socket, receive, send)
        for option, wanted, limit in (
            (socket.SO_RCVBUF, receive, "net.core.rmem_max"),
            (socket.SO_SNDBUF, send, "net.core.wmem_max"),
        ):
            given = self._socket.getsockopt(socket.SOL_SOCKET, option) // 2  # socket(7): twice what was asked for
            if given < wanted:
                _log.warn(
                    "listener '{name}' asked for a buffer of {wanted} bytes and has {given}: raise {limit}",
                    name=self._name,
                    wanted=wanted,
                    given=given,
                    limit=limit,
                )


class AnyAddressPort(UdpPort):
    """A socket that is open at every address: the key has the one that was asked, and the answer comes from there."""

    def __init__(self, reactor: Any, sock: socket.socket, name: str, received: Receive) -> None:
        super().__init__(reactor, sock, name, received)
        self._six = sock.family == socket.AF_INET6
        if self._six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._level, self._type = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._level, self._type = socket.IPPROTO_IP, IP_PKTINFO

    def reply(self, data: bytes, key: Key) -> None:
        """See :meth:`UdpPort.reply`."""
        client, source = key
        self._socket.sendmsg((data,), ((self._level, self._type, source),) if source else (), 0, client)

    def client(self, key: Key) -> tuple[str, int]:
        """See :meth:`UdpPort.client`."""
        host, port = key[0][:2]
        return host, port

    def own(self, key: Key) -> bool:
        """See :meth:`UdpPort.own`."""
        client, source = key
        if client[1] != self.port or not source:
            return False
        packed = source[:16] if self._six else source[4:8]
        return bool(socket.inet_ntop(self._socket.family, packed) == client[0].partition("%")[0])

    def _read(self) -> tuple[bytes, Key]:
        data, ancillary, _, client = self._socket.recvmsg(LARGEST, _SPACE)
        for level, kind, content in ancillary:
            if (level, kind) == (self._level, self._type):
                return data, (client, self._source(content))
        return data, (client, b"")

    def _source(self, content: bytes) -> bytes:
        """What an answer's message says: our address, and the interface only where the address needs one."""
        if self._six:
            address, interface = _PKTINFO6.unpack(content)
            local = address[0] == 0xFE and address[1] & 0xC0 == 0x80  # fe80::/10, RFC 4291 section 2.5.6
            return content if local else _PKTINFO6.pack(address, 0)
        _, address, _ = _PKTINFO4.unpack(content)
        return _PKTINFO4.pack(0, address, b"\0\0\0\0")


def set_buffers(sock: socket.socket, receive: int, send: int) -> None:
    """The kernel's buffers of a socket in bytes, 0 for what the system says."""
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    if send:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send)


def connected(host: str, port: int, buffers: tuple[int, int] = (0, 0)) -> socket.socket:
    """A socket of an address and port of the system's choice, connected: only that server's datagrams arrive, and ICMP
    errors are told (udp(7), ip(7)).

    :raises OSError: there is no socket, no local port, or no way.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | _NONBLOCKING)
    try:
        if not _NONBLOCKING:
            sock.setblocking(False)
        set_buffers(sock, *buffers)
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


_log = Logger()
