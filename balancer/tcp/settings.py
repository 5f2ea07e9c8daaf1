"""What one TCP listener works with: frozen, built once per configuration. It never reads a file."""

from collections.abc import Callable
from dataclasses import dataclass, field

from balancer.core.record import ConnectionRecord
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.net.proxy_backend import ProxySender
from balancer.net.splice import Splicer

MAX_TRIES = 8
"""Backends tried for one connection at most. All candidates are tried, for a failed connect sent nothing and so
harms nobody; eight at the default 3 s each is as long as people wait, and bounds the SYNs one client can cause."""


def drop(record: ConnectionRecord) -> None:
    """Where nobody wants records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings:
    """How connections are taken and forwarded.

    :ivar name: the listener's, for records and messages.
    :ivar timeouts: of clients; ``tunnel`` and ``linger`` count here.
    :ivar backend_timeouts: ``connect`` and ``tls_handshake`` count here.
    :ivar max_connections: clients at one time, 0 for no limit; more are closed at once.
    :ivar buffer: bytes held per direction before the sender is paused.
    :ivar splice: bytes received after which a direction may be spliced, 0 for never.
    :ivar splicer: who splices; ``None`` for nobody.
    :ivar max_tries: backends tried for one connection.
    :ivar sender: makes the PROXY header that each connection to a backend begins with; ``None`` for none.
    :ivar log: takes each connection's record, once, when it has ended.
    """

    name: str = "tcp"
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    backend_timeouts: BackendTimeouts = field(default_factory=BackendTimeouts)
    max_connections: int = 10000
    buffer: int = 262144
    splice: int = 262144
    splicer: Splicer | None = None
    max_tries: int = MAX_TRIES
    sender: ProxySender | None = None
    log: Callable[[ConnectionRecord], None] = drop
