"""Large request bodies over real sockets and the real reactor: spliced, counted, timed, answered and cut as ever."""

import random
import socket
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own

from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.testing.bulk import MEGA, HttpBulkTestCase, fate, receive, receive_head, reset, stuff

GET = b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nmuch"


def head(size: int, more: bytes = b"") -> bytes:
    """Of an upload."""
    return b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n%s\r\n" % (size, more)


def receive_to(connection: socket.socket, end: bytes) -> None:
    """Read until what came ends so."""
    tail = b""
    while not tail.endswith(end):
        part = connection.recv(MEGA)
        if not part:
            raise AssertionError(f"closed before {end!r}")
        tail = (tail + part)[-len(end) :]


class UploadTests(HttpBulkTestCase):
    """Requests."""

    reactor: Any = reactor

    async def begin(self, size: int, part: int) -> tuple[socket.socket, socket.socket]:
        """A request of ``size`` bytes, of which a part has arrived, spliced."""
        client = self.client(head(size))
        backend = await self.backend()
        sending = self.thread(client.sendall, b"x" * part)
        await self.thread(receive_head, backend)
        await self.thread(receive, backend, part)
        await sending
        self.assertEqual(self.splicer.active, 1)
        return client, backend

    async def answer(self, client: socket.socket, status: int) -> bytes:
        """The whole answer's head, and its body after it."""
        line = await self.thread(receive_head, client)
        self.assertTrue(line.startswith(b"HTTP/1.1 %d " % status), line)
        return line

    async def ends(self, termination: Termination, size: int) -> None:
        await self.until(lambda: bool(self.records))
        (record,) = self.records
        self.assertEqual((record.termination, record.bytes_in), (termination, size))
        self.assertEqual((self.splicer.active, self.upstream.active), (0, 0))

    async def test_bodies_one_after_another(self) -> None:
        """Large and small bodies take turns on one connection, identical and counted; both connections are kept."""
        await self.serve()
        client = self.client()
        backend: socket.socket | None = None
        sizes = [64 * MEGA, 10, 262_144, 3 * MEGA + 1, 128 * MEGA, 700_000]
        for size in sizes:
            body = random.randbytes(size)
            sending = self.thread(client.sendall, head(size) + body)
            backend = backend or await self.backend()
            self.assertIn(b"Content-Length: %d\r\n" % size, await self.thread(receive_head, backend))
            self.assertTrue(await self.thread(receive, backend, size) == body)
            await sending
            backend.sendall(OK)
            self.assertNotIn(b"Connection", await self.answer(client, 200))
            self.assertEqual(await self.thread(receive, client, 2), b"ok")
        self.assertEqual([record.bytes_in for record in self.records], sizes)
        self.assertEqual({record.termination for record in self.records}, {Termination.DONE})
        self.assertTrue(3 <= self.splicer.begun <= 4, self.splicer)
        self.assertEqual((self.splicer.active, self.accepted, self.http.idle), (0, [], 1))

    async def test_a_request_behind_the_body(self) -> None:
        """What a client sends behind the body is the next request, and no part of the body."""
        await self.serve()
        client, backend = await self.begin(8 * MEGA, 4 * MEGA)
        sending = self.thread(client.sendall, b"y" * 4 * MEGA + GET)
        self.assertTrue(await self.thread(receive, backend, 4 * MEGA) == b"y" * 4 * MEGA)
        await sending
        await self.until(lambda: self.splicer.active == 0)
        backend.sendall(OK)
        await self.answer(client, 200)
        self.assertIn(b"GET /next ", await self.thread(receive_head, backend))
        backend.sendall(OK)
        self.assertEqual(await self.thread(receive, client, 2), b"ok")
        await self.answer(client, 200)
        self.assertEqual([record.bytes_in for record in self.records], [8 * MEGA, 0])

    async def test_expect_continue(self) -> None:
        """A client that waits for leave to send gets it, and its body is spliced only then."""
        await self.serve()
        client = self.client(head(16 * MEGA, b"Expect: 100-continue\r\n"))
        backend = await self.backend()
        self.assertIn(b"Expect: 100-continue", await self.thread(receive_head, backend))
        self.assertEqual(self.splicer.begun, 0)
        backend.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.answer(client, 100)
        sending = self.thread(client.sendall, b"z" * 16 * MEGA)
        self.assertTrue(await self.thread(receive, backend, 16 * MEGA) == b"z" * 16 * MEGA)
        await sending
        backend.sendall(OK)
        await self.answer(client, 200)
        self.assertEqual(self.splicer.begun, 1)
        await self.ends(Termination.DONE, 16 * MEGA)

    async def test_a_client_that_leaves(self) -> None:
        """A client that closes or resets within a spliced body is noticed at once; the backend is reset: no end."""
        for leave in (lambda client: client.shutdown(socket.SHUT_WR), socket.socket.close, reset):
            with self.subTest(leave=leave):
                await self.serve()
                client, backend = await self.begin(8 * MEGA, 4 * MEGA)
                leave(client)
                await self.until(lambda: bool(self.records))
                self.assertEqual(await self.thread(fate, backend), "reset")
                await self.ends(Termination.CLIENT_LEFT, 4 * MEGA)

    async def test_a_client_that_stalls(self) -> None:
        """Moving holds ``timeouts.body`` off; then silence is answered 408, and the backend is reset."""
        await self.serve(timeouts=ClientTimeouts(body=1.0))
        client, backend = await self.begin(16 * MEGA, 4 * MEGA)
        for _ in range(3):
            await self.time_passes(0.8)
            sending = self.thread(client.sendall, b"x" * MEGA)
            await self.thread(receive, backend, MEGA)
            await sending
        await self.time_passes(0.8)
        self.assertEqual(self.records, [])
        self.assertEqual(self.splicer.active, 1)
        await self.ends_in_time()
        self.assertIn(b"Connection: close", await self.answer(client, 408))
        self.assertEqual(await self.thread(fate, backend), "reset")
        await self.ends(Termination.CLIENT_BODY_TIMEOUT, 7 * MEGA)

    async def test_a_backend_that_resets(self) -> None:
        """A backend that resets, or closes in order, within a spliced body: 502, and it is not asked again."""
        for leave in (reset, socket.socket.close, lambda backend: backend.shutdown(socket.SHUT_WR)):
            for full in (False, True):
                with self.subTest(leave=leave, full=full):
                    await self.serve()
                    client, backend = await self.begin(1 << 30, 4 * MEGA)
                    sent = 4 * MEGA + (await stuff(reactor, client) if full else 0)
                    leave(backend)
                    self.assertIn(b"Connection: close", await self.answer(client, 502))
                    self.assertLessEqual(self.records[0].bytes_in, sent)
                    await self.ends(Termination.BACKEND_CLOSED_EARLY, self.records[0].bytes_in)
                    self.assertEqual(self.accepted, [])

    async def test_a_backend_that_stops_reading(self) -> None:
        """A backend that takes nothing stops the client, who is not blamed for it: 504 after ``first_byte``."""
        await self.serve(BackendTimeouts(first_byte=2.5), timeouts=ClientTimeouts(body=0.5))
        client, backend = await self.begin(1 << 30, 4 * MEGA)
        sent = await stuff(reactor, client)
        await self.time_passes(2.0)  # long past the client's own timeout
        self.assertEqual(self.records, [])
        self.assertEqual(self.splicer.active, 1)
        await self.ends_in_time()
        await self.answer(client, 504)
        self.assertEqual(await self.thread(fate, backend), "reset")
        self.assertLess(self.records[0].bytes_in, sent + 4 * MEGA)
        await self.ends(Termination.BACKEND_WRITE_TIMEOUT, self.records[0].bytes_in)

    async def test_a_backend_that_reads_slowly(self) -> None:
        """A backend that takes a part now and then has as long again each time, and all arrives."""
        await self.serve(BackendTimeouts(first_byte=1.5))
        client, backend = await self.begin(1 << 30, 4 * MEGA)
        sent = await stuff(reactor, client)
        got = 0
        while got < sent:
            await self.time_passes(0.6)
            got += len(await self.thread(receive, backend, min(3 * MEGA, sent - got)))
        self.assertEqual(self.records, [])
        reset(client)
        await self.ends(Termination.CLIENT_LEFT, 4 * MEGA + sent)

    async def test_refused_early(self) -> None:
        """413 before the body's end, whether the backend reads on, keeps or resets: the client has it, and may send."""
        for full in (False, True):
            for leave in (None, socket.socket.close):
                with self.subTest(full=full, leave=leave):
                    await self.serve()
                    size = 64 * MEGA
                    client, backend = await self.begin(size, 4 * MEGA)
                    sent = 4 * MEGA + (await stuff(reactor, client, size - 8 * MEGA) if full else 0)
                    backend.sendall(REFUSED)
                    if leave is not None:
                        leave(backend)
                    self.assertIn(b"Connection: close", await self.answer(client, 413))
                    self.assertEqual(await self.thread(receive, client, 4), b"much")
                    await self.until(lambda: bool(self.records))
                    self.assertEqual((self.records[0].termination, self.records[0].status), (Termination.DONE, 413))
                    self.assertEqual((self.splicer.active, self.http.idle), (0, 0))
                    await self.thread(client.sendall, b"x" * (size - sent))  # lingering: not reset while it sends
                    client.close()

    async def test_answered_while_it_sends(self) -> None:
        """An answer that begins early and goes well: both bodies are spliced at one time, and both arrive whole."""
        await self.serve()
        client, backend = await self.begin(32 * MEGA, 4 * MEGA)
        up, down = random.randbytes(28 * MEGA), random.randbytes(32 * MEGA)
        first, rest = down[: 16 * MEGA], down[16 * MEGA :]
        answering = self.thread(backend.sendall, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(down) + first)
        await self.answer(client, 200)
        self.assertTrue(await self.thread(receive, client, len(first)) == first)
        await answering
        self.assertEqual(self.splicer.active, 2)
        sending = self.thread(client.sendall, up)
        self.assertTrue(await self.thread(receive, backend, len(up)) == up)
        await sending
        answering = self.thread(backend.sendall, rest)  # last, for an answer's end before the body's cuts the body
        self.assertTrue(await self.thread(receive, client, len(rest)) == rest)
        await answering
        await self.ends(Termination.DONE, 32 * MEGA)
        self.assertEqual((self.records[0].bytes_out, self.http.idle), (32 * MEGA, 1))

    async def test_drained(self) -> None:
        """A drain lets a spliced body arrive; its answer says that the connection closes."""
        await self.serve()
        client, backend = await self.begin(8 * MEGA, 4 * MEGA)
        self.factory.drain()
        sending = self.thread(client.sendall, b"x" * 4 * MEGA)
        await self.thread(receive, backend, 4 * MEGA)
        await sending
        backend.sendall(OK)
        self.assertIn(b"Connection: close", await self.answer(client, 200))
        self.assertEqual(await self.thread(fate, client), "end")
        await self.ends(Termination.DONE, 8 * MEGA)

    async def test_abort_all(self) -> None:
        """A shutdown resets both, with bytes in the pipe or without."""
        for full in (False, True):
            with self.subTest(full=full):
                await self.serve()
                client, backend = await self.begin(1 << 30, 4 * MEGA)
                if full:
                    await stuff(reactor, client)
                self.factory.abort_all()
                await self.ends(Termination.SHUTDOWN, self.records[0].bytes_in)
                self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_the_total_timeout(self) -> None:
        """``timeouts.total`` counts, and ends it: 504, and the backend is reset."""
        await self.serve(BackendTimeouts(total=1.5))
        client, backend = await self.begin(8 * MEGA, 4 * MEGA)
        await self.ends_in_time()
        await self.answer(client, 504)
        self.assertEqual(await self.thread(fate, backend), "reset")
        await self.ends(Termination.TOTAL_TIMEOUT, 4 * MEGA)

    async def test_what_is_not_spliced(self) -> None:
        """A chunked body, one that is nearly over, and any with ``splice = 0`` are not spliced."""
        body = b"x" * (4 * MEGA - 3) + b"end"
        chunks = b"400000\r\n" + body + b"\r\n0\r\n\r\n"
        chunked = b"PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        for request, settings in (
            (chunked, {}),
            (head(400_000) + body[-400_000:], {}),
            (head(4 * MEGA) + body, {"splice": 0}),
            (head(4 * MEGA) + body, {"splicer": None}),
        ):
            with self.subTest(request=request[:60], settings=settings):
                await self.serve(**settings)
                client = self.client()
                sending = self.thread(client.sendall, request)
                backend = await self.backend()
                await self.thread(receive_to, backend, request[-5:])
                await sending
                backend.sendall(OK)
                await self.answer(client, 200)
                await self.until(lambda: bool(self.records))
                self.assertEqual((self.records[0].termination, self.splicer.begun), (Termination.DONE, 0))
