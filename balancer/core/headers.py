"""Which fields of a message go on to the other side, and which belong to one connection only.

Pure functions on lists of ``(name, value)``: order, repeats and spelling of what is kept are kept. The
caller frames the message (``Transfer-Encoding`` is never passed on: the engine adds its own) and adds the
fields about the client (:mod:`balancer.core.forwarded`). Nothing here ever joins, splits or repairs a value.
"""

import re
from collections.abc import Callable, Collection, Iterable

Fields = list[tuple[bytes, bytes]]
"""Field lines of a message, in the order they were received."""

FOLD = bytes(octet if chr(octet).isalnum() and octet < 128 else ord("-") for octet in bytes(range(256)).lower())
"""Translation that maps a name to what CGI-like backends (WSGI, PHP, Rack) may see: they turn ``-`` and
``_``, some also ``.``, into one character, so ``X_Forwarded_For`` reaches the application as ``X-Forwarded-For``."""

HOP_BY_HOP = frozenset({
    # RFC 9110 section 7.6.1, and RFC 9112 section 9.3 for Keep-Alive's history.
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
    # RFC 9110 section 11.7: meant for the next proxy, which is us.
    b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
    # RFC 7540 section 3.2.1, and only with an Upgrade to h2c, which is never passed on.
    b"http2-settings",
})  # fmt: skip
"""Fields that end at this hop whether ``Connection`` names them or not. ``Trailer`` is not one of them
(RFC 9110 section 6.6.2), it describes the content, and trailers are passed on."""

_NEVER_TO_BACKENDS = frozenset({b"proxy"})  # becomes HTTP_PROXY in a CGI environment (CVE-2016-5385, "httpoxy")

PINNED = frozenset({
    # Framing and routing: without them the backend reads another message than we did.
    b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"trailer", b"expect",
    # What a front end adds and a backend trusts; the client's Connection must not take it away (CVE-2022-31813).
    b"forwarded", b"via", b"x-real-ip", b"x-request-id", b"cookie", b"authorization", b"cache-control", b"range",
    b"set-cookie", b"date",
})  # fmt: skip
"""End-to-end fields that ``Connection`` cannot remove. RFC 9110 section 7.6.1 forbids a sender to name such
fields; doing so is how a client strips what proxies before us added. ``X-Forwarded-*`` is pinned likewise."""

FORWARDED_PREFIX = b"x-forwarded-"

ORDINARY_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"transfer-encoding", b"http2-settings"})
"""What ``Connection`` names in the ordinary course: anything else is a field that does not go on."""

# RFC 9110 section 6.5.1: framing, routing, authentication, request modifiers, response control, content format.
_NEVER_IN_TRAILERS = HOP_BY_HOP | PINNED | _NEVER_TO_BACKENDS | {
    b"accept", b"age", b"content-disposition", b"expires", b"if-match", b"if-modified-since", b"if-none-match",
    b"if-range", b"if-unmodified-since", b"location", b"max-forwards", b"pragma", b"retry-after", b"vary",
    b"warning", b"www-authenticate", b"x-original-url", b"x-rewrite-url",
}  # fmt: skip


def pinned(name: bytes) -> bool:
    """Whether ``Connection`` cannot remove the field of this lower-case name."""
    return name in PINNED or name.startswith(FORWARDED_PREFIX)


class Verdicts(dict[bytes, bool]):
    """Remembers, for names as they are spelled, whether fields of that name are passed on.

    A lookup is one dictionary access; clients spell a few dozen names. ``limit`` bounds what hostile
    clients can make it hold; when it is full it starts again.
    """

    def __init__(self, judge: Callable[[bytes], bool], limit: int = 1024, longest: int = 64) -> None:
        """:param judge: decides about a name not seen before.
        :param limit: names held at most; 1024 of 64 bytes are about 150 KiB.
        :param longest: names longer than this many bytes are judged every time.
        """
        super().__init__()
        self._judge = judge
        self._limit = limit
        self._longest = longest

    def __missing__(self, name: bytes) -> bool:
        verdict = self._judge(name)
        if len(name) <= self._longest:
            if len(self) >= self._limit:
                self.clear()
            self[name] = verdict
        return verdict


def goes_to_backend(name: bytes) -> bool:
    """Whether a request field of this name may be passed on at all, whoever sent it.

    A spelling that a backend may fold into the name of a pinned or hop-by-hop field (``content_length``,
    ``transfer_encoding``) is dropped: only the backend would take it for one, and it would smuggle.
    """
    folded = name.translate(FOLD)
    if folded in HOP_BY_HOP or folded in _NEVER_TO_BACKENDS:
        return False
    return folded == name.lower() or not pinned(folded)


def goes_to_client(name: bytes) -> bool:
    """Whether a response field of this name may be passed on at all."""
    return name.lower() not in HOP_BY_HOP


def kept(fields: Fields, verdicts: Verdicts, connection: frozenset[bytes]) -> Fields:
    """Return the fields that go on: those the verdicts let pass and ``connection`` does not name.

    :param connection: the tokens of all ``Connection`` fields in lower case.
    """
    named = connection - ORDINARY_OPTIONS
    if not named:
        return [field for field in fields if verdicts[field[0]]]
    removed = {name for name in named if not pinned(name)}
    return [field for field in fields if verdicts[field[0]] and field[0].lower() not in removed]


_to_client = Verdicts(goes_to_client)


def response_fields(
    fields: Fields, connection: frozenset[bytes], via: bytes = b"", upgrade: bytes | None = None
) -> Fields:
    """Return the fields of a response as they go to the client.

    :param connection: the lower-case tokens of the response's ``Connection`` fields.
    :param via: value of a ``Via`` field to add (RFC 9110 section 7.6.3); empty adds none.
    :param upgrade: the protocol, when the response is the 101 that opens a tunnel.
    """
    result = kept(fields, _to_client, connection)
    if via:
        result.append((b"Via", via))
    if upgrade is not None:
        add_upgrade(result, upgrade)
    return result


def add_upgrade(fields: Fields, upgrade: bytes) -> None:
    """Append the two fields that ask for, or agree to, another protocol (RFC 9110 section 7.8)."""
    fields.append((b"Connection", b"Upgrade"))
    fields.append((b"Upgrade", upgrade))


def may_upgrade(upgrade: bytes | None) -> bool:
    """Whether a request's ``Upgrade`` may be passed on and tunnelled.

    Not ``h2c``: inside such a tunnel a client would send requests that no route has seen (RFC 9113
    section 3.1 removed it), nor ``TLS/`` and ``HTTP/``, which are hops of their own.
    """
    if not upgrade:
        return False
    names = [part.strip().lower() for part in upgrade.split(b",")]
    return not any(name in (b"h2c", b"h2", b"") or name.startswith((b"http/", b"tls/")) for name in names)


def trailer_fields(fields: Fields) -> Fields:
    """Return the trailer fields that may be passed on, in either direction.

    A field that frames, routes, authenticates or describes the content is dropped (RFC 9110 section
    6.5.1): a backend that merges trailers into the head would otherwise take a client's word for ours.
    """
    return [field for field in fields if _in_trailers[field[0]]]


def _goes_in_trailers(name: bytes) -> bool:
    folded = name.translate(FOLD)
    return folded not in _NEVER_IN_TRAILERS and not folded.startswith(FORWARDED_PREFIX)


_in_trailers = Verdicts(_goes_in_trailers)


def without(fields: Fields, names: Collection[bytes]) -> Fields:
    """Return the fields whose name is none of ``names`` (lower case)."""
    return [field for field in fields if field[0].lower() not in names]


HOP_COUNTED = frozenset({b"TRACE", b"OPTIONS"})
"""Methods whose Max-Forwards every intermediary obeys (RFC 9110 section 7.6.2)."""

_HOPS = re.compile(rb"[0-9]{1,9}")


def hops_left(fields: Fields) -> int | None:
    """How often a request may still be forwarded; ``None`` where no field says so in a number."""
    for name, value in fields:
        if name.lower() == b"max-forwards" and _HOPS.fullmatch(value):
            return int(value)
    return None


def one_hop_less(fields: Fields) -> Fields:
    """The fields with Max-Forwards one lower (RFC 9110 section 7.6.2). It must not be 0."""
    return [
        (name, b"%d" % (int(value) - 1))
        if name.lower() == b"max-forwards" and _HOPS.fullmatch(value)
        else (name, value)
        for name, value in fields
    ]


def with_host(fields: Iterable[tuple[bytes, bytes]], host: bytes) -> Fields:
    """Return the fields with ``host`` as the one Host, in the place of the old one or else first.

    For an absolute-form target (RFC 9112 section 3.2.2), a backend that wants its own name, and a request
    of HTTP/1.0 that had no Host but goes on as HTTP/1.1 (section 3.2).
    """
    result = list(fields)
    for place, (name, _) in enumerate(result):
        if name.lower() == b"host":
            result[place] = (name, host)
            return result
    result.insert(0, (b"Host", host))
    return result


def forwarded_target(target: bytes, path: bytes, query: bytes | None) -> bytes:
    """Return the target as it goes to the backend: as received, an absolute-form one in origin form.

    ``OPTIONS http://host`` becomes ``*`` by RFC 9112 section 3.2.4 only where the target had no path;
    the caller's ``path`` is then ``*``.
    """
    if target.startswith(b"/") or target == b"*":
        return target
    return path if query is None else b"%b?%b" % (path, query)
