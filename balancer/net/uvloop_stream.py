"""A Twisted transport in front of a stream of uvloop's: the bytes go past it.

``write`` is the bound method of uvloop's transport and ``data_received`` the bound method of the protocol, so that a
chunk costs no Python of ours in either direction. This class keeps what Twisted has and uvloop has not: half-close,
both kinds of producers, reasons for losing a connection, TLS that starts later. It is also the asyncio protocol that
uvloop talks to. It never parses, never buffers bytes (uvloop does) and never decides how long anything may take.

What differs from the transports of ``twisted.internet.tcp``, by design:

- a write goes to the kernel at once, not at the end of the turn, and TCP_NODELAY is set from the start (uvloop does
  so): joining small writes is the business of who writes;
- a streaming producer is paused when more than ``bufferSize`` waits for the kernel, not when more is written at once;
- a mutable buffer (``bytearray``) must not be changed after it was written.
"""

import socket
import struct
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.abstract import _dataMustBeBytes
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITransport,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.net.uvloop_context import CURRENT

BUFFER = 65536
"""Bytes waiting above which a streaming producer is paused: that of Twisted (``FileDescriptor.bufferSize``)."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: close(2) drops what was not sent and sends a RST (socket(7), RFC 9293 section 3.10.5)."""


def receiver(protocol: Any) -> Callable[[bytes], None]:
    """What uvloop calls with each chunk: ``dataReceived`` itself where it cannot be assigned to the protocol later
    (it has slots), or where its class promises that nobody does (``steady``); else what looks it up each time."""
    if getattr(protocol, "steady", not hasattr(protocol, "__dict__")):
        received: Callable[[bytes], None] = protocol.dataReceived
        return received
    return lambda data: protocol.dataReceived(data)


class StartPaused(Exception):
    """Raised out of ``connection_made`` where the protocol paused already, for uvloop starts reading after it
    whatever the protocol did in it. The reactor's exception handler knows it; nobody else sees it."""


def nothing(*_: object) -> None:
    """What writing to, or resuming, something that is over does."""


def unless_aborted(protocol: TLSMemoryBIOProtocol, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """``write`` for the TLS of one connection. Twisted's writes a ``close_notify`` before it aborts the transport
    and trusts that it never leaves; here it would, and would pass a truncated stream off as complete."""

    def write_record(data: bytes) -> None:
        if not protocol._aborted:
            write(data)

    return write_record


@implementer(IHalfCloseableDescriptor, IConsumer, IPushProducer)
class UvloopStream:
    """See the module. Its children know how a protocol is made, who is told of the end, and what TCP and UNIX have.

    :param reactor: the :class:`~balancer.net.uvloop_reactor.UvloopReactor`.
    :param sock: a connected stream socket; it belongs to uvloop from :meth:`open` on.
    :param peer: its ``getpeername()``.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_below",
        "_buffer_size",
        "_host",
        "_opening",
        "_peer",
        "_plain",
        "_pulling",
        "_protocol",
        "_uv",
        "_write_ended",
        "_write_ending",
        "aborting",
        "connected",
        "data_received",
        "disconnected",
        "disconnecting",
        "pauseProducing",
        "producer",
        "producerPaused",
        "reactor",
        "reason",
        "resumeProducing",
        "socket",
        "streamingProducer",
        "write",
    )

    TLS = False
    _tlsClientDefault = False

    def __init__(self, reactor: Any, sock: socket.socket, peer: Any) -> None:
        self.reactor = reactor
        self.socket = sock
        self._uv: Any = None
        self._opening: Coroutine[Any, Any, Any] | None = None
        self._protocol: Any = None
        self._below: Any = None  # what TLS that was started later writes to
        self._peer = peer
        self._host: Any = None
        self._buffer_size = BUFFER
        self._pulling = False
        self.connected = self.disconnected = 0
        self.disconnecting = self.aborting = False
        self._write_ending = self._write_ended = False
        self.producer: IPushProducer | IPullProducer | None = None
        self.streamingProducer = self.producerPaused = False
        self.reason: BaseException | None = None
        self._mute()

    def __repr__(self) -> str:
        state = "connected" if self.connected else "disconnected" if self.disconnected else "opening"
        name = type(self._protocol).__name__ if self._protocol is not None else "no protocol"
        return f"<{type(self).__name__} {state} {name} peer={self._peer}>"

    # -- the beginning -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Give the socket to uvloop; :meth:`connection_made` comes in the next turn."""
        # uvloop's coroutine waits once, for that, and goes on in reactor.opened: no task is needed for it.
        self._opening = self.reactor.loop.connect_accepted_socket(self._itself, self.socket)
        self._opening.send(None)

    def cancel(self) -> None:
        """Close the socket; :meth:`connection_made` does not come."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.close()

    def _itself(self) -> "UvloopStream":
        return self

    def connection_made(self, uv: Any) -> None:
        """uvloop has the connection: make the protocol and give it this transport."""
        self._uv = uv
        opening, self._opening = self._opening, None
        self.reactor.opened(opening)
        CURRENT.set(self)
        protocol = self.build()
        if protocol is None:
            self.reason = ConnectionDone()
            uv.abort()
            return
        self.reactor.transports.add(self)
        tls = isinstance(protocol, TLSMemoryBIOProtocol)
        self._plain = self.write = unless_aborted(cast(TLSMemoryBIOProtocol, protocol), uv.write) if tls else uv.write
        self.pauseProducing = uv.pause_reading
        self.resumeProducing = uv.resume_reading
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
        self.resumeProducing = nothing
        self.readConnectionLost(Failure(ConnectionDone()))
        return True

    def writeConnectionLost(self, reason: Failure) -> None:
        """Writing failed for good: all of it is over, as in Twisted's transports."""
        self.abort_for(reason.value)

    def readConnectionLost(self, reason: Failure) -> None:
        """Half of it is over, or all of it where the protocol knows no halves."""
        protocol = IHalfCloseableProtocol(self._protocol, None)
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
        if self.disconnected:
            return
        if self.reason is not None:
            reason = self.reason
        elif error is None:
            reason = ConnectionDone()
        elif isinstance(error, OSError) and error.__traceback__ is None:  # uvloop made it, nobody raised it
            reason = ConnectionLost()
        else:
            if isinstance(error, OSError):  # uvloop tells its exception handler of all others
                log.err(Failure(error))
            reason = error
        self.connectionLost(Failure(reason))

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
        protocol, self._protocol = self._protocol, None
        self.data_received = nothing
        if protocol is not None:
            protocol.connectionLost(reason)

    def _mute(self) -> None:
        """From here on nothing is written and reading is not resumed."""
        self.write = self.pauseProducing = self.resumeProducing = nothing
        if self._below is not None:
            self._below.mute()

    def loseConnection(self, *_: object) -> None:
        """Close when all is written and no producer is left."""
        if self.TLS:
            if self.connected and not self.disconnecting:
                self._protocol.loseConnection()
        else:
            self.lose()

    def lose(self) -> None:
        """:meth:`loseConnection`, below TLS."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self.pauseProducing()
        self.resumeProducing = nothing
        if self._write_ended:
            self._uv.close()
        else:
            self._await_drain()

    def abortConnection(self) -> None:
        """Drop everything, now; the peer gets a RST."""
        if self.disconnected or self.aborting or not self.connected:
            return
        self.aborting = True
        with suppress(OSError):  # closed already: there is nothing left to reset
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.reason = ConnectionAborted()
        self.abort_for(None)

    def loseWriteConnection(self) -> None:
        """Write what waits, then tell the peer that nothing more comes; reading goes on."""
        if not self.connected or self._write_ending or self.disconnecting:
            return
        self._write_ending = True
        self._await_drain()

    # -- flow control --------------------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take bytes from this producer, paused and resumed as they can be sent."""
        if self.TLS and self.connected:
            self._protocol.registerProducer(producer, streaming)
        else:
            self.register(producer, streaming)

    def register(self, producer: Any, streaming: bool) -> None:
        """:meth:`registerProducer`, below TLS.

        :raises RuntimeError: there is one already.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer {self.producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer, self.streamingProducer, self.producerPaused = producer, bool(streaming), False
        if not streaming:
            self.write = self._write_pulled
            producer.resumeProducing()
            self._pull()
        elif self._uv.get_write_buffer_size() > self.bufferSize:
            self.pause_writing()

    def unregisterProducer(self) -> None:
        """Stop taking from the producer; ends that waited for it may come now."""
        if self.TLS and self.connected:
            self._protocol.unregisterProducer()
        else:
            self.unregister()

    def unregister(self) -> None:
        """:meth:`unregisterProducer`, below TLS."""
        producer, self.producer = self.producer, None
        if not self.connected or producer is None:
            return
        if self.disconnecting or self._write_ending:
            self._await_drain()
        elif not self.streamingProducer:
            self.write = self._plain
            self.bufferSize = self._buffer_size

    def _write_pulled(self, data: bytes) -> None:
        """``write`` while there is a pull producer: it is asked for more when this is written."""
        self._plain(data)
        self._pull()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Write these, one after the other."""
        if not self.TLS:
            self.write_sequence(data)
        elif self.connected:
            self._protocol.writeSequence(data)

    def write_sequence(self, data: Iterable[bytes]) -> None:
        """:meth:`writeSequence`, below TLS.

        :raises TypeError: something is not bytes.
        """
        pieces = list(data)
        for piece in pieces:
            _dataMustBeBytes(piece)
        if self.write is nothing:
            return
        self._uv.writelines(pieces)
        if self.producer is None:
            return
        if not self.streamingProducer:
            self._pull()
        elif sum(map(len, pieces)) > self._buffer_size and not self.producerPaused:
            self.pause_writing()
            self._pull()

    def _pull(self) -> None:
        if not self._pulling and self.connected and not self.aborting:
            self._pulling = True
            self._await_drain()

    def stopConsuming(self) -> None:
        """The producer is not wanted any more, and neither is the connection."""
        self.unregisterProducer()
        self.loseConnection()

    def startReading(self) -> None:
        """Another word for :meth:`resumeProducing`."""
        self.resumeProducing()

    def stopReading(self) -> None:
        """Another word for :meth:`pauseProducing`."""
        self.pauseProducing()

    def stopProducing(self) -> None:
        """This transport as a producer ends."""
        self.loseConnection()

    def pause_writing(self) -> None:
        """More waits than may (uvloop says so)."""
        if self.disconnecting or self._write_ending:
            return  # the limit is none only so that uvloop tells when all is written
        if self.producer is not None and self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()  # type: ignore[union-attr]  # a streaming one is a push producer

    def resume_writing(self) -> None:
        """All is written (uvloop says so: its low water mark is next to nothing)."""
        if not self.connected or self.aborting:
            return
        self._pulling = False
        if self.producer is not None and (self.producerPaused or not self.streamingProducer):
            self.producerPaused = False
            self._resume_producer(self.producer)
        elif self.disconnecting:
            self._uv.close()
        elif self._write_ending and not self._write_ended:
            self._end_write()

    def _resume_producer(self, producer: IPushProducer | IPullProducer) -> None:
        try:
            producer.resumeProducing()
        except BaseException:
            log.err()
            self.reason = None  # a mistake is not hidden by an abort before it
            self.abort_for(Failure().value)

    def _await_drain(self) -> None:
        """Have :meth:`resume_writing` called when all is written, in a later turn at the earliest."""
        if self._uv.get_write_buffer_size():
            self._uv.set_write_buffer_limits(0)
        else:
            self.reactor.loop.call_soon(self._drained)

    def _drained(self) -> None:
        if not self.connected or self.aborting:
            return
        if self._uv.get_write_buffer_size():  # written since
            self._uv.set_write_buffer_limits(0)
        else:
            self.resume_writing()

    def _end_write(self) -> None:
        self._write_ended = True
        self.write = nothing
        if self._below is not None:
            self._below.mute()
        self._uv.write_eof()
        protocol = IHalfCloseableProtocol(self._protocol, None)
        if protocol is not None:
            try:
                protocol.writeConnectionLost()
            except BaseException:
                log.err()
                self.abort_for(Failure().value)

    @property
    def bufferSize(self) -> int:
        """Bytes waiting above which a streaming producer is paused; may be assigned."""
        return self._buffer_size

    @bufferSize.setter
    def bufferSize(self, size: int) -> None:
        self._buffer_size = size
        if self.connected and not (self.disconnecting or self._write_ending):
            self._uv.set_write_buffer_limits(size, 0)
