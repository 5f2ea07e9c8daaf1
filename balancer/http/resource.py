"""Layer 7 inside an existing ``twisted.web`` site (or Klein app): mount :class:`ProxyResource` at a path.

The same exchange as behind our own listener, with another front: a ``twisted.web`` request. What ``twisted.web`` does
itself stays its own: it reads the whole body before it renders (and spools it to a file where it is large), answers
``Expect`` by itself and has no 1xx and no tunnels. Everything it accepted goes through our gate once more, because it
accepts more than can be forwarded. This module never parses a response.
"""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from balancer.cache.stored import parsed_lines
from balancer.core.headers import without
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.answers import refused
from balancer.http.front import Driven
from balancer.http.hits import begin
from balancer.http.messages import new_record, refused_record
from balancer.http.plans import Reply
from balancer.http.settings import HttpSettings
from balancer.http1.heads import Fields, Framing, RequestHead
from balancer.http1.parser import RequestParser
from balancer.http1.serialize import request_head
from balancer.net.flow import CHUNK
from balancer.net.timers import Timer, nothing

_NOT_OURS = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
"""Fields that told of the body or the connection as twisted.web received them: it has dealt with both."""


@implementer(IResource)
class ProxyResource:
    """Forwards every request at and below the path where it is mounted.

    The path under the mount is forwarded as it was received, behind ``prefix``: mounted at ``/shop`` with the prefix
    ``/v1``, ``GET /shop/cart?x=1`` becomes ``GET /v1/cart?x=1``. Routes match what is forwarded.

    :param settings: as of a listener; assign to :attr:`settings` to replace them.
    :param prefix: put in front of the path below the mount; empty, or a path that starts with ``/``.
    :raises ValueError: the prefix is not such a path.
    """

    isLeaf = True

    def __init__(self, settings: HttpSettings, prefix: bytes = b"") -> None:
        if prefix and (not prefix.startswith(b"/") or quote(prefix, safe="/%:@!$&'()*+,;=~").encode() != prefix):
            raise ValueError(f"the prefix {prefix!r} is not a path that starts with '/'")
        self.settings = settings
        self.prefix = prefix.rstrip(b"/")

    def __repr__(self) -> str:
        return f"<ProxyResource {self.settings.name} prefix={self.prefix!r}>"

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        """Everything below is this same resource (twisted.web does not ask a leaf)."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """:raises TypeError: nothing can be put below, for everything there is forwarded."""
        raise TypeError(f"{self!r} forwards everything below it: put the child beside it")

    def render(self, request: Any) -> int:
        """Begin the exchange; the answer comes later (called by twisted.web)."""
        ResourceFront(self.settings, request).begin(self.target)
        return NOT_DONE_YET

    def target(self, request: Any) -> bytes:
        """What is asked of the backend: the prefix, the path below the mount and the query, as received.

        :raises RequestRefused: the target is not a path: one in absolute form would get around mount and prefix.
        """
        path, mark, query = request.uri.partition(b"?")
        if not path.startswith(b"/"):
            raise RequestRefused(400, "here a target starts with '/'", "RFC 9112 section 3.2.1")
        # prepath has one element for each segment of the path as received, up to the mount.
        mount = len(request.prepath) + 1
        below = path.split(b"/", mount)[mount:]
        rest = b"/" + below[0] if below else b""
        return bytes((self.prefix + rest or b"/") + mark + query)


@implementer(IPushProducer)
class ResourceFront:
    """One ``twisted.web`` request as the :class:`~balancer.http.front.Front` of an exchange."""

    can_tunnel = False
    speaks_interim = False

    def __init__(self, settings: HttpSettings, request: Any) -> None:
        self._settings = settings
        self._request = request
        self._driven: Driven | None = None
        self._producing = False
        self._reading = False
        self._paused = False
        self._left = 0
        self._lost = False
        self._begun = settings.timers.seconds()
        self._stalled = Timer(settings.timers, self._gave_up)
        self.timer = Timer(settings.timers, nothing)

    def __repr__(self) -> str:
        return f"<ResourceFront {self._request!r}>"

    def begin(self, target: Callable[[Any], bytes]) -> None:
        """Pass the gate and start.

        :param target: what is asked of the backend.
        """
        request, settings = self._request, self._settings
        request.notifyFinish().addErrback(self._gone)
        address = request.getClientAddress()
        host, port = str(getattr(address, "host", "")), int(getattr(address, "port", 0))
        scheme = b"https" if request.isSecure() else b"http"
        peer = settings.forwarding.peer(host, scheme)
        try:
            head = self._gate(target(request))
        except RequestRefused as refusal:
            settings.log(refused_record(settings, peer.address, port, 0.0, refusal))
            refused(refusal, settings).send(self, request.method, last=True)
            return
        record = new_record(settings, head, peer.address, port, 0.0)
        record.scheme = scheme.decode("ascii")
        complete = head.framing.empty
        request.registerProducer(self, True)
        self._producing = True
        begin(settings, self, head, peer, record, self._begun, complete, b"", self._begun)
        if not complete:
            self._read_body()

    def _gate(self, target: bytes) -> RequestHead:
        """What twisted.web understood, read by our own parser: one rule for all that is forwarded.

        :raises RequestRefused: it is not forwarded.
        """
        request = self._request
        fields = [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
        self._left = _size(request.content)
        had_body = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields)
        fields = without(fields, _NOT_OURS)
        if had_body or self._left:
            fields.append((b"Content-Length", b"%d" % self._left))
        try:
            data = request_head(request.method, target, fields)
        except ValueError as error:
            raise RequestRefused(400, str(error), "RFC 9112 section 2.2") from None
        if request.clientproto == b"HTTP/1.0":
            data = data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)  # no target holds a space
        parser = RequestParser(self._settings.limits)
        parser.feed(data)
        event = parser.next_event()
        if not isinstance(event, RequestHead):
            raise RequestRefused(400, "the head is not one of HTTP/1.1", "RFC 9112 section 2.1")
        return event

    # -- the request's body, from where twisted.web keeps it --------------------------------------------------------

    def _read_body(self) -> None:
        """Pass on pieces until the backend is full or there are no more."""
        if self._reading:
            return
        self._reading = True
        while self._driven is not None and not self._paused and self._left:
            data = self._request.content.read(min(CHUNK, self._left))
            self._left = self._left - len(data) if data else 0
            self._driven.request_body(data)
        self._reading = False
        if self._driven is not None and not self._left and not self._paused:
            self._driven.request_end([])

    def pause_request(self) -> None:
        """Read no more of the body for now."""
        self._paused = True

    def resume_request(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._read_body()

    # -- the response -----------------------------------------------------------------------------------------------

    def drive(self, driven: Driven) -> None:
        """Who serves the request."""
        self._driven = driven

    def ended(self, record: ExchangeRecord) -> None:
        """To the log."""
        self._settings.log(record)

    def client(self) -> ITransport:
        """That of the request's channel; HTTP/2's channels answer for it themselves."""
        channel = self._request.channel
        return cast(ITransport, getattr(channel, "transport", None) or channel)

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """twisted.web cannot."""

    def send_head(self, status: int, reason: bytes, fields: Fields, framing: Framing, last: bool) -> None:
        """Hand twisted.web the head; it frames the body by its Content-Length, or by itself."""
        request = self._request
        headers = request.responseHeaders
        request.setResponseCode(status, reason)
        request.defaultContentType = None  # what has no type gets none from us
        for name in {b"server", b"date", *(name.lower() for name, _ in fields)}:
            headers.removeHeader(name)
        for name, value in fields:
            headers.addRawHeader(name, value)
        request.write(b"")

    def send_body(self, data: bytes) -> None:
        """A part of the body."""
        self._request.write(data)

    def send_whole(self, reply: Reply, body: bytes) -> None:
        """Head and body."""
        self.send_head(reply.status, reply.reason, list(reply.fields), reply.framing, False)
        if body:
            self.send_body(body)

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """A head, and what there is of the body."""
        self.send_head(status, reason, parsed_lines(lines), framing, False)
        if body:
            self.send_body(body)

    def flush(self) -> None:
        """twisted.web writes at once."""

    def sink(self) -> None:
        """twisted.web frames what it sends."""

    def source(self) -> None:
        """twisted.web has read it all."""

    def finish(self, trailers: Fields) -> None:
        """The response is complete; trailers are dropped, for twisted.web has none."""
        if self._release():
            self._request.finish()

    def abort(self) -> None:
        """Reset the client's connection, or the stream of an HTTP/2 one."""
        if self._release():
            channel = self._request.channel
            (getattr(channel, "abortConnection", None) or channel.transport.abortConnection)()

    def open_tunnel(self, tunnel: Driven) -> None:
        """Never asked for: ``can_tunnel`` is False."""
        raise NotImplementedError("twisted.web has no tunnels")

    def end_tunnel_output(self) -> bool:
        """Never asked for."""
        return False

    def _release(self) -> bool:
        """The exchange is over; whether the client is still there."""
        producing, self._producing = self._producing, False
        self._driven = None
        self._stalled.cancel()
        self.timer.cancel()
        if producing and not self._lost:
            self._request.unregisterProducer()
        return not self._lost

    def _gave_up(self) -> None:
        """twisted.web would wait for the client for ever."""
        driven = self._driven
        if driven is not None:
            self.abort()
            limit = self._settings.timeouts.write
            driven.client_left(Termination.CLIENT_WRITE_TIMEOUT, f"it read nothing for {limit:g} s")

    # -- what twisted.web calls -------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client does not read."""
        if self._driven is not None:
            self._stalled.rearm(self._settings.timeouts.write)
            self._driven.pause_response()

    def resumeProducing(self) -> None:
        """It reads again."""
        self._stalled.cancel()
        if self._driven is not None:
            self._driven.resume_response()

    def stopProducing(self) -> None:
        """The transport is lost; ``notifyFinish`` says so."""

    def _gone(self, failure: Failure) -> None:
        self._lost = True
        self._stalled.cancel()
        driven, self._driven = self._driven, None
        if driven is not None:
            driven.client_left(Termination.CLIENT_LEFT, "its connection was lost")
        self.timer.cancel()


def _size(content: Any) -> int:
    """How many bytes of a body there are, from its beginning, where it is left."""
    size = int(content.seek(0, 2))
    content.seek(0)
    return size
