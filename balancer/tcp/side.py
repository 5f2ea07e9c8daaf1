"""One of the two connections that are joined: a thin protocol that carries bytes and tells what happened.

What follows from that is decided by :mod:`balancer.core.relay` and done by :mod:`balancer.tcp.connection`. It never
looks at what it carries and holds none of it.
"""

import sys
from collections.abc import Callable
from typing import ClassVar, cast
from typing import Protocol as Structure

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.core.termination import Termination
from balancer.net.flow import BULK, CONSUMER, ENDED, HOLD, Flow, IConnection, can_half_close, finish
from balancer.net.splice import FULL, Splice
from balancer.net.tls import is_tls


class Pair(Structure):
    """Who joins two sides."""

    def made(self, side: "Side") -> None:
        """It is connected."""

    def ended(self, side: "Side") -> None:
        """The end of what it sends was read."""

    def flushed(self, side: "Side") -> None:
        """What was to be sent is written, and so is its end."""

    def lost(self, side: "Side", clean: bool, words: str) -> None:
        """It is gone; ``clean`` where it closed in order."""

    def bulk(self, side: "Side") -> None:
        """It sends much: it has received :attr:`Side.bulk_at` bytes and had a read that was full."""

    def broken(self, side: "Side", words: str) -> None:
        """What it sends cannot be written, for the other is lost."""

    def stop(self, cause: Termination, reason: str) -> None:
        """End both."""


CLEANLY = str(ConnectionDone())
"""Twisted's words for an end in order, which it makes from a docstring each time."""

NEVER = sys.maxsize
"""Bytes that are never received."""


def discard(data: bytes) -> None:
    """Where nobody takes what still comes."""


class Side:
    """See the module. (A protocol of its own rather than a subclass: it has slots, and nothing it does not use.)

    :ivar client: whether it is the client's side.
    :ivar received: bytes so far.
    :ivar take: takes each chunk: until both are connected whatever holds it, then the other transport's ``write``.
    :ivar heard: when the last chunk came that was a sign of life.
    :ivar bulk_at: bytes after which ``pair.bulk`` is told of a full read.
    :ivar splice: moves its bytes in the kernel, while reading is paused for that.
    :ivar flow: its reading.
    :ivar gone: it is lost, or was never made.
    :ivar lingering: nobody takes what it sends; it is read until its end so that closing it does not reset it.
    """

    __slots__ = (
        "_aborted",
        "_closing",
        "_end_sent",
        "_words",
        "bulk_at",
        "client",
        "flow",
        "gone",
        "heard",
        "lingering",
        "pair",
        "received",
        "seconds",
        "splice",
        "take",
        "transport",
    )

    steady: ClassVar = True  # said, as the uvloop reactor would have to find it out
    bare: ClassVar = True  # assigns nothing to its transport (balancer.net.connector)

    def __init__(self, pair: Pair, client: bool, seconds: Callable[[], float]) -> None:
        self.pair: Pair | None = pair
        self.client = client
        self.seconds = seconds
        self.heard = 0.0
        self.received = 0
        self.take: Callable[[bytes], object] = discard
        self.gone = True
        self.lingering = False
        self.bulk_at = NEVER
        self.splice: Splice | None = None
        self._words = ""
        self._aborted = False
        self._closing = False
        self._end_sent = False

    def __repr__(self) -> str:
        kind = "client" if self.client else "backend"
        return f"<Side {kind} {'gone' if self.gone else self.flow!r} received={self.received}>"

    # -- what Twisted calls --------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected."""
        self.transport = cast(IConnection, transport)
        self.flow = Flow(self.transport)
        self.gone = False
        self.connectionMade()

    def connectionMade(self) -> None:
        """Begin."""
        if self.pair is not None:
            self.pair.made(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand on."""
        self.received += len(data)
        self.heard = self.seconds()
        self.take(data)
        if len(data) >= FULL and self.received >= self.bulk_at and self.pair is not None:
            self.pair.bulk(self)

    def readConnectionLost(self) -> None:
        """The end of what it sends."""
        self.flow.pause(ENDED)
        if self.pair is not None:
            self.pair.ended(self)

    def writeConnectionLost(self) -> None:
        """All is written, and our end with it."""
        self._end_sent = True
        if self.pair is not None:
            self.pair.flushed(self)

    def connectionLost(self, reason: Failure) -> None:
        """It is gone."""
        self.gone = True
        self.unsplice()
        pair, self.pair = self.pair, None
        # Most TLS peers close without answering our close_notify; they have it, and so all that came before it.
        done = isinstance(reason.value, ConnectionDone)
        clean = done or (self._closing and not self._aborted and self._tls)
        if pair is not None:
            pair.lost(self, clean, self._words or (CLEANLY if done else str(reason.value)))
        self.take, self.seconds = discard, _never  # the last references in the circle

    # -- what a splice tells -------------------------------------------------------------------------------------

    def moved(self, size: int) -> None:
        """So much came and goes on."""
        self.received += size
        self.heard = self.seconds()

    def blocked(self) -> None:
        """The other takes no more: the idle timeout counts, as it does while reading is paused."""

    def unblocked(self) -> None:
        """It does again."""

    def handed_back(self, rest: bytes) -> None:
        """Read here again."""
        self.splice = None
        if rest:
            self.take(rest)
        self.flow.resume(BULK)

    def source_lost(self, words: str) -> None:
        """This connection is lost."""
        self.splice = None
        self.cut(words)

    def target_lost(self, words: str) -> None:
        """The other is."""
        self.splice = None
        if self.pair is not None:
            self.pair.broken(self, words)

    def stop(self, cause: Termination, reason: str) -> None:
        """What stands in front of it ends the connection."""
        if self.pair is not None:
            self.pair.stop(cause, reason)

    # -- what the pair orders ------------------------------------------------------------------------------------

    def end(self) -> None:
        """End our sending once what waits is written; go on reading."""
        if not self.gone:
            # A producer that is registered would be resumed in place of the end's being sent.
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close once what waits is written; nobody takes what still comes."""
        if not self.gone and not self._closing:
            self._closing = True
            self._take_no_more()
            self.transport.unregisterProducer()  # with one, Twisted waits for it to finish
            finish(self.transport)

    def linger(self) -> None:
        """Close once what waits is written, without resetting: a close with bytes unread would take what was sent
        before from the peer. So only our end is sent, and what still comes is read and dropped, for a while.
        """
        if self.gone:
            return
        if self.flow.ended or not can_half_close(self.transport):
            self.close()  # nothing can be unread; or somebody else's TLS
            return
        self.lingering = True
        if self._tls:
            self.close()  # sends our end at once and reads to the peer's by itself
            return
        self._take_no_more()
        if self._end_sent:
            self.writeConnectionLost()
        else:
            self.end()

    def cut(self, words: str) -> None:
        """It is lost, though its transport has not noticed: reset what is left of it."""
        self._words = words
        self.abort()

    def unsplice(self) -> None:
        """What it sends goes no longer through the kernel; what is in the pipe is dropped."""
        splice, self.splice = self.splice, None
        if splice is not None:
            splice.stop()
            if not self.gone:
                self.flow.resume(BULK)

    def abort(self) -> None:
        """Reset; what waits is dropped."""
        if not self.gone and not self._aborted:
            self._aborted = True
            self.unsplice()
            self.transport.unregisterProducer()
            # Transports of other people's endpoints may be without it.
            getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    @property
    def _tls(self) -> bool:
        return is_tls(self.transport)

    def _heard_before(self) -> float:
        return self.heard

    def _take_no_more(self) -> None:
        """What comes is read and dropped, and is no sign of life."""
        self.take, self.seconds = discard, self._heard_before
        self.bulk_at = NEVER
        self.unsplice()
        self.flow.resume(CONSUMER | HOLD)


classImplements(Side, IProtocol, IHalfCloseableProtocol)


def _never() -> float:
    """Whoever is gone gives no sign of life."""
    return 0.0
