"""Layer 4 bulk over real sockets and the real reactor: spliced, every end, reset, limit and count is as it was."""

import hashlib
import os
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from balancer.config.schema import SPLICES
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.net.connector import Connector
from balancer.net.listen import listen
from balancer.net.splice import KERNEL, Splicer
from balancer.net.timers import TimerWheel
from balancer.tcp.connection import Connection
from balancer.tcp.factory import ForwardingFactory, forward
from balancer.tcp.settings import TcpSettings
from balancer.testing.bulk import MEGA, PATIENCE, STEP, fate, looked, receive, reset, stuff
from balancer.testing.certificates import Authority
from balancer.testing.peers import SocketServer

T = TypeVar("T")


class SpliceTests(TestCase):
    """A factory that listens on loopback; client and server are moved by threads, time by the test."""

    timeout = 170

    def setUp(self) -> None:
        if KERNEL is None:
            self.skipTest("there is no splice(2) here")
        self.clock = Clock()

    async def forward(self, endpoint: str = "tcp:0:interface=127.0.0.1", **settings: Any) -> None:
        """One backend, whose connections are kept in ``accepted``."""
        self.accepted: list[socket.socket] = []
        self.done = threading.Event()
        self.addCleanup(self.done.set)
        server = SocketServer(self.keep).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        self.addCleanup(self.done.set)
        self.records: list[ConnectionRecord] = []
        self.splicer = Splicer(reactor, SPLICES)  # type: ignore[arg-type]  # the reactor is declared as its interfaces
        chosen = TcpSettings(log=self.records.append, splicer=self.splicer, **settings)
        made, timers = forward(reactor, server.address, settings=chosen), TimerWheel(self.clock)
        connector = Connector(reactor, timers)  # type: ignore[arg-type]  # as above
        self.factory = ForwardingFactory(made.upstream, connector, timers, made.settings)
        port: IListeningPort = await listen(reactor, "tcp", endpoint, self.factory)
        self.addCleanup(self.stop, port, self.factory, self.splicer)
        self.where: Any = port.getHost()

    def keep(self, connection: socket.socket) -> None:
        self.accepted.append(connection)
        self.done.wait(PATIENCE)

    async def stop(self, port: IListeningPort, factory: ForwardingFactory, splicer: Splicer) -> None:
        await port.stopListening()
        factory.abort_all()
        await factory.drained()
        self.assertEqual(splicer.active, 0)

    async def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the backend's end."""
        client = socket.create_connection(("127.0.0.1", self.where.port), PATIENCE)
        return client, await self.met(client)

    async def met(self, client: socket.socket) -> socket.socket:
        self.addCleanup(client.close)
        await self.until(lambda: bool(self.accepted))
        backend = self.accepted.pop()
        backend.settimeout(PATIENCE)
        return backend

    def thread(self, call: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        return deferToThread(call, *arguments)

    async def until(self, condition: Callable[[], bool]) -> None:
        begun = reactor.seconds()
        while not condition():
            self.assertLess(reactor.seconds() - begun, PATIENCE, f"still not so: {self.records} {self.factory}")
            await deferLater(reactor, 0.005)

    async def bulk(self, sender: socket.socket, receiver: socket.socket, size: int = 2 * MEGA) -> None:
        """Have this direction spliced."""
        data = random.randbytes(size)
        sending = self.thread(sender.sendall, data)
        self.assertTrue(await self.thread(receive, receiver, size) == data)
        await sending
        self.assertGreater(self.splicer.active, 0)

    async def ends(self, termination: Termination) -> ConnectionRecord:
        await self.until(lambda: bool(self.records))
        (record,) = self.records
        self.assertEqual(record.termination, termination)
        self.assertEqual((self.splicer.active, self.factory.upstream.active), (0, 0))
        return record

    @property
    def connection(self) -> Connection:
        (connection,) = self.factory._connections
        return connection

    async def test_64_mib_each_way_at_once(self) -> None:
        """64 MiB each way at once arrive identical through the kernel; both half-closes arrive; counts are exact."""
        await self.forward()
        client, backend = await self.pair()
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
        record = await self.ends(Termination.DONE)
        self.assertEqual((record.bytes_in, record.bytes_out), (size, size))
        self.assertGreaterEqual(self.splicer.begun, 2)

    async def test_one_way_ends_the_other_goes_on(self) -> None:
        """The end of a spliced direction is passed on at once, and the other direction, spliced too, goes on."""
        for first in ("client", "backend"):
            with self.subTest(first=first):
                await self.forward()
                client, backend = await self.pair()
                early, late = (client, backend) if first == "client" else (backend, client)
                await self.bulk(early, late)
                await self.bulk(late, early)
                early.shutdown(socket.SHUT_WR)
                self.assertEqual(await self.thread(receive, late), b"")
                await self.bulk(late, early)
                late.shutdown(socket.SHUT_WR)
                self.assertEqual(await self.thread(receive, early), b"")
                record = await self.ends(Termination.DONE)
                sizes = {"client": 2 * MEGA, "backend": 2 * MEGA}
                sizes["backend" if first == "client" else "client"] *= 2
                self.assertEqual((record.bytes_in, record.bytes_out), (sizes["client"], sizes["backend"]))

    async def test_resets(self) -> None:
        """Whoever resets, whichever direction is spliced, and however silent it is: the other is reset at once."""
        for who, termination in (("client", Termination.CLIENT_LEFT), ("backend", Termination.BACKEND_RESET)):
            for spliced in ("up", "down", "both"):
                with self.subTest(who=who, spliced=spliced):
                    await self.forward()
                    client, backend = await self.pair()
                    if spliced != "down":
                        await self.bulk(client, backend)
                    if spliced != "up":
                        await self.bulk(backend, client)
                    left, stays = (client, backend) if who == "client" else (backend, client)
                    reset(left)
                    await self.until(lambda: bool(self.records))  # the clock stands still: no timeout did it
                    self.assertEqual(await self.thread(fate, stays), "reset")
                    await self.ends(termination)

    async def test_a_target_that_resets_in_the_middle(self) -> None:
        """A receiver that resets while bytes for it are in the pipe ends the sender with a reset."""
        for who, termination in (("client", Termination.CLIENT_LEFT), ("backend", Termination.BACKEND_RESET)):
            with self.subTest(who=who):
                await self.forward()
                client, backend = await self.pair()
                receiver, sender = (client, backend) if who == "client" else (backend, client)
                await self.bulk(sender, receiver)
                await stuff(reactor, sender)
                reset(receiver)
                self.assertEqual(await self.thread(fate, sender), "reset")
                await self.ends(termination)

    async def test_the_idle_timeout(self) -> None:
        """Bytes that are spliced hold the idle timeout off; silence lets it come, and both are reset."""
        await self.forward(timeouts=ClientTimeouts(tunnel=1.5))
        client, backend = await self.pair()
        for _ in range(4):
            await self.bulk(client, backend)
            await looked(reactor)
            self.clock.advance(1.0)
        self.assertEqual(self.records, [])
        while not self.records:
            self.clock.advance(STEP)
            await looked(reactor)
        self.assertEqual(await self.thread(fate, client), "reset")
        self.assertEqual(await self.thread(fate, backend), "reset")
        record = await self.ends(Termination.TUNNEL_IDLE)
        self.assertEqual(record.bytes_in, 8 * MEGA)

    async def test_abort_all(self) -> None:
        """A shutdown resets both ends of what is spliced, with bytes in the pipe or without."""
        for full in (False, True):
            with self.subTest(full=full):
                await self.forward()
                client, backend = await self.pair()
                await self.bulk(client, backend)
                if full:
                    await stuff(reactor, client)
                self.factory.abort_all()
                await self.ends(Termination.SHUTDOWN)
                self.assertEqual({await self.thread(fate, end) for end in (client, backend)}, {"reset"})

    async def test_a_receiver_that_stops(self) -> None:
        """Where the receiver stops, the sender stalls, and we hold no more than the buffer; then all arrives."""
        await self.forward(buffer=128 * 1024)
        client, backend = await self.pair()
        await self.bulk(client, backend)
        sent = 2 * MEGA + await stuff(reactor, client)
        splice = self.connection.client.splice
        assert splice is not None
        self.assertTrue(0 < splice.held <= 128 * 1024, splice)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(len(await self.thread(receive, backend)), sent - 2 * MEGA)
        backend.close()
        self.done.set()
        self.assertEqual((await self.ends(Termination.DONE)).bytes_in, sent)

    async def test_a_unix_socket_in_front(self) -> None:
        """A UNIX socket is spliced too."""
        path = os.path.join(tempfile.mkdtemp(), "front")
        await self.forward(f"unix:{path}")
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(path)
        backend = await self.met(client)
        await self.bulk(client, backend)
        await self.bulk(backend, client)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await self.thread(receive, backend), b"")
        backend.close()
        self.done.set()
        self.assertEqual(await self.thread(receive, client), b"")
        self.assertEqual((await self.ends(Termination.DONE)).bytes_in, 2 * MEGA)

    async def test_tls_is_not_spliced(self) -> None:
        """With TLS in front nothing is spliced, and everything arrives."""
        directory = tempfile.mkdtemp()
        authority = Authority(directory)
        pem = authority.issue("localhost")
        await self.forward(f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}")
        context = ssl.create_default_context(cafile=authority.file)

        def connect() -> socket.socket:
            return context.wrap_socket(
                socket.create_connection(("127.0.0.1", self.where.port), PATIENCE), server_hostname="localhost"
            )

        client = await self.thread(connect)
        backend = await self.met(client)
        data = random.randbytes(2 * MEGA)
        sending = self.thread(client.sendall, data)
        self.assertTrue(await self.thread(receive, backend, len(data)) == data)
        await sending
        self.assertEqual(self.splicer.begun, 0)

    async def test_turned_off(self) -> None:
        """``splice = 0`` copies."""
        await self.forward(splice=0)
        client, backend = await self.pair()
        data = random.randbytes(2 * MEGA)
        sending = self.thread(client.sendall, data)
        self.assertTrue(await self.thread(receive, backend, len(data)) == data)
        await sending
        self.assertEqual(self.splicer.begun, 0)
