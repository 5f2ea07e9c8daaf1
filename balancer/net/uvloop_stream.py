"""A Twisted transport in front of a stream of uvloop's: the bytes go past it.

``data_received`` is the bound method of the protocol, and what is written goes by way of the reactor's outbox
(:mod:`balancer.net.uvloop_outbox`) to uvloop's own ``write``. This class keeps what Twisted has and uvloop has not:
half-close, both kinds of producers, reasons for losing a connection, TLS that starts later. It is also the asyncio
protocol that uvloop talks to. It never parses, never buffers bytes (uvloop does) and never decides how long anything
may take.

What differs from the transports of ``twisted.internet.tcp``, by design:

- small writes go to the kernel at the end of the turn, as there, but each by itself, and at once where turns bring
  few of them; TCP_NODELAY is set from the start (uvloop does so): joining them is the business of who writes;
- a streaming producer is paused when more than ``bufferSize`` waits for the kernel, not when more is written at once;
- a mutable buffer (``bytearray``) must not be changed after it was written.
"""

import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

from mypy_extensions import mypyc_attr
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.net.uvloop_consumer import MUTED, UvloopConsumer, half_closeable, nothing
from balancer.net.uvloop_context import CURRENT

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: close(2) drops what was not sent and sends a RST (socket(7), RFC 9293 section 3.10.5)."""


DONE = Failure(ConnectionDone())
"""The end in order, and :data:`LOST` that by a reset: one for all connections, as ``twisted.internet.posixbase`` has
them, for making one takes longer than most of what else an end takes."""

LOST = Failure(ConnectionLost())


def receiver(protocol: Any) -> Callable[[bytes], None]:
    """What uvloop calls with each chunk: ``dataReceived`` itself where it cannot be assigned to the protocol later
    (it has slots), or where its class promises that nobody does (``steady``); else what looks it up each time."""
    steady = getattr(protocol, "steady", None)
    if steady or (steady is None and not hasattr(protocol, "__dict__")):
        received: Callable[[bytes], None] = protocol.dataReceived
        return received
    return lambda data: protocol.dataReceived(data)


def conclude(opening: Coroutine[Any, Any, Any]) -> None:
    """Let uvloop's coroutine of a connection that is made come to its end."""
    # It returns the transport, which we have; or that was closed meanwhile, and heard of it.
    try:  # noqa: SIM105  # suppress costs a connection as much as the call does
        opening.send(None)
    except (StopIteration, RuntimeError):
        pass


class StartPaused(Exception):
    """Raised out of ``connection_made`` where the protocol paused already, for uvloop starts reading after it
    whatever the protocol did in it. The reactor's exception handler knows it; nobody else sees it."""


def unless_aborted(protocol: TLSMemoryBIOProtocol, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """``write`` for the TLS of one connection. Twisted's writes a ``close_notify`` before it aborts the transport
    and trusts that it never leaves; here it would, and would pass a truncated stream off as complete."""

    def write_record(data: bytes) -> None:
        if not protocol._aborted:
            write(data)

    return write_record


@mypyc_attr(allow_interpreted_subclasses=True)
class UvloopStream(UvloopConsumer):
    """See the module. Its children know how a protocol is made, who is told of the end, and what TCP and UNIX have.

    :param reactor: the :class:`~balancer.net.uvloop_reactor.UvloopReactor`.
    :param sock: a connected stream socket, which belongs to uvloop from :meth:`open` on; ``None`` where uvloop makes
        the connection itself.
    :param peer: its ``getpeername()``.
    """

    __slots__ = (
        "_host",
        "_opening",
        "_peer",
        "_read_ended",
        "_socket",
        "data_received",
    )

    _tlsClientDefault = False

    def __init__(self, reactor: Any, sock: socket.socket | None, peer: Any) -> None:
        super().__init__(reactor)
        self._socket: Any = sock
        self._opening: Coroutine[Any, Any, Any] | None = None
        self._peer = peer
        self._host: Any = None
        self._read_ended = False
        self.data_received: Callable[[bytes], None] = nothing  # uvloop asks before there is a protocol
        self.write = nothing

    def __repr__(self) -> str:
        state = "connected" if self.connected else "disconnected" if self.disconnected else "opening"
        name = type(self._protocol).__name__ if self._protocol is not None else "no protocol"
        return f"<{type(self).__name__} {state} {name} peer={self._peer}>"

    @property
    def socket(self) -> Any:
        """The socket: look at it, but neither read nor write nor close. (What uvloop made is asked for when needed.)"""
        if self._socket is None:
            self._socket = self._uv.get_extra_info("socket")
        return self._socket

    # -- the beginning -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Give the socket to uvloop; :meth:`connection_made` comes in the next turn."""
        # uvloop's coroutine waits once, for that, and goes on in reactor.opened: no task is needed for it.
        self._opening = self.reactor.loop.connect_accepted_socket(self._itself, self.socket)
        self._opening.send(None)

    def cancel(self) -> None:
        """Nothing more comes of it; the socket is closed in the next turn.

        Not at once: uvloop is about to call :meth:`connection_made`, and asks for the addresses of what it calls
        without looking whether that is closed, which crashes.
        """
        self.disconnected = 1

    def _itself(self) -> "UvloopStream":
        return self

    def connection_made(self, uv: Any) -> None:
        """uvloop has the connection: make the protocol and give it this transport."""
        self._uv = uv
        self._opened()
        if self.disconnected:  # it was given up
            uv.abort()
            return
        CURRENT.set(self)
        protocol = self.build()
        if protocol is None:
            self.reason = ConnectionDone()
            uv.abort()
            return
        self.reactor.transports.add(self)
        tls = isinstance(protocol, TLSMemoryBIOProtocol)
        self._out = SimpleNamespace(write=unless_aborted(cast(Any, protocol), uv.write)) if tls else uv
        self.write = self.post
        self.connected = 1
        self._protocol = protocol
        uv.resume_reading()
        try:
            protocol.makeConnection(cast(ITransport, self))
        except BaseException:
            log.err()
            self.abort_for(Failure().value)
            return
        if self.connected:
            self.data_received = receiver(self._protocol)
            uv.set_protocol(self)
        if not uv.is_reading() and not uv.is_closing():
            raise StartPaused

    def _opened(self) -> None:
        """uvloop's coroutine is to come to its end."""
        opening, self._opening = self._opening, None
        if opening is not None:
            self.reactor.opened(opening)

    def build(self) -> IProtocol | None:
        """Make the protocol (the children do); ``None`` closes the connection."""
        raise NotImplementedError

    @property
    def reading(self) -> bool:
        """Whether it is neither paused nor over."""
        return bool(self.connected and self._uv.is_reading())

    @property
    def protocol(self) -> Any:
        """Who gets the bytes; may be assigned."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self.data_received = receiver(protocol)
        if self.connected and not self._uv.is_closing():
            self._uv.set_protocol(self)

    # -- the end -------------------------------------------------------------------------------------------------

    def eof_received(self) -> bool:
        """The peer will send nothing more. (``True`` tells uvloop not to close: that is done here.)"""
        self._read_ended = True
        self.readConnectionLost(DONE)
        return True

    def writeConnectionLost(self, reason: Failure) -> None:
        """Writing failed for good: all of it is over, as in Twisted's transports."""
        self.abort_for(reason.value)

    def readConnectionLost(self, reason: Failure) -> None:
        """Half of it is over, or all of it where the protocol knows no halves."""
        protocol = half_closeable(self._protocol)
        if protocol is None:
            self.abort_for(reason.value)
            return
        try:
            protocol.readConnectionLost()
        except BaseException:
            log.err()
            self.abort_for(Failure().value)

    def abort_for(self, reason: BaseException | None) -> None:
        """End at once and tell the protocol this reason."""
        self._mute()
        if self.reason is None:
            self.reason = reason
        self._uv.abort()

    def connection_lost(self, error: BaseException | None) -> None:
        """uvloop has no connection any more."""
        if not self.disconnected:
            try:
                self._lost(error)
            except BaseException:
                log.err()
        self._protocol = None  # until here, for its name is what is logged about the end
        CURRENT.set(None)  # this transport is in a circle with its context else

    def _lost(self, error: BaseException | None) -> None:
        if self.reason is not None:
            self.connectionLost(DONE if self.reason is DONE.value else Failure(self.reason))
        elif error is None:
            self.connectionLost(DONE)
        elif isinstance(error, OSError) and error.__traceback__ is None:  # uvloop made it, nobody raised it
            self.connectionLost(LOST)
        else:
            if isinstance(error, OSError):  # uvloop tells its exception handler of all others
                log.err(Failure(error))
            self.connectionLost(Failure(error))

    def connectionLost(self, reason: Failure) -> None:
        """Tell everybody, once."""
        if self.disconnected:
            return
        self.reactor.transports.discard(self)
        self._mute()
        self.disconnected, self.connected = 1, 0
        self._uv.abort()
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        protocol = self._protocol
        self.data_received = nothing
        if protocol is not None:
            protocol.connectionLost(reason)

    def _mute(self) -> None:
        """From here on nothing is written, not even what waits for the end of the turn."""
        self.write, self._out = nothing, MUTED
        if self._below is not None:
            self._below.mute()

    def abortConnection(self) -> None:
        """Drop everything, now; the peer gets a RST."""
        if self.disconnected or self.aborting or not self.connected:
            return
        self.aborting = True
        sock = self.socket
        if sock is not None:  # else it is closed already, as it may be in the next line: there is nothing left to reset
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.reason = ConnectionAborted()
        self.abort_for(None)

    # -- as a producer -------------------------------------------------------------------------------------------

    # Methods, though uvloop's own could stand here as they do for ``write``: two bound methods are 256 bytes a stream.

    def pauseProducing(self) -> None:
        """Read no more for now. (uvloop ignores it where the stream is over, as it does the other.)"""
        if self.connected:
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        """Read again, unless the end was read, or it closes."""
        if self.connected and not self._read_ended and not self.disconnecting:
            self._uv.resume_reading()

    def startReading(self) -> None:
        """Another word for :meth:`resumeProducing`."""
        self.resumeProducing()

    def stopReading(self) -> None:
        """Another word for :meth:`pauseProducing`."""
        self.pauseProducing()

    def stopProducing(self) -> None:
        """This transport as a producer ends."""
        self.loseConnection()


classImplements(UvloopStream, IHalfCloseableDescriptor, IPushProducer)
