"""The model: backends, their three verdicts, and their membership in upstreams.

A :class:`Backend` is one live server, shared by every upstream that lists it. Three independent verdicts say
whether it may serve: what the operator says (:class:`AdminState`), what probes say (:class:`Health`) and what
traffic says (ejection). Every change carries a reason and leaves an event. This module never decides *when* a
verdict changes (see ``health``, ``outlier``, ``registry``) and never reads a clock: time is an argument.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from balancer.core.advice import FULL, Advice, limit_of, percent_of, strictest
from balancer.core.events import (
    KEPT,
    Advised,
    BackendDown,
    BackendUp,
    Drained,
    Ejected,
    Enabled,
    Event,
    HealthUnknown,
    Maintained,
    Readmitted,
)
from balancer.core.hostport import is_literal as is_literal
from balancer.core.hostport import join_address as join_address
from balancer.core.hostport import split_address as split_address
from balancer.core.states import AdminState as AdminState
from balancer.core.states import Health as Health
from balancer.core.traffic import Traffic

MAX_WEIGHT = 256
"""The largest weight, as in HAProxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """What an upstream says about one of its backends. Equal specs are the same backend.

    :ivar host: an IP address (discovery turns names into addresses first).
    :ivar port: the TCP port.
    :ivar weight: 0 to 256, the share of traffic in this upstream; 0 gets none.
    :ivar backup: used only when no other backend of the upstream is available, or too few are (panic threshold).
    :ivar max_connections: leases at one time, 0 for no limit; where upstreams disagree the smallest counts.
    :ivar tls_name: the name TLS presents and verifies, ``None`` where the backend speaks plain TCP.
    :ivar name: what the operator called it, for example the host name it was resolved from.
    :ivar tags: free pairs for people and plugins.
    """

    host: str
    port: int
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    tls_name: str | None = None
    name: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not from 1 to 65535")
        if not 0 <= self.weight <= MAX_WEIGHT:
            raise ValueError(f"weight {self.weight} is not from 0 to {MAX_WEIGHT}")
        if self.max_connections < 0:
            raise ValueError(f"max_connections {self.max_connections} is below 0")

    @property
    def key(self) -> "BackendKey":
        """What makes it the same server whatever its weight: address and TLS name."""
        return (self.host, self.port, self.tls_name)

    @property
    def address(self) -> str:
        """``host:port``."""
        return join_address(self.host, self.port)

    @property
    def authority(self) -> str:
        """What a Host field calls it: the operator's name for it, and the port where the scheme would not imply it.

        Source: RFC 9110 section 7.2, RFC 3986 section 3.2.3.
        """
        written = join_address(self.name or self.host, self.port)
        return written.removesuffix(":80" if self.tls_name is None else ":443")


BackendKey = tuple[str, int, str | None]


class Group(Protocol):
    """What a backend tells the upstreams it belongs to, and asks them."""

    def backend_changed(self, backend: "Backend", event: Event) -> None:
        """A verdict changed: settle who is usable, and nothing else (other groups have not heard of it yet)."""

    def backend_settled(self, backend: "Backend", event: Event) -> None:
        """Every group has settled and the listener was told: now act on it."""

    def backend_vacant(self, backend: "Backend") -> None:
        """There may be room at a backend that limits its leases, or no longer does."""

    def may_lose(self, backend: "Backend") -> bool:
        """Whether the group can do without it for a while (ejection)."""


Listener = Callable[[Event], None]
"""Told of each change, after it is done."""


class Backend:
    """One server, live: its counters, its three verdicts and its last events.

    Only a :class:`~balancer.core.lease.Lease` touches the counters. Whoever changes a verdict gives a reason;
    a call that changes nothing leaves no event. A change is complete in the backend and in all its ``groups`` before
    the listener hears of it, and only then do the groups act on it: whoever calls back finds everything in order.

    :ivar active: leases out now.
    :ivar total: leases ever given.
    :ivar failures: leases that ended with a failure of the backend.
    :ivar max_connections: leases at one time, 0 for no limit: what an agent says, else the smallest that any of its
        groups sets.
    :ivar admin: the strictest of what its operator and its agents say.
    :ivar operator: what the operator says, and why.
    :ivar percent: the share of its configured weight that it gets, by its agents.
    :ivar available: READY, not ejected, not DOWN, not waiting for its first probe. (Being full is a passing
        matter: see :attr:`full`.)
    :ivar waits: it is new and waits for its first probe; used only where nothing else is left.
    :ivar ejections: how many ejections in close succession, which lengthens the next one.
    :ivar readmitted_at: when the last ejection ended.
    :ivar groups: the upstreams it belongs to.
    :ivar translated: what the kernel forwarded to it by listeners of mode nat, as last read; ``None`` where none did.
        No lease is in it.
    :ivar up_since: when it last came back to serve after it was DOWN, ejected, drained or in maintenance, for slow
        start (its caches are cold whoever took it out); ``None`` where it never was out. Being new is not coming back.
    """

    __slots__ = (
        "_advices",
        "_limits",
        "_verdicts",
        "active",
        "address",
        "admin",
        "admin_reason",
        "available",
        "ejected_until",
        "ejection_reason",
        "ejections",
        "events",
        "failures",
        "failures_in_row",
        "groups",
        "health",
        "health_reason",
        "host",
        "key",
        "listener",
        "max_connections",
        "operator",
        "percent",
        "port",
        "readmitted_at",
        "tls_name",
        "total",
        "translated",
        "up_since",
        "waits",
    )

    def __init__(self, key: BackendKey, listener: Listener | None = None) -> None:
        self.key = key
        self.listener = listener
        self.host, self.port, self.tls_name = key
        self.address = join_address(self.host, self.port)
        self.active = 0
        self.total = 0
        self.failures = 0
        self.failures_in_row = 0
        self.max_connections = 0
        self.admin = AdminState.READY
        self.admin_reason = ""
        self.operator = (AdminState.READY, "")
        self.percent = FULL
        self.health = Health.UNKNOWN
        self.health_reason = "no check is configured"
        self.ejected_until: float | None = None
        self.ejection_reason = ""
        self.ejections = 0
        self.readmitted_at = 0.0
        self.waits = False
        self.up_since: float | None = None
        self.translated: Traffic | None = None
        self.available = True
        self.events: deque[Event] = deque(maxlen=KEPT)
        self.groups: list[Group] = []
        self._advices: dict[object, Advice] = {}
        self._limits: dict[Group, int] = {}
        self._verdicts: dict[object, tuple[Health, str, bool]] = {}

    def __repr__(self) -> str:
        return f"<Backend {self.address} {self.state} active={self.active} total={self.total}>"

    @property
    def full(self) -> bool:
        """Whether every allowed lease is out."""
        return 0 < self.max_connections <= self.active

    @property
    def state(self) -> str:
        """One word: maint, drain, ejected, down, up or unknown; the first that applies."""
        if self.admin is not AdminState.READY:
            return str(self.admin.value)
        if self.ejected_until is not None:
            return "ejected"
        return str(self.health.value)

    @property
    def why(self) -> str:
        """The reason for :attr:`state`."""
        if self.admin is not AdminState.READY:
            return self.admin_reason
        if self.ejected_until is not None:
            return self.ejection_reason
        return self.health_reason

    def join(self, group: Group, max_connections: int) -> None:
        """The group lists it and sets this limit (0 for none); one that lists it already only changes the limit."""
        if group not in self._limits:
            self.groups.append(group)
        self._limits[group] = max_connections
        self._limit()

    def leave(self, group: Group) -> None:
        """The group lists it no more.

        :raises KeyError: it did not; nothing changes.
        """
        del self._limits[group]
        self.groups.remove(group)
        self._limit()

    def offer(self) -> None:
        """There may be room: let the groups' waiters try. The groups take turns at being asked first, so that no
        group's line starves behind another's."""
        for group in tuple(self.groups):
            group.backend_vacant(self)
        if len(self.groups) > 1:
            self.groups.append(self.groups.pop(0))

    def administer(self, state: AdminState, reason: str, now: float) -> bool:
        """The operator's word. Returns whether anything changed."""
        if state is self.operator[0]:
            return False
        self.operator = (state, reason)
        self._heed(reason, now)
        return True

    def advise(self, agent: object, advice: Advice | None, reason: str, now: float) -> None:
        """An agent's word, ``None`` to take it back; see :mod:`balancer.core.advice` for what it changes."""
        if advice is None:
            self._advices.pop(agent, None)
        else:
            self._advices[agent] = advice
        self._heed(reason, now)
        before = self.percent, self.max_connections
        self.percent = percent_of(self._advices)
        self._limit()
        if before != (self.percent, self.max_connections):
            self._publish(Advised(now, self.address, reason), back=False)
            self.offer()

    def judge(self, check: object, health: Health, reason: str, now: float, waits: bool = False) -> bool:
        """A probe stream's verdict. With several checks the worst counts: DOWN, then UNKNOWN, then UP.

        :param check: what tells the checks of this backend apart (any hashable).
        :param waits: with UNKNOWN, that the backend is to wait for its first probe before it serves.
        :returns: whether the backend's health changed.
        """
        self._verdicts[check] = (health, reason, waits)
        return self._settle(now, check)

    def forget_check(self, check: object, now: float) -> bool:
        """That check is no longer made. Returns whether the backend's health changed."""
        if self._verdicts.pop(check, None) is None:
            return False
        return self._settle(now)

    def eject(self, until: float, reason: str, now: float) -> bool:
        """Traffic's word: out until a time. One that is out already stays as it is; returns whether it changed."""
        if self.ejected_until is not None:
            return False
        self.ejected_until, self.ejection_reason = until, reason
        self._publish(Ejected(now, self.address, reason), back=False)
        return True

    def readmit(self, reason: str, now: float) -> bool:
        """The ejection is over. Returns whether there was one."""
        if self.ejected_until is None:
            return False
        self.ejected_until, self.ejection_reason = None, ""
        self.failures_in_row = 0
        self.readmitted_at = now
        self._publish(Readmitted(now, self.address, reason), back=True)
        return True

    def _limit(self) -> None:
        said = limit_of(self._advices)
        self.max_connections = min(filter(None, self._limits.values()), default=0) if said is None else said

    def _heed(self, reason: str, now: float) -> None:
        """Somebody spoke: take the strictest word, and tell where it is another one, or another's."""
        state, why = strictest(self.operator, self._advices.values())
        if state is self.admin and (state is AdminState.READY or why == self.admin_reason):
            return
        self.admin, self.admin_reason = state, reason if state is AdminState.READY else why
        kind = {AdminState.READY: Enabled, AdminState.DRAIN: Drained, AdminState.MAINT: Maintained}[state]
        self._publish(kind(now, self.address, self.admin_reason), back=state is AdminState.READY)

    def _settle(self, now: float, spoke: object = None) -> bool:
        """Take the worst verdict. A change is told with the reason of the check that ``spoke``, where it is that."""
        ranks = (Health.DOWN, Health.UNKNOWN, Health.UP)
        verdicts = self._verdicts.values()
        worst = min(verdicts, key=lambda verdict: ranks.index(verdict[0]), default=None)
        health, reason = worst[:2] if worst else (Health.UNKNOWN, "no check is configured")
        waits = health is Health.UNKNOWN and any(verdict[2] for verdict in verdicts)
        before = (self.health, self.waits)
        previous, self.health, self.health_reason, self.waits = self.health, health, reason, waits
        if (health, waits) == before:
            return False
        own = self._verdicts.get(spoke)
        if own is not None and own[0] is health:
            self.health_reason = reason = own[1]
        kind = {Health.DOWN: BackendDown, Health.UP: BackendUp, Health.UNKNOWN: HealthUnknown}[health]
        self._publish(kind(now, self.address, reason), back=previous is Health.DOWN)
        return True

    def _publish(self, event: Event, back: bool) -> None:
        """Complete a change and tell of it. ``back``: if this makes it available, it comes back (slow start)."""
        before = self.available
        self.available = (
            self.admin is AdminState.READY
            and self.ejected_until is None
            and self.health is not Health.DOWN
            and not self.waits
        )
        if back and self.available and not before:
            self.up_since = event.at
        self.events.append(event)
        groups = tuple(self.groups)
        for group in groups:
            group.backend_changed(self, event)
        if self.listener is not None:
            self.listener(event)
        for group in groups:
            group.backend_settled(self, event)


class Member:
    """One backend in one upstream: what selectors choose from.

    The upstream keeps :attr:`usable` and :attr:`weight` current; a selector only reads.

    :ivar backend: the server, shared with other upstreams.
    :ivar spec: what this upstream says about it.
    :ivar weight: the effective weight (slow start included); relative to the other members only.
    :ivar usable: may be chosen now: available (or panic), in the tier that serves (primary or backup), weight > 0.
    """

    __slots__ = ("backend", "spec", "usable", "weight")

    def __init__(self, backend: Backend, spec: BackendSpec) -> None:
        self.backend = backend
        self.spec = spec
        self.weight = spec.weight
        self.usable = False

    def __repr__(self) -> str:
        return f"<Member {self.backend.address} weight={self.weight} {'usable' if self.usable else 'unusable'}>"
