"""What stock Twisted's proxy fails and we pass, over real sockets, on the program as a user starts it (bar 2)."""

import base64
import contextlib
import hashlib
import socket
import threading
from time import perf_counter

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer, free_port
from balancer.testing.process import PATIENCE, BalancerProcess
from balancer.testing.promptly import promptly

CONFIG = """
[upstream.web]
servers = [{servers}]
check = {{ type = "none" }}
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
MIB = 1 << 20


def balancer(*addresses: str, extra: str = "") -> BalancerProcess:
    """A balancer with one HTTP listener in front of these servers."""
    servers = ", ".join(f'"{address}"' for address in addresses)
    return BalancerProcess(config=CONFIG.format(servers=servers) + extra)


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """A message's head, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise AssertionError(f"closed inside a head: {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_exactly(connection: socket.socket, begun: bytes, size: int) -> bytes:
    """So many bytes."""
    while len(begun) < size:
        more = connection.recv(65536)
        if not more:
            raise AssertionError(f"closed after {begun!r}")
        begun += more
    return begun


def read_all(connection: socket.socket) -> tuple[bytes, bool]:
    """All bytes to the end, and whether the end was a reset."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            data += more
        return data, False
    return data, True


class StockFailsTests(SynchronousTestCase):
    """One test for each letter of bar 2 that is layer 7's."""

    def connect(self, process: BalancerProcess) -> socket.socket:
        """A client connection that is closed when the test ends."""
        client = socket.create_connection(process.addresses["http"], PATIENCE)
        self.addCleanup(client.close)
        return client

    def ask(self, process: BalancerProcess, request: bytes = GET) -> tuple[bytes, bool]:
        """One request on a connection of its own: all that comes back, and whether it ended with a reset."""
        client = self.connect(process)
        client.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        return read_all(client)

    def test_a_closed_without_a_byte(self) -> None:
        """(A) A backend that accepts and closes without a byte is a 502, not an empty 200."""
        with SocketServer(read_head) as server, balancer(server.address) as process:
            answer, was_reset = self.ask(process)
        self.assertTrue(answer.startswith(b"HTTP/1.1 502 "), answer)
        self.assertFalse(was_reset)

    def test_b_short_body(self) -> None:
        """(B) A body shorter than announced aborts the client's connection."""

        def short(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

        with SocketServer(short) as server, balancer(server.address) as process:
            answer, was_reset = self.ask(process)
        self.assertTrue(was_reset, answer)

    def test_b2_no_byte_of_the_next_response(self) -> None:
        """(B2) After a body that was cut off nothing of the next response lands in it, pipelined or not."""

        def cut(connection: socket.socket) -> None:
            head, _ = read_head(connection)
            if b"GET /short" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECOND")

        with SocketServer(cut) as server, balancer(server.address) as process:
            client = self.connect(process)
            client.sendall(GET.replace(b"/", b"/short", 1) + GET)
            answer, was_reset = read_all(client)
            self.assertTrue(was_reset, answer)
            self.assertNotIn(b"SECOND", answer)
            answer, _ = self.ask(process)
            self.assertTrue(answer.endswith(b"SECOND"), answer)

    def test_c_chunks_are_reframed(self) -> None:
        """(C) A chunked response is decoded and framed anew, trailers kept."""

        def chunked(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b"5;ext=1\r\nhello\r\n0006\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n":
                connection.sendall(bytes([byte]))
            connection.recv(1)

        with SocketServer(chunked) as server, balancer(server.address) as process:
            answer, was_reset = self.ask(process)
            old, _ = self.ask(process, b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertEqual(head.lower().count(b"transfer-encoding: chunked"), 1)
        text = b""
        while True:
            size, _, body = body.partition(b"\r\n")
            if size == b"0":
                break
            text += body[: int(size, 16)]
            body = body[int(size, 16) + 2 :]
        self.assertEqual((text, body, was_reset), (b"hello world", b"X-Sum: 11\r\n\r\n", False))
        self.assertTrue(old.endswith(b"\r\n\r\nhello world"), old)

    def test_d_fields(self) -> None:
        """(D) Two Cookie fields survive; TE, Upgrade and everything named in Connection do not."""
        heads: list[bytes] = []

        def keep(connection: socket.socket) -> None:
            heads.append(read_head(connection)[0])
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        with SocketServer(keep) as server, balancer(server.address) as process:
            client = self.connect(process)
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: test\r\nCookie: a=1\r\nX-Drop: 1\r\nCookie: b=2\r\nTE: trailers\r\n"
                b"Upgrade: x\r\nConnection: X-Drop, TE\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
            )
            self.assertTrue(read_head(client)[0].startswith(b"HTTP/1.1 204"))
        (head,) = heads
        self.assertIn(b"\r\nCookie: a=1\r\nCookie: b=2\r\n", head)
        for gone in (b"X-Drop", b"TE:", b"Upgrade:", b"Connection:", b"6.6.6.6"):
            self.assertNotIn(gone, head)

    def test_k_chunked_upload(self) -> None:
        """(K) A chunked upload is streamed while it is sent, in right chunks."""
        seen = threading.Event()
        bodies: list[bytes] = []

        def take(connection: socket.socket) -> None:
            head, body = read_head(connection)
            assert b"\r\nTransfer-Encoding: chunked" in head, head
            body = read_exactly(connection, body, len(b"5\r\nfirst\r\n"))
            seen.set()
            while not body.endswith(b"0\r\n\r\n"):
                body += connection.recv(65536)
            bodies.append(body)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with SocketServer(take) as server, balancer(server.address) as process:
            client = self.connect(process)
            client.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n005;x\r\nfirst\r\n")
            self.assertTrue(seen.wait(PATIENCE), "the first part was not streamed")
            client.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
            self.assertTrue(read_head(client)[0].startswith(b"HTTP/1.1 200"))
            self.assertEqual(server.errors, [])
        self.assertEqual(bodies, [b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"])

    def test_e1_early_hints(self) -> None:
        """(E1) 103 then 200 arrive as such, the 103 before the 200 is sent."""
        go_on = threading.Event()

        def hint(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
            assert go_on.wait(PATIENCE)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with SocketServer(hint) as server, balancer(server.address) as process:
            client = self.connect(process)
            client.sendall(GET)
            head, rest = read_head(client)
            self.assertEqual((head, rest), (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>", b""))
            go_on.set()
            head, rest = read_head(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK"))
            self.assertEqual(read_exactly(client, rest, 2), b"ok")

    def test_f_websocket(self) -> None:
        """(F) A WebSocket echoes 10,000 frames, the first of them sent with the request."""
        count = 10000

        def echo(connection: socket.socket) -> None:
            head, data = read_head(connection)
            (key,) = (line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
            )
            while True:
                while len(data) >= 6 and len(data) >= 6 + (data[1] & 127):
                    size = data[1] & 127
                    mask, masked = data[2:6], data[6 : 6 + size]
                    text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
                    connection.sendall(b"\x82" + bytes([size]) + text)
                    data = data[6 + size :]
                more = connection.recv(65536)
                if not more:
                    return
                data += more

        def frame(number: int) -> bytes:
            mask = b"\x01\x02\x03\x04"
            text = b"%05d" % number
            return b"\x82\x85" + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))

        with SocketServer(echo) as server, balancer(server.address) as process:
            client = self.connect(process)
            client.sendall(
                b"GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame(0)
            )
            head, data = read_head(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)
            self.assertIn(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", head)
            sender = threading.Thread(target=lambda: [client.sendall(frame(number)) for number in range(1, count)])
            sender.start()
            data = read_exactly(client, data, 7 * count)
            sender.join()
            client.close()
        self.assertEqual(data, b"".join(b"\x82\x05%05d" % number for number in range(count)))

    def test_e_client_that_reads_nothing(self) -> None:
        """(E) A client that reads nothing while the backend pushes 200 MiB costs at most 8 MiB of memory."""
        sent = [0]
        stuck = threading.Event()

        def push(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 * MIB))
            connection.settimeout(2)
            piece = b"x" * MIB
            with contextlib.suppress(TimeoutError):
                for _ in range(200):
                    connection.sendall(piece)
                    sent[0] += MIB
            stuck.set()

        with SocketServer(push) as server, balancer(server.address) as process:
            warm, _ = self.ask(process, b"BREW / HTTP/9.9\r\n\r\n")
            self.assertTrue(warm.startswith(b"HTTP/1.1 505 "))
            before = process.rss()
            client = self.connect(process)
            client.sendall(GET)
            self.assertTrue(stuck.wait(PATIENCE))
            self.assertLess(sent[0], 60 * MIB)  # the kernel's buffers take some
            self.assertLess(process.peak_memory() - before, 8 * MIB)
            client.close()

    def test_j_client_leaves(self) -> None:
        """(J) A client that leaves in the middle of a response: the backend sees the close within 100 ms."""
        closed_at: list[float] = []
        over = threading.Event()

        def slow(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun")
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1)
            closed_at.append(perf_counter())
            over.set()

        with SocketServer(slow) as server, balancer(server.address) as process:

            def leave() -> float:
                over.clear()
                client = self.connect(process)
                client.sendall(GET)
                _, rest = read_head(client)
                read_exactly(client, rest, 5)
                left_at = perf_counter()
                client.close()
                self.assertTrue(over.wait(PATIENCE))
                return closed_at[-1] - left_at

            promptly(0.1, leave)

    def test_l_one_backend_connection(self) -> None:
        """(L) 20 requests on one client connection use one backend connection, pipelined or one by one."""

        def serve(connection: socket.socket) -> None:
            data = b""
            while more := connection.recv(65536):
                data += more
                while b"\r\n\r\n" in data:
                    _, _, data = data.partition(b"\r\n\r\n")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with SocketServer(serve) as server, balancer(server.address) as process:
            client = self.connect(process)
            for _ in range(10):
                client.sendall(GET)
                _, rest = read_head(client)
                read_exactly(client, rest, 2)
            client.sendall(GET * 10)
            data = b""
            while data.count(b"\r\n\r\nok") < 10:
                data += client.recv(65536)
            self.assertEqual(server.accepted, 1)

    def test_o_refused(self) -> None:
        """(O) A backend that refuses the connection is a 502 at once."""
        with balancer(f"127.0.0.1:{free_port()}") as process:

            def refused() -> float:
                began = perf_counter()
                answer, _ = self.ask(process)
                self.assertTrue(answer.startswith(b"HTTP/1.1 502 "), answer)
                return perf_counter() - began

            promptly(1, refused)

    def test_n_dripped_head(self) -> None:
        """(N) A head that comes byte by byte is answered 408 within its deadline, however steadily it comes."""
        extra = "timeouts = { head = 2 }\n"
        with SocketServer(read_head) as server, balancer(server.address, extra=extra) as process:

            def drip() -> float:
                client = self.connect(process)
                client.settimeout(0.2)
                began = perf_counter()
                answer = b""
                for byte in GET.replace(b"/", b"/" + b"x" * 1000, 1):  # it would take minutes
                    client.sendall(bytes([byte]))
                    with contextlib.suppress(TimeoutError):
                        answer = client.recv(65536)
                        break
                took = perf_counter() - began
                self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
                self.assertGreater(took, 1.9)
                return took

            promptly(3, drip)
