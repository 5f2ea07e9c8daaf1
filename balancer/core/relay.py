"""Two connections joined into one: who has ended or gone, and what follows for the other.

The rules, from TCP's own (RFC 9293 sections 3.5.2 and 3.6): an end that was read ends that direction only, and the
other direction goes on; when both directions have ended both connections close; a connection that was lost without
an end is passed on as an abort, so that nobody takes a part for the whole. It says what is to be done and never
does it, and it never sees a byte that is carried.
"""

from enum import Enum

from balancer.core.lease import Outcome
from balancer.core.termination import Termination


class Step(Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    END_OTHER = "end the other's sending side once what is on its way is written"
    CLOSE_BOTH = "close both once what is on its way is written"
    CLOSE_OTHER = "close the other once what is on its way is written; nobody takes what it still sends"
    ABORT_OTHER = "abort the other at once"


class Stand(Enum):
    """How far one connection is."""

    OPEN = "open"
    ENDED = "ended"
    LOST = "lost"


class Relay:
    """The pair. ``client`` in a call says which of the two it speaks of.

    :ivar cause: why it ended: the first cause, which what follows from it does not change.
    :ivar reason: that cause in words; empty where there is nothing to add.
    :ivar over: both connections are gone.
    """

    __slots__ = ("_backend", "_client", "cause", "client_ended_first", "reason")

    def __init__(self) -> None:
        self._client = Stand.OPEN
        self._backend = Stand.OPEN
        self.cause: Termination | None = None
        self.reason = ""
        self.client_ended_first = False

    def __repr__(self) -> str:
        cause = self.cause.value if self.cause else "none"
        return f"<Relay client={self._client.value} backend={self._backend.value} cause={cause}>"

    @property
    def over(self) -> bool:
        """Whether both connections are gone."""
        return self._client is Stand.LOST and self._backend is Stand.LOST

    @property
    def outcome(self) -> Outcome:
        """What it told about the backend.

        A reset after the client had ended is how many servers close, and no failure; a tunnel that was idle for its
        whole timeout, or was cut by a shutdown, was served.
        """
        if self.cause is Termination.CLIENT_LEFT:
            return Outcome.CLIENT_LEFT
        if self.cause is Termination.BACKEND_RESET and not self.client_ended_first:
            return Outcome.RESET
        return Outcome.SUCCESS

    def ended(self, client: bool, other_half_closes: bool = True) -> Step:
        """The end of what it sends was read from one connection.

        :param other_half_closes: whether the other can end its sending side alone. Where it cannot (TLS in front of
            the client) it is closed: told late or never it would wait for ever.
        """
        mine, other = (self._client, self._backend) if client else (self._backend, self._client)
        if mine is not Stand.OPEN:
            return Step.NOTHING  # some reactors tell it twice
        self._set(client, Stand.ENDED)
        if client and other is Stand.OPEN:
            self.client_ended_first = True
        if other is Stand.OPEN and other_half_closes:
            return Step.END_OTHER
        return Step.CLOSE_BOTH

    def lost(self, client: bool, clean: bool, words: str = "") -> Step:
        """One connection is gone.

        :param clean: it closed in order (by our own hand, or TLS, which has no half-close), and was not cut.
        :param words: what the transport said of it.
        """
        mine, other = (self._client, self._backend) if client else (self._backend, self._client)
        self._set(client, Stand.LOST)
        # A server that has ended and closed resets a client that goes on sending. What it sent is whole, and
        # aborting would take the rest of it from the client.
        clean = clean or (not client and mine is Stand.ENDED)
        if not clean:
            self.settle(Termination.CLIENT_LEFT if client else Termination.BACKEND_RESET, words)
        if other is Stand.LOST:
            self.settle(Termination.DONE)
            return Step.NOTHING
        return Step.CLOSE_OTHER if clean else Step.ABORT_OTHER

    def settle(self, cause: Termination, reason: str = "") -> None:
        """Give the cause, unless there is one: a timeout or a shutdown does so before it aborts both."""
        if self.cause is None:
            self.cause = cause
            self.reason = reason

    def _set(self, client: bool, stand: Stand) -> None:
        if client:
            self._client = stand
        else:
            self._backend = stand
