"""An upstream as HTTP reaches it: its timeouts, its TLS, and the idle connections to each of its backends.

Which backend serves is decided by the upstream itself; here connections are opened, kept, and closed when they are
idle for too long or when their backend left or was taken out. One object serves every listener of the upstream, so
that they share connections. It never looks at a request.
"""

from dataclasses import replace

from balancer.core.events import ConfigApplied, Drained, Event, Maintained, MembersChanged
from balancer.core.lease import Lease
from balancer.core.model import AdminState, Backend
from balancer.core.policies import PoolPolicy
from balancer.core.pool import NOTHING, SURGE, Pool
from balancer.core.timeouts import BackendTimeouts
from balancer.core.upstream import Upstream
from balancer.http.backend import BackendConnection, BackendOpener
from balancer.http1.heads import ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.memo import RESPONSES, Memo
from balancer.net.connector import Attempt, Connector, Failed
from balancer.net.proxy_backend import ProxySender
from balancer.net.timers import Timer, TimerWheel
from balancer.net.tls import TlsClients

SWEEPS = 8
"""Sweeps per idle timeout: a connection lies idle at most an eighth longer than it may. It is never *used* then."""


class HttpUpstream:
    """See the module. A change of its settings is a new object: :meth:`close` the old one, whose exchanges go on.

    :param sender: makes the PROXY header that each connection begins with; then none is kept.
    :ivar upstream: the live group.
    :ivar memo: heads of responses that passed the limits.
    :ivar opened: connections opened so far.
    :ivar closed: nothing is kept any more.
    """

    def __init__(
        self,
        upstream: Upstream,
        connector: Connector,
        timers: TimerWheel,
        *,
        timeouts: BackendTimeouts | None = None,
        pool: PoolPolicy | None = None,
        tls: TlsClients | None = None,
        limits: HttpLimits | None = None,
        sender: ProxySender | None = None,
    ) -> None:
        self.upstream = upstream
        self.timeouts = timeouts or BackendTimeouts()
        self.policy = pool or PoolPolicy()
        if sender is not None:  # a connection that is kept would speak for another client
            self.policy = replace(self.policy, idle=0)
        self._sender = sender
        self.limits = limits or HttpLimits()
        self.memo: Memo[ResponseHead] = Memo(RESPONSES)
        self.opened = 0
        self.closed = False
        self._connector = connector
        self._timers = timers
        self._tls = tls
        self._pools: dict[Backend, Pool[BackendConnection]] = {}
        self._sweep: Timer | None = None
        self._sweeping = False  # the sweep is to come
        self._surging = False  # the sweep is to come soon, for there are more than are to be kept

    def __repr__(self) -> str:
        return f"<HttpUpstream {self.upstream.name} idle={self.idle} opened={self.opened}>"

    @property
    def idle(self) -> int:
        """Idle connections kept now."""
        return sum(len(pool) for pool in self._pools.values())

    def take(self, backend: Backend, now: float) -> BackendConnection | None:
        """An idle connection to this backend that is alive, or ``None``."""
        pool = self._pools.get(backend)
        return None if pool is None else pool.take(now)

    def connect(self, lease: Lease, user: BackendOpener, failed: Failed) -> Attempt:
        """Open a connection for ``user``; see :meth:`~balancer.net.connector.Connector.connect` for ``failed``."""
        backend = lease.backend
        timeouts = self.timeouts
        preface = b"" if self._sender is None else self._sender.preface(*user.introduced())
        return self._connector.connect(
            backend.host,
            backend.port,
            BackendConnection(self, backend, user),
            failed,
            timeout=timeouts.connect,
            tls=None if self._tls is None else self._tls.client(backend.tls_name or backend.host),
            tls_timeout=timeouts.tls_handshake,
            preface=preface,
        )

    def keep(self, connection: BackendConnection, now: float) -> None:
        """Its response is finished: keep it for the next request, or close it where that is not wanted."""
        backend = connection.backend
        if self.closed or not self._serves(backend):
            connection.close()
            return
        pool = self._pools.get(backend)
        if pool is None:
            pool = self._pools[backend] = Pool(self.policy)
        closing = pool.put(connection, now)
        if closing is NOTHING and self._sweeping:
            return
        for surplus in closing:
            surplus.close()
        if not self._sweeping and pool:
            self._arm(self.policy.idle_timeout)
        if pool.surplus and not self._surging:
            self._surging = True
            self._arm(SURGE)

    def forget(self, connection: BackendConnection) -> None:
        """It was lost while it was idle."""
        pool = self._pools.get(connection.backend)
        if pool is not None:
            pool.remove(connection)

    def heed(self, event: Event) -> None:
        """Something changed: idle connections to backends that left or were taken out are closed.

        Subscribe it to the registry. What probes and traffic say closes nothing; there may be very much of it.
        """
        if not isinstance(event, MembersChanged | Drained | Maintained | ConfigApplied):
            return
        for backend in [backend for backend in self._pools if not self._serves(backend)]:
            for connection in self._pools.pop(backend).clear():
                connection.close()

    def close(self) -> None:
        """Close what is idle, and whatever becomes so from now on."""
        self.closed = True
        self._sweeping = False
        if self._sweep is not None:
            self._sweep.cancel()
        for pool in self._pools.values():
            for connection in pool.clear():
                connection.close()
        self._pools.clear()

    def _serves(self, backend: Backend) -> bool:
        return backend.admin is AdminState.READY and self.upstream in backend.groups

    def _arm(self, delay: float) -> None:
        self._sweeping = True
        if self._sweep is None:
            self._sweep = self._timers.schedule(delay, self._expire)
        else:
            self._sweep.rearm(delay)

    def _expire(self) -> None:
        self._sweeping = False
        now = self._timers.seconds()
        for pool in self._pools.values():
            for connection in pool.expire(now):
                connection.close()
        self._surging = any(pool.surplus for pool in self._pools.values())
        if self._surging:
            self._arm(SURGE)
        elif self.idle:
            self._arm(self.policy.idle_timeout / SWEEPS)
