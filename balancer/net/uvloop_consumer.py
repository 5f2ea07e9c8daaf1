"""The writing half of a stream of uvloop's: both kinds of producers, and the ends that wait until all is written.

It counts nothing and buffers nothing: uvloop does, and tells when more waits than may, and when all is written. What is
written goes past it, but for what a pull producer writes. It never reads and never decides why a connection ends.
"""

from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Any, cast

from mypy_extensions import mypyc_attr
from twisted.internet.abstract import _dataMustBeBytes
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.net.uvloop_outbox import Outbox

BUFFER = 65536
"""Bytes waiting above which a streaming producer is paused: that of Twisted (``FileDescriptor.bufferSize``)."""


@lru_cache(maxsize=256)
def _half_closes(kind: Hashable) -> bool:
    return bool(IHalfCloseableProtocol.implementedBy(cast(type, kind)))


def half_closeable(protocol: Any) -> Any:
    """The protocol as ``IHalfCloseableProtocol``, or ``None``: zope's answer, remembered where the class gives it."""
    return protocol if _half_closes(cast(Hashable, type(protocol))) else IHalfCloseableProtocol(protocol, None)


def nothing(*_: object) -> None:
    """What writing to something that is over does."""


class Muted:
    """In the place of a transport that takes nothing any more."""

    def write(self, *_: object) -> None:
        """Nothing."""


MUTED = Muted()


@mypyc_attr(allow_interpreted_subclasses=True)
class UvloopConsumer:
    """See the module; :class:`~balancer.net.uvloop_stream.UvloopStream` is made of it.

    :param reactor: the :class:`~balancer.net.uvloop_reactor.UvloopReactor`.
    :ivar write: :meth:`post`, or :func:`nothing`, or what asks a pull producer for more.
    """

    __slots__ = (
        "_below",
        "_buffer_size",
        "_out",
        "_outbox",
        "_protocol",
        "_pulling",
        "_uv",
        "_write_ended",
        "_write_ending",
        "aborting",
        "connected",
        "disconnected",
        "disconnecting",
        "producer",
        "producerPaused",
        "reactor",
        "reason",
        "streamingProducer",
        "write",
    )

    TLS = False

    _out: Any  # what takes bytes now: uvloop's transport, or what stands in front of it or in its place
    write: Callable[[bytes], None]

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self._outbox: Outbox = reactor.outbox
        self._uv: Any = None
        self._protocol: Any = None
        self._below: Any = None  # what TLS that was started later writes to
        self._buffer_size = BUFFER
        self._pulling = False
        self.connected = self.disconnected = 0
        self.disconnecting = self.aborting = False
        self._write_ending = self._write_ended = False
        self.producer: IPushProducer | IPullProducer | None = None
        self.streamingProducer = self.producerPaused = False
        self.reason: BaseException | None = None

    def post(self, data: bytes) -> None:
        """Write this, in this turn (:mod:`balancer.net.uvloop_outbox`)."""
        self._outbox.post(self, data)

    def abort_for(self, reason: BaseException | None) -> None:
        """End at once, with this reason (the stream does)."""
        raise NotImplementedError

    # -- ends that wait ------------------------------------------------------------------------------------------

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
        self._uv.pause_reading()
        if self._write_ended:
            self._uv.close()
        else:
            self._await_drain()

    def finish(self) -> None:
        """As :meth:`loseConnection`, for who writes no more and has unregistered the producer: so uvloop, which writes
        what waits before it closes, need not be asked in a later turn."""
        if self.TLS:
            self.loseConnection()
        elif self.connected and not self.disconnecting:
            self.disconnecting = True
            self._outbox.close(self)

    def shut(self) -> None:
        """Nothing more is written (the outbox says so): close when uvloop has written all."""
        if self.connected and not self.aborting:
            self._uv.close()

    def loseWriteConnection(self) -> None:
        """Write what waits, then tell the peer that nothing more comes; reading goes on."""
        if not self.connected or self._write_ending or self.disconnecting:
            return
        self._write_ending = True
        self._await_drain()

    # -- producers -----------------------------------------------------------------------------------------------

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
            self._outbox.flush()  # what it writes goes past it
            if self.write is not nothing:  # else uvloop would raise where our end was sent
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
            self.write = self.post
            self.bufferSize = self._buffer_size

    def _write_pulled(self, data: bytes) -> None:
        """``write`` while there is a pull producer: it is asked for more when this is written."""
        self._out.write(data)
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
        self._outbox.flush()
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
        elif self._outbox.waiting and (self.disconnecting or self._write_ending):
            self._await_drain()
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
        if not self._outbox.waiting and self._uv.get_write_buffer_size():
            self._uv.set_write_buffer_limits(0)
        else:
            self.reactor.loop.call_soon(self._drained)

    def _drained(self) -> None:
        if not self.connected or self.aborting:
            return
        self._outbox.flush()
        if self._uv.get_write_buffer_size():  # written since
            self._uv.set_write_buffer_limits(0)
        else:
            self.resume_writing()

    def _end_write(self) -> None:
        self._write_ended = True
        self.write, self._out = nothing, MUTED
        if self._below is not None:
            self._below.mute()
        self._uv.write_eof()
        protocol = half_closeable(self._protocol)
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


classImplements(UvloopConsumer, IConsumer)
