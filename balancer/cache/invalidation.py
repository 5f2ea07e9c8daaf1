"""What an unsafe request makes unusable (RFC 9111 section 4.4). It names URIs and removes nothing."""

from typing import Final
from urllib.parse import urljoin, urlsplit

from balancer.cache.keys import uri_of
from balancer.cache.messages import Request
from balancer.cache.stored import Fields

SAFE_METHODS: Final = frozenset({
    b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH", b"CONNECT",
})  # fmt: skip
"""Methods that change nothing, as far as the client asks (RFC 9110 section 9.2.1 and the registry), and CONNECT, whose
target is no resource. Any other counts as unsafe, known or not."""

_REFERENCES: Final = (b"location", b"content-location")


def invalidated(request: Request, status: int, fields: Fields, scheme: bytes) -> list[bytes]:
    """The URIs whose stored responses are not to be used any more, as :func:`~balancer.cache.keys.uri_of` has them.

    :param status: the response's: one of 2xx or 3xx invalidates.
    :param fields: the response's: Location and Content-Location count where their origin is the request's own.
    """
    if request.method in SAFE_METHODS or not 200 <= status < 400:
        return []
    target = uri_of(scheme, request.host, request.path, request.query)
    origin = _origin(target)
    found = {target: None}
    for name, value in fields:
        if name.lower() in _REFERENCES:
            uri = _resolved(target, value)
            if uri and _origin(uri) == origin:
                found[uri] = None
    return list(found)


def _resolved(target: bytes, reference: bytes) -> bytes:
    """A reference as a URI; empty where it is none."""
    try:
        # Latin-1 takes every octet there and back.
        parts = urlsplit(urljoin(target.decode("latin-1"), reference.decode("latin-1")))
    except ValueError:
        return b""  # it names nothing
    scheme, host, path, query = (
        part.encode("latin-1") for part in (parts.scheme, parts.netloc.lower(), parts.path, parts.query)
    )
    return uri_of(scheme, host, path, query if query else None)


def _origin(uri: bytes) -> bytes:
    """Scheme and authority, the default port being left out already."""
    return b"/".join(uri.split(b"/", 3)[:3])
