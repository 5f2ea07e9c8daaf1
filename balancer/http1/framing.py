"""The rules of the gate that need a whole head: how the body ends, whom Connection speaks to (RFC 9112 section 6).

A message with two readings is refused, never repaired. These functions get fields whose syntax was checked; they
never look at bytes of the stream.
"""

from collections.abc import Mapping
from typing import Final

from balancer.http1 import faults, grammar, targets
from balancer.http1.faults import Malformed
from balancer.http1.heads import (
    BODY_UNTIL_CLOSE,
    CHUNKED_BODY,
    LENGTH,
    NO_BODY,
    Fields,
    Framing,
    RequestFields,
    first_values,
)

_NO_OPTIONS: Final[frozenset[bytes]] = frozenset()
_USUAL_OPTIONS: Final = {
    spelling: frozenset([spelling.lower()]) for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Close")
}
_NEVER_OPTIONS: Final = frozenset([b"host", b"content-length"])
_EMPTY_BODY: Final = Framing(LENGTH, 0)
_REGISTERED_CODINGS: Final = frozenset([b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"])

_ONCE_IN_REQUESTS: Final = (b"host", b"content-length", b"transfer-encoding")
_ONCE_IN_RESPONSES: Final = (b"content-length", b"transfer-encoding")
_DISGUISED: Final = (b"content_length", b"transfer_encoding")


def index_fields(fields: Fields, is_request: bool) -> dict[bytes, bytes]:
    """First values by lower-case name.

    :raises Malformed: a field that frames or routes the message is there twice, or disguised: CGI and WSGI read
        ``Content_Length`` as ``Content-Length``, so the backend would frame by a field that we had not seen.
    """
    index = {name.lower(): value for name, value in fields}
    if len(index) != len(fields):
        names = [name.lower() for name, _ in fields]
        for name in _ONCE_IN_REQUESTS if is_request else _ONCE_IN_RESPONSES:
            if names.count(name) > 1:
                raise Malformed(400, f"more than one {name.decode()} field", "RFC 9112 sections 3.2 and 6.3")
        index = first_values(fields)
    for name in _DISGUISED:
        if name in index and is_request:
            raise Malformed(400, f"the field {faults.shown(name)} imitates a framing field", "RFC 3875 section 4.1.18")
    return index


def request_fields(fields: Fields, method: bytes, minor: int, allowed: int) -> RequestFields:
    """What the field lines of a request say. Of the request line it depends on the version, and on whether the method
    is CONNECT, and on nothing else.

    :param allowed: the largest body in bytes; 0 for any.
    :raises Malformed: they have two readings or none, or break a rule.
    """
    index = index_fields(fields, is_request=True)
    host = index.get(b"host")
    if host is not None:
        host = targets.host(host)
    elif minor:
        raise Malformed(400, "no Host field", "RFC 9112 section 3.2")
    ends = request_framing(index, method, minor, allowed)
    options = request_options(index, fields)
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    expectation = index.get(b"expect")
    expects = expectation is not None and minor == 1 and expectation.lower() == b"100-continue" and not ends.empty
    upgrade = None
    if b"upgrade" in options and minor == 1:
        upgrade = b", ".join([value for name, value in fields if name.lower() == b"upgrade"]) or None
    return RequestFields(fields, index, host or b"", ends, options, keep_alive, expects, upgrade)


def request_framing(index: Mapping[bytes, bytes], method: bytes, minor: int, allowed: int) -> Framing:
    """How a request's body ends (RFC 9112 section 6.3).

    :param allowed: the largest body in bytes; 0 for any.
    :raises Malformed: it has two readings or none, or is too large.
    """
    coding = index.get(b"transfer-encoding")
    length = index.get(b"content-length")
    if coding is None and length is None:
        return NO_BODY
    if coding is not None:
        _check_coding(coding, length, minor)
        framing = CHUNKED_BODY
    else:
        assert length is not None
        framing = _length(length, grammar.REQUEST_LENGTH.fullmatch(length) is not None)
        if allowed and framing.length > allowed:
            raise Malformed(413, f"the body has more than {allowed} bytes", "RFC 9110 section 15.5.14")
    if method == b"CONNECT" and not framing.empty:
        raise Malformed(400, "a CONNECT request has no body", "RFC 9110 section 9.3.6")
    return framing


def response_framing(index: Mapping[bytes, bytes], method: bytes, minor: int, status: int) -> Framing:
    """How the body of a response to ``method`` ends (RFC 9112 section 6.3).

    :raises Malformed: it has two readings or none.
    """
    coding = index.get(b"transfer-encoding")
    length = index.get(b"content-length")
    framing = BODY_UNTIL_CLOSE
    if coding is not None:
        _check_coding(coding, length, minor)
        framing = CHUNKED_BODY
    elif length is not None:
        framing = _length(length, grammar.RESPONSE_LENGTH.fullmatch(length) is not None)
    if status < 200 or status == 204:
        if coding is not None or framing.length:
            raise Malformed(502, f"a {status} response announces a body", "RFC 9110 section 8.6, RFC 9112 section 6.1")
        return NO_BODY
    if method == b"HEAD" or status == 304 or (method == b"CONNECT" and status < 300):
        return NO_BODY
    return framing


def connection_options(index: Mapping[bytes, bytes], fields: Fields) -> frozenset[bytes]:
    """The options of all Connection fields, lower case (RFC 9110 section 7.6.1).

    :raises Malformed: a Connection field is not a list of tokens.
    """
    value = index.get(b"connection")
    if value is None:
        return _NO_OPTIONS
    if len(index) != len(fields):
        value = b",".join([value for name, value in fields if name.lower() == b"connection"])
    usual = _USUAL_OPTIONS.get(value)
    if usual is not None:
        return usual
    if not value.strip(b" \t,"):
        return _NO_OPTIONS
    if grammar.TOKENS.fullmatch(value) is None:
        raise Malformed(400, f"Connection {faults.shown(value)} is not a list of tokens", "RFC 9110 section 7.6.1")
    return frozenset([option for part in value.lower().split(b",") if (option := part.strip(b" \t"))])


def request_options(index: Mapping[bytes, bytes], fields: Fields) -> frozenset[bytes]:
    """As :func:`connection_options`, for a request.

    :raises Malformed: also if it names a field that every hop needs: a proxy that obeyed would forward a request
        without its Host or its length, which is what the sender is after.
    """
    options = connection_options(index, fields)
    if not _NEVER_OPTIONS.isdisjoint(options):
        raise Malformed(400, "Connection names Host or Content-Length", "RFC 9110 section 7.6.1")
    return options


def _check_coding(coding: bytes, length: bytes | None, minor: int) -> None:
    """Pass only ``chunked``, alone, in HTTP/1.1."""
    section = "RFC 9112 section 6.1"
    if minor == 0:
        raise Malformed(400, "Transfer-Encoding in an HTTP/1.0 message", section)
    if length is not None:
        raise Malformed(400, "both Transfer-Encoding and Content-Length", "RFC 9112 section 6.3")
    codings = [part.strip(b" \t") for part in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return
    if codings[-1] == b"chunked" and _REGISTERED_CODINGS.issuperset(codings[:-1]):
        raise Malformed(501, f"the transfer coding {faults.shown(coding)} is not implemented, only chunked", section)
    raise Malformed(400, f"the transfer coding {faults.shown(coding)} is not chunked, once and alone", section)


def _length(value: bytes, is_valid: bool) -> Framing:
    if not is_valid:
        raise Malformed(400, f"Content-Length {faults.shown(value)} is not one decimal number", "RFC 9110 section 8.6")
    length = int(value)
    return Framing(LENGTH, length) if length else _EMPTY_BODY
