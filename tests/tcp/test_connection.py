"""The story of a joined connection: bytes, ends, resets, back-pressure, time."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost

from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.testing.transports import MemoryTransport, Wire

from .stage import Peer, StageTestCase


class CarryTests(StageTestCase):
    """Bytes."""

    def test_both_ways_and_a_full_record(self) -> None:
        """Bytes go both ways unchanged; the record says who, where, how much, how long and why it ended."""
        client = self.client(port=41234)
        self.reactor.advance(0.25)
        backend = self.accept()
        client.transport.write(b"question")
        self.flush()
        self.reactor.advance(0.5)
        backend.transport.write(b"an answer")
        self.flush()
        self.assertEqual((backend.data, client.data), (b"question", b"an answer"))
        self.reactor.advance(1)
        client.transport.loseConnection()
        self.flush()
        backend.transport.loseConnection()
        record = self.over()
        self.assertEqual((record.listener, record.upstream, record.backend), ("tcp", "web", "10.0.0.1:80"))
        self.assertEqual((record.client, record.client_port), ("192.0.2.1", 41234))
        self.assertEqual((record.attempts, record.bytes_in, record.bytes_out), (1, 8, 9))
        self.assertEqual((record.connect, record.first_byte, record.queue), (0.25, 0.5, None))
        self.assertEqual((record.total, record.termination), (1.75, Termination.DONE))
        self.assertEqual(client.fate, "closed")

    def test_both_sides_are_tuned(self) -> None:
        """TCP_NODELAY and keep-alive are set on the client's and on the backend's connection."""
        self.pair()
        for transport in (self.wires[0].left, self.wires[1].right):
            self.assertTrue(transport.no_delay and transport.keep_alive)

    def test_bytes_before_the_connect_are_held_and_sent_first(self) -> None:
        """What the client sent before the backend accepted comes first, in order."""
        client = self.client()
        client.transport.write(b"one ")
        self.flush()
        client.transport.write(b"two ")
        self.flush()
        backend = self.accept()
        client.transport.write(b"three")
        self.flush()
        self.assertEqual(backend.data, b"one two three")

    def test_a_client_without_a_port_is_carried_too(self) -> None:
        """A client behind a UNIX socket has no address; it is served all the same."""
        peer = Peer()
        wire = Wire(self.factory.buildProtocol(UNIXAddress(b"")), peer)
        wire.left.getPeer = lambda: UNIXAddress(b"")  # type: ignore[assignment, method-assign, return-value]
        self.wires.append(wire.open())
        backend = self.accept()
        peer.transport.write(b"hello")
        self.flush()
        self.assertEqual(backend.data, b"hello")

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32), st.lists(st.integers(1, 200_000), min_size=1, max_size=6), st.booleans())
    def test_any_cut_arrives_identical(self, seed: int, sizes: list[int], late: bool) -> None:
        """However the bytes are cut, whichever way, before or after the connect: they arrive identical."""
        self.stage()
        random = Random(seed)
        client = self.client()
        backend = None if late else self.accept()
        sent = answered = b""
        for size in sizes:
            data = random.randbytes(size)
            client.transport.write(data)
            sent += data
            for _ in range(random.randrange(4)):
                self.wires[0].step()
            if backend is not None:
                backend.transport.write(data[::-1])
                answered += data[::-1]
        backend = backend or self.accept()
        client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((backend.data, client.data), (sent, answered))
        backend.transport.loseConnection()
        client.transport.loseConnection()
        self.assertIs(self.over().termination, Termination.DONE)


class EndTests(StageTestCase):
    """Half-close."""

    def test_the_clients_end_keeps_the_answer(self) -> None:
        """After the client's end the backend sees an end, and its answer still arrives."""
        client, backend = self.pair()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((backend.data, backend.fate, client.fate), (b"question", "end", ""))
        backend.transport.write(b"answer")
        backend.transport.loseConnection()
        self.flush()
        self.assertEqual((client.data, client.fate), (b"answer", "end"))
        client.transport.loseConnection()
        self.assertIs(self.over().termination, Termination.DONE)

    def test_the_backends_end_keeps_the_upload(self) -> None:
        """After the backend's end the client sees an end, and what it still sends arrives."""
        client, backend = self.pair()
        backend.transport.loseWriteConnection()
        self.flush()
        self.assertEqual(client.fate, "end")
        client.transport.write(b"still here")
        client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((backend.data, backend.fate), (b"still here", "end"))
        backend.transport.loseConnection()
        client.transport.loseConnection()
        self.assertIs(self.over().termination, Termination.DONE)

    def test_an_end_before_the_connect_with_bytes_is_kept(self) -> None:
        """A client that asked and ended before the backend accepted gets its answer."""
        client = self.client()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.flush()
        backend = self.accept()
        self.flush()
        self.assertEqual((backend.data, backend.fate), (b"question", "end"))
        backend.transport.write(b"answer")
        backend.transport.loseConnection()
        self.flush()
        self.assertEqual(client.data, b"answer")

    def test_an_end_behind_a_full_buffer_is_sent_when_that_is_written(self) -> None:
        """An end that comes while the backend's buffer is full reaches it after the bytes, and is not forgotten."""
        client, backend = self.pair()
        backend.transport.pauseProducing()
        client.transport.write(b"x" * 100_000)
        client.transport.loseWriteConnection()
        self.flush()
        self.assertEqual((backend.data, backend.fate), (b"", ""))
        backend.transport.resumeProducing()
        self.flush()
        self.assertEqual((len(backend.data), backend.fate), (100_000, "end"))
        backend.transport.write(b"answer")
        self.flush()
        self.assertEqual(client.data, b"answer")


class ResetTests(StageTestCase):
    """Aborts."""

    def test_the_clients_reset_reaches_the_backend(self) -> None:
        """A client that resets: the backend is reset at once, and is not blamed."""
        client, backend = self.pair()
        client.transport.abortConnection()
        self.flush()
        self.assertEqual(backend.fate, "reset")
        record = self.over()
        self.assertIs(record.termination, Termination.CLIENT_LEFT)
        self.assertEqual(self.upstream.members[0].backend.failures, 0)

    def test_the_backends_reset_reaches_the_client(self) -> None:
        """A backend that resets: the client is reset, and the backend is blamed once."""
        client, backend = self.pair()
        backend.transport.write(b"part of an ans")
        self.flush()
        backend.transport.abortConnection()
        self.flush()
        self.assertEqual((client.data, client.fate), (b"part of an ans", "reset"))
        record = self.over()
        self.assertIs(record.termination, Termination.BACKEND_RESET)
        self.assertEqual(self.upstream.members[0].backend.failures, 1)

    def test_nothing_is_written_to_who_is_gone(self) -> None:
        """Whichever side is lost, in order or cut, the other's next bytes reach no transport: uvloop's would raise."""
        for client_goes in (True, False):
            for reason in (ConnectionDone(), ConnectionLost()):
                self.stage()
                self.pair()
                client, backend = self.wires[0].left, self.wires[1].right
                gone, left = (client, backend) if client_goes else (backend, client)
                keeper: Any = left.protocol
                written: list[bytes] = []
                keeper.take = written.append  # in place of the bound write that it keeps
                keeper.dataReceived(b"in time")
                gone.lose(reason)
                keeper.dataReceived(b"late")
                self.assertEqual(written, [b"in time"])

    def test_a_reset_after_a_half_close_is_a_reset(self) -> None:
        """The same holds after one direction has ended, for both sides."""
        for client_ends in (True, False):
            self.stage()
            client, backend = self.pair()
            first, second = (client, backend) if client_ends else (backend, client)
            first.transport.loseWriteConnection()
            self.flush()
            second.transport.abortConnection()
            self.flush()
            self.assertEqual(first.fate, "reset")
            self.assert_nothing_left()

    def test_a_backend_that_closes_early_loses_nothing_of_its_answer(self) -> None:
        """A server that answered and closed, while the client goes on sending: the client gets all of the answer."""
        client, backend = self.pair()
        client.transport.pauseProducing()
        backend.transport.write(b"a" * 50_000)
        backend.transport.loseConnection()
        self.flush()
        client.transport.write(b"more")  # the closed backend answers this with a reset
        self.flush()
        self.assertTrue(self.wires[1].right.disconnected)
        self.wait(3)
        self.assertFalse(self.wires[0].left.disconnected)  # it waits for the client to read
        client.transport.resumeProducing()
        self.flush()
        self.assertEqual((len(client.data), client.fate), (50_000, "end"))
        self.assertFalse(self.wires[0].left.disconnected)
        self.wait(2.2)  # ``linger``
        self.assertTrue(self.wires[0].left.disconnected)
        client.transport.loseConnection()
        self.assertIs(self.over().termination, Termination.DONE)


class PressureTests(StageTestCase):
    """Back-pressure and its limit."""

    def push(self, sender: Peer, total: int, piece: int = 60_000) -> None:
        """Let it send as fast as it may."""
        for _ in range(total // piece):
            sender.transport.write(b"x" * piece)
            self.flush()

    def test_a_backend_that_reads_nothing_stops_the_client(self) -> None:
        """What is held for a backend that reads nothing stays within the buffer, and all of it arrives later."""
        client, backend = self.pair()
        backend.transport.pauseProducing()
        self.push(client, 3_000_000)
        ours = self.wires[1].right
        self.assertGreater(ours.peak, 0)
        self.assertLessEqual(ours.peak, self.settings.buffer)
        self.assertFalse(self.wires[0].left.reading)
        backend.transport.resumeProducing()
        self.flush()
        self.assertEqual(len(backend.data), 3_000_000)

    def test_a_client_that_reads_nothing_stops_the_backend(self) -> None:
        """The same the other way round, with small buffers, which are kept as well."""
        for buffer in (262_144, 20_000, 512):
            self.stage(buffer=buffer)
            client, backend = self.pair()
            client.transport.pauseProducing()
            self.push(backend, 600_000)
            self.assertLessEqual(self.wires[0].left.peak, buffer)
            self.assertFalse(self.wires[1].right.reading)
            client.transport.resumeProducing()
            self.flush()
            self.assertEqual(len(client.data), 600_000)

    def test_bytes_before_the_connect_are_bounded(self) -> None:
        """A client that sends without end before the backend accepts is paused within the limit, then resumed."""
        for buffer in (262_144, 20_000):
            self.stage(buffer=buffer)
            client = self.client()
            self.push(client, 1_200_000)
            taken = 1_200_000 - len(client.transport.waiting)
            self.assertTrue(0 < taken <= buffer, taken)
            backend = self.accept()
            backend.transport.pauseProducing()
            self.flush()
            self.assertLessEqual(self.wires[1].right.peak, buffer)
            backend.transport.resumeProducing()
            self.flush()
            self.assertEqual(len(backend.data), 1_200_000)

    def test_the_directions_are_apart(self) -> None:
        """A full direction does not stop the other one."""
        client, backend = self.pair()
        backend.transport.pauseProducing()
        self.push(client, 600_000)
        backend.transport.write(b"still talking")
        self.flush()
        self.assertEqual(client.data, b"still talking")


class TimeTests(StageTestCase):
    """The idle timeout and the linger."""

    def test_an_idle_tunnel_is_reset_after_its_timeout(self) -> None:
        """An hour without a byte resets both, so that nobody takes it for an end; the backend is not blamed."""
        client, backend = self.pair()
        self.wait(3500)
        self.assertEqual(client.fate, "")
        self.wait(400)
        self.assertEqual((client.fate, backend.fate), ("reset", "reset"))
        record = self.over()
        self.assertIs(record.termination, Termination.TUNNEL_IDLE)
        self.assertIn("3600 s", record.reason)
        self.assertEqual(self.upstream.members[0].backend.failures, 0)

    def test_a_byte_in_either_direction_keeps_it(self) -> None:
        """One byte now and then, from either side, keeps it for as long as it likes."""
        self.stage(timeouts=ClientTimeouts(tunnel=10))
        client, backend = self.pair()
        for peer in (client, backend) * 5:
            self.wait(9)
            peer.transport.write(b"x")
            self.flush()
        self.assertEqual((client.fate, backend.fate), ("", ""))
        self.wait(11)
        self.assertEqual((client.fate, backend.fate), ("reset", "reset"))

    def test_a_backend_connection_that_lasts_gets_its_probes(self) -> None:
        """On transports that leave it to us (the uvloop reactor's) they are set once, after a while; else at once."""
        self.pair()
        transport: Any = self.wires[1].right
        self.assertTrue(transport.keep_alive)  # no such transport
        self.stage()
        tuned: list[float] = []
        kind: Any = MemoryTransport
        kind.tuned = lambda transport: tuned.append(self.reactor.seconds())
        self.addCleanup(delattr, MemoryTransport, "tuned")
        client, backend = self.pair()
        self.assertEqual(len(tuned), 1)  # the client's, which may know that there is nothing to do
        self.wait(9.8)
        self.assertEqual(len(tuned), 1)
        self.wait(20)
        self.assertEqual(len(tuned), 2)
        client.transport.loseConnection()
        backend.transport.loseConnection()
        self.assertIs(self.over().termination, Termination.DONE)

    def test_a_slow_reader_is_waited_for_while_the_connection_turns_old(self) -> None:
        """What waits for a client that is to be closed then is not cut short by the probes' being set."""
        client, backend = self.pair()
        self.wait(7)
        client.transport.pauseProducing()
        backend.transport.write(b"a" * 50_000)
        backend.transport.loseConnection()
        self.flush()
        client.transport.write(b"more")  # the closed backend answers this with a reset
        self.wait(6)
        self.assertFalse(self.wires[0].left.disconnected)
        client.transport.resumeProducing()
        self.flush()
        self.assertEqual(len(client.data), 50_000)
        client.transport.loseConnection()
        self.over()

    def test_a_half_closed_tunnel_is_idle_too(self) -> None:
        """A client that ended, and a backend that never answers, do not stay for ever."""
        self.stage(timeouts=ClientTimeouts(tunnel=10))
        client, _ = self.pair()
        client.transport.loseWriteConnection()
        self.flush()
        self.wait(11)
        self.assertIs(self.over().termination, Termination.TUNNEL_IDLE)

    def test_a_client_that_never_takes_the_rest_is_reset(self) -> None:
        """Both have ended, but the client does not read the rest: after the idle timeout it is reset."""
        self.stage(timeouts=ClientTimeouts(tunnel=10))
        client, backend = self.pair()
        client.transport.pauseProducing()
        backend.transport.write(b"x" * 10_000)
        backend.transport.loseConnection()
        client.transport.loseWriteConnection()
        self.flush()
        self.wait(11)
        self.assertEqual(client.fate, "reset")
        self.assert_nothing_left()

    def test_a_flood_does_not_prolong_the_linger(self) -> None:
        """What comes while a closed connection lingers is dropped and is no sign of life."""
        client, backend = self.pair()
        backend.transport.loseConnection()
        self.flush()
        client.transport.write(b"into the void")
        self.flush()
        for _ in range(30):
            client.transport.write(b"x" * 1000)
            self.wait(0.1)
        self.assertTrue(self.wires[0].left.disconnected)
