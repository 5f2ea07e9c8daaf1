"""A stored response: what decides about its reuse, its field lines and its body.

A value: nobody changes one. Freshening makes another with the same body. It never judges itself (``reuse`` does).
"""

from typing import Final, Protocol, TypeAlias

Fields: TypeAlias = list[tuple[bytes, bytes]]

ALWAYS_VALIDATE: Final = 1
"""``no-cache`` without field names (RFC 9111 section 5.2.2.4): reused only after validation."""
MUST_REVALIDATE: Final = 2
"""``must-revalidate``, ``proxy-revalidate`` or ``s-maxage``: never reused stale (sections 5.2.2.2, .8, .10)."""
HEURISTIC: Final = 4
"""Its lifetime is a guess (section 4.2.2)."""
IMMUTABLE: Final = 8
"""``immutable`` (RFC 8246): a client's reload is no reason to validate it while it is fresh."""
SOFT_PURGED: Final = 16
"""A soft purge met it: stale from then on, whatever its lifetime."""
OVERRIDDEN: Final = 32
"""Its lifetime is the operator's (``ttl``), not the origin's."""
UNSIZED: Final = 64
"""Its body's size was not known when it began to be stored: ``lines`` have no Content-Length."""


class StoredBody(Protocol):
    """A body that is not one ``bytes`` in memory."""

    @property
    def size(self) -> int:
        """Bytes."""

    def open(self) -> "BodyReader":
        """A reader of its own for one delivery. What was opened stays readable until it is closed, whatever happens to
        the entry.

        :raises balancer.errors.StoreError: it is gone or corrupt: the entry counts as absent.
        """


class BodyReader(Protocol):
    """Reads one stored body."""

    def read(self, offset: int, size: int) -> object:
        """At most ``size`` bytes from there, or a Deferred of them; fewer only at the end, never none before it.

        :raises balancer.errors.StoreError: it cannot be read, or is corrupt (a Deferred fails with it).
        """

    @property
    def file(self) -> tuple[int, int] | None:
        """A descriptor and the offset at which the body begins there, for ``sendfile``; ``None`` for none."""

    def close(self) -> None:
        """Of no more use; calling it twice does nothing more."""


class Stored:
    """See the module.

    :ivar status: 200, 404, ...; of partial content 206.
    :ivar reason: the reason phrase.
    :ivar lines: the end-to-end field lines that are sent with it, each with its CRLF, without the empty line; in them
        a Date, and a Content-Length where the status has content; no Age, no Connection, no Cache-Status, nothing of
        another hop.
    :ivar arrived: wall-clock second at which the response came (RFC 9111 section 4.2.3: response_time).
    :ivar age: corrected_initial_age, in seconds.
    :ivar lifetime: freshness lifetime in seconds (section 4.2.1), policy included. It is fresh while
        ``age + (now - arrived) < lifetime``.
    :ivar while_revalidate: seconds past its lifetime for which it may be sent while it is validated (RFC 5861).
    :ivar if_error: seconds past its lifetime for which it may be sent where the origin fails.
    :ivar flags: the bits above.
    :ivar nominated: what the request said of the fields that Vary names (``vary.nominate``); empty for no Vary.
    :ivar tags: surrogate keys, for purging.
    :ivar serial: the store's ``serial`` when the request for it was sent: what a later purge met is not reused.
    :ivar body: the body, or where it is; of partial content its parts one after the other.
    :ivar parts: of partial content the ``(first, end)`` offsets (end exclusive) that ``body`` holds, ascending and
        apart; else ``None``.
    :ivar total: bytes of the complete representation, -1 where that is unknown.
    """

    __slots__ = (
        "age", "arrived", "body", "flags", "if_error", "lifetime", "lines", "nominated", "parts", "reason", "serial",
        "status", "tags", "total", "while_revalidate",
    )  # fmt: skip

    def __init__(
        self,
        status: int,
        reason: bytes,
        lines: bytes,
        arrived: float,
        age: float,
        lifetime: float,
        while_revalidate: float = 0.0,
        if_error: float = 0.0,
        flags: int = 0,
        nominated: bytes = b"",
        tags: tuple[bytes, ...] = (),
        serial: int = 0,
        body: "bytes | StoredBody" = b"",
        parts: tuple[tuple[int, int], ...] | None = None,
        total: int = -1,
    ) -> None:
        self.status = status
        self.reason = reason
        self.lines = lines
        self.arrived = arrived
        self.age = age
        self.lifetime = lifetime
        self.while_revalidate = while_revalidate
        self.if_error = if_error
        self.flags = flags
        self.nominated = nominated
        self.tags = tags
        self.serial = serial
        self.body = body
        self.parts = parts
        self.total = total

    def __repr__(self) -> str:
        return (
            f"<Stored {self.status} {self.size} bytes age={self.age:g} lifetime={self.lifetime:g} flags={self.flags}>"
        )

    @property
    def size(self) -> int:
        """Bytes of the body."""
        body = self.body
        return len(body) if isinstance(body, bytes) else body.size

    def with_body(self, body: "bytes | StoredBody") -> "Stored":
        """The same with another body."""
        return Stored(
            self.status, self.reason, self.lines, self.arrived, self.age, self.lifetime, self.while_revalidate,
            self.if_error, self.flags, self.nominated, self.tags, self.serial, body, self.parts, self.total,
        )  # fmt: skip

    def fields(self) -> Fields:
        """Its field lines as pairs."""
        return parsed_lines(self.lines)

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return next((value for spelling, value in self.fields() if spelling.lower() == name), None)

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for spelling, value in self.fields() if spelling.lower() == name]


def parsed_lines(lines: bytes) -> Fields:
    """Field lines, each with its CRLF, as pairs."""
    return [
        (name, value.strip(b" \t"))
        for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n") if line)
    ]
