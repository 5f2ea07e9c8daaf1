"""What both parsers share: the buffer, the bodies, the end of the stream, and a refusal that lasts.

The buffer holds what was fed and not yet asked for, so whoever feeds decides how much that is (``unread``).
Bodies pass through uncopied where a feed holds nothing else. This module never reads a start line.
"""

import enum
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from balancer.http1.body import ChunkedBody, cut
from balancer.http1.faults import Malformed
from balancer.http1.heads import CHUNKED, CLOSE, LENGTH, EndOfMessage, Framing
from balancer.http1.limits import HttpLimits


class Signal(enum.Enum):
    """What ``next_event`` says when there is no event."""

    NEED_DATA = "need data"
    """Feed more, or say that the stream ended."""
    PAUSED = "paused"
    """The message is over; nothing comes before the caller asked for the next one."""


NEED_DATA: Final = Signal.NEED_DATA
PAUSED: Final = Signal.PAUSED

Head = TypeVar("Head")
Event: TypeAlias = Head | bytes | EndOfMessage | Literal[Signal.NEED_DATA, Signal.PAUSED]

IDLE, HEAD, BODY, CHUNKS, UNTIL_CLOSE, COMPLETE, OVER, DETACHED = range(8)
"""Where a parser stands: no message expected; before or in a head; in one of the three kinds of body; before the
message's end was told; after; the stream was taken away."""
_NAMES: Final = ("idle", "head", "body", "chunks", "until close", "complete", "over", "detached")

_TRUNCATED: Final = ("the stream ended in the middle of a message", "RFC 9112 section 8")


class MessageReader(Generic[Head]):
    """A pull parser of one direction of a connection: feed bytes, take events until there are none.

    :ivar limits: what a message may weigh.
    """

    __slots__ = ("_chunked", "_data", "_ended", "_fault", "_left", "_position", "_starved", "_state", "limits")

    def __init__(self, limits: HttpLimits, state: int) -> None:
        self.limits = limits
        self._state = state
        self._data: bytes | bytearray = b""
        self._position = 0  # all before it was given out
        self._left = 0  # bytes of a LENGTH body to come
        self._chunked: ChunkedBody | None = None
        self._starved = True  # asked for more since the last feed
        self._ended = False
        self._fault: Malformed | None = None

    @property
    def unread(self) -> int:
        """Bytes buffered and not given out; the edge stops reading when they get too many."""
        return len(self._data) - self._position

    @property
    def coming(self) -> int:
        """Bytes still to come of a body whose length is known, where nothing unread is buffered; else 0."""
        return self._left if self._state == BODY and not self.unread else 0

    def pass_by(self, size: int) -> None:
        """So many of the bytes that were :attr:`coming` went another way: they give no event.

        :raises RuntimeError: not so many were; nothing was changed.
        """
        if size > self.coming:
            raise RuntimeError(f"{self!r}: {size} bytes of a body of which {self.coming} are to come")
        self._left -= size
        if not self._left:
            self._state = COMPLETE

    def feed(self, data: bytes) -> None:
        """Buffer what the peer sent.

        :raises RuntimeError: the stream ended or was taken away; nothing was changed.
        """
        if self._ended or self._state == DETACHED:
            raise RuntimeError(f"{self!r} is fed after its stream ended or was taken away")
        if self._fault is not None:
            return  # nobody will ever ask for it
        self._starved = False
        held = self._data
        if self._position == len(held):
            self._data = data
            self._position = 0
            return
        # Part of the buffer is unread, so it grows: in a bytearray that costs amortised constant time a byte.
        if isinstance(held, bytearray):
            del held[: self._position]
            held += data
        else:
            self._data = bytearray(memoryview(held)[self._position :])
            self._data += data
        self._position = 0

    def next_event(self) -> Event[Head]:
        """The next event, in the order of the stream; see each parser for what it raises and when."""
        if self._fault is None:
            try:
                return self._advance()
            except Malformed as fault:
                self._fault = fault
                self._chunked = None
                self._data, self._position = b"", 0
        raise self._blame(self._fault) from None

    def _advance(self) -> Event[Head]:
        state = self._state
        if state == HEAD:
            return self._read_head()
        if state == BODY:
            return self._read_length()
        if state == COMPLETE:
            return self._complete()
        if state == CHUNKS:
            return self._read_chunks()
        if state == UNTIL_CLOSE:
            return self._read_until_close()
        return self._rest()

    def _read_head(self) -> Event[Head]:
        raise NotImplementedError

    def _blame(self, fault: Malformed) -> Exception:
        """The exception of this direction for a fault; a new one each time, so that tracebacks do not add up."""
        raise NotImplementedError

    def _rest(self) -> Event[Head]:
        """What to say when no message is under way."""
        return PAUSED

    def _begin_body(self, framing: Framing) -> None:
        kind = framing.kind
        if framing.empty:
            self._state = COMPLETE
        elif kind is LENGTH:
            self._left = framing.length
            self._state = BODY
        elif kind is CHUNKED:
            self._chunked = ChunkedBody(self.limits, self._body_room())
            self._state = CHUNKS
        elif kind is CLOSE:
            self._state = UNTIL_CLOSE

    def _body_room(self) -> int | None:
        return None

    def _complete(self) -> EndOfMessage:
        trailers = self._chunked.trailers if self._chunked is not None else None
        self._chunked = None
        self._state = OVER
        return EndOfMessage(trailers or [])

    def _starve(self) -> Literal[Signal.NEED_DATA]:
        """Wait for more, holding on to nothing that was given out; refuse if no more can come."""
        if self._position == len(self._data):
            self._data, self._position = b"", 0
        if self._ended:
            raise Malformed(400, *_TRUNCATED)
        self._starved = True
        return NEED_DATA

    def _take(self, size: int) -> bytes:
        start = self._position
        end = start + size
        data = self._data
        if end == len(data):
            self._data, self._position = b"", 0
        else:
            self._position = end
        return cut(data, start, end)

    def _read_length(self) -> Event[Head]:
        available = len(self._data) - self._position
        if not available:
            return self._starve()
        size = min(available, self._left)
        self._left -= size
        if not self._left:
            self._state = COMPLETE
        return self._take(size)

    def _read_chunks(self) -> Event[Head]:
        chunked = self._chunked
        assert chunked is not None
        pieces: list[bytes] = []
        self._position = chunked.decode(self._data, self._position, pieces)
        if chunked.trailers is not None:
            self._state = COMPLETE
        if pieces:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._starve() if self._state == CHUNKS else self._complete()

    def _read_until_close(self) -> Event[Head]:
        available = len(self._data) - self._position
        if available:
            return self._take(available)
        if not self._ended:
            return NEED_DATA
        return self._complete()

    def _detach(self) -> bytes:
        rest = cut(self._data, self._position, len(self._data))
        self._data, self._position = b"", 0
        self._state = DETACHED
        return rest

    def __repr__(self) -> str:
        state = "refused" if self._fault is not None else _NAMES[self._state]
        return f"<{type(self).__name__} {state} unread={self.unread}{' ended' if self._ended else ''}>"
