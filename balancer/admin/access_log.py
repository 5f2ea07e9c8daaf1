"""The access log: records in, lines out, in batches and off the exchange.

``log`` appends the record to a list; lines are made and written by a timer. What waits is bounded, and what
does not fit is dropped and counted, never waited for: a full disk or a stalled reader costs lines, not traffic.
Nothing here raises into the engine that logs, or decides what is worth a line.
"""

from collections import deque

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from balancer.admin.access_log_format import Format, format_named
from balancer.admin.log_sink import FileSink, Sink, StreamSink
from balancer.core.access_log import STDOUT, AccessLogSettings
from balancer.core.record import ConnectionRecord


class AccessLog:
    """Collects records and writes them.

    :ivar lines: lines written; ``dropped``: records lost because the buffer was full or the log was not open.
    """

    events = Logger()

    def __init__(self, settings: AccessLogSettings, clock: IReactorTime, sink: Sink) -> None:
        """:param sink: where lines go (:func:`sink_for`)."""
        self._settings = settings
        self._clock = clock
        self._sink = sink
        self._format: Format = format_named(settings.format)
        self._batch = settings.batch
        self._limit = settings.buffer
        self._waiting: deque[tuple[ConnectionRecord, int]] = deque()  # each with its size
        self._size = 0
        self._unsent = b""
        self._unsent_size = 0
        self._timer: IDelayedCall | None = None
        self._dropping = False
        self._open = False
        self.lines = 0
        self.dropped = 0

    def __repr__(self) -> str:
        waiting = len(self._waiting) + self._unsent.count(b"\n")
        return f"<AccessLog {self._sink!r} {self.lines} lines, {waiting} waiting, {self.dropped} dropped>"

    def start(self) -> None:
        """Open the file.

        :raises OSError: it cannot be opened: better known now than when a line is missed.
        """
        self._sink.open()
        self._open = True

    def log(self, record: ConnectionRecord) -> None:
        """Take a finished record; it must not change any more. Never raises; costs an append."""
        size = record.size()
        if self._size + size > self._limit or not self._open:
            self._drop(1)
            return
        self._size += size
        self._waiting.append((record, size))
        if self._timer is None:
            self._arm(self._settings.flush_interval)
        elif len(self._waiting) == self._batch:
            self._arm(0)

    def flush(self) -> None:
        """Write one batch of what waits, and come back for the rest."""
        self._disarm()
        if self._write_batch():
            self._say_dropping_ended()
        if self._waiting or self._unsent:
            full = len(self._waiting) >= self._batch and not self._unsent
            self._arm(0 if full else self._settings.flush_interval)

    def reopen(self) -> None:
        """Write what waits to the old file and open the path again, for log rotation by signal."""
        self._write_everything()
        try:
            self._sink.open()
        except OSError as error:
            self.events.error("access log cannot be opened again: {error}; the old file stays", error=str(error))

    def stop(self) -> None:
        """Write what can be written at once, count the rest as dropped, and close. Later records are dropped."""
        self._disarm()
        self._write_everything()
        left = len(self._waiting) + self._unsent.count(b"\n")
        if left:
            self._drop(left)
        self._waiting.clear()
        self._unsent, self._unsent_size, self._size = b"", 0, 0
        self._open = False
        self._sink.close()

    def _write_everything(self) -> None:
        while (self._waiting or self._unsent) and self._write_batch():
            pass

    def _write_batch(self) -> bool:
        """Write what is left of the last batch, or else the next one; return whether the sink took all of it."""
        if not self._unsent:
            waiting = self._waiting
            if len(waiting) <= self._batch:
                batch = list(waiting)
                waiting.clear()
            else:
                batch = [waiting.popleft() for _ in range(self._batch)]
            self._unsent_size = sum([size for _, size in batch])
            written_as = self._format
            self._unsent = b"".join([written_as(record) for record, _ in batch])
        if self._unsent:
            written = self._sink.write(self._unsent)
            self.lines += self._unsent.count(b"\n", 0, written)
            self._unsent = self._unsent[written:]
        if self._unsent:
            return False
        self._size -= self._unsent_size
        self._unsent_size = 0
        return True

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        if not self._dropping:
            self._dropping = True
            self.events.warn("access log lines are being dropped: {log!r}", log=self)

    def _say_dropping_ended(self) -> None:
        if self._dropping:
            self._dropping = False
            self.events.warn("access log lines are no longer dropped: {dropped} so far", dropped=self.dropped)

    def _arm(self, delay: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._timer_fired)
        else:
            self._timer.reset(delay)

    def _timer_fired(self) -> None:
        self._timer = None
        self.flush()

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def sink_for(settings: AccessLogSettings, stdout_fd: int) -> Sink:
    """Return where the settings say lines go.

    :param stdout_fd: descriptor of standard output.
    """
    return StreamSink(stdout_fd) if settings.path == STDOUT else FileSink(settings.path)
