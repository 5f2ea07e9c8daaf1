"""Bulk on the virtual clock: when it is left to the kernel, what it counts, and every way it is over."""

import errno
import gc
import os

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.http.bulk import BulkUpload, Download
from balancer.testing.http import Party
from balancer.testing.splices import BulkBench

KIB = 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASK = b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n"


def put(size: int) -> bytes:
    """The head of an upload."""
    return b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size


class UploadTestCase(SynchronousTestCase):
    """An upload of 4 MiB, of which 1 MiB came: spliced."""

    size = 4096 * KIB

    def begin(self, **settings: object) -> tuple[BulkBench, Party, Party]:
        """The client and the backend."""
        bench = BulkBench(**settings)  # type: ignore[arg-type]  # passed on
        client = bench.client(put(self.size))
        backend = bench.accept()
        backend.received = b""
        bench.send(client, b"x" * 1024 * KIB)
        self.assertEqual((bench.splicer.active, len(backend.received)), (1, 1024 * KIB))
        return bench, client, backend

    def stop_reading(self, bench: BulkBench, client: Party, backend: Party, rest: int) -> None:
        """The backend takes nothing, and the client sends so many bytes more."""
        backend.transport.reading = False
        bench.send(client, b"x" * rest)

    def assert_over(self, bench: BulkBench, termination: Termination, bytes_in: int) -> None:
        (record,) = bench.records
        self.assertEqual((record.termination, record.bytes_in), (termination, bytes_in))
        self.assertEqual((bench.splicer.active, bench.upstream.active), (0, 0))
        self.assertEqual((bench.kernel.getReaders(), bench.kernel.getWriters()), ([], []))


class UploadBeginTests(UploadTestCase):
    """When a request's body is left to the kernel."""

    def test_after_so_many_bytes(self) -> None:
        """It begins when ``splice`` bytes came in reads of 32 KiB or more, and as many are still to come."""
        bench = BulkBench(splice=256 * KIB)
        client = bench.client(put(4096 * KIB))
        bench.accept()
        for _ in range(100):
            bench.send(client, b"x" * (32 * KIB - 1))
        self.assertEqual(bench.splicer.begun, 0)
        for number in range(8):
            self.assertEqual(bench.splicer.begun, 0, number)
            bench.send(client, b"x" * 32 * KIB)
        self.assertEqual(bench.splicer.begun, 1)

    def test_not_for_what_is_nearly_over(self) -> None:
        """Where fewer than ``splice`` bytes are still to come it is not worth a pipe."""
        for size, begun in ((512 * KIB - 1, 0), (512 * KIB, 1)):
            bench = BulkBench(splice=256 * KIB)
            client = bench.client(put(size))
            bench.accept()
            for _ in range(4):
                bench.send(client, b"x" * 64 * KIB)
            self.assertEqual(bench.splicer.begun, begun)

    def test_tried_again(self) -> None:
        """Where none could begin it is tried again after as many bytes."""
        bench = BulkBench(splice=256 * KIB, limit=0)
        client = bench.client(put(4096 * KIB))
        bench.accept()
        bench.send(client, b"x" * 256 * KIB)
        bench.splicer.limit = 1
        bench.send(client, b"x" * 192 * KIB)
        self.assertEqual(bench.splicer.begun, 0)
        bench.send(client, b"x" * 64 * KIB)
        self.assertEqual(bench.splicer.begun, 1)

    def test_not_before_there_is_a_connection(self) -> None:
        """What comes before a backend is connected is held as ever; then the rest is spliced."""
        bench = BulkBench(buffer=512 * KIB)
        client = bench.client(put(self.size))
        bench.send(client, b"x" * 2048 * KIB)
        self.assertEqual(bench.splicer.begun, 0)
        backend = bench.accept()
        bench.send(client, b"x" * 2048 * KIB)
        self.assertEqual(bench.splicer.begun, 1)
        self.assertTrue(backend.received.endswith(b"\r\n\r\n" + b"x" * self.size))


class UploadOverTests(UploadTestCase):
    """How it is over."""

    def test_the_end_and_what_is_behind_it(self) -> None:
        """Exactly the body is moved; the next request behind it is served next; both connections are kept."""
        bench, client, backend = self.begin()
        body = os.urandom(3072 * KIB)
        bench.send(client, body + b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertTrue(backend.received == b"x" * 1024 * KIB + body)
        self.assertEqual(bench.splicer.active, 0)
        bench.send(backend, OK)
        self.assertTrue(backend.received[self.size :].startswith(b"GET /next HTTP/1.1\r\n"))
        bench.send(backend, OK)
        self.assertEqual(client.received.count(b"\r\n\r\nok"), 2)
        self.assertEqual([record.bytes_in for record in bench.records], [self.size, 0])
        self.assertEqual((client.closed, backend.closed, bench.http["web"].idle), ("open", "open", 1))

    def test_a_client_that_is_silent(self) -> None:
        """408 comes ``timeouts.body`` after the last byte that was moved, and the backend is reset."""
        bench, client, backend = self.begin(clients=ClientTimeouts(body=5))
        for _ in range(3):
            bench.advance(4.5)
            bench.send(client, b"x")
        bench.advance(4.8)
        self.assertEqual(client.received, b"")
        bench.advance(0.4)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 408 "), client.received)
        self.assertEqual((client.closed, backend.closed), ("fin", "reset"))
        self.assert_over(bench, Termination.CLIENT_BODY_TIMEOUT, 1024 * KIB + 3)

    def test_a_backend_that_takes_nothing(self) -> None:
        """504 comes ``first_byte`` after it last took something, however long the client is kept from sending."""
        bench, client, backend = self.begin(clients=ClientTimeouts(body=1), timeouts=BackendTimeouts(first_byte=5))
        self.stop_reading(bench, client, backend, 2048 * KIB)
        for _ in range(3):
            bench.advance(4.5)
            backend.transport.reading = True
            backend.transport.other.step()  # one read, no more
            backend.transport.reading = False
            bench.run()
        bench.advance(4.8)
        self.assertEqual((client.received, bench.splicer.active), (b"", 1))
        bench.advance(0.4)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 504 "), client.received)
        self.assertEqual(backend.closed, "reset")
        self.assert_over(bench, Termination.BACKEND_WRITE_TIMEOUT, bench.records[0].bytes_in)

    def test_refused_with_all_in_the_pipe(self) -> None:
        """A refusal that comes when the last of the body was read, but not sent: the request is over all the same."""
        bench, client, backend = self.begin()
        bench.send(client, b"x" * (self.size - 1024 * KIB - 100 * KIB))
        self.stop_reading(bench, client, backend, 100 * KIB)
        self.assertEqual((bench.splicer.active, client.transport.waiting), (1, b""))
        bench.send(backend, b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nmuch")
        self.assertTrue(client.received.endswith(b"Connection: close\r\n\r\nmuch"), client.received)
        backend.transport.reading = True
        bench.run()
        self.assertEqual((client.closed, backend.closed), ("fin", "fin"))
        self.assertLess(len(backend.received), self.size)
        self.assert_over(bench, Termination.DONE, self.size)

    def test_refused_early(self) -> None:
        """After a refusal the backend gets no more; what the client still sends is read and dropped."""
        bench, client, backend = self.begin()
        self.stop_reading(bench, client, backend, 1024 * KIB)
        bench.send(backend, b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\n")
        bench.send(client, b"x" * 1024 * KIB)
        self.assertEqual((bench.splicer.active, client.transport.waiting), (0, b""))
        bench.send(backend, b"much")
        self.assertTrue(client.received.endswith(b"Connection: close\r\n\r\nmuch"), client.received)
        self.assertEqual(backend.closed, "reset")
        self.assert_over(bench, Termination.DONE, 3072 * KIB)

    def test_a_backend_that_answered_and_reset(self) -> None:
        """Where writing finds the backend gone, the answer it sent before is still read and passed on."""
        bench, client, _ = self.begin()
        bench.kernel.fault = errno.ECONNRESET
        bench.send(client, b"x" * 64 * KIB)
        self.assertEqual((bench.splicer.active, client.received, bench.records), (0, b"", []))
        backend = bench.wires[1].left.protocol
        assert isinstance(backend, Party)
        bench.send(backend, b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nmuch")
        self.assertTrue(client.received.endswith(b"Connection: close\r\n\r\nmuch"), client.received)
        self.assert_over(bench, Termination.DONE, 1088 * KIB)

    def test_a_backend_that_is_deaf(self) -> None:
        """A backend to which nothing can be sent has its time to answer from the end of the body, which is dropped."""
        bench, client, backend = self.begin(timeouts=BackendTimeouts(first_byte=5))
        self.stop_reading(bench, client, backend, 1024 * KIB)
        bench.kernel.fault = errno.EPIPE
        backend.transport.reading = True
        bench.run()
        self.assertEqual((bench.splicer.active, client.transport.waiting), (0, b""))
        bench.advance(7)
        bench.send(client, b"x" * 2048 * KIB)
        bench.advance(4.8)
        self.assertEqual((client.received, client.transport.waiting), (b"", b""))
        bench.advance(0.4)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 504 "), client.received)
        self.assert_over(bench, Termination.FIRST_BYTE_TIMEOUT, self.size)

    def test_a_backend_that_reset(self) -> None:
        """Where it sent nothing before: 502, and nobody else is asked."""
        bench, client, backend = self.begin(backends=2)
        bench.kernel.fault = errno.EPIPE
        bench.send(client, b"x" * 64 * KIB)
        bench.reset(backend)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "), client.received)
        self.assertEqual(len(bench.connects), 1)
        self.assert_over(bench, Termination.BACKEND_CLOSED_EARLY, 1088 * KIB)

    def test_our_own_fault(self) -> None:
        """A kernel that cannot: what the pipe holds, and the rest, is copied; no byte is lost."""
        bench, client, backend = self.begin()
        bench.kernel.fault = errno.EINVAL
        body = os.urandom(3072 * KIB)
        bench.send(client, body)
        self.assertTrue(backend.received == b"x" * 1024 * KIB + body)
        bench.send(backend, OK)
        self.assert_over(bench, Termination.DONE, self.size)
        self.flushLoggedErrors()

    def test_a_client_that_leaves(self) -> None:
        """An end or a reset within the body, also with bytes in the pipe: the backend is reset, never ended."""
        for leave in (BulkBench.end, BulkBench.close, BulkBench.reset):
            for rest in (0, 100 * KIB):
                bench, client, backend = self.begin()
                self.stop_reading(bench, client, backend, rest)
                leave(bench, client)
                backend.transport.reading = True
                bench.run()
                self.assertEqual((backend.closed, bench.splicer.active), ("reset", 0))
                self.assert_over(bench, Termination.CLIENT_LEFT, 1024 * KIB + rest)

    def test_nothing_is_left_in_a_circle(self) -> None:
        """Who owned a splice is gone when it is over, without the collector."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for end in (b"x" * 3072 * KIB, b""):
            bench, client, backend = self.begin()
            bench.send(client, end)
            if not end:
                bench.reset(client)
            owners = [type(each) for each in gc.get_objects() if type(each) in (BulkUpload, Download)]
            self.assertEqual((bench.splicer.begun, bench.splicer.active), (1, 0))
            del bench, client, backend
            self.assertLessEqual(len(owners), 1)  # the splice and its watches are a circle, which may hold the last
            gc.collect()


class DownloadTests(SynchronousTestCase):
    """A response's body."""

    def begin(self, **settings: object) -> tuple[BulkBench, Party, Party]:
        """4 MiB, of which 1 MiB came: spliced."""
        bench = BulkBench(**settings)  # type: ignore[arg-type]  # passed on
        client = bench.client(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4096 * KIB) + b"x" * 1024 * KIB)
        self.assertEqual(bench.splicer.active, 1)
        return bench, client, backend

    def test_the_end(self) -> None:
        """All arrives, and both connections are kept."""
        bench, client, backend = self.begin()
        body = os.urandom(3072 * KIB)
        bench.send(backend, body)
        self.assertTrue(client.received.endswith(b"x" * 1024 * KIB + body))
        (record,) = bench.records
        self.assertEqual((record.termination, record.bytes_out), (Termination.DONE, 4096 * KIB))
        self.assertEqual((client.closed, backend.closed, bench.http["web"].idle), ("open", "open", 1))

    def test_a_backend_that_is_silent(self) -> None:
        """``timeouts.idle`` counts from the last byte that was moved, and not while the client does not read."""
        bench, client, backend = self.begin(timeouts=BackendTimeouts(idle=5))
        for _ in range(3):
            bench.advance(4.5)
            bench.send(backend, b"x")
        client.transport.reading = False
        bench.send(backend, b"x" * 512 * KIB)
        bench.advance(10)
        self.assertEqual(bench.records, [])
        client.transport.reading = True
        bench.run()
        bench.advance(4.8)
        self.assertEqual(bench.records, [])
        bench.advance(0.4)
        (record,) = bench.records
        self.assertEqual((record.termination, record.bytes_out), (Termination.BACKEND_IDLE_TIMEOUT, 1536 * KIB + 3))
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))

    def test_what_is_not_bulk(self) -> None:
        """A body that trickles is handed back, once, and arrives."""
        bench, client, backend = self.begin()
        for _ in range(200):
            bench.send(backend, b"y" * KIB)
        self.assertEqual((bench.splicer.begun, bench.splicer.active), (1, 0))
        bench.send(backend, b"z" * (3072 - 200) * KIB)
        self.assertTrue(client.received.endswith(b"x" + b"y" * 200 * KIB + b"z" * 2872 * KIB))
        self.assertEqual(bench.splicer.begun, 1)


class TunnelTests(SynchronousTestCase):
    """Each direction of a tunnel."""

    def tunnel(self, **settings: object) -> tuple[BulkBench, Party, Party]:
        """The client's end and the backend's."""
        bench = BulkBench(**settings)  # type: ignore[arg-type]  # passed on
        client = bench.client(ASK)
        backend = bench.accept()
        bench.send(backend, SWITCH)
        client.received = backend.received = b""
        return bench, client, backend

    def test_after_so_many_bytes(self) -> None:
        """A direction begins when ``splice`` bytes came and a read was full, each for itself, as at layer 4."""
        bench, client, backend = self.tunnel(splice=256 * KIB)
        for begun, sender, receiver in ((0, client, backend), (1, backend, client)):
            for _ in range(20):
                bench.send(sender, b"x" * 20 * KIB)
            self.assertEqual(bench.splicer.begun, begun)
            bench.send(sender, b"x" * 32 * KIB)
            self.assertEqual(bench.splicer.begun, begun + 1)
            data = os.urandom(2048 * KIB)
            bench.send(sender, data)
            self.assertTrue(receiver.received == b"x" * 432 * KIB + data)
        self.assertEqual(bench.splicer.active, 2)

    def test_tried_again(self) -> None:
        """Where none could begin it is tried again after as many bytes."""
        bench, client, backend = self.tunnel(splice=256 * KIB, limit=0)
        for sender in (client, backend):
            bench.splicer.limit = 0
            bench.send(sender, b"x" * 256 * KIB)
            bench.splicer.limit = 2
            bench.send(sender, b"x" * 192 * KIB)
            begun = bench.splicer.begun
            bench.send(sender, b"x" * 64 * KIB)
            self.assertEqual(bench.splicer.begun, begun + 1)

    def test_idle(self) -> None:
        """What is moved renews the idle timeout in either direction; then both are closed in order."""
        bench, client, backend = self.tunnel(clients=ClientTimeouts(tunnel=5))
        for party in (client, backend):
            bench.send(party, b"x" * 1024 * KIB)
        self.assertEqual(bench.splicer.active, 2)
        for party in (client, backend, client):
            bench.advance(4.5)
            bench.send(party, b"x")
        bench.advance(4.8)
        self.assertEqual((client.closed, backend.closed), ("open", "open"))
        bench.advance(0.4)
        self.assertEqual((client.closed, backend.closed), ("fin", "fin"))
        (record,) = bench.records
        self.assertEqual((record.termination, bench.splicer.active), (Termination.TUNNEL_IDLE, 0))
        self.assertEqual((record.bytes_in, record.bytes_out), (1024 * KIB + 2, 1024 * KIB + 1))

    def test_idle_with_bytes_in_the_pipes(self) -> None:
        """What was read before the idle timeout still arrives, before the end."""
        bench, client, backend = self.tunnel(clients=ClientTimeouts(tunnel=5))
        for party in (client, backend):
            bench.send(party, b"x" * 1024 * KIB)
        for party in (client, backend):
            party.transport.reading = False
        for party in (client, backend):
            bench.send(party, b"x" * 1024 * KIB)
        bench.advance(5.4)
        (record,) = bench.records
        self.assertEqual((record.termination, bench.splicer.active), (Termination.TUNNEL_IDLE, 0))
        for party in (client, backend):
            party.transport.reading = True
        bench.run()
        self.assertEqual((len(backend.received), len(client.received)), (record.bytes_in, record.bytes_out))

    def test_halves_end_by_themselves(self) -> None:
        """The end of a direction that is spliced is passed on behind its bytes; the other goes on."""
        for first in ("client", "backend"):
            bench, client, backend = self.tunnel()
            one, other = (client, backend) if first == "client" else (backend, client)
            for party in (client, backend):
                bench.send(party, b"x" * 1024 * KIB)
            other.transport.reading = False
            bench.send(one, b"y" * 100 * KIB)
            bench.end(one)
            self.assertEqual(other.ended, False)
            other.transport.reading = True
            bench.run()
            self.assertEqual((other.ended, other.lost, bench.splicer.active), (True, None, 1))
            self.assertTrue(other.received.endswith(b"x" + b"y" * 100 * KIB))
            bench.send(other, b"z" * 1024 * KIB)
            bench.end(other)
            self.assertTrue(one.received.endswith(b"z" * 1024 * KIB))
            self.assertEqual((client.closed, backend.closed), ("fin", "fin"))
            self.assertEqual([record.termination for record in bench.records], [Termination.UPGRADED])

    def test_a_backend_that_reset(self) -> None:
        """Where writing finds the backend gone the client is reset, whatever else is spliced."""
        bench, client, backend = self.tunnel()
        for party in (client, backend):
            bench.send(party, b"x" * 1024 * KIB)
        bench.kernel.fault = errno.EPIPE
        bench.send(client, b"x" * 64 * KIB)
        self.assertEqual((client.closed, backend.closed, bench.splicer.active), ("reset", "reset", 0))
        self.assertEqual([record.termination for record in bench.records], [Termination.BACKEND_RESET])
