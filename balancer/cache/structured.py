"""Dictionaries of structured fields (RFC 8941), as fields that are aimed at some caches have them (RFC 9213).

It reads them whole or not at all, in one pass, and drops parameters, which no directive has. It never writes any
(:mod:`balancer.cache.status` does).
"""

import re
from typing import Final

Item = bool | int | str | tuple[()] | None
"""A member's value: a boolean, an integer, the text of a string or a token; ``()`` stands for an inner list, ``None``
for what no directive has (decimals, byte sequences)."""

_KEY: Final = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_NUMBER: Final = re.compile(rb"-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])")
_STRING: Final = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES: Final = re.compile(rb":[A-Za-z0-9+/=]*:")
_BOOLEAN: Final = re.compile(rb"\?([01])")
_OWS: Final = re.compile(rb"[ \t]*")
_SPACES: Final = re.compile(rb" *")


class _Malformed(ValueError):
    """It is no dictionary."""


def dictionary(values: list[bytes]) -> dict[bytes, Item] | None:
    """The members of a dictionary by key; of several with one key the last (RFC 8941 section 4.2.2).

    :param values: every value of the field, in order.
    :returns: ``None`` where it is none: it is as if the field were absent (section 4.2).
    """
    text = b", ".join(values).strip(b" ")
    members: dict[bytes, Item] = {}
    try:
        place = 0
        while place < len(text):
            place = _member(text, place, members)
    except _Malformed:
        return None
    return members


def _member(text: bytes, place: int, members: dict[bytes, Item]) -> int:
    """Read one member and the comma behind it; where the next begins."""
    found = _expected(_KEY, text, place)
    key = found[0]
    place = found.end()
    value: Item = True
    if text.startswith(b"=", place):
        if text.startswith(b"(", place + 1):
            value, place = (), _inner_list(text, place + 2)
        else:
            value, place = _item(text, place + 1)
    place = _parameters(text, place)
    members[key] = value
    place = _expected(_OWS, text, place).end()
    if place == len(text):
        return place
    if not text.startswith(b",", place):
        raise _Malformed
    place = _expected(_OWS, text, place + 1).end()
    if place == len(text):
        raise _Malformed
    return place


def _inner_list(text: bytes, place: int) -> int:
    while True:
        place = _expected(_SPACES, text, place).end()
        if text.startswith(b")", place):
            return place + 1
        place = _parameters(text, _item(text, place)[1])
        if text[place : place + 1] not in (b" ", b")"):
            raise _Malformed


def _parameters(text: bytes, place: int) -> int:
    while text.startswith(b";", place):
        place = _expected(_KEY, text, _expected(_SPACES, text, place + 1).end()).end()
        if text.startswith(b"=", place):
            place = _item(text, place + 1)[1]
    return place


def _item(text: bytes, place: int) -> tuple[Item, int]:
    """A bare item, and where it ends."""
    first = text[place : place + 1]
    if first.isdigit() or first == b"-":
        found = _expected(_NUMBER, text, place)
        return (None if b"." in found[0] else int(found[0])), found.end()
    if first == b'"':
        found = _expected(_STRING, text, place)
        return re.sub(rb"\\(.)", rb"\1", found[1]).decode("ascii"), found.end()
    if first == b"?":
        found = _expected(_BOOLEAN, text, place)
        return found[1] == b"1", found.end()
    if first == b":":
        return None, _expected(_BYTES, text, place).end()
    found = _expected(_TOKEN, text, place)
    return found[0].decode("ascii"), found.end()


def _expected(pattern: re.Pattern[bytes], text: bytes, place: int) -> re.Match[bytes]:
    found = pattern.match(text, place)
    if found is None:
        raise _Malformed
    return found
