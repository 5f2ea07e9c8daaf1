"""A body that arrives from a backend, for everyone who gets it: what the store took is read back from there, what it
did not take is held until everybody has it.

So a client that reads slowly keeps nobody waiting as long as the body is being stored, and no more than a buffer is
held where it is not. It never decides what is stored.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from balancer.cache.stored import BodyReader
from balancer.errors import StoreError
from balancer.http.delivery import PATIENCE, Delivery
from balancer.interfaces import ICacheWriter
from balancer.net.timers import Timer, TimerWheel


class Arriving:
    """See the module. It is the :class:`~balancer.http.delivery.BodySource` of its deliveries.

    :param writer: where it is stored; ``None`` for nowhere.
    :param most: bytes that are stored at most.
    :param buffer: bytes that are held at most, where they are not stored, before the backend is paused.
    :param pause: pauses the backend; ``resume`` lets it go on.
    :param timers: for a store that takes no more: after :data:`~balancer.http.delivery.PATIENCE` it goes on without it.
    :ivar size: bytes that came.
    :ivar end: the body's size once it is known, else -1.
    :ivar storing: all that came was stored.
    """

    __slots__ = (
        "_buffer", "_deliveries", "_full", "_held", "_held_size", "_lowest", "_most", "_pause", "_paused", "_reader",
        "_resume", "_slowest", "_timer", "_timers", "_written", "end", "file", "size", "storing", "writer",
    )  # fmt: skip

    def __init__(
        self,
        writer: ICacheWriter | None,
        most: int,
        buffer: int,
        pause: Callable[[], None],
        resume: Callable[[], None],
        timers: TimerWheel,
    ) -> None:
        self.writer = writer
        self.storing = writer is not None
        self.size = 0
        self.end = -1
        self.file: tuple[int, int] | None = None  # it is still written
        self._most = most
        self._buffer = buffer
        self._pause = pause
        self._resume = resume
        self._reader: BodyReader | None = None
        self._written = 0
        self._held: deque[bytes] = deque()  # what came after the written part, its oldest byte at size - held_size
        self._held_size = 0
        self._deliveries: dict[Delivery, int] = {}  # and how far each is
        self._lowest = 0  # how far the slowest are,
        self._slowest = 0  # and how many they are: with thousands of clients, nobody looks at all of them each time
        self._full = False  # the store takes no more for now
        self._timers = timers
        self._timer: Timer | None = None
        self._paused = False

    def __repr__(self) -> str:
        return f"<Arriving {self.size} bytes, {self._written} stored, {self._held_size} held>"

    @property
    def whole(self) -> bool:
        """Whether its first byte can still be read, so that one more may get it."""
        return self._written + self._held_size == self.size

    @property
    def readers(self) -> int:
        """Deliveries under way."""
        return len(self._deliveries)

    def join(self, delivery: Delivery) -> None:
        """One more who gets it, from its first byte on."""
        at = self._deliveries[delivery] = delivery.offset
        if self._slowest and at == self._lowest:
            self._slowest += 1
        elif not self._slowest or at < self._lowest:
            self._lowest, self._slowest = at, 1

    def add(self, data: bytes) -> None:
        """More came."""
        at = self.size
        self.size += len(data)
        if not self._store(data) and self._deliveries:
            self._held.append(data)
            self._held_size += len(data)
        for delivery in list(self._deliveries):
            if delivery.arrived(data, at):
                self._follow(delivery)
            elif self._reader is None:
                self.secure()
        self._balance()

    def flush(self) -> None:
        """What came at one time was handed over: those that lag behind go on from where they are."""
        for delivery in list(self._deliveries):
            delivery.go()

    def complete(self) -> None:
        """The body is complete."""
        self.end = self.size
        if self._timer is not None:
            self._timer.cancel()
        self.flush()

    def secure(self) -> None:
        """What lags behind goes on reading, whatever becomes of the writer: it is about to be committed or aborted, or
        given up by a store that is stopped."""
        if self._deliveries and self._written:
            with suppress(StoreError):  # it was given up: whoever needs it meets that again
                self._open()

    def broken(self, reason: str) -> None:
        """The rest will never come."""
        for delivery in list(self._deliveries):
            delivery.break_off(reason)
        self.close()

    def store_ready(self) -> None:
        """The store takes more."""
        self._full = False
        if self._timer is not None:
            self._timer.cancel()
        self._balance()

    def _store_hangs(self) -> None:
        """It takes no more, and does not say that it does again."""
        self.storing = self._full = False
        self._balance()

    def close(self) -> None:
        """Nothing of it is read any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._deliveries.clear()
        self._held.clear()
        self._held_size = 0
        self._close_reader()

    # -- what its deliveries ask ------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> object:
        """What is there from that offset on; see :class:`~balancer.http.delivery.BodySource`."""
        if offset < self._written:
            return self._open().read(offset, min(size, self._written - offset))
        at = self.size - self._held_size
        for data in self._held:
            if offset < at + len(data):
                return data[offset - at : offset - at + size]
            at += len(data)
        return b""

    def moved_on(self, delivery: Delivery) -> None:
        """A delivery has taken something."""
        self._follow(delivery)
        self._balance()

    def leave(self, delivery: Delivery) -> None:
        """It reads no more."""
        at = self._deliveries.pop(delivery, None)
        if at == self._lowest:
            self._one_less()
        self._balance()
        if not self._deliveries:
            self._close_reader()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _store(self, data: bytes) -> bool:
        """Whether the store took it."""
        if not self.storing or self.writer is None:
            return False
        if self._written + len(data) > self._most:
            self.storing = False
            return False
        try:
            self._full = not self.writer.write(data)
            if self._full:
                self._wait_for_store()
        except StoreError:  # the store has counted and told it
            self.storing = False
            return False
        self._written += len(data)
        return True

    def _follow(self, delivery: Delivery) -> None:
        """It may be further than it was."""
        was, now = self._deliveries.get(delivery, -1), delivery.offset
        if 0 <= was != now:
            self._deliveries[delivery] = now
            if was == self._lowest:
                self._one_less()

    def _one_less(self) -> None:
        """One of the slowest is further, or gone: when it was the last of them, others are the slowest."""
        self._slowest -= 1
        if self._slowest <= 0:
            places = self._deliveries.values()
            self._lowest = min(places, default=self.size)
            self._slowest = sum(at == self._lowest for at in places)
            self._trim(self._lowest)

    def _wait_for_store(self) -> None:
        if self._timer is None:
            self._timer = Timer(self._timers, self._store_hangs)
        self._timer.rearm(PATIENCE)

    def _trim(self, needed: int) -> None:
        """Let go of what everybody has."""
        at = self.size - self._held_size
        while self._held and at + len(self._held[0]) <= needed:
            data = self._held.popleft()
            at += len(data)
            self._held_size -= len(data)

    def _balance(self) -> None:
        wanted = self._full or self._held_size >= self._buffer
        if wanted != self._paused:
            self._paused = wanted
            (self._pause if wanted else self._resume)()

    def _open(self) -> BodyReader:
        if self._reader is None:
            assert self.writer is not None
            reader: BodyReader = self.writer.body.open()
            self._reader = reader
        return self._reader

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
