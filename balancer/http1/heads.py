"""What a parsed head is: plain values with slots, checked before they were made.

Whoever holds a :class:`RequestHead` holds a request whose framing has exactly one reading. This module never
looks at raw bytes (``parser`` does) and never decides how a body is framed (``framing`` does).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

Fields = list[tuple[bytes, bytes]]
"""Field lines: original spelling, order and repeats; values without the white space around them."""


class FramingKind(enum.Enum):
    """How a body's end is found (RFC 9112 section 6.3)."""

    NONE = "none"
    """There is no body."""
    LENGTH = "length"
    """``Framing.length`` bytes follow the head; 0 is a body that was announced and is empty."""
    CHUNKED = "chunked"
    """Chunks follow the head, then a trailer section."""
    CLOSE = "close"
    """Everything until the end of the stream; responses only."""


NONE = FramingKind.NONE
LENGTH = FramingKind.LENGTH
CHUNKED = FramingKind.CHUNKED
CLOSE = FramingKind.CLOSE


@dataclass(frozen=True, slots=True)
class Framing:
    """How one message's body ends: its kind (compare with ``is``) and, for LENGTH, its length in bytes."""

    kind: FramingKind
    length: int = 0

    @property
    def empty(self) -> bool:
        """True if the head says by itself that no body byte follows."""
        return self.kind is NONE or (self.kind is LENGTH and not self.length)


NO_BODY = Framing(NONE)
CHUNKED_BODY = Framing(CHUNKED)
BODY_UNTIL_CLOSE = Framing(CLOSE)


class RequestFields:
    """What the field lines of a request say, whatever it asks for; whoever reads them together with a request line
    has a :class:`RequestHead`, and finds what is called the same there.

    :ivar host: of the Host field.
    :ivar index: first values by lower-case name.
    :ivar notes: as a head's, and for all heads with these field lines.
    """

    __slots__ = (
        "connection", "expect_continue", "fields", "framing", "host", "index", "keep_alive", "notes", "upgrade",
    )  # fmt: skip

    def __init__(
        self,
        fields: Fields,
        index: Mapping[bytes, bytes],
        host: bytes,
        framing: Framing,
        connection: frozenset[bytes],
        keep_alive: bool,
        expect_continue: bool,
        upgrade: bytes | None,
    ) -> None:
        self.fields = fields
        self.index = index
        self.host = host
        self.framing = framing
        self.connection = connection
        self.keep_alive = keep_alive
        self.expect_continue = expect_continue
        self.upgrade = upgrade
        self.notes: object = None


class RequestHead:
    """A request's head that passed the gate.

    :ivar method: as received; case counts (RFC 9110 section 9.1).
    :ivar target: the request target as received.
    :ivar minor: 0 or 1; a later HTTP/1.x counts as 1.1 (RFC 9110 section 2.5).
    :ivar fields: the field lines as received.
    :ivar host: whom the request is for, lower case: the authority of an absolute or authority target, else of
        Host; the port is kept (an empty one, ``host:``, is not); ``b""`` only for HTTP/1.0 without Host.
    :ivar path: the target's path as received; ``b"/"`` for an absolute target without one, ``b"*"`` for
        ``OPTIONS *`` (and for OPTIONS with an absolute target of neither path nor query, RFC 9112 section
        3.2.4), ``b""`` for CONNECT.
    :ivar query: what follows the first ``?``; None if there is none.
    :ivar framing: how the body ends: NONE, LENGTH or CHUNKED.
    :ivar connection: every option of every Connection field, lower case.
    :ivar keep_alive: the client wants another exchange on this connection (RFC 9112 section 9.3).
    :ivar expect_continue: the client holds its body back until a 100 (RFC 9110 section 10.1.1).
    :ivar upgrade: the value of Upgrade, if Connection lists it and the request is HTTP/1.1; else None.
    :ivar told: what of it the field lines say; other heads may have the same.
    :ivar notes: for whoever works with it: what it wants to find again when the same head comes again. A head may
        stand for many messages (:mod:`balancer.http1.memo`), so nothing else of it may be changed.
    :ivar raw: its bytes, where it arrived whole, and ``whole``: how many the message has; -1 where that is unknown.
    """

    __slots__ = (
        "connection", "expect_continue", "fields", "framing", "host", "keep_alive", "method", "minor", "notes", "path",
        "query", "raw", "target", "told", "upgrade", "whole",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        minor: int,
        host: bytes,
        path: bytes,
        query: bytes | None,
        told: RequestFields,
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.host = host
        self.path = path
        self.query = query
        self.told = told
        self.fields = told.fields
        self.framing = told.framing
        self.connection = told.connection
        self.keep_alive = told.keep_alive
        self.expect_continue = told.expect_continue
        self.upgrade = told.upgrade
        self.notes: object = None
        self.raw = b""
        self.whole = -1

    def arrived(self, raw: bytes) -> None:
        """It arrived whole, and these are its bytes."""
        self.raw = raw
        self.whole = _whole(raw, self.framing)

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field as received, by its lower-case name; None if it is absent."""
        return self.told.index.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field as received, in order, by its lower-case name."""
        return _all_values(self.told.index, self.fields, name)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} host={self.host!r} {_shown(self.framing)}>"


class ResponseHead:
    """A response's head whose framing has exactly one reading.

    :ivar minor: 0 or 1, the backend's HTTP version.
    :ivar status: 100 to 999.
    :ivar reason: the reason phrase, perhaps empty.
    :ivar fields: the field lines as received.
    :ivar framing: how the body ends; NONE for 1xx, 204, 304, for HEAD, and for what opens a tunnel.
    :ivar connection: every option of every Connection field, lower case.
    :ivar keep_alive: the backend keeps the connection for another request once this body ended.
    :ivar notes: as a request's, and so are ``raw`` and ``whole``.
    """

    __slots__ = (
        "_index", "connection", "fields", "framing", "keep_alive", "minor", "notes", "raw", "reason", "status", "whole",
    )  # fmt: skip

    def __init__(
        self,
        minor: int,
        status: int,
        reason: bytes,
        fields: Fields,
        framing: Framing,
        connection: frozenset[bytes],
        keep_alive: bool,
        index: Mapping[bytes, bytes],
    ) -> None:
        self.minor = minor
        self.status = status
        self.reason = reason
        self.fields = fields
        self.framing = framing
        self.connection = connection
        self.keep_alive = keep_alive
        self.notes: object = None
        self.raw = b""
        self.whole = -1
        self._index = index

    def arrived(self, raw: bytes) -> None:
        """It arrived whole, and these are its bytes."""
        self.raw = raw
        self.whole = _whole(raw, self.framing)

    @property
    def interim(self) -> bool:
        """True for a 1xx that another response follows; 101 is final (RFC 9110 section 15.2)."""
        return self.status < 200 and self.status != 101

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field as received, by its lower-case name; None if it is absent."""
        return self._index.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field as received, in order, by its lower-case name."""
        return _all_values(self._index, self.fields, name)

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.reason!r} {_shown(self.framing)}>"


class EndOfMessage:
    """The message is complete, its body ended where its framing said.

    :ivar trailers: the trailer fields that may be forwarded, in order; a list of this message alone.
    """

    __slots__ = ("trailers",)

    def __init__(self, trailers: Fields) -> None:
        self.trailers = trailers

    def __repr__(self) -> str:
        return f"EndOfMessage({self.trailers!r})"


def first_values(fields: Fields) -> dict[bytes, bytes]:
    """Field values by lower-case name, the first of each."""
    return {name.lower(): value for name, value in reversed(fields)}


def _whole(raw: bytes, framing: Framing) -> int:
    kind = framing.kind
    return len(raw) + framing.length if kind is NONE or kind is LENGTH else -1


def _all_values(index: Mapping[bytes, bytes], fields: Fields, name: bytes) -> list[bytes]:
    if name not in index:
        return []
    return [value for spelling, value in fields if spelling.lower() == name]


def _shown(framing: Framing) -> str:
    return f"length={framing.length}" if framing.kind is LENGTH else framing.kind.value
