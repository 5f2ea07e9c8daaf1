"""ClientHellos for tests: what OpenSSL really sends, what a test makes up, and both cut into records and pieces."""

import ssl
from collections.abc import Iterable, Sequence

GREASE = b"\x0a\x0a"
"""One of the reserved values of RFC 8701."""


def real(name: str | None, *protocols: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The bytes with which the OpenSSL of this Python begins.

    :param name: to ask for (SNI).
    :param protocols: to offer (ALPN).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake without an answer")


def vector(size: int, content: bytes) -> bytes:
    """Bytes behind their count."""
    return len(content).to_bytes(size, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + vector(2, content)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The extension of SNI."""
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*protocols: bytes) -> bytes:
    """The extension of ALPN."""
    return extension(16, vector(2, b"".join(vector(1, name) for name in protocols)))


def message(*extensions: bytes, session: bytes = b"", suites: bytes = b"\x13\x01", methods: bytes = b"\0") -> bytes:
    """A ClientHello as a handshake message, without records."""
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, methods)
    return b"\x01" + vector(3, body + (vector(2, b"".join(extensions)) if extensions else b""))


def records(handshake: bytes, sizes: Iterable[int] = (), version: bytes = b"\x03\x01") -> bytes:
    """A handshake message in records: of these sizes, then the rest in as few as possible."""
    out = b""
    for size in sizes:
        piece, handshake = handshake[:size], handshake[size:]
        if piece:
            out += b"\x16" + version + vector(2, piece)
    while handshake:
        piece, handshake = handshake[:16384], handshake[16384:]
        out += b"\x16" + version + vector(2, piece)
    return out


def unwrapped(data: bytes) -> bytes:
    """The handshake message in what :func:`real` returned."""
    out = b""
    while data:
        size = int.from_bytes(data[3:5], "big")
        out, data = out + data[5 : 5 + size], data[5 + size :]
    return out


def pieces(data: bytes, marks: Sequence[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    edges = [0, *sorted(min(mark, len(data)) for mark in marks), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]
