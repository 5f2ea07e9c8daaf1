"""Counting the reasons of a pause, and what every transport is set to."""

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from balancer.net.flow import BULK, BUSY, CHUNK, CONSUMER, ENDED, HOLD, Flow, tune
from balancer.testing.transports import MemoryTransport, Wire


class Reader:
    """Counts."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class FlowTests(SynchronousTestCase):
    """Reasons."""

    def setUp(self) -> None:
        self.reader = Reader()
        self.flow = Flow(self.reader)

    def test_two_reasons_must_both_go(self) -> None:
        """Paused for two reasons it is paused once, and resumed only when both are gone."""
        self.flow.pause(HOLD)
        self.flow.pauseProducing()
        self.flow.resume(HOLD)
        self.assertTrue(self.flow.paused)
        self.assertEqual(self.reader.calls, ["pause"])
        self.flow.resumeProducing()
        self.assertFalse(self.flow.paused)
        self.assertEqual(self.reader.calls, ["pause", "resume"])

    def test_one_reason_twice_is_one(self) -> None:
        """The same reason given twice goes at once, in any order of the others."""
        for reason in (BUSY, BUSY, CONSUMER):
            self.flow.pause(reason)
        self.flow.resume(CONSUMER)
        self.flow.resume(BUSY)
        self.flow.resume(BUSY)
        self.assertEqual(self.reader.calls, ["pause", "resume"])

    def test_what_goes_another_way_is_taken(self) -> None:
        """Paused only because the bytes go through the kernel, they are taken all the same."""
        for reasons, taking in (([], True), ([BULK], True), ([BULK, HOLD], False), ([HOLD], False)):
            flow = Flow(Reader())
            for reason in reasons:
                flow.pause(reason)
            self.assertEqual((flow.taking, flow.paused), (taking, bool(reasons)), reasons)

    def test_what_has_ended_is_never_read_again(self) -> None:
        """After the end no reason that goes makes it read."""
        self.flow.pause(CONSUMER)
        self.flow.pause(ENDED)
        self.flow.resume(CONSUMER)
        self.flow.resume(ENDED)
        self.assertTrue(self.flow.ended)
        self.assertEqual(self.reader.calls, ["pause"])

    def test_a_lost_consumer_does_not_close_it(self) -> None:
        """A transport stops its producer when it is lost; the other connection is not touched by that."""
        self.flow.stopProducing()
        self.assertEqual(self.reader.calls, [])
        self.assertIn("open", repr(self.flow))
        self.flow.pause(HOLD)
        self.assertIn("hold", repr(self.flow))


class TuneTests(SynchronousTestCase):
    """Socket options and buffers."""

    def test_tcp_gets_no_delay_and_keep_alive(self) -> None:
        """A TCP transport gets both, and keeps its buffer where the limit allows it."""
        transport = Wire(Protocol(), Protocol()).left
        tune(transport)
        self.assertTrue(transport.no_delay and transport.keep_alive)
        self.assertEqual(transport.bufferSize, CHUNK)

    def test_unix_is_left_alone(self) -> None:
        """A transport without TCP below it is not asked for TCP's options."""
        transport = MemoryTransport(IPv4Address("TCP", "127.0.0.1", 1), UNIXAddress(b""))  # type: ignore[arg-type]
        tune(transport)
        self.assertFalse(transport.no_delay or transport.keep_alive)

    def test_a_small_buffer_is_shared_by_reading_and_writing(self) -> None:
        """Half of a small limit is what is read at one time, and what waits before the producer is paused."""
        transport = Wire(Protocol(), Protocol()).left
        tune(transport, 4096)
        self.assertEqual(transport.bufferSize, 2048)
