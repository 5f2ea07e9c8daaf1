"""Back-pressure, as layer 4 and layer 7 share it: who wants a transport paused, and how large its buffers are.

A transport is paused for several reasons at a time (its consumer is full, nobody takes its bytes yet, …) and is
resumed only when the last of them is gone; without counting them the first that goes resumes what another paused.
This module never holds bytes.
"""

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from zope.interface import classImplements

from balancer.net.connection import IConnection as IConnection

CONSUMER = 1
"""A reason: who takes the bytes is full (what :meth:`Flow.pauseProducing` means)."""

HOLD = 2
"""A reason: nobody takes the bytes yet, and as many are held as may be."""

BUSY = 4
"""A reason: what was received already is not worked off (pipelined requests)."""

ENDED = 8
"""A reason that never goes: the end was read, and reading again would read it again."""

BULK = 16
"""A reason: the bytes go another way, through the kernel."""

CHUNK = 65536
"""Bytes Twisted's transports read at one time, and above which they pause a producer (``bufferSize``)."""


class Flow:
    """The reading of one transport. Register it as the push producer of whoever takes that transport's bytes.

    Registering this, and not the transport itself, keeps three promises that a transport does not: it resumes only
    when no reason is left, it never reads again after the end, and it does not close (``stopProducing``) because
    the consumer was lost: whoever owns both decides how the loss is passed on.
    """

    __slots__ = ("_reasons", "_transport")

    def __init__(self, transport: IPushProducer) -> None:
        self._transport = transport
        self._reasons = 0

    def __repr__(self) -> str:
        names = {CONSUMER: "consumer", HOLD: "hold", BUSY: "busy", ENDED: "ended", BULK: "bulk"}
        reasons = [name for reason, name in names.items() if self._reasons & reason]
        return f"<Flow {'paused by ' + ' '.join(reasons) if reasons else 'open'}>"

    @property
    def paused(self) -> bool:
        """Whether any reason holds it."""
        return self._reasons != 0

    @property
    def taking(self) -> bool:
        """Whether what the peer sends is taken: read here, or moved another way."""
        return self._reasons & ~BULK == 0

    @property
    def ended(self) -> bool:
        """Whether the end was read."""
        return self._reasons & ENDED != 0

    def pause(self, reason: int) -> None:
        """Stop reading for this reason; doing so twice is doing it once."""
        if not self._reasons:
            self._transport.pauseProducing()
        self._reasons |= reason

    def resume(self, reason: int) -> None:
        """This reason is gone; reads again where it was the last. ``ENDED`` never goes."""
        if not self._reasons:
            return
        self._reasons &= ~reason | ENDED
        if not self._reasons:
            self._transport.resumeProducing()

    def pauseProducing(self) -> None:
        """The consumer is full."""
        self.pause(CONSUMER)

    def resumeProducing(self) -> None:
        """The consumer has room again."""
        self.resume(CONSUMER)

    def stopProducing(self) -> None:
        """The consumer was lost: nothing is done here, for its protocol hears of it in ``connectionLost``."""


classImplements(Flow, IPushProducer)


def finish(transport: ITCPTransport) -> None:
    """Close once what waits is written, for who writes no more and is nobody's consumer any longer.

    (The class is asked for the uvloop reactor's short way: TLS and other wrappers pass unknown names on to what is
    below them.)
    """
    own = getattr(type(transport), "finish", None)
    if own is not None:
        own(transport)
    else:
        transport.loseConnection()


def keep_alive(transport: ITCPTransport) -> None:
    """Have keep-alive probes, where :func:`tune` left them for later."""
    tuned = getattr(transport, "tuned", None)
    if tuned is not None:
        tuned()


def peer_name(transport: ITCPTransport) -> tuple[str, int] | None:
    """The other end's IP address and port; ``None`` where it has none (UNIX).

    (The uvloop reactor's transports have it as accept(2) gave it, without an ``IAddress`` around it.)
    """
    own = getattr(transport, "peer_name", None)
    if own is not None:
        name: tuple[str, int] | None = own()
        return name
    address: object = transport.getPeer()  # declared as an IP address, which it need not be: who compiles believes it
    return (address.host, address.port) if isinstance(address, IPv4Address | IPv6Address) else None


def tune(transport: ITCPTransport, buffer: int = 4 * CHUNK, later: bool = False) -> None:
    """Set what every connection of ours has: TCP_NODELAY, keep-alive probes, and bounded buffers.

    What is on its way between two transports is at most one read of the one and one full write buffer of the other
    (a transport that has more than ``bufferSize`` waiting pauses its producer), so half of ``buffer`` for each keeps
    a direction within it.

    :param buffer: bytes held per direction.
    :param later: the caller sees to :func:`keep_alive`, should the connection last.
    """
    tuned = getattr(transport, "tuned", None)  # the uvloop reactor's know what is set already
    if tuned is not None:
        if not later:
            tuned()
    elif peer_name(transport) is not None:
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
    if buffer < 2 * CHUNK and hasattr(transport, "bufferSize"):
        transport.bufferSize = max(1, buffer // 2)
