"""What an exchange asks of the side its request came in on, whatever the wire format there is.

``HttpChannel`` (our HTTP/1.1) and ``ResourceFront`` (a ``twisted.web`` request) provide it; HTTP/2 will. It is an
interface only: nothing here does anything.
"""

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import ITransport

from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.bulk import Sink, Source
from balancer.http1.heads import Fields, Framing
from balancer.net.timers import Timer

if TYPE_CHECKING:
    from balancer.http.plans import Reply


class Driven(Protocol):
    """What a front drives: an exchange, or the tunnel it became."""

    def request_body(self, data: bytes) -> None:
        """A part of the request's body arrived, or of what goes through the tunnel."""

    def request_moved(self, size: int) -> None:
        """So many bytes of the body, or of what goes through the tunnel, went to the backend through the kernel."""

    def request_end(self, trailers: Fields) -> None:
        """The request is complete; of a tunnel: the client sends no more."""

    def request_refused(self, refusal: RequestRefused) -> None:
        """The request's body broke its framing (400), is too large (413) or stopped arriving (408)."""

    def pause_response(self) -> None:
        """The client does not read: send no more for now."""

    def resume_response(self) -> None:
        """The client reads again."""

    def client_left(self, termination: Termination, reason: str) -> None:
        """The client is gone, or given up: nothing can be sent to it."""


class Front(Protocol):
    """One request's client side, as its exchange sees it.

    After ``finish`` or ``abort`` neither calls the other again.

    :ivar speaks_interim: whether the client understands 1xx responses.
    :ivar can_tunnel: whether :meth:`open_tunnel` works.
    :ivar timer: for the exchange under way; the front cancels it when its client is gone.
    """

    speaks_interim: bool
    can_tunnel: bool
    timer: Timer

    def client(self) -> ITransport:
        """The transport of the client, which knows its address."""

    def drive(self, driven: Driven) -> None:
        """From now on the client's side of the request goes to ``driven``, which may already be over when this is the
        last of its calls: then ``finish`` or ``abort`` was called before."""

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Send a 1xx response; the final one follows."""

    def send_head(self, status: int, reason: bytes, fields: Fields, framing: Framing, last: bool) -> None:
        """Send the final response's head. The fields hold no framing but a Content-Length.

        :param framing: NONE, LENGTH (the field is there), or CHUNKED for a body of unknown length, which the front
            frames as its client understands it.
        :param last: the connection cannot be used for another request.
        """

    def send_body(self, data: bytes) -> None:
        """Send a part of the body, or of what comes through the tunnel."""

    def send_whole(self, reply: "Reply", body: bytes) -> None:
        """Send a final response that is whole at one time, in place of the two calls above; ``finish`` follows."""

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """As ``send_head`` and, for a body that is not empty, ``send_body``, with field lines that are written already.

        :param lines: each with its CRLF; a stored response's.
        :param framing: NONE or LENGTH.
        """

    def flush(self) -> None:
        """Nothing more comes at once: what was collected goes to the transport."""

    def sink(self) -> Sink | None:
        """Where the body goes, byte for byte, after what was flushed; ``None`` where it is framed or looked at."""

    def source(self) -> Source | None:
        """Where the rest of the request's body comes from, or what goes through the tunnel; ``None`` where it does not
        come byte for byte."""

    def finish(self, trailers: Fields) -> None:
        """The response, or the tunnel, is complete."""

    def abort(self) -> None:
        """The response cannot be completed, and the client must notice: its connection is reset."""

    def ended(self, record: ExchangeRecord) -> None:
        """The exchange is over, and this is its record; called once, before ``finish`` or ``abort`` where they are."""

    def open_tunnel(self, tunnel: "Driven") -> None:
        """The 101 was sent: from now on bytes go to ``tunnel`` as they come, those already received first."""

    def end_tunnel_output(self) -> bool:
        """The backend sends no more through the tunnel; ``False`` where the client cannot be told without closing."""

    def pause_request(self) -> None:
        """Do not read more of the request (or of the tunnel's input) for now."""

    def resume_request(self) -> None:
        """Read on."""
