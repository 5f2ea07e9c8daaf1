"""Connections that are lost, reset or half-closed under a flood, on the uvloop reactor: nothing is raised for it.

Stock Twisted ignores what is written to a transport that is over; uvloop's own raise. ``twistd`` logs what is raised.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess

RESET = struct.pack("ii", 1, 0)
CHUNK = b"x" * 65536
TIMES = 2
REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: any\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: any\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"

CONFIG = """\
[upstream.a]
servers = ["{}"]
check = "none"
[listener.l]
listen = "tcp:0:interface=127.0.0.1"
mode = "{}"
to = "a"
splice = {}
"""

Ending = Callable[[socket.socket], None]


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def close(connection: socket.socket) -> None:
    """Close with bytes unread, most likely."""
    connection.close()


def half_close(connection: socket.socket) -> None:
    """End our sending, read on for a while, reset."""
    connection.shutdown(socket.SHUT_WR)
    take(connection, 4_000_000)
    reset(connection)


def take(connection: socket.socket, count: int) -> None:
    """Read so many bytes, or to the end."""
    while count > 0 and (data := connection.recv(65536)):
        count -= len(data)


def flood(connection: socket.socket) -> None:
    """Send until it is lost, and read meanwhile so that nothing waits for us."""

    def drain() -> None:
        with contextlib.suppress(OSError):
            take(connection, 2**62)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(CHUNK)
    reader.join(PATIENCE)


def act(connection: socket.socket, ending: Ending | None) -> None:
    """Flood until it is lost; or read and write some, and go."""
    with contextlib.suppress(OSError):
        if ending is None:
            flood(connection)
        else:
            connection.settimeout(PATIENCE)
            connection.sendall(CHUNK)
            take(connection, 300_000)
            ending(connection)


class LossTests(SynchronousTestCase):
    """Who goes, and how, in the middle of bytes both ways."""

    def tell(self, mode: str, hello: bytes, welcome: bytes, splice: int) -> None:
        """Let each side flood the other, and either go in each of the ways."""

        def serve(connection: socket.socket) -> None:
            take(connection, 1)
            connection.sendall(welcome)
            act(connection, ending if backend_goes else None)

        with SocketServer(serve) as server:
            config = CONFIG.format(server.address, mode, splice)
            with BalancerProcess(config=config, reactor="uvloop") as balancer:
                for ending in (reset, close, half_close):
                    for backend_goes in (True, False):
                        for _ in range(TIMES):
                            with socket.create_connection(balancer.addresses["l"], PATIENCE) as client:
                                client.sendall(hello)
                                act(client, None if backend_goes else ending)
                log = balancer.log
        for word in ("RuntimeError", "Traceback", "Unhandled"):
            self.assertNotIn(word, log, log[-5000:])

    def test_tcp(self) -> None:
        """At layer 4."""
        self.tell("tcp", b"hello", b"welcome", 65536)

    def test_tcp_through_python(self) -> None:
        """At layer 4, without splice(2)."""
        self.tell("tcp", b"hello", b"welcome", 0)

    def test_upload(self) -> None:
        """A request and its answer, both without end."""
        self.tell("http", REQUEST, ANSWER, 0)

    def test_tunnel(self) -> None:
        """A tunnel through layer 7."""
        self.tell("http", UPGRADE, SWITCHED, 65536)
