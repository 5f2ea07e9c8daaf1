"""Finding a backend for one client: candidates in order, the line where all are full, and failover.

A failed connect has sent nothing, so every candidate may be tried (up to ``max_tries``): ``retry.attempts`` and its
budget count tries that cost a backend work, and only ``attempts = 0``, or ``on`` without ``connect-failure``, turns
this off (docs/decisions/0005). It never touches the client and never sees a byte.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger

from balancer.core.lease import Lease, Outcome
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.core.traits import Traits
from balancer.core.upstream import Placement, Upstream
from balancer.errors import TlsSettingsError
from balancer.net.connector import Attempt, Connector
from balancer.net.timers import Timer
from balancer.net.tls import TlsClients
from balancer.tcp.settings import TcpSettings

Failed = Callable[[Termination, str], None]


class Opening:
    """One client's way to a backend. It stands in the upstream's line itself where it has to wait.

    :param protocol: what is to be connected; its ``makeConnection`` calls :meth:`opened`.
    :param failed: called once where no backend can be had.
    :param record: gets attempts, times and what was met.
    :param timer: lent to each attempt.
    :param preface: what the connection begins with.
    """

    __slots__ = (
        "_attempt",
        "_connector",
        "_failed",
        "_last",
        "_lease",
        "_lent",
        "_placement",
        "_preface",
        "_protocol",
        "_record",
        "_seconds",
        "_settings",
        "_since",
        "_timer",
        "_tls",
        "_upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        connector: Connector,
        settings: TcpSettings,
        tls: TlsClients | None,
        protocol: IProtocol,
        failed: Failed,
        record: ConnectionRecord,
        timer: Timer | None = None,
        preface: bytes = b"",
    ) -> None:
        self._upstream = upstream
        self._connector = connector
        self._settings = settings
        self._tls = tls
        self._protocol = protocol
        self._failed = failed
        self._record = record
        self._seconds = connector.timers.seconds
        self._since = 0.0
        self._last: tuple[Termination, str] | None = None
        self._lease: Lease | None = None
        self._attempt: Attempt | None = None
        self._timer: Timer | None = None
        self._lent = timer
        self._preface = preface

    def __repr__(self) -> str:
        state = "waiting" if self._timer is not None else "connecting" if self._lease is not None else "over"
        return f"<Opening in {self._upstream.name} {state}>"

    def begin(self, traits: Traits) -> None:
        """Ask for the first candidate."""
        self._placement: Placement = self._upstream.place(traits, self._seconds())
        self._go_on()

    def opened(self) -> Lease:
        """It is connected: hand over the lease.

        How long connecting took is the latency that selectors learn: at this layer nobody knows which bytes answer
        which.
        """
        lease, self._lease, self._attempt = self._lease, None, None
        assert lease is not None
        now = self._seconds()
        lease.first_byte(now)
        self._record.connect = (self._record.connect or 0.0) + now - self._since
        return lease

    def cancel(self, outcome: Outcome) -> None:
        """The client is gone (or all is stopped): leave the line, close the half-open socket, give the lease back."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        if self._timer is not None:
            self._upstream.line.leave(self)
            self._waited()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release(outcome, self._seconds())

    # -- the line ------------------------------------------------------------------------------------------------

    def vacancy(self) -> Lease | None:
        """There may be room."""
        try:
            return self._placement.again(self._seconds())
        except Exception:  # as below; it keeps its place until the queue's timeout
            _log.failure("the selector of upstream {name} failed", name=self._upstream.name)
            return None

    def admitted(self, lease: Lease) -> None:
        """There is."""
        self._waited()
        self._connect(lease)

    def _wait(self) -> None:
        policy = self._upstream.policy.queue
        if not self._upstream.line.join(self):
            self._failed(Termination.QUEUE_FULL, f"every backend is full, and so is the queue ({policy.limit})")
            return
        self._record.note("every backend is full: waits in the queue")
        self._since = self._seconds()
        self._timer = self._connector.timers.schedule(policy.timeout, self._too_long)

    def _waited(self) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._timer = None
        self._record.queue = (self._record.queue or 0.0) + self._seconds() - self._since

    def _too_long(self) -> None:
        self._upstream.line.leave(self)
        self._waited()
        seconds = self._upstream.policy.queue.timeout
        self._failed(Termination.QUEUE_TIMEOUT, f"no backend had room within {seconds:g} s")

    # -- connecting ----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take the next candidate."""
        try:
            lease = self._placement.next(self._seconds())
        except Exception:  # selectors are plugins, and a client must not hang because of one
            _log.failure("the selector of upstream {name} failed", name=self._upstream.name)
            self._failed(Termination.INTERNAL, "the selector failed; the log has the traceback")
            return
        if lease is not None:
            self._connect(lease)
        elif self._placement.full:
            self._wait()
        else:
            nothing = f"upstream {self._upstream.name} has no backend that is available"
            self._failed(*self._last or (Termination.NO_BACKEND, nothing))

    def _connect(self, lease: Lease) -> None:
        backend = lease.backend
        timeouts = self._settings.backend_timeouts
        self._lease = lease
        self._record.backend = backend.address
        self._record.attempts += 1
        self._since = self._seconds()
        try:
            tls = self._tls.client(backend.tls_name or backend.host) if self._tls is not None else None
        except TlsSettingsError as error:
            self._refused(Outcome.UNUSED, str(error))
            return
        self._attempt = self._connector.connect(
            backend.host,
            backend.port,
            self._protocol,
            self._refused,
            timeout=timeouts.connect,
            tls=tls,
            tls_timeout=timeouts.tls_handshake,
            timer=self._lent,
            preface=self._preface,
        )

    def _refused(self, outcome: Outcome, reason: str) -> None:
        """That one cannot be had: on to the next, where that is allowed."""
        lease, self._lease = self._lease, None
        attempt, self._attempt = self._attempt, None
        assert lease is not None
        now = self._seconds()
        self._record.connect = (self._record.connect or 0.0) + now - self._since
        self._record.note(reason)
        self._last = (_cause(outcome, attempt is not None and attempt.handshaking), reason)
        lease.release(outcome, now)
        if self._may_try_another():
            self._go_on()
        else:
            self._failed(*self._last)

    def _may_try_another(self) -> bool:
        retry = self._upstream.policy.retry
        allowed = retry.attempts > 0 and "connect-failure" in retry.on
        return allowed and self._record.attempts < self._settings.max_tries


def _cause(outcome: Outcome, tls: bool) -> Termination:
    """The termination where this was the last try."""
    if outcome is Outcome.CONNECT_REFUSED:
        return Termination.CONNECT_REFUSED
    if outcome is Outcome.CONNECT_TIMEOUT:
        return Termination.BACKEND_TLS_TIMEOUT if tls else Termination.CONNECT_TIMEOUT
    return Termination.BACKEND_TLS_FAILED if tls else Termination.CONNECT_UNREACHABLE


_log = Logger()
