"""Idle connections: which is reused, which are to be closed."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.policies import PoolPolicy
from balancer.core.pool import SURGE, Pool


class Wire:
    """A connection."""

    def __init__(self, requests: int = 1) -> None:
        self.requests = requests
        self.idle_since = -1.0
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive


class Pools(SynchronousTestCase):
    """Examples."""

    def setUp(self) -> None:
        self.pool: Pool[Wire] = Pool(PoolPolicy(idle=2, idle_timeout=10.0, requests=3))

    def put(self, *connections: Wire, now: float = 0.0) -> list[Wire]:
        """Those to close."""
        return [old for connection in connections for old in self.pool.put(connection, now)]

    def test_youngest_first(self) -> None:
        """The most recently used is reused first, so that a surplus grows old."""
        a, b = Wire(), Wire()
        self.assertEqual(self.put(a, b), [])
        self.assertEqual([self.pool.take(1.0), self.pool.take(1.0), self.pool.take(1.0)], [b, a, None])

    def test_full(self) -> None:
        """Beyond the limit the oldest are to be closed, once nobody needed them for a moment."""
        a, b, c, d = Wire(), Wire(), Wire(), Wire()
        self.assertEqual(self.put(a, b, c), [])
        self.assertEqual(self.pool.surplus, 1)
        self.assertEqual(self.put(d, now=SURGE), [a, b])
        self.assertEqual(self.pool.surplus, 0)

    def test_surge_over(self) -> None:
        """A surplus is to be closed after a moment also where no connection comes back; what is no surplus stays."""
        a, b, c = Wire(), Wire(), Wire()
        self.put(a, b, c)
        self.assertEqual((self.pool.expire(SURGE / 2), self.pool.expire(SURGE)), ([], [a]))
        self.assertEqual(self.pool.expire(9.0), [])

    def test_smaller_limit(self) -> None:
        """A limit that was lowered holds from the next connection that comes back."""
        self.pool.policy = PoolPolicy(idle=4)
        wires = [Wire() for _ in range(5)]
        self.put(*wires[:4])
        self.pool.policy = PoolPolicy(idle=1)
        self.assertEqual(self.put(wires[4], now=SURGE), wires[:4])

    def test_worn_out(self) -> None:
        """One that has carried its requests is to be closed, and any where none is kept."""
        worn = Wire(requests=3)
        self.assertEqual(self.put(worn), [worn])
        self.pool.policy = PoolPolicy(idle=0)
        fresh = Wire()
        self.assertEqual(self.put(fresh), [fresh])
        self.assertEqual(len(self.pool), 0)

    def test_dead(self) -> None:
        """One that died while idle is never handed out."""
        a, b = Wire(), Wire()
        self.put(a, b)
        b.alive = False
        self.assertIs(self.pool.take(1.0), a)
        self.assertEqual(len(self.pool), 0)

    def test_old(self) -> None:
        """One idle for too long is not reused but handed over to be closed."""
        a, b = Wire(), Wire()
        self.put(a)
        self.put(b, now=5.0)
        self.assertEqual(self.pool.expire(10.0), [a])
        self.assertIsNone(self.pool.take(15.0))
        self.assertEqual(self.pool.expire(15.0), [b])

    def test_remove(self) -> None:
        """One that closed by itself is forgotten; one that was not idle was not here."""
        a = Wire()
        self.put(a)
        self.assertEqual([self.pool.remove(a), self.pool.remove(a)], [True, False])

    def test_clear(self) -> None:
        """All are handed over, once."""
        a, b = Wire(), Wire()
        self.put(a, b)
        self.assertEqual((self.pool.clear(), self.pool.clear()), ([a, b], []))

    def test_repr(self) -> None:
        """The repr tells how many of how many."""
        self.put(Wire())
        self.assertEqual(repr(self.pool), "<Pool idle=1/2>")


class PoolMachine(RuleBasedStateMachine):
    """Any sequence: a connection is in one place only (out, idle, to be closed), never over the limit for long, never
    too old, never dead when handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool: Pool[Wire] = Pool(PoolPolicy(idle=3, idle_timeout=10.0, requests=4))
        self.out: list[Wire] = []
        self.idle: set[Wire] = set()

    def closed(self, wires: list[Wire]) -> None:
        """They are to be closed: they were idle, and are no more."""
        assert len(set(wires)) == len(wires)
        for wire in wires:
            self.idle.remove(wire)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        wire = self.pool.take(self.now)
        usable = {w for w in self.idle if w.alive and self.now - w.idle_since < 10}
        if wire is None:
            assert not usable
            wire = Wire(0)
        else:
            assert wire in usable and wire.idle_since == max(w.idle_since for w in usable)
            self.idle.remove(wire)
        dead = {w for w in self.idle if not w.alive}
        for gone in dead:
            self.pool.remove(gone)  # as its owner does when it closes; the pool may have forgotten it already
        self.idle -= dead
        wire.requests += 1
        self.out.append(wire)

    @rule(which=st.integers(0, 9))
    def put(self, which: int) -> None:
        if self.out:
            wire = self.out.pop(which % len(self.out))
            self.idle.add(wire)
            over = self.pool.put(wire, self.now)
            self.closed(over)
            assert all(self.now - old.idle_since >= SURGE for old in over if old is not wire)
            assert wire.requests >= 4 or sum(self.now - old.idle_since >= SURGE for old in self.idle) <= 3
            assert (wire in self.idle) is (wire.requests < 4)

    @rule(which=st.integers(0, 9))
    def die(self, which: int) -> None:
        if self.idle:
            sorted(self.idle, key=lambda wire: wire.idle_since)[which % len(self.idle)].alive = False

    @rule()
    def expire(self) -> None:
        self.closed(self.pool.expire(self.now))
        assert all(self.now - wire.idle_since < 10 for wire in self.idle)

    @rule()
    def clear(self) -> None:
        self.closed(self.pool.clear())
        assert not self.idle

    @invariant()
    def bounded(self) -> None:
        assert len(self.pool) == len(self.idle)
        assert self.pool.surplus == max(0, len(self.idle) - 3)


TestPoolLaws = PoolMachine.TestCase
TestPoolLaws.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
