"""Validators: entity tags, and what tells a weak one from a strong one (RFC 9110 section 8.8).

A value that is malformed or repeated with another is no validator. It never compares a request's conditions with them.
"""

import re
from typing import Final, Protocol

from balancer.cache.dates import http_date

_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class HasFields(Protocol):
    """A request, a response or a stored response."""

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""


def entity_tag(values: list[bytes]) -> bytes:
    """The entity tag that a message's ETag fields give it; empty for none."""
    if not values or _ENTITY_TAG.fullmatch(values[0]) is None or any(value != values[0] for value in values):
        return b""
    return values[0]


def is_strong(tag: bytes) -> bool:
    """Whether this is an entity tag and a strong one."""
    return tag.startswith(b'"')


def opaque(tag: bytes) -> bytes:
    """What weak comparison compares (RFC 9110 section 8.8.3.2)."""
    return tag.removeprefix(b"W/")


def last_modified(message: HasFields, now: float) -> bytes:
    """The value of a message's Last-Modified, where it is one date; empty for none."""
    values = message.get_all(b"last-modified")
    if not values or any(value != values[0] for value in values) or http_date(values[0], now) is None:
        return b""
    return values[0]
