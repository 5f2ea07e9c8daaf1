"""What selectors may ask about a request. It never changes one."""

from balancer.http1.heads import RequestHead


class RequestTraits:
    """The answers of :class:`~balancer.core.traits.Traits` from a request's head and its client's address."""

    __slots__ = ("_client", "_head")

    def __init__(self, head: RequestHead, client: str) -> None:
        self._head = head
        self._client = client

    def source(self) -> str | None:
        """The client's address, as trusted proxies tell it; ``None`` for a UNIX socket."""
        return None if self._client == "unknown" else self._client

    def method(self) -> bytes | None:
        """The method."""
        return self._head.method

    def host(self) -> bytes | None:
        """Whom the request is for, lower case; ``None`` where HTTP/1.0 did not say."""
        return self._head.host or None

    def path(self) -> bytes | None:
        """The path as received."""
        return self._head.path

    def query(self) -> bytes | None:
        """The query as received."""
        return self._head.query

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field as received; of Cookie all of them, which are one list (RFC 6265 section 5.4,
        RFC 9113 section 8.2.3)."""
        value = self._head.get(name)
        if name == b"cookie" and value is not None:
            return b"; ".join(self._head.get_all(name))
        return value
