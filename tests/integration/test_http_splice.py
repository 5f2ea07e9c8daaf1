"""Large response bodies over real sockets and the real reactor: spliced, framed, counted, ended and cut as ever."""

import random
import socket
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own

from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.testing.bulk import MEGA, HttpBulkTestCase, fate, receive, receive_head, reset, stuff

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class SpliceTests(HttpBulkTestCase):
    """Responses."""

    reactor: Any = reactor
    server: socket.socket

    async def asked(self, client: socket.socket | None = None) -> tuple[socket.socket, socket.socket]:
        """A client that has asked, and the backend that has read the request."""
        if client is None:
            client = self.client(GET)
            self.server = await self.backend()
        else:
            client.sendall(GET)
        await self.thread(receive_head, self.server)
        return client, self.server

    async def begin(self, size: int, part: int) -> tuple[socket.socket, socket.socket]:
        """A response of ``size`` bytes, of which a part has arrived, spliced."""
        client, backend = await self.asked()
        sending = self.thread(backend.sendall, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * part)
        await self.thread(receive_head, client)
        await self.thread(receive, client, part)
        await sending
        self.assertEqual(self.splicer.active, 1)
        return client, backend

    async def ends(self, termination: Termination, size: int) -> None:
        await self.until(lambda: bool(self.records))
        (record,) = self.records
        self.assertEqual((record.termination, record.bytes_out), (termination, size))
        self.assertEqual((self.splicer.active, self.upstream.active), (0, 0))

    async def test_bodies_one_after_another(self) -> None:
        """Large and small bodies take turns on one connection, identical and counted, and both connections are kept."""
        await self.serve()
        client: socket.socket | None = None
        sizes = [16 * MEGA, 10, 262_144, 3 * MEGA + 1, 0, 700_000]
        for size in sizes:
            client, backend = await self.asked(client)
            body = random.randbytes(size)
            sending = self.thread(backend.sendall, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
            head = await self.thread(receive_head, client)
            self.assertIn(b"Content-Length: %d\r\n" % size, head)
            self.assertTrue(await self.thread(receive, client, size) == body)
            await sending
            await self.until(lambda: self.upstream.active == 0)
        self.assertEqual([record.bytes_out for record in self.records], sizes)
        self.assertEqual({record.termination for record in self.records}, {Termination.DONE})
        self.assertTrue(3 <= self.splicer.begun <= 4, self.splicer)
        self.assertEqual(self.splicer.active, 0)

    async def test_a_body_that_is_cut_off(self) -> None:
        """A backend that ends in order, or resets, within a spliced body: the client is reset too."""
        for how, termination in (("end", Termination.TRUNCATED_RESPONSE), ("reset", Termination.BACKEND_RESET)):
            with self.subTest(how=how):
                await self.serve()
                client, backend = await self.begin(8 * MEGA, MEGA)
                if how == "end":
                    backend.shutdown(socket.SHUT_WR)
                else:
                    reset(backend)
                self.assertEqual(await self.thread(fate, client), "reset")
                await self.ends(termination, MEGA)

    async def test_bytes_after_the_body(self) -> None:
        """What a backend sends after the body is no part of it, and its connection is not used again."""
        await self.serve()
        client, backend = await self.begin(2 * MEGA, MEGA)
        sending = self.thread(backend.sendall, b"x" * MEGA + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        self.assertEqual(await self.thread(receive, client, MEGA), b"x" * MEGA)
        await sending
        await self.ends(Termination.DONE, 2 * MEGA)
        self.assertEqual(await self.thread(fate, backend), "reset")
        client.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            await self.thread(client.recv, 1)

    async def test_a_client_that_leaves(self) -> None:
        """A client that closes or resets while the backend is silent is noticed at once, and the backend cut off."""
        for leave in (socket.socket.close, reset):
            with self.subTest(leave=leave):
                await self.serve()
                client, backend = await self.begin(8 * MEGA, MEGA)
                leave(client)
                await self.until(lambda: bool(self.records))
                await self.ends(Termination.CLIENT_LEFT, MEGA)
                self.assertEqual(await self.thread(fate, backend), "reset")

    async def test_a_client_that_stops_reading(self) -> None:
        """A client that reads nothing stops the backend, and is given up after ``timeouts.write``."""
        await self.serve(BackendTimeouts(idle=0.8), timeouts=ClientTimeouts(write=2.0))
        client, backend = await self.begin(1 << 30, MEGA)
        await stuff(reactor, backend)
        await self.time_passes(1.8)  # nobody blames the backend
        self.assertEqual(self.records, [])
        await self.ends_in_time()
        self.assertEqual(self.records[0].termination, Termination.CLIENT_WRITE_TIMEOUT)
        self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_a_backend_that_is_silent(self) -> None:
        """Silence within a spliced body is the backend's idle timeout; moving holds it off."""
        await self.serve(BackendTimeouts(idle=1.0))
        client, backend = await self.begin(8 * MEGA, MEGA)
        for _ in range(3):
            await self.time_passes(0.8)
            sending = self.thread(backend.sendall, b"x" * MEGA)
            await self.thread(receive, client, MEGA)
            await sending
        await self.time_passes(0.8)
        self.assertEqual(self.records, [])
        await self.ends_in_time()
        self.assertEqual(await self.thread(fate, client), "reset")
        await self.ends(Termination.BACKEND_IDLE_TIMEOUT, 4 * MEGA)

    async def test_abort_all(self) -> None:
        """A shutdown cuts what is spliced."""
        await self.serve()
        client, backend = await self.begin(8 * MEGA, MEGA)
        self.factory.abort_all()
        await self.ends(Termination.SHUTDOWN, MEGA)
        self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_what_is_not_spliced(self) -> None:
        """A chunked body, a small one, the answer to HEAD, and any with ``splice = 0`` are not spliced."""
        body = b"x" * MEGA
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + body + b"\r\n0\r\n\r\n"
        for answer, settings in (
            (chunked, {}),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + body[:200_000], {}),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + body, {"splice": 0}),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + body, {"splicer": None}),
        ):
            with self.subTest(answer=answer[:60], settings=settings):
                await self.serve(**settings)
                client, backend = await self.asked()
                sending = self.thread(backend.sendall, answer)
                await self.thread(receive_head, client)
                await self.thread(receive, client, len(answer.partition(b"\r\n\r\n")[2]))
                await sending
                await self.until(lambda: bool(self.records))
                self.assertEqual(self.records[0].termination, Termination.DONE)
                self.assertEqual(self.splicer.begun, 0)
