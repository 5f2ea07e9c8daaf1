"""An upstream: membership by whole sets, verdicts at once, placements that never meet a backend twice."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.events import Event, MembersChanged, PanicEntered, PanicLeft, Readmitted
from balancer.core.lease import Lease, Outcome
from balancer.core.model import AdminState, Backend, Health, Member
from balancer.core.policies import OutlierPolicy, QueuePolicy, UpstreamPolicy
from balancer.core.traits import NOTHING_KNOWN, Traits
from balancer.core.upstream import MANY, NAMED, REFRESH, Placement, Upstream
from balancer.testing.fakes import Backends, InOrder, make_specs, make_upstream


def backends_of(upstream: Upstream) -> list[Backend]:
    """In order."""
    return [member.backend for member in upstream.members]


def take(upstream: Upstream, now: float = 0.0) -> Lease:
    """A lease; there has to be one."""
    lease = upstream.place(NOTHING_KNOWN, now).next(now)
    assert lease is not None
    return lease


def fail(upstream: Upstream, backend: Backend, times: int = 5, now: float = 0.0) -> None:
    """So many failed uses of that backend in a row."""
    member = next(member for member in upstream.members if member.backend is backend)
    for _ in range(times):
        Lease(upstream, member, now).release(Outcome.CONNECT_REFUSED, now)


class Membership(SynchronousTestCase):
    """The whole set comes, the difference is ours."""

    def setUp(self) -> None:
        self.heard: list[Event] = []
        self.backends = Backends()
        self.upstream = make_upstream(3, backends=self.backends, listener=self.heard.append)
        self.heard.clear()

    def update(self, *specs: object) -> bool:
        """Hand over the set."""
        return self.upstream.update(specs, self.backends.intern, 5.0)

    def test_survivors(self) -> None:
        """Survivors keep backend, counters and verdicts, and are the same members; who left is named, and who came."""
        one, two, three = self.upstream.members
        lease = Lease(self.upstream, two, 0.0)
        two.backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.heard.clear()
        specs = make_specs(4)
        self.assertTrue(self.update(specs[1], specs[2], specs[3]))
        self.assertEqual(self.upstream.members[:2], (two, three))
        self.assertEqual((two.backend.active, two.backend.health, two.usable), (1, Health.DOWN, False))
        self.assertEqual(self.heard, [MembersChanged(5.0, "web", "added 10.0.0.4:80; removed 10.0.0.1:80")])
        self.assertEqual((one.backend.groups, list(self.upstream.events)[-1]), ([], self.heard[-1]))
        lease.release(Outcome.SUCCESS, 6.0)
        self.assertEqual((two.backend.active, self.upstream.active), (0, 0))

    def test_same_set(self) -> None:
        """The same set again changes nothing: no event, no new tuple, no new selector."""
        before = (self.upstream.members, self.upstream.selector, self.upstream.revision)
        self.assertFalse(self.update(*make_specs(3)))
        self.assertEqual((self.upstream.members, self.upstream.selector, self.upstream.revision), before)
        self.assertIs(self.upstream.members, before[0])
        self.assertEqual(self.heard, [])

    def test_a_set(self) -> None:
        """A set has no order of its own, so its members stand by address, whatever the run."""
        self.upstream.update(frozenset(make_specs(9)), self.backends.intern, 1.0)
        self.assertEqual([b.host for b in backends_of(self.upstream)], [f"10.0.0.{n}" for n in range(1, 10)])
        self.assertFalse(self.upstream.update(frozenset(make_specs(9)), self.backends.intern, 2.0))

    def test_weight(self) -> None:
        """Another weight is a change that builds a new selector; the backend stays."""
        backends, selector = backends_of(self.upstream), self.upstream.selector
        one, *others = make_specs(3)
        self.assertTrue(self.update(replace(one, weight=7), *others))
        self.assertEqual([member.weight for member in self.upstream.members], [7, 1, 1])
        self.assertEqual(backends_of(self.upstream), backends)
        self.assertIsNot(self.upstream.selector, selector)
        self.assertEqual(self.heard[-1].reason, "weights, limits or order changed")

    def test_reason_is_bounded(self) -> None:
        """However many came, the reason names a few and counts the others."""
        self.update(*make_specs(200))
        self.assertEqual(self.heard[-1].reason.count("10.0.0."), NAMED)
        self.assertIn("and 187 more", self.heard[-1].reason)

    def test_ready_when_seen(self) -> None:
        """A selector is built when weights and usability are settled, and published with its members."""
        seen: list[list[bool]] = []

        class Watching(InOrder):
            def __init__(self, members: Sequence[Member]) -> None:
                super().__init__(members)
                seen.append([member.usable for member in members])

        backends = Backends()
        backends[make_specs(1)[0].key].administer(AdminState.MAINT, "repair", 0.0)
        make_upstream(3, backends=backends, build_selector=Watching)
        self.assertEqual(seen, [[], [False, True, True]])

    def test_consistent_when_told(self) -> None:
        """Whoever hears of a change finds it done: a listener may place, and change the set again."""
        specs = make_specs(4)
        found: list[list[str]] = []

        def listener(event: Event) -> None:
            found.append([backend.host for backend in backends_of(self.upstream)])
            take(self.upstream, 5.0).release(Outcome.SUCCESS, 5.0)
            if len(found) == 1:
                self.update(specs[3])

        self.upstream.listener = listener
        self.update(*specs[1:])
        self.assertEqual(found, [["10.0.0.2", "10.0.0.3", "10.0.0.4"], ["10.0.0.4"]])
        self.assertEqual([b.groups for b in self.backends.values()], [[], [], [], [self.upstream]])

    def test_close(self) -> None:
        """A closed upstream lets go of its backends; leases that are out are given back as usual."""
        lease = take(self.upstream)
        self.upstream.close(1.0)
        self.assertEqual([backend.groups for backend in self.backends.values()], [[], [], []])
        self.assertIsNone(self.upstream.place(NOTHING_KNOWN, 1.0).next(1.0))
        lease.release(Outcome.RESET, 2.0)
        self.assertEqual((lease.backend.active, lease.backend.failures, self.upstream.active), (0, 1, 0))

    def test_repr(self) -> None:
        """The repr tells usable, active and waiting."""
        take(self.upstream)
        self.assertEqual(repr(self.upstream), "<Upstream web usable=3/3 active=1 waiting=0>")


class Configuring(SynchronousTestCase):
    """A new policy for the same members."""

    def test_selector_stays(self) -> None:
        """A policy that changes no weight keeps the selector and what it learnt; another builder replaces it."""
        upstream = make_upstream(3)
        selector = upstream.selector
        upstream.configure(UpstreamPolicy(queue=QueuePolicy(limit=7)), InOrder, 1.0)
        self.assertIs(upstream.selector, selector)
        self.assertEqual((upstream.line.policy.limit, upstream.budget.policy), (7, upstream.policy.retry))
        upstream.configure(upstream.policy, lambda members: InOrder(members), 2.0)
        self.assertIsNot(upstream.selector, selector)

    def test_smaller_share(self) -> None:
        """A share of ejections that was lowered holds at once: those beyond it come back."""
        upstream = make_upstream(4)
        for backend in backends_of(upstream)[:2]:
            fail(upstream, backend)
        self.assertEqual(sum(not member.usable for member in upstream.members), 2)
        upstream.configure(UpstreamPolicy(outlier=OutlierPolicy(max_share=0.25)), InOrder, 1.0)
        self.assertEqual([member.usable for member in upstream.members], [True, False, True, True])


class Verdicts(SynchronousTestCase):
    """Who is usable, from one moment to the next."""

    def setUp(self) -> None:
        self.heard: list[Event] = []
        self.upstream = make_upstream(2, listener=self.heard.append)
        self.one, self.two = backends_of(self.upstream)
        self.heard.clear()

    def usable(self) -> list[bool]:
        """The flags."""
        return [member.usable for member in self.upstream.members]

    def test_drained(self) -> None:
        """A drained backend gets nothing new from then on, and again when it is enabled; the selector stays."""
        selector = self.upstream.selector
        self.one.administer(AdminState.DRAIN, "upgrade", 1.0)
        self.assertEqual((self.usable(), take(self.upstream).backend), ([False, True], self.two))
        self.one.administer(AdminState.READY, "upgraded", 2.0)
        self.assertEqual((self.usable(), take(self.upstream).backend), ([True, True], self.one))
        self.assertIs(self.upstream.selector, selector)
        assert isinstance(selector, InOrder)
        self.assertEqual(selector.refreshed, 2)

    def test_nothing_recomputed(self) -> None:
        """A change of verdict that changes nobody's use does not trouble the selector."""
        self.one.administer(AdminState.DRAIN, "upgrade", 1.0)
        revision = self.upstream.revision
        self.one.judge("tcp", Health.DOWN, "refused", 2.0)
        self.assertEqual(self.upstream.revision, revision)

    def test_panic(self) -> None:
        """Below half all are used, loudly: an event when it begins, and one when it ends, after what caused it."""
        for backend in (self.one, self.two):
            backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.assertEqual((self.usable(), self.upstream.panic), ([True, True], True))
        self.two.judge("tcp", Health.UP, "connected", 2.0)
        self.assertEqual((self.usable(), self.upstream.panic), ([False, True], False))
        kinds = [type(event).__name__ for event in self.heard]
        self.assertEqual(kinds, ["BackendDown", "BackendDown", "PanicEntered", "BackendUp", "PanicLeft"])
        told = [event for event in self.upstream.events if isinstance(event, PanicEntered | PanicLeft)]
        self.assertEqual(told[0], PanicEntered(1.0, "web", "0 of 2 backends available: all are used"))
        self.assertEqual(told[1], PanicLeft(2.0, "web", "1 of 2 backends available: only those are used"))


class Ejections(SynchronousTestCase):
    """What traffic takes out, and what time brings back."""

    def setUp(self) -> None:
        self.backends = Backends()
        self.upstream = make_upstream(4, backends=self.backends)
        self.all = backends_of(self.upstream)

    def out(self) -> list[bool]:
        """Who is ejected."""
        return [backend.ejected_until is not None for backend in self.all]

    def test_share(self) -> None:
        """At most half are ejected at one time."""
        for backend in self.all:
            fail(self.upstream, backend, 20)
        self.assertEqual(self.out(), [True, True, False, False])

    def test_ends_when_asked(self) -> None:
        """An ejection ends at its time without any timer: the next placement finds it over."""
        fail(self.upstream, self.all[0])
        self.assertIs(take(self.upstream, 9.9).backend, self.all[1])
        self.assertIs(take(self.upstream, 10.0).backend, self.all[0])
        self.assertEqual(self.all[0].events[-1], Readmitted(10.0, "10.0.0.1:80", "its time is over"))

    def test_ends_for_all(self) -> None:
        """One upstream's tick ends it for every upstream that shares the backend."""
        other = make_upstream(4, backends=self.backends, name="other")
        fail(self.upstream, self.all[0])
        self.assertFalse(other.members[0].usable)
        self.upstream.tick(10.0)
        self.assertTrue(other.members[0].usable)

    def test_nothing_due(self) -> None:
        """A tick with nothing due does nothing."""
        fail(self.upstream, self.all[0])
        revision = self.upstream.revision
        self.upstream.tick(9.9)
        self.assertEqual((self.upstream.revision, self.out()[0]), (revision, True))

    def test_sharing_group_objects(self) -> None:
        """A backend that is another upstream's last one is not ejected, whoever's traffic failed."""
        make_upstream(make_specs(1), backends=self.backends, name="small")
        fail(self.upstream, self.all[0], 20)
        self.assertEqual(self.out(), [False] * 4)

    def test_others_leave(self) -> None:
        """When the members that could stand in for it leave, an ejected backend comes back at once."""
        fail(self.upstream, self.all[0])
        self.upstream.update(make_specs(1), self.backends.intern, 1.0)
        self.assertTrue(self.upstream.members[0].usable)
        self.assertEqual(self.all[0].events[-1].reason, "too few are left in web to do without it")

    def test_others_die(self) -> None:
        """When all others are down the ejected one comes back: it is the last that may answer."""
        fail(self.upstream, self.all[0])
        for backend in self.all[1:]:
            backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.assertTrue(self.all[0].available)

    def test_joins_another(self) -> None:
        """An ejected backend that joins an upstream that cannot do without it comes back."""
        fail(self.upstream, self.all[0])
        make_upstream(make_specs(1), backends=self.backends, name="small", now=1.0)
        self.assertEqual(self.out(), [False] * 4)

    def test_ejected_while_told(self) -> None:
        """A waiter that fails at once while an ejection is being acted on may cause the next: both stand."""
        upstream = make_upstream(make_specs(6, max_connections=1), backends=Backends())
        one, two = backends_of(upstream)[:2]
        two.failures_in_row = 4

        class Hasty:
            def vacancy(self) -> Lease | None:
                return Lease(upstream, upstream.members[1], 0.0) if two.available and not two.full else None

            def admitted(self, lease: Lease) -> None:
                lease.release(Outcome.CONNECT_REFUSED, 0.0)

        upstream.line.join(Hasty())
        fail(upstream, one)
        self.assertEqual([backend.state for backend in (one, two)], ["ejected", "ejected"])
        self.assertEqual([member.usable for member in upstream.members], [False, False, True, True, True, True])
        self.assertEqual((one.active, two.active, upstream.active), (0, 0, 0))


class SlowStart(SynchronousTestCase):
    """Growing back."""

    def test_grows(self) -> None:
        """A backend that came back gets a tenth of its weight, grows with each tick, and is whole in the end."""
        upstream = make_upstream(2, UpstreamPolicy(slow_start=10.0))
        one, _ = backends_of(upstream)
        one.judge("tcp", Health.DOWN, "refused", 1.0)
        one.judge("tcp", Health.UP, "connected", 2.0)
        seen = [[member.weight for member in upstream.members]]
        for now in (2.5, 3.0, 7.0, 11.5, 12.0):
            upstream.place(NOTHING_KNOWN, now)
            seen.append([member.weight for member in upstream.members])
        self.assertEqual(seen, [[1, 10], [1, 10], [1, 10], [5, 10], [9, 10], [1, 1]])

    def test_selector_follows(self) -> None:
        """A step of weight builds the selector anew; a tick that changes none keeps it."""
        upstream = make_upstream(2, UpstreamPolicy(slow_start=10.0))
        backends_of(upstream)[0].judge("tcp", Health.DOWN, "refused", 1.0)
        backends_of(upstream)[0].judge("tcp", Health.UP, "connected", 2.0)
        first = upstream.selector
        upstream.tick(3.0)
        self.assertIs(upstream.selector, first)
        upstream.tick(4.0)
        self.assertIsNot(upstream.selector, first)


class Placements(SynchronousTestCase):
    """One request's way."""

    def setUp(self) -> None:
        self.backends = Backends()
        self.upstream = make_upstream(3, backends=self.backends)

    def next(self, placement: Placement) -> Backend | None:
        """The next backend."""
        lease = placement.next(0.0)
        return None if lease is None else lease.backend

    def test_each_once(self) -> None:
        """Every candidate in order, none twice, then None, also when asked again."""
        placement = self.upstream.place(NOTHING_KNOWN, 0.0)
        self.assertEqual([self.next(placement) for _ in range(5)], [*backends_of(self.upstream), None, None])
        self.assertIsNone(placement.again(0.0))
        self.assertEqual((placement.full, list(placement.tried)), (False, backends_of(self.upstream)))

    def test_forgetful_selector(self) -> None:
        """A selector that repeats itself, or forgets that one is drained, does not get its way."""

        class Forgetful(InOrder):
            def candidates(self, traits: Traits) -> Iterator[Member]:
                return iter(self.members * 3)

        upstream = make_upstream(3, build_selector=Forgetful)
        one, two, three = backends_of(upstream)
        two.administer(AdminState.DRAIN, "upgrade", 0.0)
        placement = upstream.place(NOTHING_KNOWN, 0.0)
        self.assertEqual([self.next(placement) for _ in range(4)], [one, three, None, None])

    def test_no_key(self) -> None:
        """Where no selector has a key for the request any usable member serves, rather than none."""

        class Keyless(InOrder):
            def candidates(self, traits: Traits) -> None:
                return None

        upstream = make_upstream(2, build_selector=Keyless)
        backends_of(upstream)[0].administer(AdminState.DRAIN, "upgrade", 0.0)
        self.assertIs(take(upstream).backend, backends_of(upstream)[1])

    def test_drained_meanwhile(self) -> None:
        """A backend that was drained after the placement began is not met."""
        placement = self.upstream.place(NOTHING_KNOWN, 0.0)
        one, two, three = backends_of(self.upstream)
        self.assertIs(self.next(placement), one)
        two.administer(AdminState.DRAIN, "upgrade", 0.0)
        self.assertEqual([self.next(placement), self.next(placement)], [three, None])

    def test_members_change_meanwhile(self) -> None:
        """After the set changed the candidates are those of the new set: who left is not met, who came is, and
        survivors that were tried are not met again."""
        placement = self.upstream.place(NOTHING_KNOWN, 0.0)
        self.assertIs(self.next(placement), backends_of(self.upstream)[0])
        one, _, _, four = make_specs(4)
        self.upstream.update((one, four), self.backends.intern, 0.0)
        self.assertEqual([self.next(placement), self.next(placement)], [self.backends[four.key], None])

    def test_returns_meanwhile(self) -> None:
        """A backend that became usable after the candidates began is met before the request is given up."""
        one, two, three = backends_of(self.upstream)
        two.administer(AdminState.DRAIN, "upgrade", 0.0)
        placement = self.upstream.place(NOTHING_KNOWN, 0.0)
        self.assertEqual([self.next(placement), self.next(placement)], [one, three])
        two.administer(AdminState.READY, "upgraded", 0.0)
        self.assertIs(self.next(placement), two)

    def test_full(self) -> None:
        """A full backend is passed over and said to be; one that was tried does not make the placement wait."""
        upstream = make_upstream(make_specs(2, max_connections=1))
        first = take(upstream)
        placement = upstream.place(NOTHING_KNOWN, 0.0)
        self.assertEqual((self.next(placement), placement.full), (backends_of(upstream)[1], True))
        self.assertEqual((self.next(placement), placement.full), (None, True))
        first.release(Outcome.SUCCESS, 0.0)
        self.assertEqual((self.next(placement), placement.full), (backends_of(upstream)[0], False))
        self.assertEqual((self.next(placement), placement.full), (None, False))

    def test_room_meanwhile(self) -> None:
        """A backend passed over as full that has room by the time the others failed is tried, not waited for."""
        upstream = make_upstream(make_specs(2, max_connections=1))
        first = take(upstream)
        placement = upstream.place(NOTHING_KNOWN, 0.0)
        second = placement.next(0.0)
        assert second is not None
        first.release(Outcome.SUCCESS, 0.0)
        second.release(Outcome.CONNECT_REFUSED, 0.0)
        self.assertIs(self.next(placement), first.backend)

    def test_repr(self) -> None:
        """The repr tells the way so far."""
        placement = self.upstream.place(NOTHING_KNOWN, 0.0)
        placement.next(0.0)
        self.assertEqual(repr(placement), "<Placement in web tried=['10.0.0.1:80'] full=False>")


class Learning(SynchronousTestCase):
    """What a selector hears of leases."""

    def test_observed(self) -> None:
        """The selector hears the latency to the first byte, or to the end where there was none, once the outcome
        has been counted; of a client that left it hears nothing."""
        upstream = make_upstream(2)
        selector = upstream.selector
        assert isinstance(selector, InOrder)
        member = upstream.members[0]
        quick, slow, left = (Lease(upstream, member, 1.0) for _ in range(3))
        quick.first_byte(1.5)
        quick.release(Outcome.SUCCESS, 9.0)
        slow.release(Outcome.TIMEOUT, 61.0)
        left.release(Outcome.CLIENT_LEFT, 62.0)
        self.assertEqual(selector.observed, [(member, 0.5, 9.0), (member, 60.0, 61.0)])

    def test_former_member(self) -> None:
        """A selector never hears of a member it was not built with."""
        backends = Backends()
        upstream = make_upstream(2, backends=backends)
        lease = take(upstream)
        upstream.update(make_specs(2)[1:], backends.intern, 1.0)
        lease.release(Outcome.SUCCESS, 2.0)
        assert isinstance(upstream.selector, InOrder)
        self.assertEqual(upstream.selector.observed, [])


class Sharing(SynchronousTestCase):
    """Two upstreams, one server with room for one, someone waiting in each."""

    def setUp(self) -> None:
        self.backends = Backends()
        self.one = make_upstream(make_specs(1, max_connections=1), backends=self.backends, name="one")
        self.two = make_upstream(make_specs(1), backends=self.backends, name="two")
        self.admitted: list[str] = []
        self.lease = take(self.one)

    def wait_in(self, upstream: Upstream) -> None:
        """Someone stands in line there, who uses the vacancy and goes."""
        placement = upstream.place(NOTHING_KNOWN, 0.0)
        self.assertIsNone(placement.next(0.0))
        self.assertTrue(placement.full)
        test = self

        class Someone:
            def vacancy(self) -> Lease | None:
                return placement.again(0.0)

            def admitted(self, lease: Lease) -> None:
                test.admitted.append(upstream.name)
                test.lease = lease

        upstream.line.join(Someone())

    def test_other_upstream_is_woken(self) -> None:
        """A lease given back by one upstream admits who waits for the backend in another."""
        self.wait_in(self.two)
        self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual(self.admitted, ["two"])

    def test_turns(self) -> None:
        """Vacancies go round: neither upstream's line starves behind the other's."""
        for upstream in (self.one, self.one, self.two, self.two):
            self.wait_in(upstream)
        for _ in range(4):
            self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual(self.admitted[:2].count("one"), 1)
        self.assertEqual(sorted(self.admitted), ["one", "one", "two", "two"])

    def test_limit_raised(self) -> None:
        """A limit raised by one upstream's configuration admits as many as it gives room to, in every upstream."""
        for upstream in (self.two, self.two, self.two, self.one):
            self.wait_in(upstream)
        self.one.update(make_specs(1, max_connections=4), self.backends.intern, 1.0)
        self.assertEqual(sorted(self.admitted), ["one", "two", "two"])
        self.assertEqual(self.backends[make_specs(1)[0].key].active, 4)

    def test_limit_leaves(self) -> None:
        """When the upstream that set the limit goes, so does the limit, and who waited elsewhere is admitted."""
        self.wait_in(self.two)
        self.one.close(1.0)
        self.assertEqual(self.admitted, ["two"])

    def test_comes_up(self) -> None:
        """Who waits for a full backend takes another that comes back."""
        specs = make_specs(2, max_connections=1)
        upstream = make_upstream(specs, UpstreamPolicy(panic_threshold=0.0), backends=Backends())
        spare = backends_of(upstream)[1]
        spare.judge("tcp", Health.DOWN, "refused", 0.0)
        self.one, self.lease = upstream, take(upstream)
        self.wait_in(upstream)
        spare.judge("tcp", Health.UP, "connected", 1.0)
        self.assertEqual(self.admitted, ["web"])


class Many(SynchronousTestCase):
    """With very many members a selector hears of verdicts by and by, and nobody notices."""

    def setUp(self) -> None:
        self.upstream = make_upstream(MANY + 1)
        self.upstream.place(NOTHING_KNOWN, 0.0).next(0.0)
        assert isinstance(self.upstream.selector, InOrder)
        self.selector = self.upstream.selector

    def turn(self, health: Health, count: int, now: float) -> None:
        """The first members turn one by one, and between any two a request is placed."""
        for member in self.upstream.members[:count]:
            member.backend.judge("tcp", health, "a test", now)
            self.assertIs(member.usable, health is not Health.DOWN)
            take(self.upstream, now)

    def test_seldom(self) -> None:
        """However many turn, the selector makes its tables anew once in a while only, and then knows them all."""
        self.turn(Health.DOWN, 100, 1.0)
        self.assertEqual(self.selector.refreshed, 1)
        take(self.upstream, 1.0 + REFRESH)
        take(self.upstream, 1.0 + REFRESH)
        self.assertEqual(self.selector.refreshed, 2)

    def test_never_the_unusable(self) -> None:
        """A member that turned unusable is passed over from that moment."""
        self.turn(Health.DOWN, 100, 1.0)
        self.assertIs(take(self.upstream, 1.0).backend, self.upstream.members[100].backend)

    def test_few(self) -> None:
        """With fewer members it hears of each before the next request is placed."""
        self.upstream = make_upstream(MANY)
        self.turn(Health.DOWN, 10, 1.0)
        assert isinstance(self.upstream.selector, InOrder)
        self.assertEqual(self.upstream.selector.refreshed, 10)

    def test_nobody_else(self) -> None:
        """Where those it knows are all tried, it is told at once of those it did not know."""
        member = self.upstream.members[0]
        member.backend.judge("tcp", Health.DOWN, "a test", 1.0)
        take(self.upstream, 1.0)
        known = [each for each in self.upstream.members if each.usable]
        self.selector.candidates = lambda traits: iter([] if self.selector.refreshed < 2 else [member, *known])  # type: ignore[method-assign] # tables of before
        member.backend.judge("tcp", Health.UP, "a test", 1.0)
        self.assertIs(take(self.upstream, 1.0).backend, member.backend)
