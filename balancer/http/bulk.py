"""A large response body that the kernel moves: whom it tells what, and what follows from each way it is over.

It is the owner of a splice from a backend's connection to a client's. It never sees a byte, except what is in the pipe
when it falls back.
"""

from typing import TYPE_CHECKING
from typing import Protocol as Structure

from balancer.core.record import ExchangeRecord
from balancer.http.backend import BackendConnection
from balancer.net.flow import IConnection
from balancer.net.splice import Splicer
from balancer.net.timers import Timer

if TYPE_CHECKING:
    from balancer.http.front import Front
    from balancer.http.settings import HttpSettings


class Sink(Structure):
    """A client's connection, as a splice sees it: :class:`~balancer.http.channel.HttpChannel` is one."""

    transport: IConnection

    def pauseProducing(self) -> None:
        """The client does not read."""

    def resumeProducing(self) -> None:
        """It reads again."""

    def was_lost(self) -> None:
        """The client's connection is lost, though its transport has not noticed."""


class Download:
    """See the module.

    :param connection: where the body comes from; it keeps the splice, and stops it with itself.
    :param timer: the exchange's, which now counts ``idle`` seconds without a byte.
    """

    __slots__ = ("_connection", "_idle", "_record", "_sink", "_timer")

    def __init__(
        self, connection: BackendConnection, sink: Sink, record: ExchangeRecord, timer: Timer, idle: float
    ) -> None:
        self._connection = connection
        self._sink = sink
        self._record = record
        self._timer = timer
        self._idle = idle

    def begin(self, splicer: Splicer, size: int) -> None:
        """Begin, where that can be done; else all goes on as it was.

        :param size: bytes held at most.
        """
        if self._connection.splice(splicer, self._sink.transport, self, size):
            self._sink.pauseProducing()  # until the splice tells that all before the body's rest is written

    def moved(self, size: int) -> None:
        """So much was read."""
        self._connection.passed_by(size)
        self._record.bytes_out += size
        self._timer.rearm(self._idle)

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


def offer(
    connection: BackendConnection,
    front: "Front",
    settings: "HttpSettings",
    record: ExchangeRecord,
    timer: Timer,
    idle: float,
) -> None:
    """Have the rest of a body spliced, once, if it goes to the client as it is and there is who splices."""
    sink = front.sink() if settings.splicer is not None and connection.may_splice else None
    if sink is not None and settings.splicer is not None:
        Download(connection, sink, record, timer, idle).begin(settings.splicer, settings.buffer)
