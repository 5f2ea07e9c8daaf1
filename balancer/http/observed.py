"""A request that goes past the cache, or that the cache cannot answer itself: its exchange serves the client directly,
and what the response means for stored ones is seen on its way (RFC 9111 sections 4.3.5 and 4.4).

It changes nothing of the response but Cache-Status.
"""

from collections.abc import Callable

from twisted.internet.interfaces import ITransport

from balancer.core.record import ExchangeRecord
from balancer.http.bulk import Sink, Source
from balancer.http.exchange import Exchange
from balancer.http.front import Driven, Front
from balancer.http.plans import Reply
from balancer.http1.heads import Fields, Framing

Seen = Callable[[int, bytes, Fields], bytes]
"""Called with status, reason and fields of a backend's final head; what Cache-Status says of it, empty for nothing."""


class Observed:
    """A :class:`~balancer.http.front.Front` in front of another.

    :ivar exchange: whose front this is; set before it starts.
    """

    __slots__ = ("_front", "_seen", "can_tunnel", "exchange", "speaks_interim", "timer")

    exchange: Exchange

    def __init__(self, front: Front, seen: Seen) -> None:
        self._front = front
        self._seen = seen
        self.can_tunnel = front.can_tunnel
        self.speaks_interim = front.speaks_interim
        self.timer = front.timer

    def __repr__(self) -> str:
        return f"<Observed {self._front!r}>"

    def send_head(self, status: int, reason: bytes, fields: Fields, framing: Framing, last: bool) -> None:
        """Look at it, and send it on."""
        if self.exchange.answered:
            said = self._seen(status, reason, fields)
            if said:
                fields = [*fields, (b"Cache-Status", said)]
        self._front.send_head(status, reason, fields, framing, last)

    def send_whole(self, reply: Reply, body: bytes) -> None:
        """The same for a whole response."""
        said = self._seen(reply.status, reply.reason, reply.fields)
        if not said:
            self._front.send_whole(reply, body)
            return
        self._front.send_head(
            reply.status, reply.reason, [*reply.fields, (b"Cache-Status", said)], reply.framing, False
        )
        if body:
            self._front.send_body(body)

    # -- all else goes on as it is ------------------------------------------------------------------------------------

    def client(self) -> ITransport:
        """The client's transport."""
        return self._front.client()

    def drive(self, driven: Driven) -> None:
        """Who serves the request."""
        self._front.drive(driven)

    def ended(self, record: ExchangeRecord) -> None:
        """The exchange is over."""
        self._front.ended(record)

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """A 1xx."""
        self._front.send_interim(status, reason, fields)

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """A response whose field lines are written."""
        self._front.send_lines(status, reason, lines, framing, body)

    def send_body(self, data: bytes) -> None:
        """A part of the body."""
        self._front.send_body(data)

    def flush(self) -> None:
        """Nothing more comes at once."""
        self._front.flush()

    def sink(self) -> Sink | None:
        """Where the body goes."""
        return self._front.sink()

    def source(self) -> Source | None:
        """Where the request's body comes from."""
        return self._front.source()

    def finish(self, trailers: Fields) -> None:
        """The response is complete."""
        self._front.finish(trailers)

    def abort(self) -> None:
        """It cannot be completed."""
        self._front.abort()

    def open_tunnel(self, tunnel: Driven) -> None:
        """It became a tunnel."""
        self._front.open_tunnel(tunnel)

    def end_tunnel_output(self) -> bool:
        """The backend sends no more."""
        return self._front.end_tunnel_output()

    def pause_request(self) -> None:
        """Stop reading."""
        self._front.pause_request()

    def resume_request(self) -> None:
        """Read on."""
        self._front.resume_request()
