"""A lease counts while it is out, and is given back exactly once."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.lease import Lease, Outcome
from balancer.core.model import Backend, BackendSpec, Member
from balancer.errors import LeaseError


class Office:
    """A lender that writes down what came back."""

    def __init__(self) -> None:
        self.active = 0
        self.returned: list[tuple[Lease, Outcome, float, int]] = []

    def lease_returned(self, lease: Lease, outcome: Outcome, now: float) -> None:
        self.returned.append((lease, outcome, now, lease.backend.active))


class Leases(SynchronousTestCase):
    """One use of one backend."""

    def setUp(self) -> None:
        self.office = Office()
        self.backend = Backend(("10.0.0.1", 80, None))
        self.member = Member(self.backend, BackendSpec(host="10.0.0.1", port=80))

    def counters(self) -> tuple[int, int, int, int]:
        """All of them."""
        return (self.backend.active, self.backend.total, self.backend.failures, self.office.active)

    def test_counts_while_out(self) -> None:
        """It counts from when it is taken until it is given back; its lender hears once, with the counters right."""
        lease = Lease(self.office, self.member, 1.0)
        self.assertEqual(self.counters(), (1, 1, 0, 1))
        lease.release(Outcome.SUCCESS, 3.0)
        self.assertEqual(self.counters(), (0, 1, 0, 0))
        self.assertEqual(self.office.returned, [(lease, Outcome.SUCCESS, 3.0, 0)])

    def test_once(self) -> None:
        """A second release raises LeaseError and changes nothing."""
        lease = Lease(self.office, self.member, 1.0)
        lease.release(Outcome.RESET, 2.0)
        before = self.counters()
        for outcome in Outcome:
            self.assertRaises(LeaseError, lease.release, outcome, 3.0)
        self.assertEqual((self.counters(), len(self.office.returned)), (before, 1))

    def test_failures(self) -> None:
        """Failures of the backend count against it; a client that left, or a lease not used, says nothing of it."""
        for outcome in Outcome:
            before = self.backend.failures
            Lease(self.office, self.member, 1.0).release(outcome, 2.0)
            self.assertEqual(self.backend.failures - before, int(bool(outcome.failure)), outcome)
        neutral = {outcome for outcome in Outcome if outcome.failure is None}
        self.assertEqual(neutral, {Outcome.CLIENT_LEFT, Outcome.UNUSED})

    def test_first_byte(self) -> None:
        """The latency is to the first of the first bytes."""
        lease = Lease(self.office, self.member, 1.0)
        self.assertIsNone(lease.latency)
        lease.first_byte(1.5)
        lease.first_byte(9.0)
        self.assertEqual(lease.latency, 0.5)

    def test_repr(self) -> None:
        """The repr tells whether it is out."""
        lease = Lease(self.office, self.member, 1.0)
        self.assertEqual(repr(lease), "<Lease of 10.0.0.1:80 out>")
        lease.release(Outcome.SUCCESS, 2.0)
        self.assertEqual(repr(lease), "<Lease of 10.0.0.1:80 released>")

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(Outcome)), max_size=40))
    def test_any_interleaving(self, steps: list[tuple[bool, int, Outcome]]) -> None:
        """Under any interleaving of taking and giving back, also twice, the counts equal the leases out."""
        office = Office()
        backend = Backend(("10.0.0.1", 80, None))
        member = Member(backend, BackendSpec(host="10.0.0.1", port=80))
        leases: list[Lease] = []
        for take, which, outcome in steps:
            if take or not leases:
                leases.append(Lease(office, member, 0.0))
            elif leases[which % len(leases)].released:
                self.assertRaises(LeaseError, leases[which % len(leases)].release, outcome, 1.0)
            else:
                leases[which % len(leases)].release(outcome, 1.0)
            out = sum(not lease.released for lease in leases)
            self.assertEqual((backend.active, office.active), (out, out))
            self.assertEqual(len(office.returned), len(leases) - out)
