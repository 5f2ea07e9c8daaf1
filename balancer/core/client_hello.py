"""The first thing a TLS client says, read as far as routing needs it: the name and the protocols it asks for.

Sans-io and incremental: bytes go in as they come, a :class:`ClientHello` comes out, however they were cut and however
the message was split over records. Sources: RFC 8446 sections 4.1.2, 4.2 and 5.1 (the same bytes in TLS 1.0 to 1.2,
RFC 5246 section 7.4.1.2), RFC 6066 section 3 (server_name), RFC 7301 section 3.1 (ALPN), RFC 8701 (GREASE).

What two TLS implementations could read differently is refused, for the backend is to mean the name that chose it. With
Encrypted Client Hello the name is the outer one, which is all that can be seen. It never decrypts, never decides where
a client goes, and never changes a byte.
"""

import re

from balancer.errors import ClientHelloRefused

LIMIT = 16384
"""Bytes from the first to the end of the ClientHello, record headers included. Those of browsers with post-quantum key
shares have about 2 KiB, session tickets and long lists of protocols a few more; HAProxy's buffer and nginx's
``preread_buffer_size`` are 16 KiB too."""

HANDSHAKE = 22
"""The content type of its records (RFC 8446 section 5.1)."""

RECORD = 16384
"""Bytes a record has at most (RFC 8446 section 5.1)."""

LONGEST_NAME = 255
"""Bytes of a name (RFC 1035 section 2.3.4)."""

UNEXPECTED_MESSAGE = 10
ILLEGAL_PARAMETER = 47
DECODE_ERROR = 50
"""Alerts that tell a client what was wrong (RFC 8446 section 6.2)."""

_VISIBLE = re.compile(rb"[!-~]+")
_SERVER_NAME = 0
_ALPN = 16
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_METHODS = b"GHPODCT"  # what the methods of HTTP begin with


def alert(description: int) -> bytes:
    """The record of a fatal alert, unencrypted, as an answer to a ClientHello (RFC 8446 sections 5.1 and 6)."""
    return b"\x15\x03\x03\x00\x02\x02%c" % description


class ClientHello:
    """What it asks for.

    :ivar name: of the server (SNI), in lower case and without a trailing dot; empty where there is none.
    :ivar protocols: what it speaks (ALPN), the best first; without those of GREASE.
    :ivar encrypted: it has Encrypted Client Hello, so that the name it means may be another.
    """

    __slots__ = ("encrypted", "name", "protocols")

    def __init__(self, name: bytes, protocols: tuple[bytes, ...], encrypted: bool) -> None:
        self.name = name
        self.protocols = protocols
        self.encrypted = encrypted

    def __repr__(self) -> str:
        return f"<ClientHello to {self.name!r} protocols={self.protocols!r}{' ECH' * self.encrypted}>"


class ClientHelloReader:
    """Reads one ClientHello.

    :param limit: bytes it may have, record headers included.
    :ivar raw: every byte that was fed, to be sent on.
    """

    __slots__ = ("_limit", "_message", "_position", "raw")

    def __init__(self, limit: int = LIMIT) -> None:
        self.raw = bytearray()
        self._limit = limit
        self._message = bytearray()  # what the records before `_position` carried
        self._position = 0

    def __repr__(self) -> str:
        return f"<ClientHelloReader {len(self.raw)} bytes>"

    def feed(self, data: bytes) -> ClientHello | None:
        """Take some more bytes; ``None`` while it is not whole. Not to be called again once it is, or was refused.

        :raises ClientHelloRefused: it is none, or none that can be routed.
        """
        raw = self.raw
        raw += data
        while True:
            position = self._position
            _check_header(raw, position)
            if len(raw) - position < 5:
                return None
            length = raw[position + 3] << 8 | raw[position + 4]
            if length == 0 or length > RECORD:
                raise _refused(f"a record of {length} bytes", "RFC 8446 section 5.1")
            end = position + 5 + length
            self._within_limit(end)
            if len(raw) < end:
                return None
            self._message += raw[position + 5 : end]
            self._position = end
            whole = self._whole()
            if whole is not None:
                return _parsed(whole)

    def _whole(self) -> bytes | None:
        """The message's body, once it is all there."""
        message = self._message
        if message[0] != 1:
            what = f"a handshake message of type {message[0]} where a ClientHello is expected"
            raise ClientHelloRefused(what, UNEXPECTED_MESSAGE, "RFC 8446 section 4")
        if len(message) < 4:
            return None
        end = 4 + (message[1] << 16 | message[2] << 8 | message[3])
        self._within_limit(end)
        return bytes(message[4:end]) if len(message) >= end else None

    def _within_limit(self, size: int) -> None:
        if size > self._limit:
            what = f"a ClientHello of {size} bytes or more, above max_client_hello ({self._limit})"
            raise ClientHelloRefused(what, ILLEGAL_PARAMETER)


def _check_header(raw: bytearray, position: int) -> None:
    """As much as is there of a record's header is what it should be."""
    if len(raw) <= position:
        return
    if raw[position] != HANDSHAKE:
        if position == 0:
            raise _not_tls(raw[0])
        what = f"a record of type {raw[position]} in the middle of the ClientHello"
        raise ClientHelloRefused(what, UNEXPECTED_MESSAGE, "RFC 8446 section 5.1")
    if len(raw) > position + 1 and raw[position + 1] != 3:
        if position == 0:
            raise _not_tls(raw[0])
        raise _refused(f"a record of version {raw[position + 1]}", "RFC 8446 section 5.1")


def _not_tls(first: int) -> ClientHelloRefused:
    """The words say no more than the first byte shows, so that they do not depend on how many came at one time."""
    what = "bytes that are not TLS"
    if first & 0x80:
        what += ", or a ClientHello of SSL 2.0 (RFC 6176)"
    elif first in _METHODS:
        what += ", perhaps an HTTP request"
    return ClientHelloRefused(f"{what}: they begin with 0x{first:02x}", None)


def _refused(what: str, section: str) -> ClientHelloRefused:
    return ClientHelloRefused(what, DECODE_ERROR, section)


class _Field:
    """A run of bytes that is read from its beginning to its end."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        """The next bytes."""
        begin = self._position
        end = begin + size
        if end > len(self._data):
            raise _refused(f"{self._what} ends too early", "RFC 8446 section 4.1.2")
        self._position = end
        return self._data[begin:end]

    def number(self, size: int) -> int:
        """A number of so many bytes, the high one first."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes behind their count, itself a number of so many bytes."""
        return self.take(self.number(size))

    def done(self) -> None:
        """There is to be nothing more."""
        if self.left:
            raise _refused(f"{self._what} has {self.left} bytes too many", "RFC 8446 section 4.1.2")


def _parsed(body: bytes) -> ClientHello:
    hello = _Field(body, "the ClientHello")
    hello.take(2 + 32)  # the version, which long means nothing any more, and the random bytes
    if len(hello.vector(1)) > 32:
        raise _refused("a session id of more than 32 bytes", "RFC 8446 section 4.1.2")
    suites = len(hello.vector(2))
    if suites == 0 or suites % 2:
        raise _refused(f"a list of cipher suites of {suites} bytes", "RFC 8446 section 4.1.2")
    if not hello.vector(1):
        raise _refused("no compression method", "RFC 8446 section 4.1.2")
    if not hello.left:  # no extension at all, as before RFC 3546
        return ClientHello(b"", (), False)
    extensions = _Field(hello.vector(2), "the list of extensions")
    hello.done()
    name: bytes = b""
    protocols: tuple[bytes, ...] = ()
    seen: set[int] = set()
    while extensions.left:
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind in seen:
            raise ClientHelloRefused(f"extension {kind} twice", ILLEGAL_PARAMETER, "RFC 8446 section 4.2")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(content)
        elif kind == _ALPN:
            protocols = _protocols(content)
    return ClientHello(name, protocols, _ENCRYPTED_CLIENT_HELLO in seen)


def _server_name(content: bytes) -> bytes:
    """The one name in the list. OpenSSL takes no more than one either, nor one of another type."""
    extension = _Field(content, "server_name")
    names = _Field(extension.vector(2), "the list in server_name")
    extension.done()
    kind = names.number(1)
    name = names.vector(2)
    if kind != 0 or names.left:
        raise _refused("server_name with more than one name, or one that is no host name", "RFC 6066 section 3")
    name = name.lower().removesuffix(b".")
    if not 0 < len(name) <= LONGEST_NAME:
        raise _refused(f"a server name of {len(name)} bytes", "RFC 6066 section 3")
    if _VISIBLE.fullmatch(name) is None:
        raise _refused(f"the server name {name!r}, which is no host name", "RFC 6066 section 3")
    return name


def _protocols(content: bytes) -> tuple[bytes, ...]:
    extension = _Field(content, "the extension of ALPN")
    names = _Field(extension.vector(2), "the list of protocols")
    extension.done()
    found: list[bytes] = []
    while names.left:
        name = names.vector(1)
        if not name:
            raise _refused("a protocol without a name", "RFC 7301 section 3.1")
        if not _is_grease(name):
            found.append(name)
    return tuple(found)


def _is_grease(name: bytes) -> bool:
    """A reserved name, which clients send so that servers stay used to what they do not know (RFC 8701 section 2)."""
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A
