"""What a selector may ask about the request or connection it is to place.

Layer 7 answers from the request's head, layer 4 only knows the source; whatever is not known is ``None``,
and a hash selector then has no key. This module never parses a message.
"""

from typing import Protocol


class Traits(Protocol):
    """The answers; each is computed when asked, so a selector that asks nothing costs nothing."""

    def source(self) -> str | None:
        """The client's address, without the port."""

    def method(self) -> bytes | None:
        """The request's method."""

    def host(self) -> bytes | None:
        """The request's authority, lower case, port kept."""

    def path(self) -> bytes | None:
        """The request target's path."""

    def query(self) -> bytes | None:
        """The request target's query, without the question mark."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a request field (of Cookie all, joined by "; "); ``name`` in lower case."""


class ConnectionTraits:
    """What layer 4 knows: where the client comes from."""

    __slots__ = ("_source",)

    def __init__(self, source: str | None) -> None:
        self._source = source

    def source(self) -> str | None:
        """The client's address, without the port."""
        return self._source

    def method(self) -> None:
        """Unknown at layer 4."""

    def host(self) -> None:
        """Unknown at layer 4."""

    def path(self) -> None:
        """Unknown at layer 4."""

    def query(self) -> None:
        """Unknown at layer 4."""

    def header(self, name: bytes) -> None:
        """Unknown at layer 4."""


class HelloTraits:
    """What is known where TLS passes through: where the client comes from, and the name it asks for (SNI) as host."""

    __slots__ = ("_name", "_source")

    def __init__(self, source: str | None, name: bytes) -> None:
        self._source = source
        self._name = name

    def source(self) -> str | None:
        """The client's address, without the port."""
        return self._source

    def method(self) -> None:
        """It is encrypted."""

    def host(self) -> bytes | None:
        """The name it asks for."""
        return self._name or None

    def path(self) -> None:
        """It is encrypted."""

    def query(self) -> None:
        """It is encrypted."""

    def header(self, name: bytes) -> None:
        """It is encrypted."""


NOTHING_KNOWN = ConnectionTraits(None)
"""Traits of a request about which nothing is known."""
