"""Decodes chunked bodies (RFC 9112 section 7.1). It never builds up data: what was fed comes out or is refused."""

from typing import Final

from balancer.http1 import faults, grammar
from balancer.http1.faults import Malformed
from balancer.http1.heads import Fields
from balancer.http1.limits import HttpLimits
from balancer.http1.section import Section, split_fields

_SIZE, _DATA, _AFTER, _TRAILERS = range(4)

UNTRAILED: Final = frozenset(
    # RFC 9110 section 6.5.1: framing, routing, request modifiers, authentication, response control, content
    # format; and what this proxy itself says about the client, which must not be said by the client.
    b"""
    transfer-encoding content-length trailer host connection keep-alive proxy-connection te upgrade
    cache-control expect max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since
    if-range authorization proxy-authorization www-authenticate proxy-authenticate authentication-info
    proxy-authentication-info cookie set-cookie age date expires location retry-after vary warning
    content-encoding content-type content-range forwarded via x-forwarded-for x-forwarded-host
    x-forwarded-proto x-forwarded-port x-forwarded-server x-real-ip x-request-id
    """.split()
)
"""Trailer fields that are dropped, by lower-case name; "_" counts as "-", as it does for CGI and WSGI."""


class ChunkedBody:
    """The decoder of one body.

    :ivar trailers: the trailer fields that may be forwarded, once the body is complete; None before.
    """

    __slots__ = ("_extensions", "_left", "_limits", "_phase", "_room", "_section", "trailers")

    def __init__(self, limits: HttpLimits, room: int | None) -> None:
        """:param room: the most bytes the body may have, framing not counted; None for no limit."""
        self.trailers: Fields | None = None
        self._limits = limits
        self._room = room
        self._phase = _SIZE
        self._left = 0
        self._extensions = 0
        self._section: Section | None = None

    def decode(self, data: bytes | bytearray, position: int, pieces: list[bytes]) -> int:
        """Append the body bytes found from ``position`` on to ``pieces``; how far ``data`` is used up.

        Small chunks of one feed come out in one call, so that they can be forwarded as one.

        :raises Malformed: bad chunks; the pieces are then of no use.
        """
        end = len(data)
        while position < end and self.trailers is None:
            phase = self._phase
            if phase == _DATA:
                reached = self._read_data(data, position, pieces)
            elif phase == _SIZE:
                reached = self._read_size(data, position)
            elif phase == _AFTER:
                reached = self._read_line_end(data, position)
            else:
                reached = self._read_trailers(data, position)
            if reached == position:
                break
            position = reached
        return position

    def _read_data(self, data: bytes | bytearray, position: int, pieces: list[bytes]) -> int:
        reached = min(position + self._left, len(data))
        pieces.append(cut(data, position, reached))
        self._left -= reached - position
        if not self._left:
            self._phase = _AFTER
        return reached

    def _read_size(self, data: bytes | bytearray, position: int) -> int:
        longest = self._limits.chunk_line + 2
        line = grammar.CHUNK_LINE.match(data, position, position + longest)
        if line is None:
            return self._await_size(data, position, longest)
        size = int(line[1], 16)
        self._extensions += len(line[2])
        if self._extensions > self._limits.chunk_extensions:
            allowed = self._limits.chunk_extensions
            raise Malformed(400, f"more than {allowed} bytes of chunk extensions", "RFC 9112 section 7.1.1")
        if self._room is not None:
            self._room -= size
            if self._room < 0:
                raise Malformed(413, f"the body has more than {self._limits.body} bytes", "RFC 9110 section 15.5.14")
        self._left = size
        self._phase = _DATA if size else _TRAILERS
        return line.end()

    def _await_size(self, data: bytes | bytearray, position: int, longest: int) -> int:
        newline = data.find(b"\n", position, position + longest)
        if newline >= 0:
            raise faults.chunk_line(bytes(data[position : newline + 1]))
        if len(data) - position >= longest:
            allowed = self._limits.chunk_line
            raise Malformed(400, f"a chunk's size line has more than {allowed} bytes", "RFC 9112 section 7.1.1")
        return position

    def _read_line_end(self, data: bytes | bytearray, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._phase = _SIZE
            return position + 2
        if len(data) - position > 1 or data[position] != 13:
            raise Malformed(400, "a chunk's data is not followed by CR LF", "RFC 9112 section 7.1")
        return position

    def _read_trailers(self, data: bytes | bytearray, position: int) -> int:
        if data.startswith(b"\r\n", position) and self._section is None:
            self.trailers = []
            return position + 2
        if self._section is None:
            names = ("trailers", "trailer_fields")
            self._section = Section(None, self._limits.trailers, self._limits.trailer_fields, names)
        end = self._section.end(data, position)
        if end is None:
            return position
        fields = split_fields(data, position, end - 2)
        self.trailers = [field for field in fields if field[0].lower().replace(b"_", b"-") not in UNTRAILED]
        return end


def cut(data: bytes | bytearray, start: int, end: int) -> bytes:
    """``data[start:end]`` as bytes, copied once; bytes that are wanted whole are not copied at all."""
    if isinstance(data, bytes):
        # Compiled, a slice is a copy, whatever it leaves out.
        return data if not start and end == len(data) else data[start:end]
    return bytes(memoryview(data)[start:end])
