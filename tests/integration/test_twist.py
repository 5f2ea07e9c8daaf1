"""``twist balancer``: the other runner of Twisted, which calls ``startService`` alone and chooses the reactor late."""

import os
import socket
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess, twist

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
UVLOOP = "no reactor was named: uvloop"


def answer(connection: socket.socket) -> None:
    """A server that answers one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return
        data += more
    connection.sendall(ANSWER)


def get(address: tuple[str, int]) -> bytes:
    """The whole answer to one GET."""
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b""))


class TwistTests(SynchronousTestCase):
    """As a user starts it."""

    def setUp(self) -> None:
        """No reactor is named, unless the test does."""
        named = os.environ.pop("BALANCER_TEST_REACTOR", None)
        if named is not None:
            self.addCleanup(os.environ.__setitem__, "BALANCER_TEST_REACTOR", named)

    def test_it_serves(self) -> None:
        """Without a reactor's name it listens once, on uvloop, serves a request, and ends in order at SIGTERM."""
        with SocketServer(answer) as server:
            with BalancerProcess("--http", "127.0.0.1:0", "--to", server.address, runner=twist()) as balancer:
                self.assertTrue(get(balancer.addresses["http-0"]).endswith(b"hello\n"))
                balancer.wait_for(UVLOOP)
            self.assertEqual(balancer.log.count(" is open at "), 1, balancer.log)
            self.assertNotIn("Traceback", balancer.log)

    def test_a_named_reactor(self) -> None:
        """A reactor that is named is left alone, and serves too."""
        with (
            SocketServer(answer) as server,
            BalancerProcess(
                "--http", "127.0.0.1:0", "--to", server.address, runner=twist(), reactor="epoll"
            ) as balancer,
        ):
            self.assertTrue(get(balancer.addresses["http-0"]).endswith(b"hello\n"))
            self.assertNotIn(UVLOOP, balancer.log)

    def test_the_demonstration(self) -> None:
        """``--demo`` serves as well, on uvloop as well."""
        options = ("--demo", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0")
        with BalancerProcess(*options, expect=2, runner=twist()) as balancer:
            self.assertIn(b"hello from ", get(balancer.addresses["http"]))
            balancer.wait_for(UVLOOP)

    def test_a_port_in_use(self) -> None:
        """A port in use is told, and ends the process with an error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            place = f"127.0.0.1:{taken.getsockname()[1]}"
            started = subprocess.run(
                [*twist(), "balancer", "--http", place, "--to", "127.0.0.1:9"],
                capture_output=True,
                text=True,
                timeout=PATIENCE * 2,
            )
        self.assertEqual(started.returncode, 1, started.stderr)
        self.assertIn("address already in use", started.stderr)
        self.assertNotIn("Traceback", started.stdout + started.stderr)
