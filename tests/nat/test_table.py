"""The table: when it is changed, by what, and what happens where the kernel refuses."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.events import BackendDown
from balancer.core.nat_policy import NatPolicy
from balancer.core.traffic import Traffic
from balancer.errors import NatError
from balancer.nat.rendering import listing, removal
from balancer.nat.table import ADOPTION, FIRST_RETRY, LAST_RETRY, LOOK, NatTable
from tests.nat.stage import FakeEntry, FakeNft, counter


class TableCase(SynchronousTestCase):
    """A table of a kernel in memory."""

    policy = NatPolicy(table="t")

    def setUp(self) -> None:
        self.clock = Clock()
        self.nft = FakeNft()
        self.table = NatTable(self.clock, self.policy, self.nft, lambda _policy: "")  # type: ignore[arg-type]
        self.entry = FakeEntry("web", "10.0.0.1", "10.0.0.2")

    def turn(self) -> None:
        """The reactor's next turn."""
        self.clock.advance(0)

    def open(self) -> None:
        """The entry is served."""
        entered = self.table.enter(self.entry)
        self.turn()
        self.nft.answer(problem="No such file or directory")
        self.nft.answer()
        self.assertIsNone(self.successResultOf(entered))

    def down(self) -> None:
        """One server of the entry is gone."""
        self.entry.hosts = ("10.0.0.1",)
        self.table.heed(BackendDown(0.0, "10.0.0.2:8000", "a test"))


class TransactionTests(TableCase):
    """Changes."""

    def test_begin(self) -> None:
        """The first transaction replaces whatever is there; it is asked for at the end of the turn, not before."""
        entered = self.table.enter(self.entry)
        self.assertEqual(self.nft.asked, [])
        self.turn()
        self.assertEqual(self.nft.answer(), listing("t"))
        self.assertNoResult(entered)
        self.assertEqual(self.nft.answer()[:2], removal("t"))
        self.successResultOf(entered)
        self.assertEqual(self.table.transactions, 1)

    def test_adopted(self) -> None:
        """Counters that a crash or a stop left go on."""
        self.table.enter(self.entry)
        self.turn()
        self.nft.answer(counter("new/tcp/10.0.0.1/8000", 7, 420))
        added = [command["add"]["counter"] for command in self.nft.answer() if "counter" in command.get("add", {})]
        self.assertIn(
            {"family": "inet", "table": "t", "name": "new/tcp/10.0.0.1/8000", "packets": 7, "bytes": 420}, added
        )

    def test_serves_on(self) -> None:
        """What was left behind serves on until the servers are known; then it is replaced."""
        self.entry.ready = False
        entered = self.table.enter(self.entry)
        self.turn()
        self.nft.answer(counter("new/tcp/10.0.0.1/8000", 7, 420))
        for _ in range(3):
            self.clock.advance(LOOK)
        self.assertEqual(self.nft.asked, [])
        self.entry.ready = True
        self.table.changed()
        self.turn()
        self.nft.answer(counter("new/tcp/10.0.0.1/8000", 7, 420))
        self.nft.answer()
        self.successResultOf(entered)

    def test_serves_on_for_a_while(self) -> None:
        """But not for ever, and not where nothing was left."""
        self.entry.ready = False
        self.table.enter(self.entry)
        self.turn()
        self.nft.answer(counter("new/tcp/10.0.0.1/8000", 7, 420))
        self.clock.pump([LOOK] * int(ADOPTION / LOOK - 1))
        self.assertEqual(self.nft.asked, [])
        self.clock.pump([LOOK] * 2)
        self.nft.answer()
        self.nft.answer()
        self.assertEqual(self.table.transactions, 1)

    def test_nothing_to_serve_on(self) -> None:
        """Where nothing was left the rules come at once."""
        self.entry.ready = False
        entered = self.table.enter(self.entry)
        self.turn()
        self.nft.answer(problem="No such file or directory")
        self.nft.answer(problem="No such file or directory")
        self.nft.answer()
        self.successResultOf(entered)

    def test_coalesced(self) -> None:
        """All that happens in a turn is one transaction, and what changes nothing is none."""
        self.open()
        for _ in range(5):
            self.table.changed()
        self.turn()
        self.assertEqual(self.nft.asked, [])
        self.down()
        self.table.changed()
        self.turn()
        self.assertEqual(len(self.nft.asked), 1)
        self.assertNotIn({"delete": {"table": {"family": "inet", "name": "t"}}}, self.nft.answer())

    def test_one_at_a_time(self) -> None:
        """What changes while a transaction is under way is the next one."""
        self.open()
        self.down()
        self.turn()
        self.entry.hosts = ()
        self.table.changed()
        self.turn()
        self.assertEqual(len(self.nft.asked), 1)
        self.nft.answer()
        self.turn()
        self.assertEqual(len(self.nft.asked), 1)
        self.nft.answer()
        self.assertEqual(self.table.applied.translations[0].targets, ())  # type: ignore[union-attr]

    def test_lag(self) -> None:
        """It is known how long a change took to reach the kernel."""
        self.open()
        self.down()
        self.turn()
        self.clock.advance(0.025)
        self.nft.answer()
        self.assertAlmostEqual(self.table.lag, 0.025)

    def test_not_what_it_was(self) -> None:
        """Where a change does not fit what is there, the table is made anew at once."""
        self.open()
        self.down()
        self.turn()
        self.nft.answer(problem="No such file or directory")
        self.nft.answer(problem="No such file or directory")
        self.assertEqual(self.nft.answer()[:2], removal("t"))
        self.assertEqual(self.table.transactions, 2)

    def test_refused(self) -> None:
        """What the kernel refuses is told to whoever waits, and tried again, ever more seldom, until it is taken."""
        entered = self.table.enter(self.entry)
        self.turn()
        self.nft.answer()
        self.nft.answer(problem="no memory")
        self.failureResultOf(entered, NatError)
        wait = FIRST_RETRY
        for _ in range(10):
            self.clock.advance(wait * 0.99)
            self.assertEqual(self.nft.asked, [])
            self.clock.advance(wait * 0.011)
            self.nft.answer()
            self.nft.answer(problem="no memory")
            wait = min(2 * wait, LAST_RETRY)
        self.clock.advance(LAST_RETRY)
        self.nft.answer()
        self.nft.answer()
        self.assertEqual(self.table.transactions, 1)

    def test_left(self) -> None:
        """With the last listener the table goes, and the next listener makes a new one."""
        self.open()
        left = self.table.leave(self.entry)
        self.turn()
        self.assertEqual(self.nft.answer(), removal("t"))
        self.successResultOf(left)
        self.open()

    def test_left_by_another(self) -> None:
        """A listener that was replaced by one of its name takes nothing with it."""
        self.open()
        successor = FakeEntry("web", "10.0.0.3")
        self.table.enter(successor)
        self.assertIsNone(self.successResultOf(self.table.leave(self.entry)))
        self.turn()
        self.nft.answer()
        self.assertEqual(self.table.applied.targets[0].host, "10.0.0.3")  # type: ignore[union-attr]

    def test_renamed(self) -> None:
        """Under another name the old table goes in the transaction in which the new one comes."""
        self.open()
        self.table.configure(NatPolicy(table="u"))
        self.turn()
        self.nft.answer(problem="No such file or directory")
        commands = self.nft.answer()
        self.assertEqual(commands[:4], [*removal("t"), *removal("u")])

    def test_nobody(self) -> None:
        """Where no listener is of this mode nothing is ever asked."""
        self.table.changed()
        self.clock.advance(100)
        self.successResultOf(Deferred.fromCoroutine(self.table.stop()))
        self.assertEqual((self.nft.asked, self.clock.getDelayedCalls()), ([], []))


class StopTests(TableCase):
    """The end."""

    def stop(self) -> "Deferred[Any]":
        return Deferred.fromCoroutine(self.table.stop())

    def test_removed(self) -> None:
        """A stop reads the counters a last time and takes the table out; listeners that leave then do nothing."""
        self.open()
        stopped = self.stop()
        self.assertEqual(self.nft.answer(), listing("t"))
        self.assertEqual(self.nft.answer(), removal("t"))
        self.successResultOf(stopped)
        self.assertEqual(len(self.entry.heard), 1)
        self.successResultOf(self.table.leave(self.entry))
        self.successResultOf(self.stop())
        self.assertEqual((self.nft.asked, self.clock.getDelayedCalls()), ([], []))

    def test_kept(self) -> None:
        """Or leaves it."""
        self.open()
        self.table.configure(NatPolicy(table="t", on_stop="keep"))
        stopped = self.stop()
        self.nft.answer()
        self.successResultOf(stopped)
        self.assertEqual((self.nft.asked, self.clock.getDelayedCalls()), ([], []))

    def test_under_way(self) -> None:
        """It waits for a transaction that is under way."""
        self.open()
        self.down()
        self.turn()
        stopped = self.stop()
        self.assertNoResult(stopped)
        self.nft.answer()
        self.nft.answer()
        self.assertEqual(self.nft.answer(), removal("t"))
        self.successResultOf(stopped)

    def test_under_way_refused(self) -> None:
        """Also for one that is refused: nothing is left then that is known to be ours."""
        self.table.enter(self.entry).addErrback(lambda _failure: None)
        self.turn()
        stopped = self.stop()
        self.nft.answer()
        self.nft.answer(problem="no memory")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stays(self) -> None:
        """A table that cannot be taken out does not keep the program from ending."""
        self.open()
        stopped = self.stop()
        self.nft.answer()
        self.nft.answer(problem="Operation not permitted")
        self.successResultOf(stopped)


class CounterTests(TableCase):
    """What the kernel counted."""

    def test_read(self) -> None:
        """Every so often the listeners are told."""
        self.open()
        self.clock.advance(self.policy.counters)
        self.nft.answer(
            counter("new/tcp/10.0.0.1/8000", 3),
            counter("in/tcp/10.0.0.1/8000", 10, 600),
            counter("out/tcp/10.0.0.1/8000", 12, 9000),
            counter("refused/web", 4),
        )
        ((found, refused),) = self.entry.heard
        self.assertEqual(found[("10.0.0.1", 8000)], Traffic(3, 10, 600, 12, 9000))
        self.assertEqual(found[("10.0.0.2", 8000)], Traffic())
        self.assertEqual(refused, 4)

    def test_vanished(self) -> None:
        """A table that is gone is made anew."""
        self.open()
        self.clock.advance(self.policy.counters)
        self.nft.answer(problem="No such file or directory")
        self.turn()
        self.nft.answer(problem="No such file or directory")
        self.nft.answer()
        self.assertEqual(self.table.transactions, 2)

    def test_interval(self) -> None:
        """Another interval counts from the reload on."""
        self.open()
        self.table.configure(NatPolicy(table="t", counters=1.0))
        self.clock.advance(1.0)
        self.assertEqual(self.nft.answer(), listing("t"))


class AbilityTests(TableCase):
    """Whether the kernel can."""

    def test_asked_until_it_can(self) -> None:
        """It is asked again where it could not, and not once it could."""
        answers = ["no", "", "not asked"]
        table = NatTable(self.clock, self.policy, ask=lambda _policy: answers.pop(0))
        self.assertEqual([table.inability() for _ in range(3)], ["no", "", ""])
        self.assertEqual(answers, ["not asked"])
