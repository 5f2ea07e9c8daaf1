"""How a client's connection ends: in order, with the answer read first, or by a reset; and how long each may take.

RFC 9112 section 9.6: closing a socket while the client still sends makes the kernel reset it, which may destroy the
answer before the client has read it. So the sending side is closed first, what still comes is dropped for a while,
and only then is the socket closed. It never decides that a connection is to end.
"""

from collections.abc import Callable

from balancer.core.timeouts import ClientTimeouts
from balancer.net.flow import BUSY, HOLD, Flow, IConnection, can_half_close, finish
from balancer.net.timers import Timer, TimerWheel, nothing


class Closing:
    """See the module; it also keeps the time of a client that does not read.

    :param timer: the connection's, which nobody else uses once this closes it.
    :param gave_up: called where the client read nothing for ``timeouts.write`` seconds.
    """

    __slots__ = ("_flow", "_gave_up", "_stalled", "_timeouts", "_timer", "_timers", "_transport")

    def __init__(
        self,
        transport: IConnection,
        flow: Flow,
        timers: TimerWheel,
        timer: Timer,
        timeouts: ClientTimeouts,
        gave_up: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._timers = timers
        self._timer = timer
        self._timeouts = timeouts
        self._gave_up = gave_up
        self._stalled: Timer | None = None

    def stalled(self) -> None:
        """What was written waits for the client to read."""
        if self._stalled is None:
            self._stalled = Timer(self._timers, self._gave_up)
        self._stalled.rearm(self._timeouts.write)

    def reading(self) -> None:
        """The client reads again."""
        if self._stalled is not None:
            self._stalled.cancel()

    def close(self) -> None:
        """Close once everything is written; a client that does not read it in time is reset."""
        self._transport.unregisterProducer()  # with one, Twisted waits for it to finish
        self._in(self._timeouts.write, self.abort)
        finish(self._transport)

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
        """The connection is gone: nothing is waited for, and nothing of us is left in a circle."""
        self.reading()
        self._timer.cancel()
        self._timer.callback = nothing
        self._gave_up = nothing
        self._stalled = None

    def _in(self, delay: float, call: Callable[[], None]) -> None:
        self.reading()
        self._timer.callback = call
        self._timer.rearm(delay)
