"""What is known of an exchange when it has ended."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.record import MAX_DECISIONS, OVERHEAD, ConnectionRecord, ExchangeRecord
from balancer.core.termination import Termination


class RecordTests(SynchronousTestCase):
    def test_only_the_first_cause_of_the_end_counts(self) -> None:
        """What follows from the end, such as the other side closing, does not change why it ended."""
        record = ConnectionRecord(1.0)
        self.assertTrue(record.end(Termination.CONNECT_TIMEOUT, 3.0, "10.0.0.1:80 did not answer"))
        self.assertFalse(record.end(Termination.CLIENT_LEFT, 4.0))
        self.assertEqual((record.termination, record.total), (Termination.CONNECT_TIMEOUT, 3.0))
        self.assertEqual(record.reason, "10.0.0.1:80 did not answer")

    def test_decisions_are_kept_in_order_and_bounded(self) -> None:
        """A mistake that decides for ever costs a bounded number of lines."""
        record = ExchangeRecord(1.0)
        for number in range(1000):
            record.note(f"{number}")
        self.assertEqual(record.decisions[:3], ["0", "1", "2"])
        self.assertEqual(len(record.decisions), MAX_DECISIONS + 1)

    def test_the_size_counts_what_clients_choose(self) -> None:
        """A record with long values from a client is reckoned with them."""
        record = ExchangeRecord(1.0)
        record.target, record.referer, record.user_agent, record.host = b"/" * 100, b"r" * 20, b"u" * 3, b"h"
        self.assertEqual(record.size(), OVERHEAD + 124)
        self.assertEqual(ConnectionRecord(1.0).size(), OVERHEAD)

    def test_records_have_slots_and_are_each_their_own(self) -> None:
        """A misspelt attribute is an error, and two records with equal values are two records."""
        for made in (ConnectionRecord, ExchangeRecord):
            record = made(1.0)
            self.assertRaises(AttributeError, setattr, record, "stauts", 200)
            self.assertNotEqual(record, made(1.0))
            self.assertIsNot(record.decisions, made(1.0).decisions)
