"""A file sent by the kernel through a transport of the real reactor: after what was written, before what follows."""

import random
import socket
import tempfile
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from balancer.net.listen import listen
from balancer.net.sendfile import KERNEL, FileSender
from balancer.testing.bulk import MEGA, PATIENCE, receive, reset

HEAD = b"the head, " * 1000
TAIL = b"and the tail"


class Served(Protocol):
    """Writes a head, has the file sent, and writes a tail after it; ``over`` fires with how that ended."""

    def __init__(self, sender: FileSender, file: int, size: int) -> None:
        self.sender, self.file, self.size = sender, file, size
        self.over: Deferred[str] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.sent = 0

    def connectionMade(self) -> None:
        self.transport.write(HEAD)
        self.sending = self.sender.begin(self.transport, self.file, 0, self.size, self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.sending is not None:
            self.sending.stop()
        self.gone.callback(None)

    def moved(self, size: int) -> None:
        self.sent += size

    def blocked(self) -> None:
        pass

    def unblocked(self) -> None:
        pass

    def done(self) -> None:
        self.transport.write(TAIL)
        self.transport.loseConnection()
        self.over.callback("done")

    def lost(self, words: str) -> None:
        self.transport.abortConnection()
        self.over.callback("lost")

    def short(self) -> None:
        self.transport.abortConnection()
        self.over.callback("short")


class SendfileTests(TestCase):
    """One connection each; the client is moved by a thread."""

    timeout = 170

    async def serve(self, size: int = 40 * MEGA, promised: int | None = None) -> None:
        """A listener whose first connection gets the file."""
        if KERNEL is None:
            self.skipTest("there is no sendfile(2) here")
        self.data = random.Random(7).randbytes(size)
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the test is over
        self.addCleanup(file.close)
        file.write(self.data)
        file.flush()
        self.sender = FileSender(reactor, 8)  # type: ignore[arg-type]  # the reactor is declared as its interfaces
        self.served = Served(self.sender, file.fileno(), size if promised is None else promised)
        factory = Factory.forProtocol(lambda: self.served)
        port: IListeningPort = await listen(reactor, "tcp", "tcp:0:interface=127.0.0.1", factory)
        self.addCleanup(port.stopListening)
        self.where: Any = port.getHost()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.where.port), PATIENCE)

    def fetch(self) -> bytes:
        """What a client gets until the end; what it got until a reset, which may come before connecting returns."""
        parts = []
        try:
            with self.connect() as client:
                while part := client.recv(MEGA):
                    parts.append(part)
        except ConnectionResetError:
            parts.append(b"reset")
        return b"".join(parts)

    async def test_a_file_between_writes(self) -> None:
        """Head, file and tail arrive in order, byte for byte."""
        await self.serve()
        got = await deferToThread(self.fetch)
        self.assertTrue(got == HEAD + self.data + TAIL)
        self.assertEqual((await self.served.over, self.served.sent), ("done", len(self.data)))
        await self.served.gone
        self.assertEqual((self.sender.active, self.sender.begun), (0, 1))

    async def test_a_file_that_is_too_short(self) -> None:
        """Where the file is shorter than promised the owner is told, and can cut the connection."""
        await self.serve(MEGA, promised=2 * MEGA)
        got = await deferToThread(self.fetch)
        self.assertEqual(await self.served.over, "short")
        await self.served.gone
        self.assertNotIn(TAIL, got)

    async def test_a_client_that_resets(self) -> None:
        """A client that resets in the middle ends the sending."""
        await self.serve()

        def leave() -> None:
            client = self.connect()
            receive(client, 5 * MEGA)
            reset(client)

        await deferToThread(leave)
        await self.served.gone
        self.assertEqual((self.sender.active, self.sender.begun), (0, 1))
        self.assertLess(self.served.sent, len(self.data))
