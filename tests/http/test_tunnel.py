"""Upgrade: what is tunnelled, with the bytes that came early, each half ended by itself."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.testing.http import Bench, Party

ASK = b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


class TunnelTests(SynchronousTestCase):
    """After 101."""

    def tunnel(self, early: bytes = b"", late: bytes = b"", **settings: object) -> tuple[Bench, Party, Party]:
        """A tunnel: what the client sends with its request, and the backend with its answer."""
        bench = Bench(**settings)  # type: ignore[arg-type]  # passed on
        client = bench.client(ASK + early)
        backend = bench.accept()
        bench.send(backend, SWITCH + late)
        return bench, client, backend

    def test_early_bytes_go_through(self) -> None:
        """Bytes that came with the request, and with the answer, are the tunnel's first, in both directions."""
        bench, client, backend = self.tunnel(b"early", b"late")
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly", backend.received)
        self.assertEqual(backend.received.count(b"Upgrade: "), 1)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"))
        self.assertTrue(client.received.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nlate"))
        bench.send(client, b"\x00ping\r\n\r\n")
        bench.send(backend, b"\xffpong")
        self.assertTrue(backend.received.endswith(b"early\x00ping\r\n\r\n"))
        self.assertTrue(client.received.endswith(b"late\xffpong"))

    def test_halves_end_by_themselves(self) -> None:
        """One side's end is passed on; the other may still send; then all is closed in order."""
        for first in ("client", "backend"):
            bench, client, backend = self.tunnel()
            one, other = (client, backend) if first == "client" else (backend, client)
            bench.end(one)
            self.assertEqual((other.ended, other.lost), (True, None))
            bench.send(other, b"still here")
            self.assertTrue(one.received.endswith(b"still here"))
            bench.end(other)
            self.assertEqual((client.closed, backend.closed), ("fin", "fin"))
            (record,) = bench.records
            self.assertEqual((record.termination, record.status), (Termination.UPGRADED, 101))
            self.assertEqual(bench.upstream.active, 0)
            self.assertEqual(bench.factory.connections, 0)

    def test_resets_are_passed_on(self) -> None:
        """A reset of one side resets the other."""
        for first, termination in (("client", Termination.CLIENT_LEFT), ("backend", Termination.BACKEND_RESET)):
            bench, client, backend = self.tunnel()
            one, other = (client, backend) if first == "client" else (backend, client)
            bench.reset(one)
            self.assertEqual(other.closed, "reset")
            self.assertEqual([record.termination for record in bench.records], [termination])
            self.assertEqual(bench.upstream.active, 0)

    def test_idle(self) -> None:
        """A tunnel without a byte in either direction is closed after its own timeout; each byte renews it."""
        bench, client, backend = self.tunnel(clients=ClientTimeouts(tunnel=5))
        for party in (client, backend):
            bench.advance(4)
            bench.send(party, b"x")
        bench.advance(4.5)
        self.assertEqual((client.closed, backend.closed), ("open", "open"))
        bench.advance(1)
        self.assertEqual((client.closed, backend.closed), ("fin", "fin"))
        self.assertEqual([record.termination for record in bench.records], [Termination.TUNNEL_IDLE])

    def test_back_pressure(self) -> None:
        """Whoever does not read pauses the other."""
        bench, client, backend = self.tunnel()
        for reader, writer in ((client, backend), (backend, client)):
            reader.transport.reading = False
            bench.send(writer, b"x" * 1000000)
            self.assertLess(reader.transport.other.peak, 200000)
            reader.transport.reading = True
            bench.run()
            self.assertTrue(reader.received.endswith(b"x" * 1000000))

    def test_early_bytes_are_bounded(self) -> None:
        """A client that sends much before the answer is not read beyond the buffer; nothing of it is lost."""
        bench = Bench(buffer=1000)
        client = bench.client(ASK)
        bench.send(client, b"y" * 500000)
        self.assertGreater(len(client.transport.waiting), 300000)
        backend = bench.accept()
        bench.send(backend, SWITCH)
        self.assertTrue(backend.received.endswith(b"\r\n\r\n" + b"y" * 500000))

    def test_other_answers(self) -> None:
        """A backend that does not switch answers as usual, and the connection goes on."""
        bench = Bench()
        client = bench.client(ASK)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 426 No"))
        self.assertEqual((client.closed, backend.closed, bench.http["web"].idle), ("open", "open", 1))

    def test_h2c_is_never_asked_for(self) -> None:
        """A tunnel in which requests would pass unseen is not opened (RFC 9113 section 3.1)."""
        bench = Bench()
        bench.client(ASK.replace(b"websocket", b"h2c").replace(b"Host", b"HTTP2-Settings: x\r\nHost"))
        backend = bench.accept()
        self.assertNotIn(b"h2c", backend.received)
        self.assertNotIn(b"HTTP2-Settings", backend.received)

    def test_switch_before_the_request_is_complete(self) -> None:
        """101 while the request's body is still coming is a malformed response: 502."""
        bench = Bench()
        client = bench.client(ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nab"))
        backend = bench.accept()
        bench.send(backend, SWITCH)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "), client.received)
        self.assertEqual(backend.closed, "reset")
