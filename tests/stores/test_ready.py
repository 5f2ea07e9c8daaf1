"""What is ready stays while it is used, and is bounded."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.ready import MAX_READY, Ready, ReadyTable


class TableTests(SynchronousTestCase):
    """With room for ten in each table."""

    def setUp(self) -> None:
        self.table = ReadyTable(10)
        self.ready = [Ready((), number, 0) for number in range(100)]

    def use(self, number: int) -> bool:
        """Whether it was there; it is then."""
        found = self.table.find(b"%d" % number)
        self.assertIn(found, (None, self.ready[number]))
        self.table.keep(b"%d" % number, self.ready[number])
        return found is not None

    def test_used(self) -> None:
        """What is used now and then stays, whatever comes by."""
        self.use(0)
        for number in range(1, 100):
            self.assertFalse(self.use(number))
            self.assertTrue(self.use(0))
        there = [number for number in range(100) if self.table.find(b"%d" % number) is not None]
        self.assertLessEqual(len(there), 21)
        self.assertIn(99, there)

    def test_forget(self) -> None:
        """What is forgotten is in neither table."""
        for number in range(15):
            self.use(number)
        self.use(0)
        self.table.forget(b"0")
        self.table.forget(b"14")
        self.assertEqual([self.use(number) for number in (0, 14, 1)], [False, False, True])
        self.table.clear()
        self.assertFalse(self.use(1))

    def test_no_room(self) -> None:
        """Without room nothing but the last is ready; there is no more room than a limit."""
        self.table = ReadyTable(0)
        self.use(1)
        self.use(2)
        self.assertEqual([self.table.find(b"%d" % number) is None for number in (1, 2)], [True, False])
        self.table = ReadyTable(10**9)
        for number in range(3 * MAX_READY):
            self.table.keep(b"%d" % number, self.ready[0])
        self.assertIsNone(self.table.find(b"0"))
