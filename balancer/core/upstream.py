"""An upstream: a named group of backends with its selector, limits and policies.

It keeps the members and decides which of them are usable now: the available ones of the primary tier; where that is
empty the backups; where too few are available (panic) all that the operator has not taken out. It hands out leases
by way of a :class:`Placement`. It never opens a connection, never probes and never reads a clock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated

from typing_extensions import Doc

from balancer.core import outlier
from balancer.core.admission import QueuePolicy, WaitingLine
from balancer.core.events import KEPT, Event, MembersChanged, PanicEntered, PanicLeft
from balancer.core.lease import Lease, Outcome
from balancer.core.model import AdminState, Backend, BackendKey, BackendSpec, Listener, Member
from balancer.core.outlier import OutlierPolicy
from balancer.core.retry import RetryBudget, RetryPolicy
from balancer.core.traits import Traits
from balancer.core.units import SecondsOrZero, Share
from balancer.interfaces import ISelector

RAMP_STEPS = 10
"""Slow start raises a weight in this many steps; weights are scaled by it meanwhile, so that 1 can be divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPolicy:
    """How an upstream behaves."""

    slow_start: Annotated[
        SecondsOrZero, Doc("Seconds over which a backend that came back up grows to its full weight; 0 for at once.")
    ] = 0.0
    panic_threshold: Annotated[
        Share,
        Doc("Below this share of available backends all are used, loudly; 0 never does. Primary backends count."),
    ] = 0.5
    queue: Annotated[QueuePolicy, Doc("The line in front of backends at their `max_connections`.")] = field(
        default_factory=QueuePolicy
    )
    retry: Annotated[RetryPolicy, Doc("Which failures are tried again on another backend.")] = field(
        default_factory=RetryPolicy
    )
    outlier: Annotated[OutlierPolicy, Doc("When traffic itself takes a backend out.")] = field(
        default_factory=OutlierPolicy
    )


SelectorBuilder = Callable[[Sequence[Member]], ISelector]


class Upstream:
    """The live group. All changes go through :meth:`update` and :meth:`configure`; both publish in one assignment.

    :ivar members: a stable tuple, replaced only by :meth:`update`.
    :ivar active: leases out now, of this upstream.
    :ivar panic: whether the panic threshold decides.
    :ivar line: who waits for a vacancy.
    :ivar budget: the retries in flight.
    :ivar events: the upstream's own last events (members, panic).
    """

    def __init__(
        self,
        name: str,
        policy: UpstreamPolicy,
        build_selector: SelectorBuilder,
        listener: Listener | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.listener = listener
        self.active = 0
        self.panic = False
        self.members: tuple[Member, ...] = ()
        self.line = WaitingLine(policy.queue)
        self.budget = RetryBudget(policy.retry)
        self.events: deque[Event] = deque(maxlen=KEPT)
        self._build_selector = build_selector
        self.selector = build_selector(())
        self._ramp_tick = inf
        self._next_tick = inf

    def __repr__(self) -> str:
        usable = sum(member.usable for member in self.members)
        counts = f"usable={usable}/{len(self.members)} active={self.active} waiting={len(self.line)}"
        return f"<Upstream {self.name} {counts}>"

    # -- membership ---------------------------------------------------------------------------------------------

    def update(self, specs: Iterable[BackendSpec], intern: Callable[[BackendKey], Backend], now: float) -> bool:
        """Take the whole new set; the difference is made here. Returns whether anything changed.

        Survivors keep their backend (identity, counters, verdicts). Leases on those that left run to their end.
        """
        wanted = {spec.key: spec for spec in specs}
        old = {member.backend.key: member for member in self.members}
        if wanted == {key: member.spec for key, member in old.items()}:
            return False
        members = tuple(Member(intern(key), spec) for key, spec in wanted.items())
        came = sorted(spec.address for key, spec in wanted.items() if key not in old)
        went = sorted(member.backend.address for key, member in old.items() if key not in wanted)
        for key, member in old.items():
            member.backend.groups.remove(self)
            if key not in wanted:
                _limit(member.backend)
        # Weights and usability are settled before anyone can see the new tuple.
        selector = self._prepare(members, now)
        self.members, self.selector = members, selector
        for member in members:
            member.backend.groups.append(self)
            _limit(member.backend)
        told = [f"added {', '.join(came)}"] * bool(came) + [f"removed {', '.join(went)}"] * bool(went)
        self._tell(MembersChanged(now, self.name, "; ".join(told) or "weights or limits changed"))
        self._serve_line()
        return True

    def configure(self, policy: UpstreamPolicy, build_selector: SelectorBuilder, now: float) -> None:
        """Take a new policy; members, counters and those who wait stay."""
        self.policy = policy
        self.line.policy = policy.queue
        self.budget.policy = policy.retry
        self._build_selector = build_selector
        self.selector = self._prepare(self.members, now)
        self._serve_line()

    def close(self, now: float) -> None:
        """Let go of every backend; leases that are out run to their end."""
        self.update((), _no_backend, now)

    # -- verdicts -----------------------------------------------------------------------------------------------

    def backend_changed(self, backend: Backend, event: Event) -> None:
        """A verdict of a member changed: settle who is usable (and begin its slow start)."""
        if self.policy.slow_start and backend.up_since == event.at:
            self.selector = self._prepare(self.members, event.at)
        else:
            self._settle(self.members, event.at)
            self.selector.refresh()
        self._serve_line()

    def may_lose(self, backend: Backend) -> bool:
        """Whether ejecting it keeps within the share, and leaves another that is available."""
        ejected = sum(member.backend.ejected_until is not None for member in self.members)
        others = any(member.backend.available for member in self.members if member.backend is not backend)
        return others and ejected + 1 <= self.policy.outlier.max_share * len(self.members)

    def tick(self, now: float) -> None:
        """Do what time alone brings: ejections that end, steps of slow start. Cheap where nothing is due."""
        if now < self._next_tick:
            return
        for member in self.members:
            until = member.backend.ejected_until
            if until is not None and until <= now:
                member.backend.readmit("its time is over", now)
        self.selector = self._prepare(self.members, now)

    def _prepare(self, members: tuple[Member, ...], now: float) -> ISelector:
        self._weigh(members, now)
        self._settle(members, now)
        return self._build_selector(members)

    def _weigh(self, members: tuple[Member, ...], now: float) -> None:
        ramp = self.policy.slow_start
        self._ramp_tick = inf
        climbing = {}
        for member in members:
            since = member.backend.up_since
            if ramp and since is not None and now - since < ramp:
                climbing[member] = max(1, int(RAMP_STEPS * (now - since) / ramp))
                self._ramp_tick = now + ramp / RAMP_STEPS
        scale = RAMP_STEPS if climbing else 1
        for member in members:
            member.weight = member.spec.weight * climbing.get(member, scale)

    def _settle(self, members: tuple[Member, ...], now: float) -> None:
        """Decide who is usable. Members that wait for their first probe neither help nor hurt."""
        chosen, panic = _usable(members, self.policy.panic_threshold)
        for member in members:
            member.usable = member in chosen
        self._next_tick = min((m.backend.ejected_until or inf for m in members), default=inf)
        self._next_tick = min(self._next_tick, self._ramp_tick)
        if panic is not self.panic:
            self.panic = panic
            available = sum(member.backend.available for member in members)
            kind, words = (PanicEntered, "all are used") if panic else (PanicLeft, "only those are used")
            self._tell(kind(now, self.name, f"{available} of {len(members)} backends available: {words}"))

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)

    # -- work ---------------------------------------------------------------------------------------------------

    def place(self, traits: Traits, now: float) -> "Placement":
        """Begin to place one request or connection."""
        if now >= self._next_tick:
            self.tick(now)
        return Placement(self, traits)

    def lease_returned(self, lease: Lease, outcome: Outcome, now: float) -> None:
        """Learn from a lease that came back (called by the lease)."""
        backend = lease.backend
        if outcome.failure is not None:
            if outcome.failure or backend.failures_in_row:
                outlier.record(self.policy.outlier, backend, outcome, now)
            self.selector.observe(lease.member, now - lease.started if lease.latency is None else lease.latency, now)
        if backend.max_connections:
            for group in tuple(backend.groups):
                group.backend_vacant(backend)

    def backend_vacant(self, backend: Backend) -> None:
        """A lease came back to a member that limits them: the first in line may try."""
        if self.line and not backend.full:
            self.line.serve(1)

    def _serve_line(self) -> None:
        if self.line:
            self.line.serve(len(self.line))  # as many as find room: one that finds none keeps its place


class Placement:
    """The way of one request or connection through an upstream's candidates: no backend is met twice.

    :ivar full: some usable backend was passed over because it is at its ``max_connections``.
    :ivar tried: backends leased so far, in order.
    """

    __slots__ = ("_candidates", "full", "tried", "traits", "upstream")

    def __init__(self, upstream: Upstream, traits: Traits) -> None:
        self.upstream = upstream
        self.traits = traits
        self.full = False
        self.tried: list[Backend] = []
        self._candidates: Iterator[Member] | None = None

    def __repr__(self) -> str:
        tried = [backend.address for backend in self.tried]
        return f"<Placement in {self.upstream.name} tried={tried} full={self.full}>"

    def next(self, now: float) -> Lease | None:
        """A lease on the next candidate, or ``None`` where none is left: see :attr:`full` for why."""
        if self._candidates is None:
            self._candidates = self.upstream.selector.candidates(self.traits) or iter(())
        for member in self._candidates:
            backend = member.backend
            if 0 < backend.max_connections <= backend.active:
                self.full = True
            elif backend not in self.tried:
                self.tried.append(backend)
                return Lease(self.upstream, member, now)
        return None

    def again(self, now: float) -> Lease | None:
        """After a wait: the candidates anew, without those already tried."""
        self.full = False
        self._candidates = None
        return self.next(now)


def _usable(members: tuple[Member, ...], threshold: float) -> tuple[frozenset[Member], bool]:
    """Who may be chosen, and whether that is panic. Members that wait for a first probe do not count."""
    weighty = [member for member in members if member.spec.weight and member.backend.admin is AdminState.READY]
    primaries = [member for member in weighty if not member.spec.backup]
    backups = [member for member in weighty if member.spec.backup]
    counted = [member for member in primaries or backups if not member.backend.waits]
    available = [member for member in counted if member.backend.available]
    if available and len(available) >= threshold * len(counted):
        return frozenset(available), False
    spare = [member for member in backups if member.backend.available]
    if spare and not available:
        return frozenset(spare), False
    if counted and threshold:
        return frozenset(primaries or backups), True
    return frozenset(member for member in weighty if member.backend.waits), False


def _limit(backend: Backend) -> None:
    """The smallest limit that any of its upstreams sets, 0 where none does."""
    limits = [
        member.spec.max_connections
        for group in backend.groups
        if isinstance(group, Upstream)
        for member in group.members
        if member.backend is backend and member.spec.max_connections
    ]
    backend.max_connections = min(limits, default=0)


def _no_backend(key: BackendKey) -> Backend:
    raise AssertionError(f"an empty set needs no backend, not even {key}")
