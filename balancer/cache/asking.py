"""One request to the cache as a library (:mod:`balancer.cache.cached`): what goes to the origin for it, and its reply.

Values; what is done with them is decided elsewhere.
"""

from collections.abc import Sequence

from balancer.cache.asked import Asked
from balancer.cache.messages import Request
from balancer.cache.reuse import MISS, Decision
from balancer.cache.stored import Fields, Stored
from balancer.cache.validation import fetching, validating


def content(stored: Stored) -> bytes:
    """The whole body of a stored response.

    :raises TypeError: it is where reading takes time.
    :raises balancer.errors.StoreError: it cannot be read any more.
    """
    if isinstance(stored.body, bytes):
        return stored.body
    reader = stored.body.open()
    pieces: list[bytes] = []
    size = 0
    try:
        while size < stored.body.size:
            data = reader.read(size, stored.body.size - size)
            if not isinstance(data, bytes):
                raise TypeError(f"{stored.body!r} does not answer at once")
            pieces.append(data)
            size += len(data)
    finally:
        reader.close()
    return b"".join(pieces)


class Asking:
    """One request and what is done about it.

    :ivar decision: what :func:`balancer.cache.reuse.decide` said; ``decision.background`` asks to send the origin
        ``fields`` although there is an answer already, and to hand its response to
        :meth:`~balancer.cache.cached.HttpCache.received`.
    :ivar key: what its responses are stored under.
    :ivar fields: the request's fields as they go to the origin: validators of what is stored in the place of the
        client's conditions.
    :ivar at: the wall-clock second at which it was asked.
    """

    __slots__ = ("asked", "at", "decision", "fields", "key", "request", "serial", "validates", "variants")

    def __init__(
        self,
        request: Request,
        asked: Asked,
        key: bytes,
        variants: Sequence[Stored],
        decision: Decision,
        at: float,
        serial: int,
    ) -> None:
        self.request = request
        self.asked = asked
        self.key = key
        self.variants = variants
        self.decision = decision
        self.at = at
        self.serial = serial
        self.validates = False
        self.fields: Fields = request.fields
        if not asked.cacheable:
            return
        # A part that If-Range was asked for may lack what its client has already: the whole serves everyone.
        self.fields = fetching(request, whole=request.get(b"if-range") is not None)
        if decision.stored is not None and decision.kind is not MISS:
            self.validates = True
            self.fields = validating(request, decision.stored, variants)

    def anew(self, now: float) -> None:
        """Validating was in vain: the response itself is to be fetched."""
        self.at = now
        self.validates = False
        self.fields = fetching(self.request, whole=True)


class Reply:
    """What to send.

    :ivar stored: what became of the origin's response: it is stored, or it freshened what is.
    :ivar reason: why it was not, in few words.
    """

    __slots__ = ("body", "fields", "reason", "status", "stored")

    def __init__(
        self, status: int, fields: Fields, body: bytes, stored: Stored | None = None, reason: str = ""
    ) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.stored = stored
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Reply {self.status} {len(self.body)} bytes {self.stored!r} {self.reason}>"

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of a field, by its lower-case name."""
        return [value for spelling, value in self.fields if spelling.lower() == name]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field."""
        return next(iter(self.get_all(name)), None)
