"""Bulk that the kernel moves, in either direction: whom it tells what, and what follows from each way it is over.

It is the owner of a splice between a client's connection and a backend's: of a body of known length, or of one
direction of a tunnel. It never sees a byte, except what is in the pipe when it falls back, and it never decides what
an end or a loss means: each of the two connections, and who uses them, is told as if its own transport had told it.
"""

from typing import TYPE_CHECKING
from typing import Protocol as Structure

from balancer.http.backend import BackendConnection
from balancer.net.flow import IConnection
from balancer.net.splice import Splice, Splicer

if TYPE_CHECKING:
    from balancer.http.front import Front
    from balancer.http.settings import HttpSettings


class Sink(Structure):
    """A client's connection, to which a splice moves: :class:`~balancer.http.channel.HttpChannel` is one."""

    transport: IConnection

    def pauseProducing(self) -> None:
        """The client does not read."""

    def resumeProducing(self) -> None:
        """It reads again."""

    def was_lost(self) -> None:
        """The client's connection is lost, though its transport has not noticed."""


class Source(Structure):
    """A client's connection, from which a splice moves: the same."""

    transport: IConnection

    @property
    def coming(self) -> int | None:
        """Bytes that are still to be read, ``None`` for all until the end; 0 where none go on as they are."""

    def step_aside(self) -> None:
        """Read nothing: a splice does."""

    def passed_by(self, size: int) -> None:
        """The splice read so many bytes."""

    def read_on(self) -> None:
        """The splice is over: read again, from where it stopped."""

    def was_lost(self) -> None:
        """The client's connection is lost, though its transport has not noticed."""


class Download:
    """From a backend to its client.

    :param connection: where the bytes come from; it keeps the splice, and stops it with itself.
    """

    __slots__ = ("_connection", "_sink")

    def __init__(self, connection: BackendConnection, sink: Sink) -> None:
        self._connection = connection
        self._sink = sink

    def begin(self, splicer: Splicer, size: int) -> None:
        """Begin, where that can be done; else all goes on as it was.

        :param size: bytes held at most.
        """
        if self._connection.splice(splicer, self._sink.transport, self, size):
            self._sink.pauseProducing()  # until the splice tells that all before the body's rest is written

    def moved(self, size: int) -> None:
        """So much was read."""
        self._connection.passed_by(size)

    def blocked(self) -> None:
        """The client does not read: its time to do so begins anew, for a part was taken."""
        self._sink.pauseProducing()

    def unblocked(self) -> None:
        """It reads again."""
        self._sink.resumeProducing()

    def handed_back(self, rest: bytes) -> None:
        """All is moved, or what comes next is to be read here."""
        if rest:
            self._sink.transport.write(rest)
        self._connection.read_on()

    def source_lost(self, words: str) -> None:
        """The backend reset the connection."""
        self._connection.was_reset()

    def target_lost(self, words: str) -> None:
        """The client did."""
        self._sink.was_lost()


class BulkUpload:
    """From a client to its backend. The backend's connection keeps it, and stops it with itself."""

    __slots__ = ("_blocked", "_connection", "_source", "_splice")

    def __init__(self, source: Source, connection: BackendConnection) -> None:
        self._source = source
        self._connection = connection
        self._splice: Splice | None = None
        self._blocked = False

    def __repr__(self) -> str:
        return f"<BulkUpload {'over' if self._splice is None else 'blocked' if self._blocked else 'moving'}>"

    def begin(self, splicer: Splicer, size: int) -> None:
        """Begin, where that can be done; else all goes on as it was.

        :param size: bytes held at most.
        """
        source, connection = self._source, self._connection
        self._splice = splicer.begin(source.transport, connection.transport, self, size, source.coming)
        if self._splice is not None:
            source.step_aside()
            connection.upload = self
            self.blocked()  # until the splice tells that all before is written

    def stop(self) -> None:
        """The backend gets no more: what is in the pipe is dropped, and the client is read here again."""
        splice = self._over()
        if splice is not None:
            splice.stop()
            self.unblocked()
            self._source.read_on()

    def give_back(self) -> None:
        """The splice ends here, and no byte is lost."""
        if self._splice is not None:
            self._splice.give_back()

    # -- what the splice tells ------------------------------------------------------------------------------------

    def moved(self, size: int) -> None:
        """So much was read."""
        self._source.passed_by(size)

    def blocked(self) -> None:
        """The backend does not read: its time to do so begins anew, for a part was taken."""
        self._blocked = True
        self._connection.pauseProducing()

    def unblocked(self) -> None:
        """It reads again."""
        if self._blocked:
            self._blocked = False
            self._connection.resumeProducing()

    def handed_back(self, rest: bytes) -> None:
        """All is moved, or what comes next is to be read here."""
        self._over()
        if rest:
            self._connection.write(rest)
        self._source.read_on()

    def source_lost(self, words: str) -> None:
        """The client reset the connection: it has left, which ends the backend's connection, and this with it."""
        self._source.was_lost()

    def target_lost(self, words: str) -> None:
        """The backend did: what it sent before is still to be read."""
        self._connection.takes_no_more()

    def _over(self) -> Splice | None:
        splice, self._splice = self._splice, None
        self._connection.upload = None
        return splice


def download(connection: BackendConnection, front: "Front", settings: "HttpSettings") -> None:
    """Have what comes from a backend spliced, if it goes to the client as it is and there is who splices."""
    sink = front.sink() if settings.splicer is not None else None
    if sink is not None and settings.splicer is not None:
        Download(connection, sink).begin(settings.splicer, settings.buffer)


def upload(front: "Front", connection: BackendConnection, settings: "HttpSettings") -> None:
    """Have what comes from a client spliced, if it goes to the backend as it is and there is who splices."""
    source = front.source() if settings.splicer is not None and connection.upload is None else None
    if source is not None and settings.splicer is not None:
        coming = source.coming
        if coming is None or coming >= settings.splice:
            BulkUpload(source, connection).begin(settings.splicer, settings.buffer)
