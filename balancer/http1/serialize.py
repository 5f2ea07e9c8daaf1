"""Heads and chunks as bytes. What this module writes, ``parser`` reads back unchanged.

It never decides which fields to send, and never writes a head that holds more lines than it was given.
"""

from http import HTTPStatus
from typing import Final

from balancer.http1.heads import Fields

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""The reason phrase of each registered status."""

_STATUS_LINES: Final = {
    status: (phrase, b"HTTP/1.1 %03d %b\r\n" % (status, phrase)) for status, phrase in REASONS.items()
}

LAST_CHUNK: Final = b"0\r\n\r\n"
"""The end of a chunked body that has no trailers."""


def reason(status: int) -> bytes:
    """The registered reason phrase of a status; empty for one nobody registered, as RFC 9112 section 4 allows."""
    return REASONS.get(status, b"")


def request_head(method: bytes, target: bytes, fields: Fields) -> bytes:
    """An HTTP/1.1 request head with its empty line (RFC 9112 section 3).

    :raises ValueError: a part holds CR, LF or NUL, which would let it write lines of its own.
    """
    return _head(b"%b %b HTTP/1.1" % (method, target), fields)


def request_line(method: bytes, target: bytes) -> bytes:
    """The first line of such a head.

    :raises ValueError: a part holds CR, LF or NUL, which would let it write lines of its own.
    """
    line = b"%b %b HTTP/1.1\r\n" % (method, target)
    if line.find(b"\r") != len(line) - 2 or line.find(b"\n") != len(line) - 1 or b"\0" in line:
        raise ValueError("a request line holds CR, LF or NUL; none is written with them")
    return line


def response_head(status: int, reason: bytes, fields: Fields, minor: int = 1) -> bytes:
    """A response head with its empty line (RFC 9112 section 4); ``minor`` is 0 or 1.

    :raises ValueError: a part holds CR, LF or NUL, which would let it write lines of its own.
    """
    return _head(b"HTTP/1.%d %03d %b" % (minor, status, reason), fields)


def status_line(status: int, reason: bytes) -> bytes:
    """The first line of an HTTP/1.1 response head.

    :raises ValueError: the reason holds CR, LF or NUL, which would let it write lines of its own.
    """
    known = _STATUS_LINES.get(status)
    if known is not None and known[0] == reason:
        return known[1]
    return _head(b"HTTP/1.1 %03d %b" % (status, reason), [])[:-2]


def field_lines(fields: Fields) -> bytes:
    """Field lines as they stand in a head.

    :raises ValueError: a part holds CR, LF or NUL, which would let it write lines of its own.
    """
    return _head(b"", fields)[2:-2]


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 section 7.1); nothing for no data, because a chunk of size 0 would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Fields) -> bytes:
    """The end of a chunked body, with trailers (RFC 9112 section 7.1.2).

    :raises ValueError: a trailer holds CR, LF or NUL.
    """
    return _head(b"0", trailers) if trailers else LAST_CHUNK


def _head(start: bytes, fields: Fields) -> bytes:
    head = b"\r\n".join([start, *map(b": ".join, fields), b"", b""])
    lines = len(fields) + 2
    # Every line end is ours: two counts at C speed instead of a look at every part.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a start line or field holds CR, LF or NUL; a head is not written with them")
    return head
