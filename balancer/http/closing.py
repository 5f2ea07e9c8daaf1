"""How a client's connection ends: in order, with the answer read first, or by a reset; and how long each may take.

RFC 9112 section 9.6: closing a socket while the client still sends makes the kernel reset it, which may destroy the
answer before the client has read it. So the sending side is closed first, what still comes is dropped for a while,
and only then is the socket closed. It never decides that a connection is to end.
"""

from collections.abc import Callable

from balancer.core.timeouts import ClientTimeouts
from balancer.net.flow import BUSY, HOLD, Flow, IConnection
from balancer.net.timers import Timer, TimerWheel
from balancer.net.tls import can_half_close


class Closing:
    """See the module; it also keeps the time of a client that does not read.

    :param gave_up: called where the client read nothing for ``timeouts.write`` seconds.
    """

    __slots__ = ("_call", "_flow", "_gave_up", "_timeouts", "_timer", "_transport")

    def __init__(
        self,
        transport: IConnection,
        flow: Flow,
        timers: TimerWheel,
        timeouts: ClientTimeouts,
        gave_up: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._timeouts = timeouts
        self._gave_up = gave_up
        self._timer = Timer(timers, self._expired)
        self._call: Callable[[], None] = gave_up

    def stalled(self) -> None:
        """What was written waits for the client to read."""
        self._in(self._timeouts.write, self._gave_up)

    def reading(self) -> None:
        """The client reads again."""
        if self._call == self._gave_up:
            self._timer.cancel()

    def close(self) -> None:
        """Close once everything is written; a client that does not read it in time is reset."""
        self._transport.unregisterProducer()  # with one, Twisted waits for it to finish
        self._in(self._timeouts.write, self.abort)
        self._transport.loseConnection()

    def linger(self) -> None:
        """Close once everything is written and the client had time to read it."""
        if not can_half_close(self._transport) or self._flow.ended:
            self.close()  # TLS reads to the client's close_notify by itself
            return
        self._transport.unregisterProducer()
        self._in(self._timeouts.linger, self.close)
        self._transport.loseWriteConnection()
        self._flow.resume(BUSY | HOLD)

    def abort(self) -> None:
        """Reset; what is not written is dropped."""
        self.done()
        # Transports of other people's endpoints may be without it.
        getattr(self._transport, "abortConnection", self._transport.loseConnection)()

    def done(self) -> None:
        """The connection is gone."""
        self._timer.cancel()

    def _in(self, delay: float, call: Callable[[], None]) -> None:
        self._call = call
        self._timer.rearm(delay)

    def _expired(self) -> None:
        self._call()
