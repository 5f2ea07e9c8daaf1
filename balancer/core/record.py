"""What is known of one exchange, or of one TCP connection, when it has ended.

The engine fills a record while it works, each decision at the place where it is made; the access log and
``explain`` only read it. A record never decides, measures or formats anything. (Ordinary classes: what a dataclass
writes at run time stays interpreted in a compiled build, and each request makes one.)

Times: ``started`` is wall-clock seconds since the epoch; ``queue``, ``connect``, ``first_byte`` and ``total``
are seconds that passed, None for what was not reached. What clients sent stays bytes, as they sent it.
"""

from balancer.core.termination import Termination

OVERHEAD = 1024
"""Bytes a waiting record is reckoned to hold beside what the client sent: measured 0.7 KiB with three decisions."""

MAX_DECISIONS = 64
"""Decisions kept of one exchange or connection; it meets at most a few backends, so this is never reached by
traffic and bounds a mistake."""


class ConnectionRecord:
    """One TCP connection that was forwarded without looking into it.

    :ivar started: when it was accepted.
    :ivar listener: name of the listener; ``route``, ``upstream``, ``backend``: as far as they were decided, else
        empty. ``backend`` is the last one tried.
    :ivar client: the client's address.
    :ivar client_port: the client's port, 0 if there is none.
    :ivar attempts: connects that were begun.
    :ivar bytes_in: bytes received from the client; ``bytes_out``: bytes sent to it.
    :ivar queue: waiting for a backend with room.
    :ivar connect: from having a backend to being connected, all attempts together.
    :ivar first_byte: from being connected to the backend's first byte.
    :ivar total: from ``started`` to the end.
    :ivar termination: why it ended; None while it has not.
    :ivar reason: detail of that for a person; may quote what a peer sent.
    :ivar decisions: what was decided, in order (:meth:`note`).
    :ivar sni: the server name the client asked for, where TLS passed through; as in the ClientHello, else empty.
    """

    __slots__ = (
        "attempts", "backend", "bytes_in", "bytes_out", "client", "client_port", "connect", "decisions",
        "first_byte", "listener", "queue", "reason", "route", "sni", "started", "termination", "total", "upstream",
    )  # fmt: skip

    def __init__(self, started: float, listener: str = "", client: str = "", client_port: int = 0) -> None:
        self.started = started
        self.listener = listener
        self.client = client
        self.client_port = client_port
        self.route = ""
        self.upstream = ""
        self.backend = ""
        self.attempts = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.queue: float | None = None
        self.connect: float | None = None
        self.first_byte: float | None = None
        self.total: float | None = None
        self.termination: Termination | None = None
        self.reason = ""
        self.decisions: list[str] = []
        self.sni = b""

    def __repr__(self) -> str:
        end = "under way" if self.termination is None else self.termination.value
        return f"<{type(self).__name__} of {self.client} to {self.backend or 'nobody'} {end}>"

    def note(self, decision: str) -> None:
        """Remember a decision; beyond :data:`MAX_DECISIONS` only that there were more."""
        if len(self.decisions) < MAX_DECISIONS:
            self.decisions.append(decision)
        elif len(self.decisions) == MAX_DECISIONS:
            self.decisions.append("(more decisions were not kept)")

    def end(self, termination: Termination, total: float, reason: str = "") -> bool:
        """Set why it ended, once: the first cause counts, what follows from it does not.

        :param total: seconds since ``started``, by the reactor's clock.
        :return: whether this was the first call.
        """
        if self.termination is not None:
            return False
        self.termination = termination
        self.total = total
        self.reason = reason
        return True

    def size(self) -> int:
        """Bytes it is reckoned to hold while it waits to be written."""
        return OVERHEAD


class ExchangeRecord(ConnectionRecord):
    """One HTTP exchange, retries included.

    ``started`` is when its first byte was received, ``attempts`` counts sending the request to a backend,
    ``bytes_in`` and ``bytes_out`` are *body* bytes, and ``first_byte`` runs from having sent the request's head.

    :ivar method: ``target``, ``host``: of the request, as received; empty if it had none that could be read.
    :ivar minor: its HTTP/1 minor version; -1 if none could be read.
    :ivar scheme: ``http``, or ``https`` through a listener with TLS.
    :ivar status: status of the response that was sent, 0 if none was.
    :ivar peer: address of the connection's peer; ``client`` is whom trusted proxies say it speaks for.
    :ivar reused: the backend connection had served another exchange before.
    :ivar request_id: the id the backend saw; empty if none.
    :ivar cache: what the cache decided, in one word (``hit``, ``miss``, ...); empty where there is none.
    :ivar cache_detail: why, in words.
    """

    __slots__ = (
        "cache", "cache_detail", "host", "method", "minor", "peer", "referer", "request_id", "reused", "scheme",
        "status", "target", "user_agent",
    )  # fmt: skip

    def __init__(self, started: float, listener: str = "", client: str = "", client_port: int = 0) -> None:
        super().__init__(started, listener, client, client_port)
        self.method = b""
        self.target = b""
        self.host = b""
        self.minor = -1
        self.scheme = "http"
        self.status = 0
        self.peer = ""
        self.reused = False
        self.request_id = b""
        self.referer = b""
        self.user_agent = b""
        self.cache = ""
        self.cache_detail = ""

    def size(self) -> int:
        """Bytes it is reckoned to hold while it waits to be written."""
        return OVERHEAD + len(self.target) + len(self.host) + len(self.referer) + len(self.user_agent)


class SessionRecord(ConnectionRecord):
    """One UDP session. ``started`` is when its first datagram came, ``attempts`` counts the backends that were sent it,
    and ``first_byte`` runs from ``started`` to the first answer.

    :ivar datagrams_in: datagrams received from the client and sent on.
    :ivar datagrams_out: datagrams sent back to it.
    """

    __slots__ = ("datagrams_in", "datagrams_out")

    def __init__(self, started: float, listener: str = "", client: str = "", client_port: int = 0) -> None:
        super().__init__(started, listener, client, client_port)
        self.datagrams_in = 0
        self.datagrams_out = 0
