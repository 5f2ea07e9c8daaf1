"""Stored bodies, and those to come, as deliveries read them. They decide nothing and send nothing."""

from balancer.cache.stored import BodyReader, Stored
from balancer.errors import StoreError
from balancer.http.delivery import BodySource, Delivery


class Bytes:
    """A body in memory as a :class:`BodySource`."""

    __slots__ = ("_body", "end", "file")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.end = len(body)
        self.file: tuple[int, int] | None = None

    def read(self, offset: int, size: int) -> bytes:
        """A part of it."""
        return self._body[offset : offset + size]

    def moved_on(self, delivery: Delivery) -> None:
        """Nobody waits for that."""

    def leave(self, delivery: "Delivery") -> None:
        """Nothing to close."""


class Reading:
    """A stored body that is read by one delivery, as a :class:`~balancer.http.delivery.BodySource`."""

    __slots__ = ("_reader", "end", "file")

    def __init__(self, reader: BodyReader, size: int) -> None:
        self._reader = reader
        self.end = size
        self.file = reader.file

    def read(self, offset: int, size: int) -> object:
        """A part of it."""
        return self._reader.read(offset, size)

    def moved_on(self, delivery: Delivery) -> None:
        """Nobody waits for that."""

    def leave(self, delivery: Delivery) -> None:
        """It is read no more."""
        self._reader.close()


class Coming:
    """A body that is still to come: its size is known."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def open(self) -> BodyReader:
        """Never asked for: whoever gets it reads what arrives."""
        raise StoreError("the body is still arriving")


def source_of(stored: Stored) -> BodySource:
    """What reads its body.

    :raises balancer.errors.StoreError: the body is gone or corrupt.
    """
    body = stored.body
    return Bytes(body) if isinstance(body, bytes) else Reading(body.open(), body.size)


def sized(stored: Stored, size: int) -> Stored:
    """With the Content-Length that nobody knew when it began to be stored."""
    copy = stored.with_body(stored.body)
    copy.lines = b"%bContent-Length: %d\r\n" % (stored.lines, size)
    return copy
