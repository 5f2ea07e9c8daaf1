"""A request's body on its way to a backend: held while there is no connection, framed, passed on, stopped.

It holds no more than the buffer and one read, for it pauses the client then. It never reads anything. Of a body whose
length is known, and of which much has come, the rest is left to the kernel (:mod:`balancer.http.bulk`).
"""

from typing import TYPE_CHECKING

from balancer.core.headers import trailer_fields
from balancer.http.backend import BackendConnection
from balancer.http.bulk import upload
from balancer.http.front import Front
from balancer.http1.heads import CHUNKED, Fields, RequestHead
from balancer.http1.serialize import chunk, last_chunk
from balancer.net.splice import FULL

if TYPE_CHECKING:
    from balancer.http.settings import HttpSettings


class Upload:
    """See the module.

    :param settings: they say how many bytes are held before the client is paused, and after how many it is spliced.
    :param body: the whole body, where it is complete.
    :ivar complete: the whole request is here.
    :ivar begun: a part of the body went to a backend, which makes the request one that cannot be sent again.
    :ivar wanted: False once the backend answered in a way that says it reads no more.
    """

    __slots__ = ("_chunked", "_connection", "_front", "_full", "_held", "_settings", "_size", "_trailers", "begun",
                 "complete", "wanted")  # fmt: skip

    def __init__(
        self, head: RequestHead, front: Front, settings: "HttpSettings", complete: bool, body: bytes = b""
    ) -> None:
        self.complete = complete
        self.begun = False
        self.wanted = True
        self._chunked = head.framing.kind is CHUNKED
        self._front = front
        self._settings = settings
        self._connection: BackendConnection | None = None
        self._held: list[bytes] = [body] if body else []
        self._size = len(body)
        self._full = 0  # bytes that came in full reads since it was last tried to splice
        self._trailers: Fields = []

    def __repr__(self) -> str:
        return f"<Upload {'complete' if self.complete else 'coming'} held={self._size} begun={self.begun}>"

    def add(self, data: bytes) -> None:
        """A part arrived."""
        if self._connection is not None:
            self._pass(self._connection, data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size >= self._settings.buffer:
            self._front.pause_request()

    def end(self, trailers: Fields) -> None:
        """The last part had arrived. What was read is bounded, so the client is heard again, should it leave."""
        self.complete = True
        self._trailers = trailers
        self._front.resume_request()
        if self._connection is not None:
            self._pass_end(self._connection)

    def first(self) -> bytes:
        """What is held, framed, to be sent together with the head."""
        held, self._held = self._held, []
        if not held:
            return b""
        self.begun = True
        return b"".join(map(chunk, held) if self._chunked else held)

    def begin(self, connection: BackendConnection) -> None:
        """The head was sent here, with what was held: send what comes from now on."""
        self._connection = connection
        if self.complete:
            self._pass_end(connection)
        elif self._size >= self._settings.buffer and not connection.blocked:
            self._front.resume_request()
        self._size = 0

    def lose(self) -> None:
        """The connection is lost: what comes from now on is held again."""
        self._connection = None

    def stop(self) -> None:
        """The backend wants no more: the rest is read and dropped, so that the client can finish sending."""
        self.wanted = False
        self._front.resume_request()
        if self._connection is not None and self._connection.upload is not None:
            self._connection.upload.stop()

    def pause(self) -> None:
        """The backend does not read."""
        if not self.complete and self.wanted:
            self._front.pause_request()

    def resume(self) -> None:
        """It reads again."""
        if not self.complete:
            self._front.resume_request()

    def _pass(self, connection: BackendConnection, data: bytes) -> None:
        if self.wanted:
            self.begun = True
            connection.write(chunk(data) if self._chunked else data)
            if len(data) >= FULL:
                self._passed_full(connection, len(data))

    def _passed_full(self, connection: BackendConnection, size: int) -> None:
        """Much comes at one time: when that was so for long enough, let the kernel move the rest; else try again after
        as much."""
        self._full += size
        if 0 < self._settings.splice <= self._full:
            self._full = 0
            upload(self._front, connection, self._settings)

    def _pass_end(self, connection: BackendConnection) -> None:
        if self.wanted and self._chunked:
            self.begun = True
            connection.write(last_chunk(trailer_fields(self._trailers)))


class NoUpload(Upload):
    """Of a request that has no body: there is nothing to hold, so one is enough for all of them."""

    __slots__ = ()

    def __init__(self) -> None:
        self.complete = True
        self.begun = False
        self.wanted = True

    def __repr__(self) -> str:
        return "<NoUpload>"

    def begin(self, connection: BackendConnection) -> None:
        """Nothing to send."""

    def lose(self) -> None:
        """Nothing to hold."""


NO_UPLOAD = NoUpload()
