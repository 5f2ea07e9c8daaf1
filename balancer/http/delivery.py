"""A body on its way from a store to a client: read piece by piece, as fast as the client reads, and no faster.

It holds one piece at a time. It never decides what is sent, and never ends anything: its owner is told.
"""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from balancer.errors import StoreError
from balancer.http.bulk import Sink
from balancer.http.front import Front
from balancer.net.sendfile import FileSender, Sending

PIECE = 65536
"""Bytes read at one time: what a transport reads and writes at one time as well."""

PATIENCE = 10.0
"""Seconds a store may take for one answer; then it counts as failed. A disk that hangs hangs for longer."""

TO_THE_END = -1
"""The end of a piece that goes as far as the body, where that is not known yet."""


class BodySource(Protocol):
    """Where the bytes are."""

    def read(self, offset: int, size: int) -> object:
        """At most ``size`` bytes from there, or a Deferred of them; none where they are still to come, and
        :meth:`Delivery.go` will be called.

        :raises StoreError: they cannot be read.
        """

    @property
    def end(self) -> int:
        """Where the body ends; -1 where that is not known yet."""

    @property
    def file(self) -> tuple[int, int] | None:
        """A descriptor and where the body begins there, for the kernel to send it; ``None`` for none."""

    def moved_on(self, delivery: "Delivery") -> None:
        """It has taken something."""

    def leave(self, delivery: "Delivery") -> None:
        """It reads no more."""


class Taker(Protocol):
    """Whose delivery it is."""

    def sent(self, size: int) -> None:
        """So many bytes went to the front."""

    def delivered(self) -> None:
        """All of it did."""

    def undeliverable(self, reason: str) -> None:
        """The rest cannot be read."""


class Delivery:
    """See the module.

    :param pieces: what is sent, in order: literal bytes, and ``(offset, end)`` of the body (:data:`TO_THE_END`).
    :param patience: seconds for which one read of the source is waited for, by the front's timer.
    :param sender: has the kernel send pieces of files from ``least`` bytes on; ``None`` for nobody.
    """

    __slots__ = (
        "_busy", "_front", "_least", "_offset", "_over", "_patience", "_paused", "_pieces", "_sender", "_sending",
        "_sink", "_source", "_taker", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        front: Front,
        source: BodySource,
        pieces: Sequence[bytes | tuple[int, int]],
        taker: Taker,
        sender: FileSender | None = None,
        least: int = 0,
        patience: float = PATIENCE,
    ) -> None:
        self._patience = patience
        self._sender = sender if least else None
        self._least = least
        self._sending: Sending | None = None
        self._sink: Sink | None = None
        self._front = front
        self._source = source
        self._pieces: list[bytes | tuple[int, int]] = list(reversed(pieces))
        self._taker = taker
        self._offset = 0
        self._offset = self._begin()
        self._paused = False
        self._waiting = False  # for a Deferred
        self._busy = False
        self._over = False

    def __repr__(self) -> str:
        return f"<Delivery at {self._offset}{' paused' if self._paused else ''}{' over' if self._over else ''}>"

    @property
    def offset(self) -> int:
        """All before it in the body is of no more use here."""
        return self._offset

    def pause(self) -> None:
        """The client does not read."""
        self._paused = True

    def resume(self) -> None:
        """It reads again."""
        self._paused = False
        self.go()

    def stop(self) -> None:
        """The client is gone."""
        if not self._over:
            self._over = True
            self._leave()

    def break_off(self, reason: str) -> None:
        """The rest of the body will never come."""
        self._fail(reason)

    def arrived(self, data: bytes, at: int) -> bool:
        """The body grew by this, from that offset on: whether it was sent (with the next flush of the front)."""
        if self._paused or self._waiting or self._busy or self._over or self._offset != at or not self._pieces:
            return False
        piece = self._pieces[-1]
        if isinstance(piece, bytes) or TO_THE_END != piece[1] < at + len(data):
            return False
        self._offset += len(data)
        self._taker.sent(len(data))
        self._front.send_body(data)
        return True

    def go(self) -> None:
        """Send what can be sent."""
        if self._busy or self._waiting or self._over or self._sending is not None:
            return
        self._busy = True
        try:
            while not self._paused and not self._over and self._pieces:
                if not self._step():
                    break
        except StoreError as error:
            self._fail(str(error))
        finally:
            self._busy = False
        if not self._pieces and not self._over and not self._waiting:
            self._over = True
            self._leave()
            self._taker.delivered()
        elif not self._over and not self._waiting:
            self._front.flush()  # the head, and what arrived: more may be long in coming

    def _step(self) -> bool:
        """Send one piece, or a part of it; ``False`` where there is nothing to send for now."""
        piece = self._pieces[-1]
        if isinstance(piece, bytes):
            self._pieces.pop()
            self._offset = self._begin()
            self._send(piece)
            return True
        end = self._source.end if piece[1] == TO_THE_END else piece[1]
        if 0 <= end <= self._offset:
            self._pieces.pop()
            self._offset = self._begin()
            return True
        if self._sender is not None and end - self._offset >= self._least and self._send_file(self._sender, end):
            return False
        size = PIECE if end < 0 else min(PIECE, end - self._offset)
        data = self._source.read(self._offset, size)
        if isinstance(data, Deferred):
            self._waiting = True
            timer = self._front.timer
            timer.callback = self._too_slow
            timer.rearm(self._patience)
            data.addCallbacks(self._came, self._failed)
            return not self._waiting
        assert isinstance(data, bytes)
        if not data:
            return False
        self._offset += len(data)
        self._send(data)
        self._source.moved_on(self)
        return True

    def _begin(self) -> int:
        """Where the next piece of the body begins."""
        return next((piece[0] for piece in reversed(self._pieces) if not isinstance(piece, bytes)), self._offset)

    def _send(self, data: bytes) -> None:
        self._taker.sent(len(data))
        self._front.send_body(data)
        self._front.flush()

    def _too_slow(self) -> None:
        if self._waiting:
            self._fail(f"the store did not answer within {self._patience:g} s")

    def _came(self, data: bytes) -> None:
        self._waiting = False
        if self._over:
            return
        self._front.timer.rest()
        if not data:
            self._fail("the body ends before its end")
            return
        self._offset += len(data)
        self._send(data)
        self._source.moved_on(self)
        self.go()

    def _failed(self, failure: Failure) -> None:
        self._waiting = False
        if not self._over:
            self._front.timer.rest()
        self._fail(failure.getErrorMessage())

    def _fail(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._leave()
            self._taker.undeliverable(reason)

    def _leave(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stop()
        self._source.leave(self)

    # -- what the kernel sends ----------------------------------------------------------------------------------------

    def _send_file(self, sender: FileSender, end: int) -> bool:
        """Have the kernel send the body from here to there; ``False`` where that cannot be done."""
        file, sink = self._source.file, self._front.sink()
        if file is None or sink is None:
            self._sender = None  # nor will it be later
            return False
        self._front.flush()
        if self._over:
            return True
        descriptor, start = file
        self._sink = sink
        self._sending = sender.begin(sink.transport, descriptor, start + self._offset, end - self._offset, self)
        if self._sending is None:
            self._sender = None
            return False
        sink.pauseProducing()  # until all before it is written
        return True

    def moved(self, size: int) -> None:
        """So much went."""
        self._offset += size
        self._taker.sent(size)

    def blocked(self) -> None:
        """The client does not read: its time to do so begins anew, for a part was taken."""
        if self._sink is not None:
            self._sink.pauseProducing()

    def unblocked(self) -> None:
        """It reads again."""
        if self._sink is not None:
            self._sink.resumeProducing()

    def done(self) -> None:
        """All of it went."""
        self._sending = None
        self.go()

    def lost(self, words: str) -> None:
        """The client's connection is lost."""
        if self._sink is not None:
            self._sink.was_lost()

    def short(self) -> None:
        """The file ends before the body does."""
        self._fail("the file is shorter than it was")
