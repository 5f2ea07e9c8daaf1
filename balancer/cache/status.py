"""Cache-Status: what a cache did about a request, as one member of that list (RFC 9211). It never decides anything."""

import re
from typing import Final

_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")

_items: dict[str, bytes] = {}
_MEMO_SIZE: Final = 256
"""Texts whose spelling is remembered: names of caches and details, which are few."""


def hit(name: str, ttl: int, detail: str = "") -> bytes:
    """The response is a stored one and nobody was asked.

    :param name: the cache's.
    :param ttl: seconds for which it is fresh yet; negative for a stale one.
    """
    member = b"%b; hit; ttl=%d" % (_item(name), ttl)
    return member if not detail else b"%b; detail=%b" % (member, _item(detail))


def forwarded(
    name: str,
    why: str,
    status: int = 0,
    stored: bool = False,
    collapsed: bool = False,
    detail: str = "",
    ttl: int | None = None,
    key: bytes = b"",
) -> bytes:
    """The request went on towards the origin.

    :param why: bypass, method, uri-miss, vary-miss, miss, request, stale or partial (section 2.2).
    :param status: the origin's answer's, where it is not the one that is sent (304, or an error that a stale response
        covers); 0 leaves it out.
    :param stored: its response is stored.
    :param collapsed: it was one of several that went as one.
    :param ttl: seconds for which the response is fresh yet; ``None`` leaves it out.
    :param key: what it is stored under; empty leaves it out.
    """
    member = b"%b; fwd=%b" % (_item(name), why.encode("ascii"))
    if status:
        member += b"; fwd-status=%d" % status
    if ttl is not None:
        member += b"; ttl=%d" % ttl
    if stored:
        member += b"; stored"
    if collapsed:
        member += b"; collapsed"
    if key:
        member += b"; key=" + _string(key.decode("latin-1"))
    if detail:
        member += b"; detail=" + _item(detail)
    return member


def local(name: str, detail: str) -> bytes:
    """The cache made the response itself: neither hit nor forwarded (section 2)."""
    return b"%b; detail=%b" % (_item(name), _item(detail))


def _item(text: str) -> bytes:
    """A token, where the text is one, else a string."""
    found = _items.get(text)
    if found is None:
        found = text.encode("ascii") if _TOKEN.fullmatch(text) is not None else _string(text)
        if len(_items) >= _MEMO_SIZE:
            _items.clear()
        _items[text] = found
    return found


def _string(text: str) -> bytes:
    """A string of a structured field (RFC 8941 section 3.3.3); what cannot stand in one becomes ``?``."""
    printable = _UNPRINTABLE.sub("?", text)
    return b'"%b"' % printable.replace("\\", "\\\\").replace('"', '\\"').encode("ascii")
