"""Requests and responses as the cache sees them: the engine's heads are such, and so are the plain ones here.

It never parses bytes.
"""

from collections.abc import Mapping
from typing import Protocol

from balancer.cache.stored import Fields


class Request(Protocol):
    """A request's head; :class:`~balancer.http1.heads.RequestHead` is one. Names in lower case are asked for."""

    @property
    def method(self) -> bytes: ...
    @property
    def host(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes | None: ...
    @property
    def fields(self) -> Fields: ...
    def get(self, name: bytes) -> bytes | None:
        """The first value of a field."""

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""


class Response(Protocol):
    """A response's head; :class:`~balancer.http1.heads.ResponseHead` is one."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> bytes: ...
    @property
    def fields(self) -> Fields: ...
    def get(self, name: bytes) -> bytes | None:
        """The first value of a field."""

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""


class _Fields:
    __slots__ = ("_index", "fields")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        index: dict[bytes, bytes] = {}
        for name, value in fields:
            index.setdefault(name.lower(), value)
        self._index: Mapping[bytes, bytes] = index

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return self._index.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for spelling, value in self.fields if spelling.lower() == name]


class PlainRequest(_Fields):
    """A request made by a program: its method, the lower-case authority it is for, path, query and fields."""

    __slots__ = ("host", "method", "path", "query")

    def __init__(
        self, method: bytes, host: bytes, path: bytes, query: bytes | None = None, fields: Fields | None = None
    ) -> None:
        super().__init__(fields or [])
        self.method = method
        self.host = host
        self.path = path
        self.query = query

    def __repr__(self) -> str:
        return f"<PlainRequest {self.method!r} {self.host!r} {self.path!r}>"


class PlainResponse(_Fields):
    """A response's head made by a program."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, fields: Fields, reason: bytes = b"") -> None:
        super().__init__(fields)
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"<PlainResponse {self.status}>"
