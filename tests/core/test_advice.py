"""The voices of operator and agents, and what they change."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.advice import Advice, limit_of, percent_of
from balancer.core.model import AdminState, Backend, BackendSpec, Member
from balancer.core.tiers import weights
from balancer.core.traits import ConnectionTraits
from balancer.testing.fakes import make_upstream

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT


class VoicesTests(SynchronousTestCase):
    """States."""

    def setUp(self) -> None:
        self.backend = Backend(("10.0.0.1", 80, None))

    def advise(self, state: AdminState, agent: str = "agent") -> None:
        """An agent speaks."""
        self.backend.advise(agent, Advice(admin=state, admin_reason=f"{agent}: {state.value}"), f"{agent} spoke", 1.0)

    def told(self) -> list[str]:
        """The events so far."""
        return [f"{type(event).__name__}: {event.reason}" for event in self.backend.events]

    def test_an_agent_never_overrules_the_operator(self) -> None:
        """What the operator took out stays out, whatever the agent says; and the other way round."""
        self.backend.administer(DRAIN, "by hand", 0.0)
        self.advise(READY)
        self.assertIs(self.backend.admin, DRAIN)
        self.advise(DRAIN)
        self.backend.administer(READY, "enabled", 2.0)
        self.assertEqual((self.backend.admin, self.backend.why), (DRAIN, "agent: drain"))
        self.advise(READY)
        self.assertTrue(self.backend.available)
        self.assertEqual(self.told(), ["Drained: by hand", "Drained: agent: drain", "Enabled: agent spoke"])

    def test_the_strictest_counts(self) -> None:
        """Of operator and agents; nothing is told of what changes nothing."""
        self.advise(DRAIN, "a")
        self.advise(DRAIN, "b")
        self.backend.administer(MAINT, "by hand", 1.0)
        self.advise(READY, "a")
        self.assertEqual((self.backend.admin, self.backend.admin_reason), (MAINT, "by hand"))
        self.backend.administer(READY, "enabled", 2.0)
        self.assertEqual((self.backend.admin, self.backend.admin_reason), (DRAIN, "b: drain"))
        self.backend.advise("b", None, "gone", 3.0)
        self.assertIs(self.backend.admin, READY)
        self.assertEqual(
            self.told(), ["Drained: a: drain", "Maintained: by hand", "Drained: b: drain", "Enabled: gone"]
        )

    def test_shares_and_limits(self) -> None:
        """Of several agents the smallest share and the smallest limit count; 0 is no limit, and so the largest."""
        said: dict[object, Advice] = {"a": Advice(percent=50, max_connections=0), "b": Advice(percent=75)}
        self.assertEqual((percent_of(said), limit_of(said)), (50, 0))
        said["c"] = Advice(percent=200, max_connections=9)
        self.assertEqual((percent_of(said), limit_of(said)), (50, 9))
        self.assertEqual((percent_of({}), limit_of({"b": Advice()})), (100, None))


class UpstreamTests(SynchronousTestCase):
    """What an upstream makes of it."""

    def setUp(self) -> None:
        self.upstream = make_upstream(2)
        self.first, self.second = (member.backend for member in self.upstream.members)

    def taken(self, times: int) -> list[Backend]:
        """Who gets so many connections, all of which stay."""
        leases = [self.upstream.place(ConnectionTraits(None), 0.0).next(0.0) for _ in range(times)]
        return [lease.backend for lease in leases if lease is not None]

    def test_a_share(self) -> None:
        """Weights follow at once; nothing is rounded away, and no share goes beyond the largest weight."""
        self.first.advise("agent", Advice(percent=75), "busy", 1.0)
        self.assertEqual([member.weight for member in self.upstream.members], [75, 100])
        heavy = Member(self.first, BackendSpec(host="10.0.0.1", port=80, weight=200))
        self.first.percent = 300
        self.assertEqual(weights([heavy], 0.0, 0.0)[0], [200 * 128])
        self.assertEqual([type(event).__name__ for event in self.first.events], ["Advised"])

    def test_none_of_it(self) -> None:
        """At 0 % a backend gets nothing new; back at 100 % weights are what they were."""
        self.first.advise("agent", Advice(percent=0), "0%", 1.0)
        self.assertEqual(set(self.taken(4)), {self.second})
        self.first.advise("agent", Advice(), "100%", 2.0)
        self.assertEqual([member.weight for member in self.upstream.members], [1, 1])
        self.assertIn(self.first, self.taken(10))

    def test_a_limit(self) -> None:
        """It counts instead of the configured one, and those who wait hear of more room."""
        for backend in (self.first, self.second):
            backend.advise("agent", Advice(max_connections=1), "maxconn:1", 1.0)
        self.assertEqual(len(self.taken(3)), 2)
        self.first.advise("agent", Advice(max_connections=3), "maxconn:3", 2.0)
        self.assertEqual(self.taken(3), [self.first] * 2)
        self.first.advise("agent", None, "gone", 3.0)
        self.assertEqual(self.first.max_connections, 0)
