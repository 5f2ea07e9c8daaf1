"""What is known of one exchange, or of one TCP connection, when it has ended.

The engine fills a record while it works, each decision at the place where it is made; the access log and
``explain`` only read it. A record never decides, measures or formats anything.

Times: ``started`` is wall-clock seconds since the epoch; ``queue``, ``connect``, ``first_byte`` and ``total``
are seconds that passed, None for what was not reached. What clients sent stays bytes, as they sent it.
"""

from dataclasses import dataclass, field

from balancer.core.termination import Termination

OVERHEAD = 1024
"""Bytes a waiting record is reckoned to hold beside what the client sent: measured 0.7 KiB with three decisions."""

MAX_DECISIONS = 64
"""Decisions kept of one exchange or connection; it meets at most a few backends, so this is never reached by
traffic and bounds a mistake."""


@dataclass(slots=True, eq=False)
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
    """

    started: float
    listener: str = ""
    client: str = ""
    client_port: int = 0
    route: str = ""
    upstream: str = ""
    backend: str = ""
    attempts: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queue: float | None = None
    connect: float | None = None
    first_byte: float | None = None
    total: float | None = None
    termination: Termination | None = None
    reason: str = ""
    decisions: list[str] = field(default_factory=list)

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


@dataclass(slots=True, eq=False)
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
    """

    method: bytes = b""
    target: bytes = b""
    host: bytes = b""
    minor: int = -1
    scheme: str = "http"
    status: int = 0
    peer: str = ""
    reused: bool = False
    request_id: bytes = b""
    referer: bytes = b""
    user_agent: bytes = b""

    def size(self) -> int:
        """Bytes it is reckoned to hold while it waits to be written."""
        return OVERHEAD + len(self.target) + len(self.host) + len(self.referer) + len(self.user_agent)
