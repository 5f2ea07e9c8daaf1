"""TLS over any stream transport: a protocol for the transport below, and a transport for the protocol above.

It does what Twisted's ``TLSMemoryBIOProtocol`` does with the same memory BIOs, with fewer steps for each record:

- all records of one read are handed on together, and what they cause to be sent goes down in one write;
- what is written goes down within the call: nothing waits here for the next turn of the reactor, so the back-pressure
  of the transport below is the whole of it, and its producer is the protocol's own;
- the protocol above is made when the handshake is done, so neither has to think of the other's beginning.

And three things it does otherwise. ``close_notify`` ends one direction (RFC 8446 section 6.1), so half-close works both
ways. A stream that ends without it is a lost connection, never a closed one. A reset sends none, so that a peer cannot
take what was cut for what was finished. Renegotiation has to be off in the context: only then no write ever waits for a
read. It never looks at certificates and never keeps time.
"""

from collections.abc import Callable
from typing import Any, cast

from OpenSSL.crypto import X509
from OpenSSL.SSL import Connection, WantReadError, ZeroReturnError
from OpenSSL.SSL import Error as TlsError
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    INegotiated,
    IProducer,
    IProtocol,
    ISSLTransport,
    ISystemHandle,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.net.flow import CHUNK, IConnection, peer_name
from balancer.net.proxied import Proxied, proxied

RECORD = 16384
"""Bytes of content in one record at most (RFC 8446 section 5.1); OpenSSL never returns more at one time."""

HEADER = 5
"""Bytes in front of a record: its type, two for the version, two for the length of the rest."""

UNKNOWN = -1
"""So many records: as many as there are. (Counted down it never becomes 0.)"""

OVERHEAD = 96
"""Bytes that encryption adds to one record at most: 5 of header, 256 of padding are allowed but never sent, at most 16
of nonce, 48 of authentication code and 16 of padding to the block."""

HANDSHAKE = 8192
"""Bytes that may wait to be sent beside application data: two tickets, an alert, a small chain of certificates."""


@implementer(IProtocol, IConnection, IHalfCloseableProtocol, ISSLTransport, INegotiated, ISystemHandle)
class TlsStream:
    """See the module. A subclass says what the ends of the handshake mean.

    :ivar disconnecting: it is being closed (as Twisted's transports say it).
    """

    __slots__ = (
        "__weakref__",
        "_aborted",
        "_connection",
        "_deliver",
        "_protocol",
        "_raw",
        "_reason",
        "_read_ended",
        "_rest",
        "_shaken",
        "_write_ended",
        "disconnecting",
    )

    def __init__(self) -> None:
        self._shaken = False
        self._rest = 0  # bytes still to come of the record that has begun
        self._read_ended = False  # the peer's close_notify came
        self._write_ended = False  # ours was sent, or nothing can be sent any more
        self._aborted = False
        self._reason: Failure | None = None
        self.disconnecting = False

    def __repr__(self) -> str:
        state = "closing" if self.disconnecting else "open" if self._shaken else "handshaking"
        return f"<{type(self).__name__} {state}>"

    # -- what a subclass says ------------------------------------------------------------------------------------

    def tls_side(self) -> Connection:
        """The TLS side, with memory BIOs and without renegotiation, set to accept or to connect."""
        raise NotImplementedError

    def secured(self) -> IProtocol:
        """The handshake is done: the protocol for what is inside."""
        raise NotImplementedError

    def unsecured(self, reason: Failure) -> None:
        """It ended before: nobody else hears of it."""
        raise NotImplementedError

    # -- what the transport below calls --------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Nothing: the handshake is begun by :meth:`makeConnection`."""

    def makeConnection(self, transport: ITransport) -> None:
        """Begin the handshake."""
        self._raw = cast(IConnection, transport)
        self._connection: Connection = self.tls_side()
        self._shake()

    def dataReceived(self, data: bytes) -> None:
        """Decrypt, hand on, and send what that caused."""
        if self._read_ended or self._aborted:
            return
        self._connection.bio_write(data)
        records = self._count(data)
        if self._shaken:
            self._receive(records)
        elif self._shake():
            self._receive(UNKNOWN)
            if not self._aborted:
                self._flush()  # the end of the handshake, where nothing was written behind it

    def readConnectionLost(self) -> None:
        """The TCP stream ended: in order only after ``close_notify``, or when we have closed already."""
        if self.disconnecting:
            self._raw.loseConnection()
        elif not self._read_ended:
            self._fail(ConnectionLost("it closed the connection without close_notify"))

    def writeConnectionLost(self) -> None:
        """All is written, and our TCP stream ended with it, which is done only in closing."""
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is not None:
            half.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """The connection below is gone."""
        if self._reason is not None:
            reason = self._reason
        elif reason.check(ConnectionDone) and not (self._read_ended or self.disconnecting):
            reason = Failure(ConnectionLost("it closed the connection without close_notify"))
        self._write_ended = self._aborted = True
        if self._shaken:
            protocol = self._protocol
            del self._protocol, self._deliver  # they hold us, and we them
            protocol.connectionLost(reason)
        else:
            self.unsecured(reason)
        del self._connection  # some 20 KiB, which are not to wait for whoever still holds the transport

    # -- inside --------------------------------------------------------------------------------------------------

    def _shake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        try:
            self._connection.do_handshake()
        except WantReadError:
            if not self._aborted:
                self._flush()
            return False
        except TlsError as error:
            if not self._aborted:
                self._fail(error)
            return False
        if self._aborted:
            return False
        self._shaken = True
        self._protocol = self.secured()
        self._deliver: Callable[[bytes], object] = self._protocol.dataReceived
        self._protocol.makeConnection(self)
        return True

    def _count(self, data: bytes) -> int:
        """How many records end in what came, where the last of them ends with it, too; else ``UNKNOWN``.

        Their headers are in the clear (RFC 8446 section 5.1). Knowing the number saves asking OpenSSL once more only
        to be told by an exception that there is nothing left, which costs as much as decrypting a small record.
        """
        size = len(data)
        offset = self._rest
        if offset == UNKNOWN:
            return UNKNOWN
        records = 1 if offset else 0  # the one that had begun
        while offset + HEADER <= size:
            offset += HEADER + (data[offset + 3] << 8 | data[offset + 4])
            records += 1
        self._rest = offset - size if offset >= size else UNKNOWN  # a header was cut: that is rare, so not followed up
        return records if offset == size else UNKNOWN

    def _receive(self, records: int) -> None:
        """All that came, at once."""
        recv = self._connection.recv
        found: list[bytes] = []
        ended = False
        broken: TlsError | None = None
        try:
            while records:
                found.append(recv(RECORD))
                records -= 1
        except WantReadError:
            pass
        except ZeroReturnError:
            ended = True
        except TlsError as error:
            broken = error
        if found:
            self._deliver(found[0] if len(found) == 1 else b"".join(found))
        else:
            self._flush()  # the end of the handshake, or an answer of OpenSSL's own
        if self._aborted:
            return
        if ended:
            self._end()
        elif broken is not None:
            self._fail(broken)

    def _flush(self) -> None:
        """Send what OpenSSL has to say by itself."""
        read = self._connection.bio_read
        try:
            while True:
                self._raw.write(read(CHUNK))
        except WantReadError:
            pass

    def _end(self) -> None:
        """The peer's ``close_notify``."""
        self._read_ended = True
        if self.disconnecting:
            self._raw.loseConnection()
            return
        half = IHalfCloseableProtocol(self._protocol, None)
        if half is not None:
            half.readConnectionLost()
        else:
            self.loseConnection()

    def _fail(self, error: Exception) -> None:
        """TLS cannot go on: say so to the peer (an alert is waiting, if there is one), and close."""
        self._reason = self._reason or Failure(error)
        self._flush()
        self._write_ended = self._aborted = self.disconnecting = True
        if self._shaken:
            self._raw.unregisterProducer()
            self._reset()  # what still waits to be written would wait for a peer that does not speak TLS any more
        else:
            self._raw.loseConnection()

    def _reset(self) -> None:
        # Transports of other people's endpoints may be without it.
        getattr(self._raw, "abortConnection", self._raw.loseConnection)()

    def _notify(self) -> None:
        """Send ``close_notify``, once."""
        if not self._write_ended:
            self._write_ended = True
            try:
                self._connection.shutdown()
            except TlsError as error:
                self._reason = Failure(error)
            self._flush()

    # -- what the protocol above calls ---------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encrypt and send; dropped after the end."""
        if self._write_ended:
            return
        connection = self._connection
        # Everything fits into one read of the BIO, but for the rare message of OpenSSL's own, which _flush gets.
        size = len(data) + (len(data) // RECORD + 1) * OVERHEAD + HANDSHAKE
        connection.sendall(data)
        out = connection.bio_read(size)
        self._raw.write(out)
        if len(out) == size:
            self._flush()

    def writeSequence(self, iovec: Any) -> None:
        """Encrypt and send, as one."""
        data = b"".join(iovec)
        if data:
            self.write(data)

    def loseWriteConnection(self) -> None:
        """Send ``close_notify``; what the peer still sends is received.

        A peer that follows TLS 1.2 to the letter closes, which ends the connection in order.
        """
        if not self._shaken:
            self.abortConnection()
        else:
            self._notify()

    def loseConnection(self) -> None:
        """Send ``close_notify`` and the end of the TCP stream, and wait for the peer's; what still comes is dropped by
        the protocol above. How long, that protocol decides: :meth:`abortConnection` ends the wait.

        (Closing at once would reset the connection if the peer was sending, and so take from it what it has not read.)
        """
        if self.disconnecting or self._aborted:
            return
        if not self._shaken:
            self.abortConnection()
            return
        self.disconnecting = True
        self._notify()
        if self._read_ended:
            self._raw.loseConnection()
        else:
            self._raw.loseWriteConnection()
            self._raw.resumeProducing()

    def abortConnection(self) -> None:
        """Reset: no ``close_notify``, and what waits is dropped."""
        self._write_ended = self._aborted = self.disconnecting = True
        self._reset()

    def failVerification(self, reason: Failure) -> None:
        """The certificate is not what it should be (called by Twisted's ``ClientTLSOptions`` in the handshake)."""
        self._reason = reason  # what called it makes OpenSSL give up, with an alert

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Nothing waits here, so the transport below says when to pause."""
        self._raw.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Forget it."""
        self._raw.unregisterProducer()

    def pauseProducing(self) -> None:
        """Read no more."""
        self._raw.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._raw.resumeProducing()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    @property
    def bufferSize(self) -> int:
        """Of the transport below."""
        return int(getattr(self._raw, "bufferSize", CHUNK))

    @bufferSize.setter
    def bufferSize(self, size: int) -> None:
        if hasattr(self._raw, "bufferSize"):
            self._raw.bufferSize = size

    def getHost(self) -> IPv4Address | IPv6Address:
        """Our address."""
        return self._raw.getHost()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The peer's address."""
        return self._raw.getPeer()

    def peer_name(self) -> tuple[str, int] | None:
        """The same, as :func:`balancer.net.flow.peer_name` has it."""
        return peer_name(self._raw)

    @property
    def proxied(self) -> Proxied | None:
        """Of the transport below."""
        return proxied(self._raw)

    def getTcpNoDelay(self) -> bool:
        """Of the transport below."""
        return bool(self._raw.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Of the transport below."""
        self._raw.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """Of the transport below."""
        return bool(self._raw.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Of the transport below."""
        self._raw.setTcpKeepAlive(enabled)

    def getHandle(self) -> Connection:
        """The TLS side, for those who ask it for names and versions."""
        return self._connection

    def getPeerCertificate(self) -> X509 | None:
        """What the peer showed."""
        return self._connection.get_peer_certificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What ALPN agreed on; ``None`` for nothing."""
        return self._connection.get_alpn_proto_negotiated() or None
