"""Layer 4 over real sockets and the real reactor: what stock forwarding gets wrong."""

import gc
import hashlib
import random
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from balancer.config.schema import UpstreamConfig
from balancer.core.model import BackendSpec
from balancer.core.policies import QueuePolicy
from balancer.core.record import ConnectionRecord
from balancer.core.termination import Termination
from balancer.core.timeouts import BackendTimeouts
from balancer.core.tls import BackendTls
from balancer.net.listen import listen
from balancer.net.splice import unwritten
from balancer.tcp.connection import Connection
from balancer.tcp.factory import ForwardingFactory, forward
from balancer.tcp.settings import TcpSettings
from balancer.tcp.side import Side
from balancer.testing.blackhole import Blackhole
from balancer.testing.bulk import PATIENCE, stuff
from balancer.testing.certificates import Authority
from balancer.testing.peers import SocketServer, free_port
from balancer.testing.promptly import soon

T = TypeVar("T")
RESET = struct.pack("ii", 1, 0)


def receive_all(connection: socket.socket) -> bytes:
    """Read to the end."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def how_it_ends(connection: socket.socket) -> str:
    """``end`` or ``reset``."""
    try:
        return "reset" if receive_all(connection) is None else "end"
    except ConnectionResetError:
        return "reset"


class ForwardingTestCase(TestCase):
    """A factory that listens on loopback; clients run in threads."""

    timeout = 170

    async def listen(self, *servers: str, endpoint: str = "tcp:0:interface=127.0.0.1", **options: Any) -> None:
        """Forward to these servers."""
        self.records: list[ConnectionRecord] = []
        settings = options.pop("settings", {})
        policy = options.pop("policy", None)
        self.factory: ForwardingFactory = forward(
            reactor,
            *servers,
            balance=options.pop("balance", "first"),
            settings=TcpSettings(log=self.records.append, **settings),
            policy=policy,
        )
        port: IListeningPort = await listen(reactor, "tcp", endpoint, self.factory)
        self.addCleanup(self.stop, port)
        self.port = getattr(port.getHost(), "port", 0)

    async def stop(self, port: IListeningPort) -> None:
        await port.stopListening()
        self.factory.abort_all()
        await self.factory.drained()

    def serve(self, handle: Callable[[socket.socket], None]) -> SocketServer:
        server = SocketServer(handle).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def thread(self, call: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        return deferToThread(call, *arguments)

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Let the reactor run until something is so; returns how long that took."""
        begun = reactor.seconds()
        while not condition():
            waited = reactor.seconds() - begun
            self.assertLess(waited, seconds, f"still not so: {self.records} {self.factory}")
            await deferLater(reactor, 0.005)
        return float(reactor.seconds() - begun)

    async def records_are(self, *wanted: Termination) -> None:
        await self.until(lambda: len(self.records) >= len(wanted))
        self.assertEqual([record.termination for record in self.records], list(wanted))
        self.assertEqual(self.factory.upstream.active, 0)


class BytesTests(ForwardingTestCase):
    """Carrying."""

    async def test_half_close_keeps_the_reply(self) -> None:
        """(G) A client that sends, ends its side and then reads gets the whole reply."""

        def reverse(connection: socket.socket) -> None:
            connection.sendall(receive_all(connection)[::-1])

        await self.listen(self.serve(reverse).address)
        data = random.randbytes(500_000)

        def client() -> bytes:
            connection = self.connect()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

        self.assertEqual(await self.thread(client), data[::-1])
        await self.records_are(Termination.DONE)

    async def test_64_mib_each_way_at_once_are_identical(self) -> None:
        """64 MiB of random bytes each way at the same time arrive identical."""
        size = 64 * 2**20
        up, down = random.randbytes(size), random.randbytes(size)
        received: dict[str, str] = {}

        def exchange(connection: socket.socket, send: bytes, name: str) -> None:
            sender = threading.Thread(target=lambda: (connection.sendall(send), connection.shutdown(socket.SHUT_WR)))
            sender.start()
            digest = hashlib.sha256()
            while part := connection.recv(262_144):
                digest.update(part)
            received[name] = digest.hexdigest()
            sender.join()

        await self.listen(self.serve(lambda connection: exchange(connection, down, "up")).address)
        await self.thread(lambda: exchange(self.connect(), up, "down"))
        await self.records_are(Termination.DONE)
        await self.until(lambda: len(received) == 2)
        self.assertEqual(received["up"], hashlib.sha256(up).hexdigest())
        self.assertEqual(received["down"], hashlib.sha256(down).hexdigest())
        self.assertEqual((self.records[0].bytes_in, self.records[0].bytes_out), (size, size))

    async def test_a_backend_that_reads_nothing_stops_the_client(self) -> None:
        """A fast sender and a backend that reads nothing: the sender stalls, and we hold at most the buffer."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        totals = []

        def stubborn(connection: socket.socket) -> None:
            go_on.wait(PATIENCE)
            totals.append(len(receive_all(connection)))

        await self.listen(self.serve(stubborn).address)

        connection = self.connect()
        sent = await stuff(reactor, connection)
        self.assertLess(sent, 2**30, "it takes everything")
        (forwarded,) = self.factory._connections
        transport: Any = forwarded._backend.transport
        waiting = unwritten(transport)
        assert waiting is not None  # it is a plain socket
        held = waiting()
        held += forwarded.client.splice.held if forwarded.client.splice is not None else 0
        self.assertTrue(0 < held <= self.factory.settings.buffer, held)
        self.assertEqual(forwarded.client.received - held <= sent, True)
        go_on.set()
        connection.shutdown(socket.SHUT_WR)
        await self.records_are(Termination.DONE)
        self.assertEqual(totals, [sent])

    async def test_nothing_is_left_for_the_collector(self) -> None:
        """What a connection was is freed when it ends: no reference cycle keeps it until the collector runs."""

        def left() -> int:
            return sum(isinstance(thing, Connection | Side) for thing in gc.get_objects())

        await self.listen(self.serve(lambda connection: connection.sendall(receive_all(connection))).address)

        def clients() -> None:
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
                    connection.sendall(b"question")
                    connection.shutdown(socket.SHUT_WR)
                    receive_all(connection)

        gc.collect()
        before = left()
        gc.disable()
        self.addCleanup(gc.enable)
        await self.thread(clients)
        await self.records_are(*[Termination.DONE] * 20)
        await deferLater(reactor, 0)
        self.assertEqual(left(), before)

    async def test_a_unix_socket_in_front(self) -> None:
        """Any endpoint will do: clients of a UNIX socket are forwarded too."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = f"{directory.name}/front"
        await self.listen(
            self.serve(lambda connection: connection.sendall(receive_all(connection))).address, endpoint=f"unix:{path}"
        )

        def client() -> bytes:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(b"through")
                connection.shutdown(socket.SHUT_WR)
                return receive_all(connection)

        self.assertEqual(await self.thread(client), b"through")
        self.assertEqual(self.flushLoggedErrors(), [])


class ResetTests(ForwardingTestCase):
    """Aborts."""

    async def test_the_backends_reset_reaches_the_client(self) -> None:
        """A backend that resets in the middle: the client gets a reset, not an end."""

        def part(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(b"part")
            reset(connection)

        await self.listen(self.serve(part).address)

        def client() -> str:
            connection = self.connect()
            connection.sendall(b"question")
            return how_it_ends(connection)

        self.assertEqual(await self.thread(client), "reset")
        await self.records_are(Termination.BACKEND_RESET)

    async def test_the_clients_reset_reaches_the_backend_within_100_ms(self) -> None:
        """A client that resets: the backend sees a reset within 100 ms, while it sends and while it waits."""
        fates: list[str] = []
        reading = threading.Event()

        def watch(connection: socket.socket) -> None:
            pushes = connection.recv(4) == b"push"
            reading.set()
            try:
                while pushes:
                    connection.send(b"x" * 65536)
                fates.append(how_it_ends(connection))
            except ConnectionError:
                fates.append("reset")

        await self.listen(self.serve(watch).address)
        orders: list[bytes] = []

        async def leave(order: bytes) -> float:
            orders.append(order)
            connection = self.connect()
            connection.sendall(order)
            await self.until(reading.is_set)
            reset(connection)
            took = await self.until(lambda: bool(fates))
            self.assertEqual(fates, ["reset"])
            fates.clear()
            reading.clear()
            return took

        for order in (b"wait", b"push"):
            await soon(0.1, partial(leave, order))
        await self.records_are(*[Termination.CLIENT_LEFT] * len(orders))

    async def test_a_client_that_closes_mid_answer_stops_the_backend(self) -> None:
        """(J) A client that closes in the middle of an endless answer: the backend is stopped within 100 ms."""
        stopped = threading.Event()

        def endless(connection: socket.socket) -> None:
            try:
                while True:
                    connection.sendall(b"x" * 65536)
            finally:
                stopped.set()

        await self.listen(self.serve(endless).address)

        left: list[socket.socket] = []

        async def leave() -> float:
            connection = self.connect()
            await self.thread(connection.recv, 65536)
            connection.close()
            took = await self.until(stopped.is_set)
            stopped.clear()
            left.append(connection)
            return took

        await soon(0.1, leave)
        await self.records_are(*[Termination.CLIENT_LEFT] * len(left))


class OpeningTests(ForwardingTestCase):
    """Finding a backend."""

    def greeter(self) -> SocketServer:
        return self.serve(lambda connection: connection.sendall(b"hello " + receive_all(connection)))

    def one_more(self) -> str:
        """How one more client ends; it may be reset before its connect has returned."""
        try:
            return how_it_ends(self.connect())
        except ConnectionResetError:
            return "reset"

    async def test_refused_blackholed_alive(self) -> None:
        """The first refuses, the second is a black hole, the third serves; each is tried once."""
        alive = self.greeter()
        with Blackhole() as hole:
            await self.listen(
                f"127.0.0.1:{free_port()}",
                hole.address,
                alive.address,
                settings={"backend_timeouts": BackendTimeouts(connect=0.3)},
            )

            def client() -> bytes:
                connection = self.connect()
                connection.sendall(b"you")
                connection.shutdown(socket.SHUT_WR)
                return receive_all(connection)

            self.assertEqual(await self.thread(client), b"hello you")
            await self.records_are(Termination.DONE)
            self.assertEqual(self.records[0].attempts, 3)
            self.assertEqual([member.backend.total for member in self.factory.upstream.members], [1, 1, 1])
            self.assertEqual(hole.half_open(), 0)

    async def test_a_thousand_clients_that_leave_leave_nothing(self) -> None:
        """(P) A thousand clients that leave while the connect is pending leave no backend socket behind."""
        with Blackhole() as hole:
            await self.listen(hole.address, settings={"backend_timeouts": BackendTimeouts(connect=60)})

            def come() -> list[socket.socket]:
                return [socket.create_connection(("127.0.0.1", self.port), PATIENCE) for _ in range(1000)]

            clients = await self.thread(come)
            await self.until(lambda: hole.half_open() == 1000)
            for number, client in enumerate(clients):
                if number % 2:
                    client.close()
                else:
                    client.sendall(b"question")
                    reset(client)
            await self.until(lambda: hole.half_open() == 0)
            await self.records_are(*[Termination.CLIENT_LEFT] * 1000)
            self.assertEqual(self.factory.upstream.members[0].backend.failures, 0)

    async def test_one_at_a_time_and_the_others_wait(self) -> None:
        """With max_connections 1, ten clients are served one after the other, none at the same time."""
        lock = threading.Lock()
        overlaps = []

        def one(connection: socket.socket) -> None:
            overlaps.append(not lock.acquire(blocking=False))
            connection.sendall(receive_all(connection))
            lock.release()

        server = self.serve(one)
        await self.listen(server.address)
        upstream = self.factory.upstream
        upstream.update(
            [BackendSpec(host=server.host, port=server.port, max_connections=1)],
            lambda key: upstream.members[0].backend,
            reactor.seconds(),
        )

        def client(number: int) -> bytes:
            connection = self.connect()
            connection.sendall(b"%d" % number)
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

        answers = [self.thread(client, number) for number in range(10)]
        self.assertEqual([await answer for answer in answers], [b"%d" % number for number in range(10)])
        await self.records_are(*[Termination.DONE] * 10)
        self.assertEqual(overlaps, [False] * 10)
        self.assertGreater(sum(record.queue is not None for record in self.records), 0)

    async def test_the_queues_timeout_resets(self) -> None:
        """Who waits too long for a full backend is reset."""
        server = self.greeter()
        await self.listen(
            server.address, policy=UpstreamConfig(servers=(), balance="first", queue=QueuePolicy(timeout=0.2))
        )
        upstream = self.factory.upstream
        spec = BackendSpec(host=server.host, port=server.port, max_connections=1)
        upstream.update([spec], lambda key: upstream.members[0].backend, reactor.seconds())
        first = self.connect()
        await self.until(lambda: server.accepted == 1)
        self.assertEqual(await self.thread(self.one_more), "reset")
        await self.until(lambda: len(self.records) == 1)
        self.assertIs(self.records[0].termination, Termination.QUEUE_TIMEOUT)
        first.close()

    async def test_one_client_too_many(self) -> None:
        """Above the listener's max_connections a client is reset at once; the others go on."""
        server = self.greeter()
        await self.listen(server.address, settings={"max_connections": 1})
        first = self.connect()
        await self.until(lambda: server.accepted == 1)
        self.assertEqual(await self.thread(self.one_more), "reset")
        first.sendall(b"me")
        first.shutdown(socket.SHUT_WR)
        self.assertEqual(await self.thread(receive_all, first), b"hello me")
        self.assertEqual((server.accepted, self.factory.limit.refused), (1, 1))


class TlsTests(ForwardingTestCase):
    """TLS on either side."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(directory.name)
        self.pem = self.authority.issue("127.0.0.1", "localhost")

    async def test_tls_to_the_backend_half_closes(self) -> None:
        """The client speaks plain TCP, the backend TLS; the client's end reaches it, and its reply the client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        data = random.randbytes(300_000)

        def reverse(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(receive_all(tls)[::-1])
                tls.unwrap()

        await self.listen(
            self.serve(reverse).address,
            policy=UpstreamConfig(servers=(), balance="first", tls=BackendTls(ca=self.authority.file)),
        )

        def client() -> bytes:
            connection = self.connect()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

        self.assertEqual(await self.thread(client), data[::-1])
        await self.records_are(Termination.DONE)

    async def test_a_backend_with_another_name_is_not_used(self) -> None:
        """A backend whose certificate is for somebody else gets no byte; the client is reset."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.issue("other.example"))
        seen = []

        def listen(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as tls:
                seen.append(tls.recv(100))

        await self.listen(
            self.serve(listen).address,
            policy=UpstreamConfig(servers=(), balance="first", tls=BackendTls(ca=self.authority.file)),
        )

        def client() -> str:
            connection = self.connect()
            connection.sendall(b"secret")
            return how_it_ends(connection)

        self.assertEqual(await self.thread(client), "reset")
        await self.records_are(Termination.BACKEND_TLS_FAILED)
        self.assertIn("not for 127.0.0.1", self.records[0].reason)
        self.assertNotIn(b"secret", seen)

    async def test_tls_in_front(self) -> None:
        """Clients speak TLS to a Twisted ``ssl:`` endpoint: the answer arrives whole, and the end in order."""
        answer = random.randbytes(300_000)

        def serve(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(answer)

        await self.listen(
            self.serve(serve).address,
            endpoint=f"ssl:0:interface=127.0.0.1:privateKey={self.pem}:certKey={self.pem}",
        )

        def client() -> bytes:
            context = ssl.create_default_context(cafile=self.authority.file)
            with context.wrap_socket(self.connect(), server_hostname="localhost", suppress_ragged_eofs=False) as tls:
                tls.sendall(b"question")
                return receive_all(tls)

        self.assertEqual(await self.thread(client), answer)
        await self.records_are(Termination.DONE)
