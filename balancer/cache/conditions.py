"""Conditional requests (RFC 9110 section 13) as a cache answers them from what it has stored (RFC 9111 section 4.3.2).

A cache evaluates If-None-Match and, where that is absent, If-Modified-Since, of GET and HEAD, and then If-Range.
If-Match and If-Unmodified-Since are for the origin server: a request with one of them is forwarded
(:func:`must_forward`), never answered here. A condition that cannot be read is no reason to send less: the answer is
whole. Nothing here raises, whatever the bytes.
"""

import re
from typing import Final

from balancer.cache.dates import http_date
from balancer.cache.lines import name_of, value_of
from balancer.cache.messages import Request
from balancer.cache.stored import Stored

_OPAQUE: Final = rb'"[\x21\x23-\x7e\x80-\xff]*+"'
_TAG: Final = re.compile(rb"(?:W/)?" + _OPAQUE)
_TAGS: Final = re.compile(rb"[ \t,]*+(?:W/)?" + _OPAQUE + rb"(?:[ \t]*+,[ \t,]*+(?:W/)?" + _OPAQUE + rb")*[ \t,]*+")
_OPAQUES: Final = re.compile(rb"(?:W/)?(" + _OPAQUE + rb")")

_VALIDATORS: Final = frozenset({b"etag", b"last-modified", b"date"})
_DIFFERENT: Final = b"\0"
"""Stands for values of one field that differ: it is nothing that a request could say."""

APART: Final = 60
"""Seconds that a Date has to be later than its Last-Modified for the latter to be a strong validator. RFC 9110 section
8.8.2.2 asks for one where both are of one clock, which a cache cannot know, else for a difference that makes a
difference of clocks unlikely; RFC 7232 section 2.2.2 said that of a minute."""


class Validators:
    """What a response says to tell its representation from others (RFC 9110 section 8.8).

    :ivar etag: its ETag; empty where there is none, and no tag where several differ.
    :ivar modified: its Last-Modified, likewise.
    :ivar modified_at: the second that this is; ``None`` where it is no date.
    :ivar date_at: that of its Date, likewise.
    :ivar near: a wall-clock second; a year of two digits is near it.
    """

    __slots__ = ("date_at", "etag", "modified", "modified_at", "near")

    def __init__(self, etag: bytes, modified: bytes, date: bytes, near: float) -> None:
        self.etag = etag
        self.modified = modified
        self.modified_at = http_date(modified, near) if modified else None
        self.date_at = http_date(date, near) if date else None
        self.near = near

    @property
    def strong(self) -> bytes:
        """The strong validator, empty for none: the entity tag, or else the date of a Last-Modified that is one."""
        etag = self.etag
        if etag:
            return etag if etag[0] == 0x22 and _TAG.fullmatch(etag) is not None else b""
        return self.modified if self.dated_strongly() else b""

    def dated_strongly(self) -> bool:
        """Whether Last-Modified is a strong validator (RFC 9110 section 8.8.2.2)."""
        return self.modified_at is not None and self.date_at is not None and self.date_at - self.modified_at >= APART


def validators(stored: Stored) -> Validators:
    """Those of a stored response."""
    found: dict[bytes, bytes] = {}
    for line in stored.lines.split(b"\r\n"):
        name = name_of(line)
        if name in _VALIDATORS:
            value = value_of(line)
            found[name] = value if found.get(name, value) == value else _DIFFERENT
    return Validators(
        found.get(b"etag", b""), found.get(b"last-modified", b""), found.get(b"date", b""), stored.arrived
    )


def must_forward(request: Request) -> bool:
    """Whether a request has conditions that only the origin server may evaluate (RFC 9111 section 4.3.2)."""
    return request.get(b"if-match") is not None or request.get(b"if-unmodified-since") is not None


def unmodified(request: Request, kept: Validators, arrived: float) -> bool:
    """Whether a client has the stored representation already, so that 304 is the answer (RFC 9110 section 13.2.2).

    Call it only where the answer were a 2xx without the conditions (section 13.2.1).

    :param arrived: the wall-clock second at which the stored response came.
    """
    if request.method != b"GET" and request.method != b"HEAD":
        return False
    tags = request.get(b"if-none-match")
    if tags is not None:
        return (tags == kept.etag and tags != b"") or _listed(request, kept.etag)
    since = request.get(b"if-modified-since")
    if since is None or len(request.get_all(b"if-modified-since")) != 1:
        return False
    return _since(since, kept, arrived)


def range_holds(request: Request, kept: Validators) -> bool:
    """Whether Range counts: there is no If-Range, or it names the stored representation (RFC 9110 section 13.1.5).

    An entity tag is compared strongly; a date has to be that of Last-Modified and a strong validator.
    """
    values = request.get_all(b"if-range")
    if not values:
        return True
    if len(values) != 1 or not values[0]:
        return False
    value = values[0]
    if value[0] == 0x22 or value.startswith(b"W/"):
        return value == kept.etag and kept.strong == value
    given = http_date(value, kept.near)
    return given is not None and given == kept.modified_at and kept.dated_strongly()


def _listed(request: Request, etag: bytes) -> bool:
    """Whether If-None-Match names this tag, by the weak comparison (RFC 9110 section 8.8.3.2), or any."""
    values = request.get_all(b"if-none-match")
    value = values[0] if len(values) == 1 else b",".join(values)
    if value == b"*":
        return True
    if _TAG.fullmatch(etag) is None or _TAGS.fullmatch(value) is None:
        return False
    opaque = etag[2:] if etag.startswith(b"W/") else etag
    return opaque in _OPAQUES.findall(value)


def _since(value: bytes, kept: Validators, arrived: float) -> bool:
    """Whether it was not modified after that: since Last-Modified, else Date, else since it came (RFC 9111 section
    4.3.2)."""
    if value == kept.modified:
        return kept.modified_at is not None
    since = http_date(value, kept.near)
    if since is None:
        return False
    # A Last-Modified that is there and cannot be read says nothing: then nothing is known of the client's copy.
    changed = kept.modified_at if kept.modified else kept.date_at
    if changed is not None:
        return changed <= since
    return not kept.modified and arrived <= since
