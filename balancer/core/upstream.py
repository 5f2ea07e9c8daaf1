"""An upstream: a named group of backends with its selector, limits and policies.

It keeps the members, publishes which of them are usable now (``tiers`` decides), keeps ejections within their share
and hands out leases by way of a :class:`Placement`. It never opens a connection, never probes and never reads a clock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from math import inf

from balancer.core import outlier, tiers
from balancer.core.admission import WaitingLine
from balancer.core.events import KEPT, Advised, Event, MembersChanged, PanicEntered, PanicLeft
from balancer.core.lease import Lease, Outcome
from balancer.core.model import Backend, BackendKey, BackendSpec, Listener, Member
from balancer.core.policies import UpstreamPolicy
from balancer.core.retry import RetryBudget
from balancer.core.traits import Traits
from balancer.interfaces import ISelector

NAMED = 10
"""How many addresses the reason of one event names; the others are counted, so that its size has a limit."""

MANY = 1000
"""Members above which the selector does not hear of every verdict at once: making its tables anew takes time that
grows with them (10 ms for 10,000), and after a start, or when a network comes back, thousands turn one by one."""

REFRESH = 0.1
"""Seconds for which it is left alone then. Who turned unusable is passed over meanwhile, and where nobody else is left
it is told at once; who turned usable waits that long at most."""

SelectorBuilder = Callable[[Sequence[Member]], ISelector]


class Upstream:
    """The live group. All changes go through :meth:`update` and :meth:`configure`; both publish in one assignment.

    :ivar members: a stable tuple, replaced only by :meth:`update`; survivors stay the same objects while what the
        upstream says about them stays the same.
    :ivar next_tick: when time alone brings a change (see :meth:`tick`).
    :ivar stale: the selector does not know who is usable now (see :meth:`refreshed`).
    :ivar revision: how often the usable members or the selector changed, so that a placement under way can tell.
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
        self.revision = 0
        self.selector = build_selector(())
        self._build_selector = build_selector
        self._known: dict[Backend, Member] = {}
        self._tally = tiers.Tally((), policy.panic_threshold)
        self._panic_told = False
        self.next_tick = inf
        self.stale = False
        self._refreshed = -inf

    def __repr__(self) -> str:
        usable = sum(member.usable for member in self.members)
        counts = f"usable={usable}/{len(self.members)} active={self.active} waiting={len(self.line)}"
        return f"<Upstream {self.name} {counts}>"

    # -- membership ---------------------------------------------------------------------------------------------

    def update(self, specs: Iterable[BackendSpec], intern: Callable[[BackendKey], Backend], now: float) -> bool:
        """Take the whole new set; the difference is made here. Returns whether anything changed.

        Survivors keep their backend (identity, counters, verdicts). Leases on those that left run to their end.
        Members stand in the order given, which the selector ``first`` goes by; a set, which has none, is put in order
        by address, so that two runs agree. Of two specs for one backend the last counts.
        """
        wanted = {spec.key: spec for spec in _in_order(specs)}
        old = {member.backend.key: member for member in self.members}
        if list(wanted.values()) == [member.spec for member in self.members]:
            return False
        members = tuple(
            old[key] if key in old and old[key].spec == spec else Member(intern(key), spec)
            for key, spec in wanted.items()
        )
        gone = [member.backend for key, member in old.items() if key not in wanted]
        came = [spec.address for key, spec in wanted.items() if key not in old]
        self._settle(members, now, build=True)
        for backend in gone:
            backend.leave(self)
        for member in members:
            member.backend.join(self, member.spec.max_connections)
        self._tell(MembersChanged(now, self.name, _difference(came, [backend.address for backend in gone])))
        self._conclude(now)
        for backend in (*gone, *(member.backend for member in members)):
            backend.offer()  # a limit that was raised, or left with us, makes room for the waiters of other upstreams
        return True

    def configure(self, policy: UpstreamPolicy, build_selector: SelectorBuilder, now: float) -> None:
        """Take a new policy; members, counters and those who wait stay. So does the selector, unless its builder is
        another one or slow start changes weights."""
        self.policy = policy
        self.line.policy = policy.queue
        self.budget.policy = policy.retry
        build = build_selector is not self._build_selector
        self._build_selector = build_selector
        self._settle(self.members, now, build)
        self._conclude(now)

    def close(self, now: float) -> None:
        """Let go of every backend; leases that are out run to their end."""
        self.update((), _no_backend, now)

    # -- verdicts -----------------------------------------------------------------------------------------------

    def backend_changed(self, backend: Backend, event: Event) -> None:
        """A verdict of a member changed: settle who is usable. It costs the same among ten members and ten thousand,
        unless it turns what serves (panic, backups) or weights change with it (slow start, agents)."""
        member = self._known.get(backend)
        if member is None:
            return
        if self.policy.slow_start or isinstance(event, Advised) or self._tally.update(member):
            self._settle(self.members, event.at)
            return
        self.panic = self._tally.panic
        self.next_tick = min(self.next_tick, backend.ejected_until or inf)
        usable = self._tally.usable(member)
        if member.usable is not usable:
            member.usable, self.stale = usable, True
            self.revision += 1

    def backend_settled(self, backend: Backend, event: Event) -> None:
        """Every upstream that shares the backend has settled: act on it."""
        self._conclude(event.at)

    def may_lose(self, backend: Backend) -> bool:
        """Whether ejecting it keeps within the share, and leaves another that is available."""
        return tiers.can_lose(self.members, backend, self.policy.outlier.max_share)

    def tick(self, now: float) -> None:
        """Do what time alone brings: ejections that end, steps of slow start. Cheap where nothing is due."""
        if now < self.next_tick:
            return
        for member in self.members:
            until = member.backend.ejected_until
            if until is not None and until <= now:
                member.backend.readmit("its time is over", now)
        self._settle(self.members, now)

    def _settle(self, members: tuple[Member, ...], now: float, build: bool = False) -> None:
        """Publish who may be chosen, with which weight. Whoever asks next sees all of it; nobody is told yet.

        The selector is built anew only where asked for or where weights changed, else it keeps what it learnt.
        """
        weights, next_step = tiers.weights(members, self.policy.slow_start, now)
        self._tally = tally = tiers.Tally(members, self.policy.panic_threshold)
        self.panic = tally.panic
        turned = False
        for member, weight in zip(members, weights, strict=True):
            if member.weight != weight:
                member.weight, build = weight, True
            if member.usable is not tally.usable(member):
                member.usable, turned = not member.usable, True
        self.next_tick = min((m.backend.ejected_until or inf for m in members), default=inf)
        self.next_tick = min(self.next_tick, next_step)
        if build:
            self.members, self.selector = members, self._build_selector(members)
            self._known = {member.backend: member for member in members}
            self.stale = False
        elif turned:
            self.stale = True
        self.revision += build or turned

    def refreshed(self, now: float, at_once: bool = False) -> ISelector | None:
        """The selector, which now knows who is usable; with very many members it may know it a little later.

        :param at_once: let it know now; ``None`` where it knows already.
        """
        if self.stale and (at_once or len(self.members) <= MANY or now - self._refreshed >= REFRESH):
            self.stale = False
            self._refreshed = now
            self.selector.refresh()
        elif at_once:
            return None
        return self.selector

    def _conclude(self, now: float) -> None:
        """A change is complete everywhere: tell of panic, end ejections beyond their share, let waiters try."""
        if self.panic is not self._panic_told:
            self._panic_told = self.panic
            available = sum(member.backend.available for member in self.members)
            kind, words = (PanicEntered, "all are used") if self.panic else (PanicLeft, "only those are used")
            self._tell(kind(now, self.name, f"{available} of {len(self.members)} backends available: {words}"))
        backend = tiers.surplus(self.members, self.policy.outlier.max_share) if self._tally.ejected else None
        if backend is not None:
            backend.readmit(f"too few are left in {self.name} to do without it", now)  # comes back here by itself
        if self.line:
            self.line.serve(len(self.line))  # as many as find room: one that finds none keeps its place

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)

    # -- work ---------------------------------------------------------------------------------------------------

    def place(self, traits: Traits, now: float) -> "Placement":
        """Begin to place one request or connection."""
        return Placement(self, traits, now)

    def lease_returned(self, lease: Lease, outcome: Outcome, now: float) -> None:
        """Learn from a lease that came back, then let waiters have its place (called by the lease)."""
        backend = lease.backend
        if outcome.failure is not None:
            if outcome.failure or backend.failures_in_row:
                outlier.record(self.policy.outlier, backend, outcome, now)
            if self._known.get(backend) is lease.member:  # a selector hears only of the members it was built with
                latency = now - lease.started if lease.latency is None else lease.latency
                self.selector.observe(lease.member, latency, now)
        if backend.max_connections:
            backend.offer()

    def backend_vacant(self, backend: Backend) -> None:
        """There may be room at a member: the first in line may try."""
        if self.line and not backend.full:
            room = backend.max_connections - backend.active if backend.max_connections else len(self.line)
            self.line.serve(room)


class Placement:
    """The way of one request or connection through an upstream's candidates: no backend is met twice.

    The upstream may change meanwhile: the next candidate always comes from its present members and selector.

    :ivar full: some usable backend was passed over because it is at its ``max_connections``.
    :ivar tried: backends leased so far, in order.
    """

    __slots__ = ("_candidates", "_revision", "full", "tried", "traits", "upstream")

    tried: tuple[Backend, ...]

    def __init__(self, upstream: Upstream, traits: Traits, now: float) -> None:
        if now >= upstream.next_tick:
            upstream.tick(now)
        self.upstream = upstream
        self.traits = traits
        self.full = False
        self.tried = ()
        self._candidates: Iterator[Member] | None = None
        self._revision = 0

    def __repr__(self) -> str:
        tried = [backend.address for backend in self.tried]
        return f"<Placement in {self.upstream.name} tried={tried} full={self.full}>"

    def next(self, now: float) -> Lease | None:
        """A lease on the next candidate, or ``None`` where none is left: see :attr:`full` for why."""
        upstream = self.upstream
        candidates = self._candidates
        resumed = candidates is not None and self._revision == upstream.revision
        if candidates is None or not resumed:
            self.full = False
            self._revision = upstream.revision
            selector = upstream.selector if not upstream.stale else upstream.refreshed(now) or upstream.selector
            # Where no selector has a key for it, any member will do: better than none.
            self._candidates = candidates = selector.candidates(self.traits) or iter(upstream.members)
        for member in candidates:
            backend = member.backend
            if not member.usable or backend in self.tried:
                continue
            if 0 < backend.max_connections <= backend.active:
                self.full = True
            else:
                self.tried += (backend,)
                return Lease(upstream, member, now)
        # One that was full at an earlier call may have room by now, and its vacancy is not announced to us again.
        # And where the selector was behind, there may be members that it did not know to be usable.
        if (resumed and self.full) or upstream.refreshed(now, at_once=True) is not None:
            return self.again(now)
        return None

    def again(self, now: float) -> Lease | None:
        """After a wait: the candidates anew, without those already tried."""
        self._candidates = None
        return self.next(now)


def _in_order(specs: Iterable[BackendSpec]) -> Iterable[BackendSpec]:
    if not isinstance(specs, AbstractSet):
        return specs
    return sorted(specs, key=lambda spec: (spec.host, spec.port, spec.tls_name or "", spec.weight))


def _difference(came: list[str], gone: list[str]) -> str:
    words = [f"added {_named(came)}"] * bool(came) + [f"removed {_named(gone)}"] * bool(gone)
    return "; ".join(words) or "weights, limits or order changed"


def _named(addresses: list[str]) -> str:
    more = len(addresses) - NAMED
    return ", ".join(sorted(addresses)[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _no_backend(key: BackendKey) -> Backend:
    raise AssertionError(f"an empty set needs no backend, not even {key}")
