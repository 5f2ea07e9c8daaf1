"""Idle connections to one backend: which one to reuse, which to close. Never a set of backends.

Sources: httpcore's connection pool (decide, then act), nginx's keepalive / keepalive_requests / keepalive_timeout.
It never opens or closes a connection itself: :meth:`Pool.put`, :meth:`Pool.take` and :meth:`Pool.expire` say what is
to be closed, and the edge closes it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from balancer.core.policies import PoolPolicy

SURGE = 1.0
"""Seconds for which more than ``idle`` are kept. Each of them carried a request that long ago, so under a load of many
clients at one time they are about to be needed again; closed at once, every other request pays a connect. (HAProxy
too lets a surplus go by and by: its pool-purge-delay is 5 s.)"""


class Reusable(Protocol):
    """A connection that may be kept. One that is no longer alive closes itself: the pool only forgets it.

    :ivar requests: how many requests it has carried.
    :ivar idle_since: when its last response was finished (the pool sets it).
    """

    requests: int
    idle_since: float

    def is_alive(self) -> bool:
        """Whether it can carry another request: not closed, not closing, and nothing unasked for was received."""


C = TypeVar("C", bound=Reusable)

NOTHING: Final = ()
"""What :meth:`Pool.put` returns in the usual case: there is room, and nothing to close."""


class Pool(Generic[C]):
    """The idle connections of one backend, the most recently used last."""

    __slots__ = ("_idle", "policy")

    def __init__(self, policy: PoolPolicy) -> None:
        self.policy = policy
        self._idle: deque[C] = deque()

    def __len__(self) -> int:
        return len(self._idle)

    def __repr__(self) -> str:
        return f"<Pool idle={len(self._idle)}/{self.policy.idle}>"

    @property
    def surplus(self) -> int:
        """How many there are above the limit."""
        return max(0, len(self._idle) - self.policy.idle)

    def take(self, now: float) -> C | None:
        """The most recently used connection that is alive and not too old. Those found dead are dropped: whoever
        owns them sees their close, so there is nothing left to do for them; one too old stays for :meth:`expire`."""
        idle = self._idle
        while idle:
            if now - idle[-1].idle_since >= self.policy.idle_timeout:
                return None  # the youngest is too old, so all are
            connection = idle.pop()
            if connection.is_alive():
                return connection
        return None

    def put(self, connection: C, now: float) -> Sequence[C]:
        """Keep a connection whose response is finished. Returns those to close: itself, where it may carry no
        more requests or none are kept, or the oldest, where the pool has been over its limit for :data:`SURGE`;
        :data:`NOTHING` itself where the pool is within its limit."""
        policy = self.policy
        if not policy.idle or (policy.requests and connection.requests >= policy.requests):
            return [connection]
        connection.idle_since = now
        idle = self._idle
        idle.append(connection)
        return self.expire(now) if len(idle) > policy.idle else NOTHING

    def remove(self, connection: C) -> bool:
        """Forget a connection that closed by itself; ``False`` where it was not idle."""
        try:
            self._idle.remove(connection)
        except ValueError:
            return False
        return True

    def expire(self, now: float) -> list[C]:
        """Those idle for too long, to be closed: the surplus for :data:`SURGE`, the others for their timeout."""
        idle, policy = self._idle, self.policy
        old = []
        while idle:
            limit = min(SURGE, policy.idle_timeout) if len(idle) > policy.idle else policy.idle_timeout
            if now - idle[0].idle_since < limit:
                break
            old.append(idle.popleft())
        return old

    def clear(self) -> list[C]:
        """All of them, to be closed."""
        every = list(self._idle)
        self._idle.clear()
        return every
