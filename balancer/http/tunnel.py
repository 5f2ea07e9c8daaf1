"""What an exchange becomes after 101: bytes both ways, each half ended by itself, back-pressure in both directions.

It stands where the exchange stood, for the front and for the backend connection alike. It never looks at a byte.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from balancer.core.lease import Outcome
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import BadResponse, RequestRefused
from balancer.http.backend import BackendConnection
from balancer.http.bulk import download, upload
from balancer.http.front import Front
from balancer.http1.heads import NO_BODY, Fields, ResponseHead
from balancer.net.splice import FULL
from balancer.net.timers import Timer

if TYPE_CHECKING:
    from balancer.http.settings import HttpSettings

Ended = Callable[[Termination, Outcome, str], None]
"""Called once when the tunnel has ended: how, what it says about the backend, and a sentence."""

NEVER = sys.maxsize
"""Bytes that are never counted."""


class Tunnel:
    """See the module.

    :param timer: the exchange's, which now counts the seconds without a byte; the exchange calls :meth:`idled`.
    :param settings: they say how many seconds, and after how many bytes a direction is left to the kernel.
    :param ended: told once.
    """

    __slots__ = ("_backend_ended", "_client_ended", "_connection", "_down_at", "_ended", "_front", "_idle", "_record",
                 "_settings", "_timer", "_up_at")  # fmt: skip

    def __init__(
        self,
        front: Front,
        connection: BackendConnection,
        timer: Timer,
        settings: "HttpSettings",
        record: ExchangeRecord,
        ended: Ended,
    ) -> None:
        self._front = front
        self._connection = connection
        self._timer = timer
        self._settings = settings
        self._idle = settings.timeouts.tunnel
        self._up_at = self._down_at = NEVER  # bytes received after which a full read has the direction spliced
        self._record = record
        self._ended = ended
        self._client_ended = False
        self._backend_ended = False

    def open(self, reason: bytes, fields: Fields) -> None:
        """Tell the client, and pass on what came early, in both directions."""
        self._timer.rearm(self._idle)
        self._front.send_head(101, reason, fields, NO_BODY, last=True)
        early = self._connection.open_tunnel(self)
        if early:
            self.response_body(early)
        self._front.flush()
        self._front.open_tunnel(self)
        if self._settings.splice and self._settings.splicer is not None:
            self._up_at = self._record.bytes_in + self._settings.splice
            self._down_at = self._record.bytes_out + self._settings.splice

    # -- from the client --------------------------------------------------------------------------------------------

    def request_body(self, data: bytes) -> None:
        """Bytes from the client."""
        self._timer.rearm(self._idle)
        self._record.bytes_in += len(data)
        self._connection.write(data)
        if len(data) >= FULL and self._record.bytes_in >= self._up_at:
            self._up_at = self._record.bytes_in + self._settings.splice  # where it cannot be done, or ends
            upload(self._front, self._connection, self._settings)

    def request_moved(self, size: int) -> None:
        """The kernel moved bytes from the client."""
        self._timer.rearm(self._idle)
        self._record.bytes_in += size

    def request_end(self, trailers: Fields) -> None:
        """The client sends no more."""
        self._client_ended = True
        if self._backend_ended or not self._connection.end_output():
            self._finish()

    def request_refused(self, refusal: RequestRefused) -> None:
        """Nothing is parsed in a tunnel, so nothing is refused; a front that does ends it."""
        self.client_left(Termination.REFUSED, refusal.reason)

    def pause_response(self) -> None:
        """The client does not read."""
        self._connection.pause()

    def resume_response(self) -> None:
        """The client reads again."""
        self._connection.resume()

    def client_left(self, termination: Termination, reason: str) -> None:
        """The client's connection is lost."""
        self._connection.abort()
        self._ended(termination, Outcome.CLIENT_LEFT, reason)

    # -- from the backend -------------------------------------------------------------------------------------------

    def response_body(self, data: bytes) -> None:
        """Bytes from the backend."""
        self._timer.rearm(self._idle)
        self._record.bytes_out += len(data)
        self._front.send_body(data)
        if len(data) >= FULL and self._record.bytes_out >= self._down_at:
            self._down_at = self._record.bytes_out + self._settings.splice
            self._front.flush()
            download(self._connection, self._front, self._settings)

    def response_moved(self, size: int) -> None:
        """The kernel moved bytes from the backend."""
        self._timer.rearm(self._idle)
        self._record.bytes_out += size

    def response_flush(self) -> None:
        """All of one read."""
        self._front.flush()

    def response_end(self, trailers: Fields) -> None:
        """The backend sends no more."""
        self._backend_ended = True
        if self._client_ended or not self._front.end_tunnel_output():
            self._finish()

    def response_failed(self, termination: Termination, error: BadResponse) -> None:
        """The backend's connection was reset: so is the client's."""
        self._ended(termination, Outcome.RESET, error.reason)
        self._front.abort()

    def backend_blocked(self) -> None:
        """The backend does not read."""
        self._front.pause_request()

    def backend_ready(self) -> None:
        """It reads again."""
        self._front.resume_request()

    def backend_deaf(self) -> None:
        """The backend's connection was reset."""
        self._connection.was_reset()

    def backend_connected(self, connection: BackendConnection) -> None:
        """It was connected long before."""

    def response_interim(self, head: ResponseHead) -> None:
        """Nothing is parsed in a tunnel."""

    def response_head(self, head: ResponseHead) -> None:
        """Nothing is parsed in a tunnel."""

    def response_whole(self, head: ResponseHead, body: bytes) -> bool:
        """Nothing is parsed in a tunnel."""
        return False

    # -- the end ----------------------------------------------------------------------------------------------------

    def idled(self) -> None:
        """No byte came for too long."""
        self._connection.give_back()
        self._connection.close()
        self._ended(Termination.TUNNEL_IDLE, Outcome.SUCCESS, f"no byte in either direction for {self._idle:g} s")
        self._front.finish([])

    def _finish(self) -> None:
        self._connection.close()
        self._ended(Termination.UPGRADED, Outcome.SUCCESS, "")
        self._front.finish([])
