"""Laws of the model under any sequence of traffic, probes, operators, configurations and time.

Three upstreams of different settings share five servers. Work arrives, waits, fails, is tried elsewhere, gives its
lease back at once or later; sets, policies and verdicts change meanwhile. After each step the laws hold.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from balancer.core import tiers
from balancer.core.events import Ejected, Event
from balancer.core.lease import Lease, Outcome
from balancer.core.model import AdminState, Backend, BackendSpec, Health
from balancer.core.policies import OutlierPolicy, QueuePolicy, UpstreamPolicy
from balancer.core.traits import NOTHING_KNOWN
from balancer.core.upstream import Upstream
from balancer.errors import LeaseError
from balancer.testing.fakes import Backends, InOrder

HOSTS = [f"10.0.0.{number}" for number in range(1, 6)]
UPSTREAMS = st.integers(0, 2)
WHICH = st.integers(0, 50)

SPECS = st.lists(
    st.builds(
        BackendSpec,
        host=st.sampled_from(HOSTS),
        port=st.just(80),
        weight=st.sampled_from([1, 1, 1, 3, 0]),
        backup=st.sampled_from([False, False, False, True]),
        max_connections=st.sampled_from([1, 1, 2, 0]),
    ),
    max_size=5,
    unique_by=lambda spec: spec.host,
)
POLICIES = st.builds(
    UpstreamPolicy,
    slow_start=st.sampled_from([0.0, 4.0]),
    panic_threshold=st.sampled_from([0.0, 0.5]),
    queue=st.builds(QueuePolicy, limit=st.sampled_from([50, 3, 0])),
    outlier=st.builds(
        OutlierPolicy,
        failures=st.sampled_from([1, 1, 2, 0]),
        base_time=st.just(3.0),
        max_time=st.just(6.0),
        max_share=st.sampled_from([0.5, 1.0, 0.34, 0.0]),
    ),
)


class Job:
    """One piece of work on its way: placed, waiting or holding a lease; a hasty one gives it back when admitted."""

    def __init__(self, model: "Model", upstream: Upstream, hasty: bool) -> None:
        self.model = model
        self.upstream = upstream
        self.hasty = hasty
        self.placement = upstream.place(NOTHING_KNOWN, model.now)
        self.lease: Lease | None = None

    def go(self) -> None:
        """To the next candidate, or into the line, or away."""
        lease = self.placement.next(self.model.now)
        assert len(set(self.placement.tried)) == len(self.placement.tried)
        if lease is not None:
            self.hold(lease)
        elif self.placement.full and self.upstream.line.join(self):
            self.model.waiting.append(self)

    def hold(self, lease: Lease) -> None:
        """Within the limit, or it was not to be had."""
        backend = lease.backend
        assert lease.lender is self.upstream and lease.member in self.upstream.members and lease.member.usable
        assert not backend.max_connections or backend.active <= backend.max_connections
        self.lease = lease
        self.model.holding.append(self)

    def give_back(self, outcome: Outcome, again: bool) -> None:
        """And try another, if that is wanted."""
        lease, self.lease = self.lease, None
        assert lease is not None
        self.model.holding.remove(self)
        lease.release(outcome, self.model.now)
        self.model.returned.append(lease)
        if again:
            self.go()

    def vacancy(self) -> Lease | None:
        return self.placement.again(self.model.now)

    def admitted(self, lease: Lease) -> None:
        """In order: those ahead that still wait have no use for this backend."""
        place = self.model.waiting.index(self)
        for other in self.model.waiting[:place]:
            assert other.upstream is not self.upstream or lease.backend in other.placement.tried
        self.model.waiting.remove(self)
        self.hold(lease)
        if self.hasty:
            self.give_back(Outcome.CONNECT_REFUSED, again=True)


class Model(RuleBasedStateMachine):
    """The rules of the world, and the laws."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.waiting: list[Job] = []
        self.holding: list[Job] = []
        self.returned: list[Lease] = []
        self.backends = Backends(self.hear)
        self.upstreams: list[Upstream] = []

    @initialize(policies=st.tuples(POLICIES, POLICIES, POLICIES), sets=st.tuples(SPECS, SPECS, SPECS))
    def begin(self, policies: tuple[Any, ...], sets: tuple[Any, ...]) -> None:
        for name, policy, specs in zip("abc", policies, sets, strict=True):
            upstream = Upstream(name, policy, InOrder, self.hear)
            self.upstreams.append(upstream)
            upstream.update(specs, self.backends.intern, self.now)

    def hear(self, event: Event) -> None:
        """A listener that looks at everything while it is told, and uses it: all is settled by then."""
        self.settled()
        if isinstance(event, Ejected):
            for upstream in self.upstreams:
                if any(member.backend.address == event.subject for member in upstream.members):
                    self.keeps_share(upstream)
                lease = upstream.place(NOTHING_KNOWN, event.at).next(event.at)
                if lease is not None:
                    lease.release(Outcome.UNUSED, event.at)

    # -- what happens ---------------------------------------------------------------------------------------------

    @rule(which=UPSTREAMS, count=st.integers(1, 6), hasty=st.booleans())
    def arrive(self, which: int, count: int, hasty: bool) -> None:
        for _ in range(count):
            Job(self, self.upstreams[which], hasty).go()

    @rule(which=WHICH, outcome=st.sampled_from(Outcome), again=st.booleans())
    def finish(self, which: int, outcome: Outcome, again: bool) -> None:
        if self.holding:
            self.holding[which % len(self.holding)].give_back(outcome, again)

    @rule(which=UPSTREAMS, host=st.sampled_from(HOSTS), again=st.booleans())
    def trouble(self, which: int, host: str, again: bool) -> None:
        """A server fails all that is under way on it, and what one upstream sends next."""
        upstream = self.upstreams[which]
        Job(self, upstream, hasty=False).go()
        for job in [job for job in self.holding if job.lease and job.lease.backend.host == host]:
            if job in self.holding:
                job.give_back(Outcome.RESET, again)

    @rule(which=WHICH, outcome=st.sampled_from(Outcome))
    def finish_twice(self, which: int, outcome: Outcome) -> None:
        """A second release raises and changes nothing."""
        if self.returned:
            lease = self.returned[which % len(self.returned)]
            before = (lease.backend.active, lease.backend.failures, lease.lender.active)
            try:
                lease.release(outcome, self.now)
            except LeaseError:
                assert (lease.backend.active, lease.backend.failures, lease.lender.active) == before
            else:
                raise AssertionError("given back twice")

    @rule(which=WHICH)
    def lose_patience(self, which: int) -> None:
        if self.waiting:
            job = self.waiting.pop(which % len(self.waiting))
            assert job.upstream.line.leave(job)

    @rule(which=UPSTREAMS, specs=SPECS)
    def update(self, which: int, specs: list[BackendSpec]) -> None:
        """Survivors are the same backends with the same counts, and the same set again changes nothing."""
        upstream = self.upstreams[which]
        before = {member.backend.key: member for member in upstream.members}
        upstream.update(specs, self.backends.intern, self.now)
        for member in upstream.members:
            old = before.get(member.backend.key)
            assert old is None or (old.backend is member.backend and (old is member or old.spec != member.spec))
        members, selector = upstream.members, upstream.selector
        assert not upstream.update(specs, self.backends.intern, self.now)
        assert (upstream.members, upstream.selector) == (members, selector)

    @rule(which=UPSTREAMS, policy=POLICIES)
    def configure(self, which: int, policy: UpstreamPolicy) -> None:
        self.upstreams[which].configure(policy, InOrder, self.now)

    @rule(host=st.sampled_from(HOSTS), health=st.sampled_from(Health), waits=st.booleans())
    def probe(self, host: str, health: Health, waits: bool) -> None:
        self.backends[(host, 80, None)].judge("tcp", health, "a probe", self.now, waits)

    @rule(host=st.sampled_from(HOSTS), state=st.sampled_from(AdminState))
    def operate(self, host: str, state: AdminState) -> None:
        self.backends[(host, 80, None)].administer(state, "the operator", self.now)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        """Time goes by; ejections end when theirs is over."""
        self.now += seconds
        for upstream in self.upstreams:
            upstream.tick(self.now)
        for upstream in self.upstreams:
            assert all((member.backend.ejected_until or self.now + 1) > self.now for member in upstream.members)

    # -- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def counted(self) -> None:
        """Active counts are the leases out, never below zero."""
        out = [job.lease for job in self.holding if job.lease]
        for backend in self.backends.values():
            assert backend.active == sum(lease.backend is backend for lease in out)
        for upstream in self.upstreams:
            assert upstream.active == sum(lease.lender is upstream for lease in out)

    @invariant()
    def within_share(self) -> None:
        """No more are ejected than the share of any upstream allows, and never the last one that could serve."""
        for upstream in self.upstreams:
            self.keeps_share(upstream)

    def keeps_share(self, upstream: Upstream) -> None:
        """One upstream's part of it."""
        weighty = [member.backend for member in upstream.members if member.spec.weight]
        ejected = [member for member in upstream.members if member.backend.ejected_until is not None]
        assert len(ejected) <= upstream.policy.outlier.max_share * len(upstream.members)
        assert any(b.available for b in weighty) or not any(self.serves_but_for_ejection(b) for b in weighty)

    def serves_but_for_ejection(self, backend: Backend) -> bool:
        """Only traffic says no."""
        said = backend.admin is AdminState.READY and backend.health is not Health.DOWN and not backend.waits
        return said and backend.ejected_until is not None

    @invariant()
    def nobody_forgotten(self) -> None:
        """Nobody waits while a usable backend it has not tried has room."""
        assert sum(len(upstream.line) for upstream in self.upstreams) == len(self.waiting)
        for job in self.waiting:
            for member in job.upstream.members:
                backend = member.backend
                assert not member.usable or backend.full or backend in job.placement.tried, (job.placement, backend)

    @invariant()
    def settled(self) -> None:
        """Each flag, weight and limit is what a fresh look at the members says; the selector knows these members."""
        for upstream in self.upstreams:
            usable, panic = tiers.usable(upstream.members, upstream.policy.panic_threshold)
            assert {member for member in upstream.members if member.usable} == usable
            assert upstream.panic is panic
            assert upstream.selector.members == upstream.members
        for backend in self.backends.values():
            specs = [m.spec for upstream in self.upstreams for m in upstream.members if m.backend is backend]
            assert backend.max_connections == min((s.max_connections for s in specs if s.max_connections), default=0)
            assert set(backend.groups) == {u for u in self.upstreams for m in u.members if m.backend is backend}


TestModelLaws = Model.TestCase
TestModelLaws.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
