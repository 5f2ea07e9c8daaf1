"""Every way a backend may read a request path, so that no reading takes a route of its own.

A route guards what lies behind it only if the balancer and the backend agree about the path. They do
not always: ``/public/..%2fadmin`` is one odd file name to one server and ``/admin`` to the next. This
module lists the readings of a path; :mod:`balancer.core.routing` refuses a request whose readings do
not all take the same route. It never rewrites a path: what was received is what is forwarded.
"""

import re
from urllib.parse import unquote_to_bytes

from balancer.errors import RequestRefused

MAX_READINGS = 16
"""More readings than this is an attack, not a path: each thing below that is in doubt doubles them, and
a real path has one or two (``//``, ``;v=1``, ``%2F``). It also bounds the work one request can cause."""

_UNUSUAL = re.compile(rb"[%;\\]|//|/\.\.?(?:/|\Z)")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH = re.compile(rb"%2[Ff]")
_PARAMETERS = re.compile(rb";[^/]*")
_SLASHES = re.compile(rb"//+")

# What no backend should be left to interpret. Overlong UTF-8 is how "/" and "." were once smuggled past
# filters as %c0%af and %c0%ae (RFC 3629 section 10).
_REFUSED = (
    (re.compile(rb"/\.\.?(?:/|\Z)"), 'a "." or ".." segment, plain or encoded', "RFC 3986 section 3.3"),
    (re.compile(rb"[\x00-\x1f\x7f]"), "an encoded control character", "RFC 3986 section 7.3"),
    (re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]"), "overlong UTF-8", "RFC 3629 section 3"),
)


def _decoded(path: bytes) -> bytes:
    """Decode every escape but ``%2F``, which RFC 3986 section 2.2 makes data, not a separator."""
    return unquote_to_bytes(_ESCAPED_SLASH.sub(b"%252F", path))


def _slashes_decoded(path: bytes) -> bytes:
    return _ESCAPED_SLASH.sub(b"/", path)


def _backslashes_turned(path: bytes) -> bytes:
    return path.replace(b"\\", b"/")


def _parameters_removed(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", path)


def _slashes_merged(path: bytes) -> bytes:
    return _SLASHES.sub(b"/", path)


_LIBERTIES = (
    _decoded,  # a second time: a proxy and an application that both decode
    _slashes_decoded,  # most frameworks hand out the decoded path
    _backslashes_turned,  # Windows servers
    _parameters_removed,  # servlet containers drop ";..." from every segment before they match
    _slashes_merged,  # nginx and many routers
)
"""What servers are known to do with a path on top of RFC 3986. Each never lengthens it, so this ends."""


def readings(path: bytes) -> tuple[bytes, ...]:
    """Return the decoded path as RFC 3986 reads it, followed by every other reading in use.

    :param path: the path as received, without the query.
    :raises RequestRefused: 400; the path has a dot segment in some reading, an escape that is none,
        an encoded control character, overlong UTF-8, a backslash, or more than :data:`MAX_READINGS` readings.
    """
    if _UNUSUAL.search(path) is None:
        return (path,)
    if _BAD_ESCAPE.search(path) is not None or b"\\" in path:
        raise RequestRefused(
            400, 'the path has a "%" without two hexadecimal digits, or a backslash', "RFC 3986 section 2"
        )
    found: dict[bytes, None] = {}
    # Parameters are also removed before decoding: then "%3B" begins none, and what follows ";" is never decoded.
    pending = [_decoded(_parameters_removed(path)), _decoded(path)] if b";" in path else [_decoded(path)]
    while pending:
        reading = pending.pop()
        if reading in found:
            continue
        if len(found) == MAX_READINGS:
            raise RequestRefused(400, f"the path can be read in more than {MAX_READINGS} ways", "RFC 3986 section 7.3")
        _refuse_dangerous(reading)
        found[reading] = None
        pending.extend([liberty(reading) for liberty in _LIBERTIES])
    return tuple(found)


def _refuse_dangerous(reading: bytes) -> None:
    for pattern, what, section in _REFUSED:
        if pattern.search(reading) is not None:
            raise RequestRefused(400, f"the path has {what}", section)
