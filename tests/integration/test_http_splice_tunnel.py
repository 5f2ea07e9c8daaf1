"""Tunnels after a 101 that carry much, over real sockets and the real reactor: spliced as at layer 4."""

import hashlib
import random
import socket
import threading
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own

from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.testing.bulk import MEGA, HttpBulkTestCase, fate, receive, receive_head, reset, stuff

ASK = b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n"


class TunnelTests(HttpBulkTestCase):
    """After 101."""

    reactor: Any = reactor

    async def tunnel(self, **settings: Any) -> tuple[socket.socket, socket.socket]:
        """The client's end and the backend's."""
        await self.serve(**settings)
        client = self.client(ASK)
        backend = await self.backend()
        await self.thread(receive_head, backend)
        backend.sendall(SWITCH)
        await self.thread(receive_head, client)
        return client, backend

    async def bulk(self, sender: socket.socket, receiver: socket.socket, size: int = 4 * MEGA) -> None:
        """Have this direction spliced."""
        data = random.randbytes(size)
        sending = self.thread(sender.sendall, data)
        self.assertTrue(await self.thread(receive, receiver, size) == data)
        await sending
        self.assertGreater(self.splicer.active, 0)

    async def ends(self, termination: Termination) -> ExchangeRecord:
        await self.until(lambda: bool(self.records))
        (record,) = self.records
        self.assertEqual((record.termination, record.status), (termination, 101))
        self.assertEqual((self.splicer.active, self.upstream.active), (0, 0))
        return record

    async def test_64_mib_each_way_at_once(self) -> None:
        """64 MiB each way at once arrive identical through the kernel; both half-closes arrive; counts are exact."""
        client, backend = await self.tunnel()
        size = 64 * MEGA
        data = {"up": random.randbytes(size), "down": random.randbytes(size)}
        got: dict[str, str] = {}

        def carry(name: str, sender: socket.socket, receiver: socket.socket) -> None:
            other = threading.Thread(target=lambda: (sender.sendall(data[name]), sender.shutdown(socket.SHUT_WR)))
            other.start()
            digest = hashlib.sha256()
            while part := receiver.recv(MEGA):
                digest.update(part)
            got[name] = digest.hexdigest()
            other.join()

        up = self.thread(carry, "up", client, backend)
        down = self.thread(carry, "down", backend, client)
        await up
        await down
        self.assertEqual(got, {name: hashlib.sha256(sent).hexdigest() for name, sent in data.items()})
        record = await self.ends(Termination.UPGRADED)
        self.assertEqual((record.bytes_in, record.bytes_out), (size, size))
        self.assertGreaterEqual(self.splicer.begun, 2)

    async def test_one_way_ends_the_other_goes_on(self) -> None:
        """The end of a spliced direction is passed on at once, and the other direction, spliced too, goes on."""
        for first in ("client", "backend"):
            with self.subTest(first=first):
                client, backend = await self.tunnel()
                early, late = (client, backend) if first == "client" else (backend, client)
                await self.bulk(early, late)
                await self.bulk(late, early)
                early.shutdown(socket.SHUT_WR)
                self.assertEqual(await self.thread(receive, late), b"")
                await self.bulk(late, early)
                late.shutdown(socket.SHUT_WR)
                self.assertEqual(await self.thread(receive, early), b"")
                record = await self.ends(Termination.UPGRADED)
                sizes = {"client": 4 * MEGA, "backend": 4 * MEGA}
                sizes["backend" if first == "client" else "client"] *= 2
                self.assertEqual((record.bytes_in, record.bytes_out), (sizes["client"], sizes["backend"]))

    async def test_resets(self) -> None:
        """Whoever resets, whichever direction is spliced, and however silent it is: the other is reset at once."""
        for who, termination in (("client", Termination.CLIENT_LEFT), ("backend", Termination.BACKEND_RESET)):
            for spliced in ("up", "down", "both"):
                with self.subTest(who=who, spliced=spliced):
                    client, backend = await self.tunnel()
                    if spliced != "down":
                        await self.bulk(client, backend)
                    if spliced != "up":
                        await self.bulk(backend, client)
                    left, stays = (client, backend) if who == "client" else (backend, client)
                    reset(left)
                    await self.until(lambda: bool(self.records))
                    self.assertEqual(await self.thread(fate, stays), "reset")
                    await self.ends(termination)

    async def test_a_target_that_resets_in_the_middle(self) -> None:
        """A receiver that resets while bytes for it are in the pipe ends the sender with a reset."""
        for who, termination in (("client", Termination.CLIENT_LEFT), ("backend", Termination.BACKEND_RESET)):
            with self.subTest(who=who):
                client, backend = await self.tunnel()
                receiver, sender = (client, backend) if who == "client" else (backend, client)
                await self.bulk(sender, receiver)
                await self.bulk(receiver, sender)
                await stuff(reactor, sender)
                reset(receiver)
                self.assertEqual(await self.thread(fate, sender), "reset")
                await self.ends(termination)

    async def test_the_idle_timeout(self) -> None:
        """Bytes that are spliced hold the idle timeout off; silence lets it come, and both are closed in order."""
        client, backend = await self.tunnel(timeouts=ClientTimeouts(tunnel=1.5))
        for _ in range(4):
            await self.bulk(client, backend)
            await self.bulk(backend, client)
            await self.time_passes(1.0)
        self.assertEqual(self.records, [])
        await self.ends_in_time()
        self.assertEqual(await self.thread(receive, client), b"")
        self.assertEqual(await self.thread(receive, backend), b"")
        record = await self.ends(Termination.TUNNEL_IDLE)
        self.assertEqual((record.bytes_in, record.bytes_out), (16 * MEGA, 16 * MEGA))

    async def test_idle_with_bytes_on_the_way(self) -> None:
        """Where the idle timeout comes while a receiver takes nothing, it still gets all that was read for it."""
        for receiving in ("client", "backend"):
            with self.subTest(receiving=receiving):
                client, backend = await self.tunnel(timeouts=ClientTimeouts(tunnel=1.5))
                receiver, sender = (client, backend) if receiving == "client" else (backend, client)
                await self.bulk(sender, receiver)
                await stuff(reactor, sender)
                await self.ends_in_time()
                record = await self.ends(Termination.TUNNEL_IDLE)
                read = record.bytes_out if receiving == "client" else record.bytes_in
                self.assertEqual(len(await self.thread(receive, receiver)) + 4 * MEGA, read)

    async def test_a_receiver_that_stops(self) -> None:
        """Where the receiver stops, the sender stalls; then all arrives, and the end behind it."""
        for receiving in ("client", "backend"):
            with self.subTest(receiving=receiving):
                client, backend = await self.tunnel(buffer=128 * 1024)
                receiver, sender = (client, backend) if receiving == "client" else (backend, client)
                await self.bulk(sender, receiver)
                sent = await stuff(reactor, sender)
                sender.shutdown(socket.SHUT_WR)
                self.assertEqual(len(await self.thread(receive, receiver)), sent)
                receiver.shutdown(socket.SHUT_WR)
                record = await self.ends(Termination.UPGRADED)
                self.assertEqual(sorted((record.bytes_in, record.bytes_out)), [0, sent + 4 * MEGA])

    async def test_a_client_that_takes_nothing(self) -> None:
        """A client that takes nothing for ``timeouts.write`` is given up, as without a splice."""
        client, backend = await self.tunnel(timeouts=ClientTimeouts(write=1.0))
        await self.bulk(backend, client)
        await stuff(reactor, backend)
        await self.time_passes(0.8)
        self.assertEqual(self.records, [])
        await self.ends_in_time()
        await self.ends(Termination.CLIENT_WRITE_TIMEOUT)
        self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_abort_all(self) -> None:
        """A shutdown resets both ends of what is spliced, with bytes in the pipes or without."""
        for full in (False, True):
            with self.subTest(full=full):
                client, backend = await self.tunnel()
                await self.bulk(client, backend)
                await self.bulk(backend, client)
                if full:
                    await stuff(reactor, client)
                    await stuff(reactor, backend)
                self.factory.abort_all()
                await self.ends(Termination.SHUTDOWN)
                self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_what_is_not_spliced(self) -> None:
        """Small messages, however many, and anything with ``splice = 0``, are not spliced."""
        for settings, size in (({"splice": 0}, 2 * MEGA), ({"splicer": None}, 2 * MEGA), ({}, 20_000)):
            with self.subTest(settings=settings):
                client, backend = await self.tunnel(**settings)
                for _ in range(2 * MEGA // size):
                    for sender, receiver in ((client, backend), (backend, client)):
                        data = random.randbytes(size)
                        sending = self.thread(sender.sendall, data)
                        self.assertTrue(await self.thread(receive, receiver, size) == data)
                        await sending
                self.assertEqual(self.splicer.begun, 0)
