"""The strict gate: bytes to requests, bytes to responses. Whatever has two readings is refused, never repaired.

Both parsers are pulled: ``feed`` what arrived, then ``next_event`` until NEED_DATA or PAUSED. The order of events is
head, body bytes, :class:`EndOfMessage`. A bad head gives no head event, a bad body never an EndOfMessage. The verdict
on a stream is the same however it was cut. This module never does I/O, never decodes content, never waits.
"""

import re
from typing import Final

from balancer.errors import BadResponse, RequestRefused
from balancer.http1 import faults, framing, grammar, targets
from balancer.http1.faults import Malformed
from balancer.http1.heads import CLOSE, EndOfMessage, Fields, RequestFields, RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.memo import RESPONSES, Memo, RequestMemo
from balancer.http1.reader import (
    COMPLETE,
    DETACHED,
    HEAD,
    IDLE,
    NEED_DATA,
    OVER,
    PAUSED,
    Event,
    MessageReader,
    Signal,
)
from balancer.http1.section import Section, StartLine, split_fields

__all__ = ["NEED_DATA", "PAUSED", "EndOfMessage", "Event", "RequestParser", "ResponseParser", "Signal"]

_HEAD_LIMITS: Final = ("head", "fields")
_PROTOCOL: Final = b"HTTP/1."
_CR: Final = 13
_END: Final = b"\r\n\r\n"
_BODILESS: Final = (b"HEAD", b"CONNECT")
"""Methods whose responses are framed unlike all others, so that a head that came before tells nothing of them."""


class RequestParser(MessageReader[RequestHead]):
    """The client's direction of a connection.

    ``next_event`` gives a RequestHead, body bytes, EndOfMessage, then PAUSED until :meth:`start_next`; NEED_DATA to be
    fed. It raises RequestRefused when what came is not forwarded, and so does every later call.

    :param memo: what passed these limits before.
    """

    __slots__ = ("_empty_lines", "_last", "_memo", "_section")

    def __init__(self, limits: HttpLimits, memo: RequestMemo | None = None) -> None:
        super().__init__(limits, HEAD)
        self._memo = RequestMemo() if memo is None else memo
        self._last: RequestHead | None = None  # the last on this connection that had come before
        self._section: Section | None = None  # made for the first head that does not arrive whole
        self._empty_lines = 0

    @property
    def idle(self) -> bool:
        """True between messages: nothing of a next head is there (an empty line before it is nothing)."""
        return self._state == HEAD and self._position == len(self._data)

    def whole(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """In place of ``feed``, for data that may be one whole request: its head and the body, and the parser is
        PAUSED. Where it is anything else, ``None``, and nothing was taken: feed it."""
        if self._state != HEAD or self._position != len(self._data) or self._fault is not None or self._ended:
            return None
        head = self._last
        if head is None or not data.startswith(head.raw):  # who asks again mostly asks alike
            try:
                head = self._usual_head(data, 0)
            except Malformed:
                return None  # as next_event will say
            if head is None:
                return None
        if head.whole != len(data):
            return None
        self._empty_lines = 0
        self._state = OVER
        return head, data[len(head.raw) :] if head.framing.length else b""

    def start_next(self) -> None:
        """Go on to the next request of the connection.

        :raises RuntimeError: the present one has not ended; nothing was changed.
        """
        if self._state != OVER:
            raise RuntimeError(f"{self!r}: the next request starts after EndOfMessage")
        self._state = HEAD

    def take_unread(self) -> bytes:
        """The bytes after the message, for a tunnel; the parser is finished and stays PAUSED.

        :raises RuntimeError: the message has not ended; nothing was changed.
        """
        if self._state != OVER:
            raise RuntimeError(f"{self!r}: a tunnel starts after EndOfMessage")
        return self._detach()

    def eof(self) -> bool:
        """The client will send no more: False if it left in the middle of a request, True if it may leave here.

        What was fed before still gives its events; if they end in the middle of a message (a pipelined one, say),
        ``next_event`` raises RequestRefused instead of asking for more.
        """
        self._ended = True
        if self._fault is not None:
            return False
        # What was fed and not yet asked for may hold the message's end.
        return self.idle or self._state in (COMPLETE, OVER, DETACHED) or (self.unread > 0 and not self._starved)

    def _blame(self, fault: Malformed) -> RequestRefused:
        return RequestRefused(fault.status, fault.reason, fault.section)

    def _body_room(self) -> int | None:
        return self.limits.body or None

    def _read_head(self) -> Event[RequestHead]:
        data, start = self._data, self._position
        if start == len(data):
            return NEED_DATA
        if self._section is None or not self._section.begun:
            head = self._usual_head(data, start)
            if head is not None:
                return self._begin(head, start + len(head.raw))
        return self._read_head_by_lines()

    def _usual_head(self, data: bytes | bytearray, start: int) -> RequestHead | None:
        """The head that starts there, if it arrived whole and nothing is unusual about it. Nothing is taken.

        :raises Malformed: it is refused for what it says.
        """
        limits, memo = self.limits, self._memo
        raw = bytes(data[start : data.find(_END, start, start + limits.head) + len(_END)])
        head = memo.heads.get(raw)
        if head is not None:
            self._last = head
            return head
        line = grammar.REQUEST_LINE.match(raw)
        if line is None or line.end() - 2 > limits.request_line:
            return None
        lines = raw[line.end() :]
        is_kept = line[5] != b"0" and line[1] != b"CONNECT"  # what is said below of the fields depends on no more
        told = memo.fields.get(lines) if is_kept else None
        if told is None:
            if grammar.TIGHT_FIELDS.fullmatch(lines) is None:
                return None
            fields: Fields = grammar.FIELDS.findall(lines, 0, len(lines) - 2)
            if len(fields) > limits.fields:
                return None
            head = self._accept(line, None, fields)
        else:
            head = self._accept(line, told, told.fields)
        head.arrived(raw)
        if is_kept and told is None:  # enough for a client who never comes back
            memo.fields.keep(lines, head.told)
        else:
            memo.heads.keep(raw, head)
        return head

    def _read_head_by_lines(self) -> Event[RequestHead]:
        if not self._skip_empty_lines():
            return self._starve() if self.unread else NEED_DATA
        if self._section is None:
            limits = self.limits
            overlong = (414, f"a request line of more than {limits.request_line} bytes", "RFC 9112 section 3")
            size = min(limits.request_line + 2, limits.head)
            first = StartLine(grammar.REQUEST_LINE, faults.request_line, size, overlong)
            self._section = Section(first, limits.head, limits.fields, _HEAD_LIMITS)
        end = self._section.end(self._data, self._position)
        if end is None:
            return self._starve()
        self._section.restart()
        found = grammar.REQUEST_HEAD.match(self._data, self._position, end)
        if found is None:
            raise Malformed(400, "the head is not one of HTTP/1.1", "RFC 9112 section 2.1")
        return self._begin(self._accept(found, None, split_fields(self._data, *found.span(6))), end)

    def _skip_empty_lines(self) -> bool:
        """Skip the line ends that some clients send after a body (RFC 9112 section 2.2); True at a head's first byte.

        :raises Malformed: too many of them, or what comes cannot start a request.
        """
        data = self._data
        while self._position < len(data):
            first = data[self._position]
            if first != _CR:
                if grammar.TOKEN.match(data, self._position, self._position + 1) is None:
                    raise Malformed(400, f"a request cannot start with byte {first:#04x}", "RFC 9112 section 3")
                return True
            if len(data) == self._position + 1:
                return False
            if data[self._position + 1] != 10:
                raise Malformed(400, "a bare CR before the request line", "RFC 9112 section 2.2")
            self._empty_lines += 1
            self._position += 2
            if self._empty_lines > self.limits.leading_empty_lines:
                allowed = self.limits.leading_empty_lines
                raise Malformed(400, f"more than {allowed} empty lines before a request", "RFC 9112 section 2.2")
        self._data, self._position = b"", 0
        return False

    def _accept(self, line: re.Match[bytes], told: RequestFields | None, fields: Fields) -> RequestHead:
        """The head of this request line and these fields, which were ``told`` of before or are judged now. It depends
        on them and the limits alone, which is what lets a memo stand for them.

        :raises Malformed: they are refused.
        """
        method, target, path, query, version = line.group(1, 2, 3, 4, 5)
        if len(method) > self.limits.method:
            raise Malformed(501, f"a method of more than {self.limits.method} bytes", "RFC 9112 section 3")
        minor = 0 if version == b"0" else 1
        asked = b""
        if path is None or method == b"CONNECT":
            asked, path, query = targets.resolve(method, target)
        if told is None:
            told = framing.request_fields(fields, method, minor, self.limits.body)
        return RequestHead(method, target, minor, asked or told.host, path, query, told)

    def _begin(self, head: RequestHead, end: int) -> RequestHead:
        """It ends there, and its body begins."""
        self._position = end
        self._empty_lines = 0
        self._begin_body(head.framing)
        return head


class ResponseParser(MessageReader[ResponseHead]):
    """The backend's direction of a connection: one response after each :meth:`expect`.

    ``next_event`` gives a ResponseHead, body bytes, EndOfMessage, then PAUSED until :meth:`expect`; NEED_DATA to be
    fed. A 1xx gives a head and nothing else, then the next head follows. What opens a tunnel (101, or 2xx to CONNECT)
    gives its head, then PAUSED: see :meth:`take_unread`. It raises BadResponse when what came is not a response, or
    only a part of one, or nobody asked for it, and so does every later call.

    :param memo: heads that passed these limits before.
    """

    __slots__ = ("_interim", "_last", "_memo", "_method", "_section", "_touched", "_tunnel")

    def __init__(self, limits: HttpLimits, memo: Memo[ResponseHead] | None = None) -> None:
        super().__init__(limits, IDLE)
        self._memo: Memo[ResponseHead] = Memo(RESPONSES) if memo is None else memo
        self._last: ResponseHead | None = None  # the last on this connection that had come before
        self._section: Section | None = None  # made for the first head that does not arrive whole
        self._method = b""
        self._interim = 0
        self._touched = False
        self._tunnel = False

    @property
    def idle(self) -> bool:
        """True if a request may be sent: no response is expected or under way, and nothing came unasked."""
        return (
            (self._state == OVER or self._state == IDLE)
            and self._position == len(self._data)
            and not (self._tunnel or self._ended)
            and self._fault is None
        )

    @property
    def awaiting(self) -> bool:
        """True if a response is expected and not one byte of it has arrived."""
        return self._state == HEAD and not self._touched and not self.unread

    def expect(self, method: bytes) -> None:
        """A request of this method is being sent; what arrives from now on is its response.

        :raises RuntimeError: the parser is not :attr:`idle`; nothing was changed.
        """
        if not self.idle:
            raise RuntimeError(f"{self!r} cannot expect a response")
        self._method = method
        self._interim = 0
        self._touched = False
        self._state = HEAD

    def whole(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """In place of ``feed``, for data that may be one whole response: its head and the body, and the parser is
        PAUSED. Where it is anything else, ``None``, and nothing was taken: feed it."""
        if self._state != HEAD or self._position != len(self._data) or self._method in _BODILESS:
            return None
        if self._fault is not None or self._ended:
            return None
        head = self._last
        if head is None or not data.startswith(head.raw):
            try:
                head = self._usual_head(data, 0)
            except Malformed:
                return None  # as next_event will say
            if head is None or head.status < 200:
                return None
        if head.whole != len(data):
            return None
        self._state = OVER
        return head, data[len(head.raw) :]

    def eof(self) -> None:
        """The backend will send no more. A body that ends with the stream is complete now; any other is truncated,
        and ``next_event`` raises BadResponse when it has given all that came."""
        self._ended = True

    def take_unread(self) -> bytes:
        """The bytes after the head that opened a tunnel; the parser is finished and stays PAUSED.

        :raises RuntimeError: no tunnel was opened; nothing was changed.
        """
        if self._state != OVER or not self._tunnel:
            raise RuntimeError(f"{self!r}: no response opened a tunnel")
        return self._detach()

    def _blame(self, fault: Malformed) -> BadResponse:
        nothing = self._ended and self._state == HEAD and not self._touched
        return BadResponse(fault.reason, fault.section, nothing_received=nothing)

    def _rest(self) -> Event[ResponseHead]:
        if self.unread and not self._tunnel:
            raise Malformed(502, "bytes that belong to no response", "RFC 9112 section 6.3")
        return PAUSED

    def _read_head(self) -> Event[ResponseHead]:
        data, start = self._data, self._position
        if start == len(data):
            return self._starve()
        self._touched = True
        if self._section is None or not self._section.begun:
            head = self._usual_head(data, start)
            if head is not None:
                return self._begin(head, start + len(head.raw))
        return self._read_head_by_lines()

    def _usual_head(self, data: bytes | bytearray, start: int) -> ResponseHead | None:
        """The head that starts there, if it arrived whole and nothing is unusual about it. Nothing is taken.

        :raises Malformed: it is refused for what it says.
        """
        plain = self._method not in _BODILESS
        raw = bytes(data[start : data.find(_END, start, start + self.limits.head) + len(_END)])
        head = self._memo.get(raw) if plain else None
        if head is not None:
            self._last = head
            return head
        found = grammar.TIGHT_RESPONSE_HEAD.fullmatch(raw)
        if found is None:
            return None
        fields: Fields = grammar.FIELDS.findall(raw, *found.span(4))
        if len(fields) > self.limits.fields:
            return None
        head = self._accept(found, fields)
        head.arrived(raw)
        if plain and head.status >= 200:
            self._memo.keep(raw, head)
        return head

    def _read_head_by_lines(self) -> Event[ResponseHead]:
        prefix = bytes(self._data[self._position : self._position + len(_PROTOCOL)])
        if not _PROTOCOL.startswith(prefix):
            raise Malformed(502, "what came does not start with HTTP/1.", "RFC 9112 section 4")
        if self._section is None:
            limits = self.limits
            overlong = (502, f"a status line of more than {limits.head} bytes", "RFC 9112 section 4")
            first = StartLine(grammar.STATUS_LINE, faults.status_line, limits.head, overlong)
            self._section = Section(first, limits.head, limits.fields, _HEAD_LIMITS)
        end = self._section.end(self._data, self._position)
        if end is None:
            return self._starve()
        self._section.restart()
        found = grammar.RESPONSE_HEAD.match(self._data, self._position, end)
        if found is None:
            raise Malformed(502, "the head is not one of HTTP/1.1", "RFC 9112 section 2.1")
        return self._begin(self._accept(found, split_fields(self._data, *found.span(4))), end)

    def _accept(self, found: re.Match[bytes], fields: Fields) -> ResponseHead:
        minor = 0 if found[1] == b"0" else 1
        status = int(found[2])
        index = framing.index_fields(fields, is_request=False)
        ends = framing.response_framing(index, self._method, minor, status)
        options = framing.connection_options(index, fields)
        keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        keep_alive = keep_alive and ends.kind is not CLOSE
        return ResponseHead(minor, status, found[3] or b"", fields, ends, options, keep_alive, index)

    def _begin(self, head: ResponseHead, end: int) -> ResponseHead:
        """It ends there; what follows begins."""
        self._position = end
        if head.interim:
            self._count_interim()
        elif head.status == 101 or (self._method == b"CONNECT" and head.status < 300):
            self._tunnel = True
            self._state = OVER
        else:
            self._begin_body(head.framing)
        return head

    def _count_interim(self) -> None:
        self._interim += 1
        if self._interim > self.limits.interim_responses:
            allowed = self.limits.interim_responses
            raise Malformed(502, f"more than {allowed} interim responses", "RFC 9110 section 15.2")
