"""Work for threads: how much at a time, in which order, and what becomes of it."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.work import Work
from balancer.testing.threads import ThreadlessClock


class WorkTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.reactor = ThreadlessClock()
        self.work = Work(self.reactor, 2)

    def test_some_at_a_time(self) -> None:
        """No more than the limit is under way, the rest follows in order."""
        done: list[int] = []
        for number in range(5):
            self.work.run(done.append, number)
        self.assertEqual((len(self.reactor.waiting), done), (2, []))
        self.reactor.advance(0)
        self.assertEqual((len(self.reactor.waiting), done), (2, [0, 1]))
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual((done, self.work.busy), ([0, 1, 2, 3, 4], False))

    def test_results(self) -> None:
        """A result is handed over, and an error too; the next one is done all the same."""
        result = self.work.run(divmod, 7, 2)
        error = self.work.run(divmod, 7, 0)
        later = self.work.run(divmod, 9, 2)
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertEqual((self.successResultOf(result), self.successResultOf(later)), ((3, 1), (4, 1)))
        self.failureResultOf(error, ZeroDivisionError)

    def test_idle(self) -> None:
        """It is idle when all is done, what came meanwhile included; at once where nothing is."""
        self.successResultOf(self.work.idle())
        self.work.run(divmod, 7, 2).addCallback(lambda _: self.work.run(divmod, 1, 1))
        idle = self.work.idle()
        self.reactor.advance(0)
        self.assertNoResult(idle)
        self.reactor.advance(0)
        self.successResultOf(idle)
