"""The line: first in, first out, bounded; whoever cannot use a vacancy keeps its place."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.admission import WaitingLine
from balancer.core.lease import Lease, Outcome
from balancer.core.policies import QueuePolicy
from balancer.core.traits import NOTHING_KNOWN
from balancer.core.upstream import Placement
from balancer.testing.fakes import make_specs, make_upstream


class Visitor:
    """Waits for a lease through a placement."""

    def __init__(self, placement: Placement, then: Callable[[Lease], None] = lambda lease: None) -> None:
        self.placement = placement
        self.then = then
        self.asked = 0
        self.lease: Lease | None = None

    def vacancy(self) -> Lease | None:
        self.asked += 1
        return self.placement.again(0.0)

    def admitted(self, lease: Lease) -> None:
        self.lease = lease
        self.then(lease)


class Lines(SynchronousTestCase):
    """One backend with room for one."""

    def setUp(self) -> None:
        self.upstream = make_upstream(make_specs(1, max_connections=1))
        self.line = self.upstream.line
        lease = self.upstream.place(NOTHING_KNOWN, 0.0).next(0.0)
        assert lease is not None
        self.lease = lease

    def visitor(self, then: Callable[[Lease], None] = lambda lease: None) -> Visitor:
        """One that found everything full and stands in line."""
        visitor = Visitor(self.upstream.place(NOTHING_KNOWN, 0.0), then)
        self.assertIsNone(visitor.placement.next(0.0))
        self.assertTrue(visitor.placement.full)
        self.assertTrue(self.line.join(visitor))
        return visitor

    def test_fifo(self) -> None:
        """Each lease given back admits the one who came first."""
        visitors = [self.visitor() for _ in range(3)]
        lease = self.lease
        for served in visitors:
            lease.release(Outcome.SUCCESS, 1.0)
            assert served.lease is not None
            lease = served.lease
        self.assertEqual(len(self.line), 0)

    def test_one_vacancy(self) -> None:
        """One vacancy asks one waiter, however long the line is."""
        visitors = [self.visitor() for _ in range(3)]
        self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual([visitor.asked for visitor in visitors], [1, 0, 0])

    def test_limit(self) -> None:
        """A full line takes nobody, and counts whom it refused."""
        line = WaitingLine(QueuePolicy(limit=2))
        visitors = [Visitor(self.upstream.place(NOTHING_KNOWN, 0.0)) for _ in range(3)]
        self.assertEqual([line.join(visitor) for visitor in visitors], [True, True, False])
        self.assertEqual((len(line), line.refused, repr(line)), (2, 1, "<WaitingLine 2/2>"))
        self.assertFalse(WaitingLine(QueuePolicy(limit=0)).join(visitors[0]))

    def test_leave(self) -> None:
        """Who leaves is not asked any more, and the next takes its turn."""
        first, second = self.visitor(), self.visitor()
        self.assertEqual([self.line.leave(first), self.line.leave(first)], [True, False])
        self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual((first.asked, second.lease is not None), (0, True))

    def test_at_once(self) -> None:
        """A thousand waiters that give their lease back at once are all served, in order, without depth of stack."""
        order: list[Lease] = []

        def give_back(lease: Lease) -> None:
            order.append(lease)
            lease.release(Outcome.CLIENT_LEFT, 1.0)

        visitors = [self.visitor(give_back) for _ in range(1000)]
        self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual(order, [visitor.lease for visitor in visitors])

    def test_leaves_when_admitted(self) -> None:
        """One that is admitted may bring another's leaving about: that one is not asked."""
        self.visitor(lambda lease: self.assertTrue(self.line.leave(second)))
        second = self.visitor()
        self.line.serve(2)
        self.lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual((second.asked, len(self.line)), (1, 0))

    def test_no_use(self) -> None:
        """One that has tried the backend already keeps its place; the one behind it is admitted."""
        tried = self.upstream.place(NOTHING_KNOWN, 0.0)
        self.lease.release(Outcome.SUCCESS, 0.0)
        lease = tried.next(0.0)
        assert lease is not None
        stuck = Visitor(tried)
        self.line.join(stuck)
        behind = self.visitor()
        lease.release(Outcome.CONNECT_REFUSED, 1.0)
        self.assertEqual((stuck.lease, behind.lease is not None, len(self.line)), (None, True, 1))

    @given(st.lists(st.sampled_from(["arrive", "release", "leave"]), max_size=60))
    def test_order_and_nobody_lost(self, steps: list[str]) -> None:
        """Whoever arrives is served in the order of arrival, unless it left; nobody waits while there is room."""
        self.setUp()
        out: list[Lease] = [self.lease]
        served: list[Visitor] = []
        waiting: list[Visitor] = []
        for step in steps:
            if step == "arrive":
                if out:
                    waiting.append(self.visitor())
                else:
                    lease = self.upstream.place(NOTHING_KNOWN, 0.0).next(0.0)
                    assert lease is not None
                    out.append(lease)
            elif step == "leave" and waiting:
                self.assertTrue(self.line.leave(waiting.pop(len(waiting) // 2)))
            elif step == "release" and out:
                out.pop().release(Outcome.SUCCESS, 0.0)
                if waiting:
                    served.append(waiting.pop(0))
                    assert served[-1].lease is not None
                    out.append(served[-1].lease)
            self.assertEqual(len(self.line), len(waiting))
            self.assertTrue(all(visitor.lease is None for visitor in waiting))
            self.assertTrue(out or not waiting)
