"""What is to be written at the end of the turn: small writes of all streams, handed to the kernel one after the other.

A write wakes whoever reads at the other end, and where that is asleep waking it costs the writer more than the write
(on a virtual machine an interrupt to another processor). Written one right after the other, most find their reader
awake and busy with the one before. (Twisted's own transports, too, write in a later turn.) Where a turn holds only a
write or two there is nothing to gain: then writes go out at once, and now and then it is looked again.

It holds at most :data:`MOST` bytes and one more write, of all streams together, and never past the turn.
"""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.python import log
from twisted.python.failure import Failure

MOST = 131072
"""Bytes held at most: half the buffer that a connection may fill by itself. A large write goes out at once."""

FEW = 3
"""Writes in one turn below which it does not pay to collect them."""

LOOK = 32
"""Writes that go out at once until it is looked again how many come in a turn."""


class Writer(Protocol):
    """A stream."""

    _out: Any  # whose ``write`` takes bytes now

    def shut(self) -> None:
        """All is written: close."""

    def abort_for(self, reason: BaseException | None) -> None:
        """End at once, for this reason."""


class Outbox:
    """See the module. One for each reactor.

    :param call_soon: has a function called when this turn's events are worked off.
    :ivar waiting: each write that waits, in order; ``None`` in place of bytes stands for the end.
    """

    __slots__ = ("_at_once", "_call_soon", "_size", "waiting")

    def __init__(self, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._call_soon = call_soon
        self.waiting: list[tuple[Writer, bytes | None]] = []
        self._size = 0
        self._at_once = 0  # writes that go out at once from here on

    def __repr__(self) -> str:
        return f"<Outbox waiting={len(self.waiting)}>"

    def post(self, stream: Writer, data: bytes | bytearray | memoryview) -> None:
        """Write this for a stream, at the end of the turn at the latest and after all that was posted before.

        :raises TypeError: it is not bytes.
        """
        if self._at_once:
            self._at_once -= 1
            stream._out.write(data)
            return
        if type(data) is not bytes:  # it may change, or be no data at all
            self.flush()
            stream._out.write(data)
            return
        if not self.waiting:
            self._call_soon(self._turn_ended)
        self.waiting.append((stream, data))
        self._size += len(data)
        if self._size > MOST:
            self.flush()

    def close(self, stream: Writer) -> None:
        """This stream's writer is done: close it after what was posted before."""
        if self.waiting:
            self.waiting.append((stream, None))
        else:
            stream.shut()

    def flush(self) -> None:
        """Write all that waits."""
        waiting = self.waiting
        if not waiting:
            return
        self.waiting = []
        self._size = 0
        for stream, data in waiting:
            try:
                if data is None:
                    stream.shut()
                else:
                    stream._out.write(data)
            except BaseException:  # nobody who could be told is there, and the others' writes must not be lost
                log.err()
                stream.abort_for(Failure().value)

    def _turn_ended(self) -> None:
        if 0 < len(self.waiting) < FEW:
            self._at_once = LOOK
        self.flush()
