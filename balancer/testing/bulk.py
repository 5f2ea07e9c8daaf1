"""An HTTP listener on real sockets, with a backend and clients moved by threads: for tests of what the kernel moves.

The reactor is the test module's, but the timeouts go by a clock that the test moves: how fast the machine is decides
nothing, and what ends while that clock stands still ended at once. Nothing here says what is to happen.
"""

import socket
import struct
import threading
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from balancer.config.schema import SPLICES
from balancer.core.forwarded import Forwarding
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.model import BackendSpec
from balancer.core.record import ExchangeRecord
from balancer.core.routing import RouteTable
from balancer.core.timeouts import BackendTimeouts
from balancer.http.factory import ChannelFactory
from balancer.http.settings import HttpSettings
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Connector
from balancer.net.listen import listen
from balancer.net.splice import KERNEL, Splicer
from balancer.net.timers import Look, TimerWheel
from balancer.testing.fakes import make_upstream
from balancer.testing.peers import SocketServer

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds something may take on a machine that is slow and busy."""

MEGA = 1 << 20
STILL = 20
"""Turns of the loop in which nothing is taken, until it is said that nothing is."""

STEP = 0.25
"""Seconds that pass at a time where time passes until something happens."""


def receive(connection: socket.socket, size: int = 1 << 62) -> bytes:
    """So many bytes, fewer where it ends."""
    parts = []
    while size and (part := connection.recv(min(size, MEGA))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_head(connection: socket.socket) -> bytes:
    """A message's head, and no byte more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        if not part:
            raise AssertionError(f"closed inside a head: {data!r}")
        data += part
    return data


def fate(connection: socket.socket) -> str:
    """``end`` or ``reset``, after whatever still comes."""
    try:
        while connection.recv(MEGA):
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def stuff(reactor: Any, sender: socket.socket, most: int = 1 << 30) -> int:
    """Send until nothing is taken, or so much; how much was.

    Nothing is, where the loop that is to take it has had its turns and did not. No time is measured.
    """
    sender.setblocking(False)
    sent = still = 0
    while sent < most and still < STILL:
        try:
            sent += sender.send(b"x" * min(MEGA, most - sent))
            still = 0
        except BlockingIOError:
            still += 1
            await deferLater(reactor, 0.01)
    sender.settimeout(PATIENCE)
    return sent


def looked(reactor: Any) -> "Deferred[None]":
    """Fires when the loop has looked at its sockets and heard them."""
    done: Deferred[None] = Deferred()
    Look(reactor, lambda: done.callback(None))
    return done


class HttpBulkTestCase(TestCase):
    """A channel factory that listens on loopback.

    :cvar reactor: set by the test's module.
    :ivar clock: by which all timeouts go.
    :ivar accepted: the backend's connections, newest last.
    :ivar records: what was logged.
    """

    timeout = 170
    reactor: Any

    def setUp(self) -> None:
        if KERNEL is None:
            self.skipTest("there is no splice(2) here")
        self.clock = Clock()

    async def serve(self, backends: BackendTimeouts | None = None, **settings: Any) -> None:
        """One backend, whose connections are kept in ``accepted``."""
        self.accepted: list[socket.socket] = []
        self.done = threading.Event()
        server = SocketServer(self.keep).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        self.addCleanup(self.done.set)
        timers = TimerWheel(self.clock)
        self.splicer = Splicer(self.reactor, SPLICES)
        self.records: list[ExchangeRecord] = []
        self.upstream = make_upstream([BackendSpec(host=server.host, port=server.port)])
        connector = Connector(self.reactor, timers)
        chosen: dict[str, Any] = {"splicer": self.splicer, "default": "web"}
        self.http = HttpUpstream(self.upstream, connector, timers, timeouts=backends)
        self.factory = ChannelFactory(
            HttpSettings(
                name="test",
                routes=RouteTable(()),
                upstreams={"web": self.http},
                forwarding=Forwarding(ForwardedPolicy(), lambda: b"id"),
                timers=timers,
                wall=self.reactor.seconds,
                random=Random(1),
                log=self.records.append,
                **(chosen | settings),
            ),
            max_connections=100,
        )
        port: IListeningPort = await listen(self.reactor, "http", "tcp:0:interface=127.0.0.1", self.factory)
        self.addCleanup(self.stop, port, self.factory, self.splicer, self.done)
        self.where: Any = port.getHost()

    def keep(self, connection: socket.socket) -> None:
        """What the backend does with a connection."""
        connection.settimeout(PATIENCE)
        self.accepted.append(connection)
        self.done.wait(PATIENCE)

    async def stop(
        self, port: IListeningPort, factory: ChannelFactory, splicer: Splicer, done: threading.Event
    ) -> None:
        """The end; nothing may be left."""
        await maybeDeferred(port.stopListening)
        factory.abort_all()
        done.set()
        await self.until(lambda: factory.connections == 0 and splicer.active == 0)
        for http in factory.settings.upstreams.values():
            http.close()

    def client(self, data: bytes = b"") -> socket.socket:
        """A client that connects and sends this."""
        client = socket.create_connection(("127.0.0.1", self.where.port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(data)
        return client

    async def backend(self) -> socket.socket:
        """The connection that the backend got next."""
        await self.until(lambda: bool(self.accepted))
        return self.accepted.pop()

    def thread(self, call: Callable[..., T], *arguments: Any) -> "Deferred[T]":
        """Where it may block."""
        return deferToThread(call, *arguments)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what cannot be waited on."""
        begun = self.reactor.seconds()
        while not condition():
            self.assertLess(self.reactor.seconds() - begun, PATIENCE, f"still not so: {self.records} {self.factory}")
            await deferLater(self.reactor, 0.005)

    async def time_passes(self, seconds: float) -> None:
        """All that was done is heard, and then so many seconds pass, in which nothing else happens."""
        await looked(self.reactor)
        self.clock.advance(seconds)

    async def ends_in_time(self) -> None:
        """Time passes until something is logged."""

        def over() -> bool:
            self.clock.advance(STEP)
            return bool(self.records)

        await self.until(over)
