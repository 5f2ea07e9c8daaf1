"""The replacement for Twisted's portforward over real sockets; first of all by Twisted's own tests of its module."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.test import test_protocols
from twisted.trial.unittest import TestCase

from balancer.tcp import portforward
from balancer.testing.peers import SocketServer, free_port

THEIRS: dict[str, Any] = {"__name__": "twisteds_tests"}
exec(  # Twisted's tests, with the one import changed
    Path(test_protocols.__file__)
    .read_text()
    .replace(
        "from twisted.protocols import portforward, wire",
        "from balancer.tcp import portforward\nfrom twisted.protocols import wire",
    ),
    THEIRS,
)
assert THEIRS["portforward"] is portforward


class TwistedsTests(THEIRS["PortforwardingTests"]):  # type: ignore[misc]  # a class made at run time
    """Twisted's tests of portforward."""

    def test_registerProducers(self) -> None:
        """Ours registers what stands for a transport's reading, not the transport: see ``balancer.net.flow``, and
        tests/tcp/test_portforward.py for the same claim."""


class Named(portforward.ProxyFactory):
    """Made by the classes, as every factory with a method of its own."""

    def buildProtocol(self, addr: object) -> Any:
        return super().buildProtocol(None)


def reverse(connection: socket.socket) -> None:
    """Answers only when the client has said everything: all of it, backwards."""
    data = b""
    while more := connection.recv(65536):
        data += more
    connection.sendall(data[::-1])


def ask(port: int, data: bytes) -> bytes:
    """Say it, end, and hear the answer; ``reset`` where there is none."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as client:  # it may be reset before this returns
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while more := client.recv(65536):
                received += more
    except OSError:
        return b"reset"
    return received


class ForwardingTests(TestCase):
    """Both ways of working give the same."""

    timeout = 170

    def both(self, *servers: str) -> list[int]:
        """A port of a factory that nobody changed, and one of the classes."""
        host, _, port = servers[0].rpartition(":")
        ports = []
        for kind in (portforward.ProxyFactory, Named):
            listening = reactor.listenTCP(0, kind(host, int(port), *servers[1:]), interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(listening.stopListening)
            ports.append(listening.getHost().port)
        return ports

    async def each(self, ports: list[int], call: Callable[[int], bytes]) -> list[bytes]:
        """What each of them does to a client."""
        return [await deferToThread(call, port) for port in ports]

    def test_half_close_and_bulk(self) -> Deferred[None]:
        """A client that ends its sending gets its whole answer, however large. (With Twisted's it gets none.)"""
        data = bytes(range(256)) * 8192

        async def run() -> None:
            with SocketServer(reverse) as server:
                got = await self.each(self.both(server.address), lambda port: ask(port, data))
            self.assertEqual([len(answer) for answer in got], [len(data)] * 2)
            self.assertEqual(got, [data[::-1]] * 2)

        return Deferred.fromCoroutine(run())

    def test_failover(self) -> Deferred[None]:
        """Where the first server refuses, the next answers; where all do, the client is reset."""

        async def run() -> None:
            dead = [f"127.0.0.1:{free_port()}" for _ in range(2)]
            with SocketServer(reverse) as server:
                got = await self.each(self.both(dead[0], server.address), lambda port: ask(port, b"abc"))
            self.assertEqual(got, [b"cba"] * 2)
            self.assertEqual(await self.each(self.both(*dead), lambda port: ask(port, b"abc")), [b"reset"] * 2)

        return Deferred.fromCoroutine(run())

    def test_back_pressure(self) -> Deferred[None]:
        """A server that sends to a client that does not read is stopped, and everything arrives once it reads."""
        size, chunk = 64 << 20, b"x" * 65536
        sent = [0]
        free = threading.Event()

        def pour(connection: socket.socket) -> None:
            connection.settimeout(1.0)
            while sent[0] < size:
                try:
                    sent[0] += connection.send(chunk[: size - sent[0]])
                except TimeoutError:  # nobody takes it: that is what the test waits for
                    free.set()

        def read_late(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                self.assertTrue(free.wait(60))
                before, received = sent[0], 0
                while more := client.recv(1 << 20):
                    received += len(more)
            return b"%d %d" % (before < size // 2, received)

        async def run() -> None:
            for which in range(2):
                sent[0] = 0
                free.clear()
                with SocketServer(pour) as server:
                    port = self.both(server.address)[which]
                    self.assertEqual(await deferToThread(read_late, port), b"1 %d" % size)

        return Deferred.fromCoroutine(run())
