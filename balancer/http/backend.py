"""One connection to a backend, used by one exchange at a time and kept between them.

It feeds the response parser and hands its events to whoever uses the connection. While nobody does, any byte and any
close make it useless: an answer nobody asked for must never become the next request's. It never decides what a
failure means, and never sends anything by itself.
"""

from typing import TYPE_CHECKING, ClassVar, cast
from typing import Protocol as Structure

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.core.model import Backend
from balancer.core.termination import Termination
from balancer.errors import BadResponse
from balancer.http1.heads import EndOfMessage, Fields, ResponseHead
from balancer.http1.parser import NEED_DATA, PAUSED, ResponseParser
from balancer.net.flow import BULK, CONSUMER, ENDED, Flow, IConnection, can_half_close, tune
from balancer.net.splice import Owner, Splice, Splicer

if TYPE_CHECKING:
    from balancer.http.bulk import BulkUpload
    from balancer.http.upstreams import HttpUpstream


class BackendUser(Structure):
    """Who uses a connection: an exchange."""

    def backend_connected(self, connection: "BackendConnection") -> None:
        """It is open."""

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx arrived; another head follows."""

    def response_head(self, head: ResponseHead) -> None:
        """The final head arrived."""

    def response_whole(self, head: ResponseHead, body: bytes) -> bool:
        """The final head, the body and the end arrived at one time; ``False`` to be told piece by piece."""

    def response_body(self, data: bytes) -> None:
        """A part of the body, or of what comes through a tunnel."""

    def response_moved(self, size: int) -> None:
        """So many bytes of the body, or of what comes through a tunnel, went to the client through the kernel."""

    def response_end(self, trailers: Fields) -> None:
        """The response is complete; of a tunnel: the backend sends no more."""

    def response_flush(self) -> None:
        """All that was read at one time has been handed over."""

    def response_failed(self, termination: Termination, error: BadResponse) -> None:
        """There will be no end: the connection is of no more use and is already given up."""

    def backend_blocked(self) -> None:
        """The backend does not read: send no more for now."""

    def backend_ready(self) -> None:
        """It reads again."""

    def backend_deaf(self) -> None:
        """Nothing can be sent to it any more; what it sent before is still read."""


class BackendOpener(BackendUser, Structure):
    """Who has one opened."""

    def introduced(self) -> tuple[ITransport, bytes]:
        """For a PROXY header: the transport of the client, and the request's id."""


class BackendConnection:
    """See the module. (A protocol of its own rather than a subclass, as :class:`~balancer.http.channel.HttpChannel`.)

    :ivar backend: where it goes.
    :ivar requests: how many it was used for.
    :ivar may_splice: its present response was not spliced yet; once is enough.
    :ivar upload: moves what is sent, while that goes through the kernel.
    :ivar idle_since: when its last response was finished (set by the pool).
    """

    __slots__ = (
        "_blocked", "_flow", "_held", "_home", "_open", "_parser", "_splice", "_tunnel", "_user", "backend",
        "idle_since", "may_splice", "requests", "transport", "upload",
    )  # fmt: skip

    bare: ClassVar = True  # assigns nothing to its transport (balancer.net.connector)

    transport: IConnection
    _flow: Flow

    def __init__(self, home: "HttpUpstream", backend: Backend, user: BackendUser) -> None:
        self.backend = backend
        self.requests = 0
        self.idle_since = 0.0
        self._home = home
        self._user: BackendUser | None = user
        self._parser = ResponseParser(home.limits, home.memo)
        self._open = False
        self._blocked = False
        self._held = False  # its user does not want to read
        self._tunnel = False
        self._splice: Splice | None = None
        self.may_splice = False
        self.upload: BulkUpload | None = None

    def __repr__(self) -> str:
        state = "closed" if not self._open else "idle" if self._user is None else "in use"
        return f"<BackendConnection to {self.backend.address} {state} requests={self.requests}>"

    # -- what its user asks -------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether the backend does not read at present."""
        return self._blocked

    def is_alive(self) -> bool:
        """Whether it can carry a request, while it is idle: whatever comes unasked for then, and any end, closes it."""
        return self._open

    def send_request(self, user: BackendUser, method: bytes, head: bytes) -> None:
        """Begin an exchange: send the head; the response's events go to ``user``."""
        self._user = user
        self.requests += 1
        self.may_splice = True
        self._parser.expect(method)
        self.transport.write(head)

    def write(self, data: bytes) -> None:
        """Send a part of the request's body, framed by the caller, or of what goes through a tunnel."""
        self.transport.write(data)

    def pause(self) -> None:
        """Do not read for now."""
        self._held = True
        self._flow.pause(CONSUMER)

    def resume(self) -> None:
        """Read on."""
        self._held = False
        self._flow.resume(CONSUMER)

    def release(self) -> bool:
        """The response is complete: let go of the user. Returns whether another request may be sent."""
        self._user = None
        if self._held:
            self.resume()
        return self._open and not self._blocked and self._parser.idle

    def open_tunnel(self, user: BackendUser) -> bytes:
        """From now on bytes are passed to ``user`` as they come. Returns those that came already."""
        self._tunnel = True
        self._user = user
        return self._parser.take_unread()

    def end_output(self) -> bool:
        """Nothing more is sent through the tunnel; ``False`` where that cannot be told without closing."""
        if not can_half_close(self.transport):
            return False
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        return True

    @property
    def coming(self) -> int:
        """Bytes of the response's body that are still to be read, where that is known and it is all that comes."""
        return self._parser.coming

    def splice(self, splicer: Splicer, target: IConnection, owner: Owner, size: int) -> bool:
        """Have the body's rest, or what comes through the tunnel, moved to a transport by the kernel; ``False`` where
        that cannot be done."""
        self.may_splice = False
        left = None if self._tunnel else self._parser.coming
        self._splice = splicer.begin(self.transport, target, owner, size, left)
        if self._splice is None:
            return False
        self._flow.pause(BULK)
        return True

    def passed_by(self, size: int) -> None:
        """The splice read so many bytes."""
        if not self._tunnel:
            self._parser.pass_by(size)
        if self._user is not None:
            self._user.response_moved(size)

    def read_on(self) -> None:
        """The splice is over, in order."""
        self._splice = None
        self._flow.resume(BULK)
        if not self._tunnel and not self._parser.coming:
            self._pull()

    def was_reset(self) -> None:
        """A splice found that the backend reset the connection."""
        self._over(False)

    def takes_no_more(self) -> None:
        """A splice found that nothing can be sent."""
        if self._user is not None:
            self._user.backend_deaf()

    def give_back(self) -> None:
        """What goes through the kernel goes through here again, in both directions; no byte is lost."""
        if self._splice is not None:
            self._splice.give_back()
        if self.upload is not None:
            self.upload.give_back()

    def _unsplice(self) -> None:
        splice, self._splice = self._splice, None
        if splice is not None:
            splice.stop()
        if self.upload is not None:
            self.upload.stop()

    def close(self) -> None:
        """Close in order, after what was written; its user, if any, hears nothing more."""
        self._user = None
        self._unsplice()
        if self._open:
            self._open = False
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once; its user, if any, hears nothing more."""
        self._user = None
        self._open = False
        self._unsplice()
        self.transport.abortConnection()

    # -- what Twisted calls -------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = cast(IConnection, transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        self._open = True
        self._home.opened += 1
        tune(self.transport)
        self._flow = Flow(self.transport)
        self.transport.registerProducer(self, True)
        if self._user is not None:
            self._user.backend_connected(self)

    def dataReceived(self, data: bytes) -> None:
        user = self._user
        if user is None:
            self.abort()  # unasked for; the pool finds it dead
        elif self._tunnel:
            user.response_body(data)
            user.response_flush()
        else:
            whole = self._parser.whole(data)
            if whole is None:
                self._parser.feed(data)
                self._pull()
            elif not user.response_whole(*whole):
                self._tell(user, *whole)

    def _tell(self, user: BackendUser, head: ResponseHead, body: bytes) -> None:
        """A whole response, piece by piece, as long as it is heard."""
        user.response_head(head)
        if body and self._user is user:
            user.response_body(body)
        if self._user is user:
            user.response_end([])

    def readConnectionLost(self) -> None:
        self._flow.pause(ENDED)
        self._over(True)

    def writeConnectionLost(self) -> None:
        """We half-closed: nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        self._unsplice()
        if self._user is None:
            self._home.forget(self)
        else:
            self._over(reason.check(ConnectionDone) is not None)

    def pauseProducing(self) -> None:
        self._blocked = True
        if self._user is not None:
            self._user.backend_blocked()

    def resumeProducing(self) -> None:
        self._blocked = False
        if self._user is not None:
            self._user.backend_ready()

    def stopProducing(self) -> None:
        """The transport is lost; ``connectionLost`` says so."""

    # -- inside -------------------------------------------------------------------------------------------------

    def _pull(self, at_end: bool = False) -> None:
        """Hand over the parser's events, to whoever is the user when each one comes."""
        parser = self._parser
        while (user := self._user) is not None:
            try:
                event = parser.next_event()
            except BadResponse as error:
                self.abort()
                kind = Termination.TRUNCATED_RESPONSE if at_end else Termination.MALFORMED_RESPONSE
                user.response_failed(Termination.BACKEND_CLOSED_EARLY if error.nothing_received else kind, error)
                return
            if event is NEED_DATA or event is PAUSED:
                user.response_flush()
                return
            if isinstance(event, bytes):
                user.response_body(event)
            elif isinstance(event, EndOfMessage):
                user.response_end(event.trailers)
            elif event.interim:
                user.response_interim(event)
            else:
                user.response_head(event)

    def _over(self, in_order: bool) -> None:
        """The backend sends no more: in order (FIN), or by a reset."""
        user = self._user
        if user is None:
            self.close()
        elif self._tunnel and in_order:
            user.response_end([])
        elif in_order:
            self._parser.eof()
            self._pull(at_end=True)
        else:
            nothing = self._parser.awaiting
            self.abort()
            user.response_failed(
                Termination.BACKEND_CLOSED_EARLY if nothing else Termination.BACKEND_RESET,
                BadResponse("the backend reset the connection", nothing_received=nothing),
            )


classImplements(BackendConnection, IProtocol, IPushProducer, IHalfCloseableProtocol)
