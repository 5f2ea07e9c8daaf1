"""One client connection: HTTP/1.1 in, HTTP/1.1 out, one exchange at a time, in the order of the requests.

The thin side of the engine: bytes go to the request parser, its events to the exchange, and the exchange's answers
back as bytes. What is decided here is only what the wire format asks for: framing, persistence, whose turn it is, and
how long a client is waited for. It never looks at routes or backends.
"""

from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.core.forwarded import Peer
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.answers import refused
from balancer.http.bulk import Sink, Source
from balancer.http.closing import Closing
from balancer.http.exchange import Exchange
from balancer.http.front import Driven
from balancer.http.hits import begin
from balancer.http.messages import new_record, refused_record
from balancer.http.plans import Reply
from balancer.http1.heads import CHUNKED, EndOfMessage, Fields, Framing, RequestHead
from balancer.http1.parser import NEED_DATA, PAUSED, RequestParser
from balancer.http1.serialize import chunk, last_chunk, response_head, status_line
from balancer.net.flow import BULK, BUSY, ENDED, HOLD, Flow, IConnection, can_half_close, peer_name, tune
from balancer.net.timers import Timer, nothing

if TYPE_CHECKING:
    from balancer.http.factory import ChannelFactory

IDLE, HEAD, BODY, SERVED, TUNNEL, OVER = range(6)
"""What is waited for from the client: a request's first byte; the rest of its head; of its body; nothing, the request
is complete and being served; bytes of a tunnel; nothing any more, the connection is being closed."""
_NAMES = ("idle", "head", "body", "served", "tunnel", "over")


class HttpChannel:
    """See the module. It is the :class:`~balancer.http.front.Front` of its exchanges. (A protocol of its own rather
    than a subclass: it has slots, and nothing it does not use.)

    :param factory: its settings are asked anew for each request.
    """

    __slots__ = (
        "_address", "_begun", "_blocked", "_chunked", "_draining", "_driven", "_factory", "_flow", "_keep", "_made",
        "_minor", "_out", "_parser", "_peer", "_port", "_pulling", "_served", "_settings", "_state", "_timer",
        "can_tunnel", "speaks_interim", "timer", "transport",
    )  # fmt: skip

    transport: IConnection
    timer: Timer
    _flow: Flow
    _timer: Timer
    _peer: Peer

    def __init__(self, factory: "ChannelFactory") -> None:
        self._factory = factory
        self._settings = factory.settings
        self._parser = RequestParser(self._settings.limits, self._settings.memo)
        self._state = IDLE
        self._driven: Driven | None = None  # the exchange under way, or the tunnel it became
        self._minor = 1
        self._begun = 0.0  # when the present request's first byte came
        self._served = 0
        self._out: list[bytes] = []  # written together by flush
        self._chunked = False
        self._keep = True  # another request may follow the present one
        self._blocked = False  # the client does not read
        self._pulling = False
        self._draining = False
        self._made: Closing | None = None
        self.can_tunnel = self.speaks_interim = True

    def __repr__(self) -> str:
        return f"<HttpChannel {_NAMES[self._state]} served={self._served}{' blocked' if self._blocked else ''}>"

    # -- the connection -----------------------------------------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected (Twisted calls it)."""
        self.transport = cast(IConnection, transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """A client is here: it has ``timeouts.head`` seconds for its first request."""
        settings = self._settings
        tune(self.transport, settings.buffer)
        self._address, self._port = peer_name(self.transport) or ("", 0)
        self._peer = settings.forwarding.peer(self._address, settings.scheme)
        self._flow = Flow(self.transport)
        self._timer = settings.timers.schedule(settings.timeouts.head, self._waited_too_long)
        self.timer = Timer(settings.timers, nothing)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of requests, or of a tunnel; what comes while the connection is being closed is dropped."""
        state = self._state
        if state < TUNNEL:
            if state == IDLE:
                self._begun = now = self._settings.timers.seconds()
                whole = self._parser.whole(data)
                if whole is not None:
                    self._serve(whole[0], now, True, whole[1])  # and there is nothing to wait for
                    return
            self._parser.feed(data)
            self._pull()
        elif state == TUNNEL and self._driven is not None:
            self._driven.request_body(data)

    def readConnectionLost(self) -> None:
        """The client sends no more: of a tunnel one half ends; anywhere else it has left (as nginx and Go see it)."""
        self._flow.pause(ENDED)
        if self._state == TUNNEL and self._driven is not None:
            self._driven.request_end([])
        else:
            self._leave(Termination.CLIENT_LEFT, "it closed the connection")
            self._closing.close()

    def writeConnectionLost(self) -> None:
        """We half-closed: nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._leave(Termination.CLIENT_LEFT, "its connection was lost")
        self._closing.done()
        self.timer.cancel()
        self._factory.lost(self)

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._blocked = True
        self._closing.stalled()
        if self._driven is not None:
            self._driven.pause_response()

    def resumeProducing(self) -> None:
        """It reads again."""
        self._blocked = False
        self._closing.reading()
        if self._driven is not None:
            self._driven.resume_response()
        else:
            self._pull()

    def stopProducing(self) -> None:
        """The transport is lost; ``connectionLost`` says so."""

    def was_lost(self) -> None:
        """A splice found the connection lost."""
        self._leave(Termination.CLIENT_LEFT, "its connection was lost")
        self._closing.abort()

    def drain(self) -> None:
        """Serve what has begun, then close."""
        self._draining = True
        if self._state == IDLE:
            self._over()
            self._closing.close()

    def cut(self, reason: str) -> None:
        """End it now."""
        self._leave(Termination.SHUTDOWN, reason)
        self._closing.abort()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        """Work off what was received, one request after the other, as far as the client reads its answers."""
        if self._pulling:
            return
        self._pulling = True
        try:
            while self._state < TUNNEL and self._step():
                pass
        except RequestRefused as refusal:
            self._refuse(refusal)
        finally:
            self._pulling = False
        self._wait()

    def _step(self) -> bool:
        """Hand on one event; False where there is none for now."""
        event = self._parser.next_event()
        if isinstance(event, RequestHead):
            if event.framing.empty:
                self._parser.next_event()  # its EndOfMessage, which asks for nothing
            self._serve(event, self._settings.timers.seconds(), event.framing.empty)
        elif event is NEED_DATA:
            return False
        elif event is PAUSED:
            if self._driven is not None or self._blocked:
                return False
            self._start_next()
        elif self._driven is not None:
            if isinstance(event, EndOfMessage):
                self._state = SERVED
                self._driven.request_end(event.trailers)
            else:
                self._driven.request_body(event)
        return True

    def _serve(self, head: RequestHead, now: float, complete: bool, body: bytes = b"") -> None:
        """Begin an exchange; ``body`` is the whole one, where the request is complete and has one."""
        settings = self._factory.settings
        if settings is not self._settings:
            self._settings = settings
            self._peer = settings.forwarding.peer(self._address, settings.scheme)
        self._served += 1
        self._minor = head.minor
        self.speaks_interim = head.minor > 0
        self._keep = head.keep_alive
        self._state = SERVED if complete else BODY
        record = new_record(settings, head, self._peer.address, self._port, now - self._begun)
        if settings.caches:
            begin(settings, self, head, self._peer, record, self._begun, complete, body, now)
            return
        exchange = Exchange(settings, self, head, self._peer, record, self._begun, complete, body)
        self._driven = exchange
        exchange.start(now)

    def _start_next(self) -> None:
        """The present request is answered: the next one's turn."""
        self._parser.start_next()
        self._state = IDLE
        if not self._parser.idle:
            self._begun = self._settings.timers.seconds()
        elif self._draining:
            self._over()
            self._closing.close()
        else:
            self._timer.rearm(self._settings.timeouts.keep_alive)

    def _wait(self) -> None:
        """Set the timer for what is waited for now; stop reading where enough is held."""
        state = self._state
        if state == IDLE:
            if not self._parser.idle:
                self._state = HEAD
                if self._served:  # the first head's time counts from the connection
                    self._timer.rearm(self._settings.timeouts.head)
        elif state == BODY:
            self._timer.rearm(self._settings.timeouts.body)
        elif state == SERVED and self._parser.unread >= self._settings.buffer:
            self._flow.pause(BUSY)
            return
        self._flow.resume(BUSY)

    def _waited_too_long(self) -> None:
        """The timer fired. It is left running while a request is served, when nothing is waited for."""
        state, timeouts = self._state, self._settings.timeouts
        if state == IDLE:
            self._over()
            self._closing.close()
        elif state == HEAD:
            self._refuse(RequestRefused(408, f"the head was not complete within {timeouts.head:g} s"))
        elif state == BODY and self._driven is not None:
            if not self._flow.taking:
                self._timer.rearm(timeouts.body)  # it is us who do not read
            else:
                self._driven.request_refused(RequestRefused(408, f"no byte of the body for {timeouts.body:g} s"))

    def _refuse(self, refusal: RequestRefused) -> None:
        """What came is not forwarded: answer, and close."""
        if self._driven is not None:
            self._driven.request_refused(refusal)
            return
        settings = self._settings
        total = settings.timers.seconds() - self._begun
        settings.log(refused_record(settings, self._peer.address, self._port, total, refusal))
        refused(refusal, settings).send(self, b"", last=True)

    # -- the front of the exchange ------------------------------------------------------------------------------------

    def drive(self, driven: Driven) -> None:
        """Who serves the request."""
        self._driven = driven

    def ended(self, record: ExchangeRecord) -> None:
        """To the log."""
        self._settings.log(record)

    def client(self) -> ITransport:
        """The client's transport."""
        return self.transport

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """A 1xx, at once."""
        self._out.append(response_head(status, reason, fields))
        self.flush()

    def send_head(self, status: int, reason: bytes, fields: Fields, framing: Framing, last: bool) -> None:
        """The final head; a body of unknown length goes in chunks, to HTTP/1.0 until the close (RFC 9112 6.3)."""
        unknown = framing.kind is CHUNKED
        self._chunked = unknown and self._minor > 0
        keep = self._keep and not last and not self._draining and (self._chunked or not unknown)
        self._keep = keep
        if self._chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        if not keep and status != 101:
            fields.append((b"Connection", b"close"))
        elif keep and self._minor == 0:
            fields.append((b"Connection", b"keep-alive"))
        self._out.append(response_head(status, reason, fields))

    def send_whole(self, reply: Reply, body: bytes) -> None:
        """Head and body of a response that is complete."""
        if self._minor:
            self._chunked = False
            self._keep = self._keep and not self._draining
            self._out.append((reply.kept_alive if self._keep else reply.closing) + body)
            return
        self.send_head(reply.status, reply.reason, list(reply.fields), reply.framing, False)
        if body:
            self.send_body(body)

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """A head whose field lines are written, and what there is of the body."""
        self._chunked = False
        keep = self._keep = self._keep and not self._draining
        start = status_line(status, reason)
        if keep and self._minor:
            self._out.append(b"%b%b\r\n%b" % (start, lines, body))
        else:
            option = b"keep-alive" if keep else b"close"
            self._out.append(b"%b%bConnection: %b\r\n\r\n%b" % (start, lines, option, body))

    def send_body(self, data: bytes) -> None:
        """A part of the body, or of what comes through the tunnel."""
        self._out.append(chunk(data) if self._chunked else data)

    def flush(self) -> None:
        """Write what was collected, at one time."""
        out = self._out
        if out:
            self._out = []
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def sink(self) -> Sink | None:
        """This connection; the body goes through it as it is."""
        return None if self._chunked else self

    def source(self) -> Source | None:
        """This connection; what it sends goes on as it is, or nothing of it is :attr:`coming`."""
        return self

    def finish(self, trailers: Fields) -> None:
        """The response is complete: the next request's turn, or the end."""
        if self._chunked:
            self._out.append(last_chunk(trailers))
        self.flush()
        self._driven = None
        state = self._state
        if state == SERVED and self._keep:
            if self._blocked or self._draining or self._parser.unread:
                self._pull()
            else:  # the usual case: nothing is there, so there is nothing to work off
                self._parser.start_next()
                self._state = IDLE
                self._timer.rearm(self._settings.timeouts.keep_alive)
        elif state != OVER:
            unread = state < SERVED or self._flow.paused or self._parser.unread > 0
            self._over()
            if unread:
                self._closing.linger()
            else:
                self._closing.close()

    def abort(self) -> None:
        """Reset the client's connection."""
        self._driven = None
        self._over()
        self._closing.abort()

    def open_tunnel(self, tunnel: Driven) -> None:
        """From now on bytes are passed as they come."""
        self._driven = tunnel
        self._state = TUNNEL
        self._timer.cancel()
        early = self._parser.take_unread()
        self._flow.resume(BUSY)
        if self._blocked:
            tunnel.pause_response()
        if early:
            tunnel.request_body(early)

    def end_tunnel_output(self) -> bool:
        """Half-close, where that can be done."""
        if not can_half_close(self.transport):
            return False
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        return True

    def pause_request(self) -> None:
        """Stop reading."""
        self._flow.pause(HOLD)

    def resume_request(self) -> None:
        """Read on."""
        self._flow.resume(HOLD)

    # -- what a splice of its input asks -------------------------------------------------------------------------------

    @property
    def coming(self) -> int | None:
        """Bytes of the request's body still to be read, where its length is known; of a tunnel, all that come."""
        return None if self._state == TUNNEL else self._parser.coming

    def step_aside(self) -> None:
        """Read nothing: a splice does."""
        self._flow.pause(BULK)

    def passed_by(self, size: int) -> None:
        """The splice read so many bytes."""
        if self._state == BODY:
            self._parser.pass_by(size)
            self._timer.rearm(self._settings.timeouts.body)
        if self._driven is not None:
            self._driven.request_moved(size)

    def read_on(self) -> None:
        """The splice is over: read again, and find the end of the body."""
        self._flow.resume(BULK)
        if self._state == BODY and not self._parser.coming:
            self._pull()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _gave_up(self) -> None:
        limit = self._settings.timeouts.write
        self._leave(Termination.CLIENT_WRITE_TIMEOUT, f"it read nothing for {limit:g} s")
        self._closing.abort()

    def _leave(self, termination: Termination, reason: str) -> None:
        """The client is gone, or given up: tell the exchange."""
        driven, self._driven = self._driven, None
        self._over()
        if driven is not None:
            driven.client_left(termination, reason)

    def _over(self) -> None:
        """Nothing more is read or sent: ``_closing`` has the timer now."""
        self._state = OVER
        self._out.clear()
        self._timer.rest()

    @property
    def _closing(self) -> Closing:
        """What closes the connection, made when it is first asked for: idle connections need none."""
        if self._made is None:
            settings = self._settings
            self._made = Closing(
                self.transport, self._flow, settings.timers, self._timer, settings.timeouts, self._gave_up
            )
        return self._made


classImplements(HttpChannel, IProtocol, IPushProducer, IHalfCloseableProtocol)
