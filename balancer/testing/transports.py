"""Two joined in-memory transports that can half-close, abort, pause and push back, moved by hand.

``StringTransport`` and ``iosim`` cannot half-close and have no limits. These behave as Twisted's TCP transports do,
surprises included: a write buffer above ``bufferSize`` pauses the producer at each write, a producer that is paused
is resumed *instead of* the end's being sent, ``loseConnection`` after a half-close closes within the call, a lost
consumer stops its producer, and reading again after the end tells the end again. Nothing moves but by :meth:`Wire.step`
or :func:`flush`, so a test decides what happens in which order. The network between them holds nothing: what is
written waits in the writer until the reader reads.
"""

from collections.abc import Iterable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProducer, IProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.net.flow import IConnection


@implementer(IConnection)
class MemoryTransport:
    """One end. ``peer`` is the other.

    :ivar waiting: bytes written and not yet read by the other end.
    :ivar reading: whether it takes bytes.
    :ivar disconnected: it is gone.
    :ivar aborted: it was reset by our side.
    :ivar half_closed: its own end was sent.
    :ivar peak: the most bytes that ever waited.
    :ivar no_delay: TCP_NODELAY was set; ``keep_alive`` likewise.
    """

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        self.bufferSize = 65536
        self.producer: IPushProducer | None = None
        self.waiting = bytearray()
        self.reading = True
        self.disconnecting = False
        self.disconnected = False
        self.aborted = False
        self.half_closed = False
        self.end_read = False
        self.peak = 0
        self.no_delay = self.keep_alive = False
        self.protocol: IProtocol
        self.other: MemoryTransport
        self._ending = False
        self._producer_paused = False
        self._writing = False  # Twisted's transports act on an end or a close only while they watch for writing
        self._addresses = (host, peer)

    def __repr__(self) -> str:
        state = "gone" if self.disconnected else "closing" if self.disconnecting else "open"
        return f"<MemoryTransport {state} waiting={len(self.waiting)} reading={self.reading}>"

    # -- what a protocol calls -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Add to what waits."""
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if self.disconnected or self.half_closed:
            return
        self.waiting += data
        self._writing = True
        self.peak = max(self.peak, len(self.waiting))
        if self.producer is not None and len(self.waiting) > self.bufferSize:
            self._producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Add to what waits, at once."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when nothing waits; at once where the end was sent already."""
        if self.disconnected or self.disconnecting:
            return
        self.reading = False
        if self.half_closed:
            self.lose(ConnectionDone())
        else:
            self.disconnecting = self._writing = True

    def loseWriteConnection(self) -> None:
        """Send the end when nothing waits."""
        self._ending = self._writing = True

    def abortConnection(self) -> None:
        """Reset, in the next step."""
        if not self.disconnected:
            self.aborted = True
            self.reading = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause it while too much waits."""
        if not streaming or not IPushProducer.providedBy(producer):
            raise ValueError("only push producers")
        if self.producer is not None:
            raise RuntimeError("a producer is registered already")
        if self.disconnected:
            producer.stopProducing()
        else:
            self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget it."""
        self.producer = None
        self._writing = self._writing or self.disconnecting

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        if not self.disconnected and not self.disconnecting:
            self.reading = True

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def getHost(self) -> IPv4Address:
        """Its own address."""
        return self._addresses[0]

    def getPeer(self) -> IPv4Address:
        """The other end's address."""
        return self._addresses[1]

    def getTcpNoDelay(self) -> bool:
        """What was set."""
        return self.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember it."""
        self.no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        """What was set."""
        return self.keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remember it."""
        self.keep_alive = enabled

    # -- what the wire does --------------------------------------------------------------------------------------

    def lose(self, reason: Exception) -> None:
        """It is gone."""
        if self.disconnected:
            return
        self.disconnected = True
        self.reading = False
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))

    def step(self) -> bool:
        """Do one thing this end is due to do; whether there was one."""
        other = self.other
        if self.aborted and not self.disconnected:
            self.waiting.clear()
            self.lose(ConnectionAborted())
            other.lose(ConnectionLost())
            return True
        if self.waiting and not self.disconnected:
            return self._send(other)
        if (self.disconnecting or self._ending) and self._writing and not self.half_closed and not self.disconnected:
            return self._finish()
        if (self.half_closed or self.disconnected) and other.reading and not other.disconnected:
            return self._tell_end(other)
        return False

    def _send(self, other: "MemoryTransport") -> bool:
        if other.disconnected:
            self.waiting.clear()
            self.lose(ConnectionLost())  # the answer of a closed socket to bytes is a reset
            return True
        if not other.reading:
            return False
        data = bytes(self.waiting[: other.bufferSize])
        del self.waiting[: other.bufferSize]
        other.protocol.dataReceived(data)
        if not self.waiting and self.producer is not None and self._producer_paused:
            self._producer_paused = self._writing = False
            self.producer.resumeProducing()
        return True

    def _finish(self) -> bool:
        if self.disconnecting:
            self.lose(ConnectionDone())
            return True
        self._ending = False
        self.half_closed = True
        listening = IHalfCloseableProtocol(self.protocol, None)
        if listening is not None:
            listening.writeConnectionLost()
        return True

    def _tell_end(self, other: "MemoryTransport") -> bool:
        other.reading = False
        other.end_read = True
        listening = IHalfCloseableProtocol(other.protocol, None)
        if listening is None:
            other.lose(ConnectionDone())
        else:
            listening.readConnectionLost()
        return True


class Wire:
    """Two protocols joined; ``left`` was connected to, ``right`` connected (its peer address is ``left``'s).

    :cvar transport: what its ends are.
    """

    transport: type[MemoryTransport] = MemoryTransport

    def __init__(self, left: IProtocol, right: IProtocol, host: str = "192.0.2.1", port: int = 40000) -> None:
        server, client = IPv4Address("TCP", "127.0.0.1", 80), IPv4Address("TCP", host, port)
        self.left, self.right = self.transport(server, client), self.transport(client, server)
        self.left.other, self.right.other = self.right, self.left
        self.left.protocol, self.right.protocol = left, right

    def open(self) -> "Wire":
        """Tell both protocols that they are connected."""
        self.right.protocol.makeConnection(self.right)
        self.left.protocol.makeConnection(self.left)
        return self

    def step(self) -> bool:
        """Let each end do one thing; whether anything was done."""
        done = self.left.step()
        return self.right.step() or done


def flush(*wires: Wire, limit: int = 100_000) -> None:
    """Let all wires step until nothing moves.

    :raises AssertionError: they never come to rest.
    """
    for _ in range(limit):
        if sum(wire.step() for wire in wires) == 0:  # each of them steps, whatever the others do
            return
    raise AssertionError(f"still moving after {limit} steps")
