"""What is sent for a request from a stored response: all of it, ranges of it, its head alone, that the client has it
already (304), or that there is no such range (416).

The order is that of RFC 9110 section 13.2.2: conditions first, then ranges. Whether the stored response may be used at
all was decided before (``reuse``). It never reads a body, only says which bytes of it: ``pieces``. Age and Cache-Status
are the sender's to add.
"""

from hashlib import blake2b
from typing import Final

from balancer.cache import conditions, partial, ranges
from balancer.cache.asked import Asked
from balancer.cache.lines import name_of, only, without
from balancer.cache.messages import Request
from balancer.cache.ranges import Span
from balancer.cache.stored import Stored
from balancer.http1.memo import Memo

_OF_A_304: Final = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"})
"""RFC 9110 section 15.4.5: these if the 200 had them, and no other metadata of the representation."""
_OF_THE_CONTENT: Final = frozenset({b"content-length", b"content-range", b"content-digest", b"content-md5"})
"""What is true of the stored content only, not of a part (RFC 9110 section 8.6, 14.4; RFC 9530 section 2)."""
_OF_THE_PARTS: Final = _OF_THE_CONTENT | {b"content-type"}
_DATE: Final = frozenset({b"date"})
_TYPE: Final = frozenset({b"content-type"})

_MEMO_SIZE: Final = 512
"""Responses of which is remembered what their lines say, in each half of the memo: 2 MiB a half at most."""


class Answer:
    """What to send.

    :ivar status: the stored one, 206, 304 or 416.
    :ivar reason: the reason phrase.
    :ivar lines: the field lines, each with its CRLF, without the empty line.
    :ivar pieces: the body in order: bytes as they are, and ``(offset, end)`` of the stored body. None of them is empty.
    :ivar length: bytes that the pieces are together; 0 for HEAD and 304, whatever Content-Length says there.
    """

    __slots__ = ("length", "lines", "pieces", "reason", "status")

    def __init__(self, status: int, reason: bytes, lines: bytes, pieces: list[bytes | Span], length: int) -> None:
        self.status = status
        self.reason = reason
        self.lines = lines
        self.pieces = pieces
        self.length = length

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.length} bytes in {len(self.pieces)} pieces>"


def answer(asked: Asked, request: Request, stored: Stored, secret: bytes = b"") -> Answer:
    """What a request gets from a stored response that it may have.

    :param secret: at most 64 bytes from which, with the response and the ranges, the boundary of a multipart body is
        made, so that nobody can write a body that has it.
    :raises ValueError: the stored response is partial and has not what is asked for: see
        :func:`balancer.cache.partial.covers`.
    """
    status = stored.status
    if asked.conditional and 200 <= status < 300:  # RFC 9110 section 13.2.1
        told = _told(stored)
        if conditions.unmodified(request, told.validators, stored.arrived):
            return Answer(304, b"Not Modified", told.of_304(stored.lines), [], 0)
    if stored.parts is not None:
        return _of_parts(request, stored)
    if request.method == b"HEAD":
        return Answer(status, stored.reason, stored.lines, [], 0)
    size = stored.size
    if asked.ranged and status == 200:
        specs = ranges.wanted(request)
        if specs is not None and conditions.range_holds(request, _told(stored).validators):
            ranged = _ranged(stored, specs, size, secret)
            if ranged is not None:
                return ranged
    return Answer(status, stored.reason, stored.lines, [(0, size)] if size else [], size)


class _Told:
    """What the lines of a stored response say, worked out when it is asked for."""

    __slots__ = ("_of_206", "_of_304", "validators")

    def __init__(self, validators: conditions.Validators) -> None:
        self.validators = validators
        self._of_206: bytes | None = None
        self._of_304: bytes | None = None

    def of_304(self, lines: bytes) -> bytes:
        """Those of the lines that a 304 has."""
        if self._of_304 is None:
            self._of_304 = _not_modified(lines)
        return self._of_304

    def of_206(self, lines: bytes) -> bytes:
        """Those that a part has."""
        if self._of_206 is None:
            self._of_206 = without(lines, _OF_THE_CONTENT)
        return self._of_206


_memo: Memo[_Told] = Memo(_MEMO_SIZE)


def _told(stored: Stored) -> _Told:
    """What its lines say: the same for all with the same lines, and most are asked for again and again."""
    found = _memo.get(stored.lines)
    if found is None:
        found = _Told(conditions.validators(stored))
        _memo.keep(stored.lines, found)
    return found


def _not_modified(lines: bytes) -> bytes:
    kept: list[bytes] = []
    modified = b""
    tagged = False
    for line in lines.split(b"\r\n"):
        name = name_of(line)
        if name in _OF_A_304:
            kept.append(line)
            tagged = tagged or name == b"etag"
        elif name == b"last-modified":
            modified = line
    if modified and not tagged:
        kept.append(modified)
    kept.append(b"")
    return b"\r\n".join(kept)


def _ranged(stored: Stored, specs: list[Span], size: int, secret: bytes) -> Answer | None:
    """The answer to ranges of a whole response; ``None`` if the whole is the better one."""
    if not size and any(first == ranges.SUFFIX and end for first, end in specs):
        return None  # the last bytes of nothing: satisfiable, but no Content-Range can say it (section 14.1.2)
    spans = ranges.satisfied(specs, size)
    if not spans:
        lines = only(stored.lines, _DATE) + b"Content-Range: bytes */%d\r\nContent-Length: 0\r\n" % size
        return Answer(416, b"Range Not Satisfiable", lines, [], 0)
    if len(spans) == 1:
        first, end = spans[0]
        return _single(stored, first, end, first, size)
    return _multiple(stored, spans, size, secret)


def _of_parts(request: Request, stored: Stored) -> Answer:
    span = partial.span(stored, request)
    if span is None:
        raise ValueError("a partial response is no answer to a request for what it has not")
    return _single(stored, span[0], span[1], partial.place(stored, span[0], span[1]), stored.total)


def _single(stored: Stored, first: int, end: int, offset: int, total: int) -> Answer:
    """206 with one range, which begins at ``offset`` of the stored body."""
    length = end - first
    whole = b"*" if total < 0 else b"%d" % total
    lines = _told(stored).of_206(stored.lines) + b"Content-Range: bytes %d-%d/%b\r\nContent-Length: %d\r\n" % (
        first,
        end - 1,
        whole,
        length,
    )
    return Answer(206, b"Partial Content", lines, [(offset, offset + length)], length)


def _multiple(stored: Stored, spans: list[Span], size: int, secret: bytes) -> Answer | None:
    """206 with several ranges as multipart/byteranges (RFC 9110 sections 14.6 and 15.3.7.2), each part with the type
    of the whole; ``None`` if that is no less than the whole."""
    boundary = blake2b(b"%d %r" % (size, spans) + stored.lines, digest_size=16, key=secret).hexdigest().encode("ascii")
    types = only(stored.lines, _TYPE)
    pieces: list[bytes | Span] = []
    length = 0
    start = b"--"
    for first, end in spans:
        head = b"%b%b\r\n%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (start, boundary, types, first, end - 1, size)
        pieces.append(head)
        pieces.append((first, end))
        length += len(head) + end - first
        start = b"\r\n--"
    last = b"\r\n--%b--\r\n" % boundary
    pieces.append(last)
    length += len(last)
    if length >= size:
        return None
    lines = without(stored.lines, _OF_THE_PARTS)
    lines += b"Content-Type: multipart/byteranges; boundary=%b\r\nContent-Length: %d\r\n" % (boundary, length)
    return Answer(206, b"Partial Content", lines, pieces, length)
