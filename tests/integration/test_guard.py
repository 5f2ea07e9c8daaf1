"""Guards over real sockets: clients from many addresses of 127.0.0.0/8, over their limits and within them."""

import contextlib
import re
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess

TCP = """
access_log = {{ path = "access.log", format = "json" }}
[upstream.echo]
servers = ["{address}"]
check = {{ type = "none" }}
[listener.guarded]
listen = "tcp:0"
mode = "tcp"
to = "echo"
guard = {{ {guard} }}
"""
SOURCES = 1000
T = TypeVar("T")


def echo(connection: socket.socket) -> None:
    """Sends everything back."""
    while data := connection.recv(65536):
        connection.sendall(data)


def ask(port: int, source: str, family: int = socket.AF_INET) -> socket.socket | None:
    """Connect from there, and stay where the answer comes; ``None`` where the connection is reset."""
    client = socket.socket(family)
    client.settimeout(PATIENCE)
    client.bind((source, 0))
    try:
        client.connect(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        if client.recv(65536):
            return client
    except (ConnectionResetError, BrokenPipeError):
        pass
    client.close()
    return None


def refused(log: str, words: str) -> int:
    """How many refusals for that reason the log accounts for, when the balancer has ended."""
    more = sum(int(count) for count in re.findall(rf"refused (\d+) more, the last \S+: {words}", log))
    return more + len(re.findall(rf"refused \S+: {words}", log))


def eventually(attempt: Callable[[], T | None]) -> T:
    """Try until it succeeds: the balancer may hear a little later than we do that a client is gone."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        found = attempt()
        if found is not None:
            return found
        pause.wait(0.05)
    raise AssertionError("it never succeeded")


class GuardTests(SynchronousTestCase):
    """See the module."""

    def start(self, server: SocketServer, guard: str, text: str = TCP, **more: str) -> BalancerProcess:
        """A balancer in front of that server."""
        config = text.format(address=server.address, guard=guard, **more)
        balancer = BalancerProcess(config=config, expect=text.count("[listener."))
        balancer.__enter__()
        self.addCleanup(balancer.__exit__, None, None, None)
        return balancer

    def served(self, port: int, source: str, times: int = 1, family: int = socket.AF_INET) -> int:
        """How many of so many connections from there are served, each closed before the next."""
        count = 0
        for _ in range(times):
            client = ask(port, source, family)
            if client is not None:
                count += 1
                client.close()
        return count

    def test_a_thousand_sources_over_their_limit(self) -> None:
        """Each gets its burst and no more, a source within its limit is served throughout, and the log accounts for
        each refusal in a few lines."""
        with SocketServer(echo) as server:
            balancer = self.start(server, "rate = 0.001, burst = 2, deny = ['127.66.0.0/16']")
            port = balancer.addresses["guarded"][1]
            counts = []
            for number in range(SOURCES):
                counts.append(self.served(port, f"127.1.{number // 250}.{1 + number % 250}", 3))
                if number % 100 == 0:
                    self.assertEqual(self.served(port, f"127.2.0.{1 + number // 100}"), 1)
            self.assertEqual(set(counts), {2})
            self.assertEqual(self.served(port, "127.66.6.6", 5), 0)
            balancer.process.send_signal(signal.SIGTERM)
            balancer.process.wait(PATIENCE)
            balancer.wait_for("Server Shut Down")
            self.assertEqual(refused(balancer.log, "the source connects more often"), SOURCES)
            self.assertEqual(refused(balancer.log, "its network is in guard.deny"), 5)
            self.assertEqual(server.accepted, 2 * SOURCES + 10)

    def test_connections_at_one_time(self) -> None:
        """One more than the limit is reset; when one has left, another is let in. IPv6 is counted by prefix."""
        with SocketServer(echo) as server:
            balancer = self.start(server, "connections = 3", TCP.replace("tcp:0", "tcp6:0"))
            port = balancer.addresses["guarded"][1]
            kept = [ask(port, "::1", socket.AF_INET6) for _ in range(3)]
            self.assertNotIn(None, kept)
            self.assertIsNone(ask(port, "::1", socket.AF_INET6))
            mapped = ask(port, "127.0.0.1")  # a source of its own, at the same socket
            assert mapped is not None
            leaving = kept[0]
            assert leaving is not None
            leaving.shutdown(socket.SHUT_WR)
            self.assertEqual(leaving.recv(1), b"")  # both directions have ended: the balancer has forgotten it
            leaving.close()
            again = eventually(lambda: ask(port, "::1", socket.AF_INET6))
            for client in (*kept[1:], again, mapped):
                assert client is not None
                client.close()

    def test_it_stands_before_tls_and_http(self) -> None:
        """A refused client gets no handshake and no answer; one that is let in gets both, and a failed handshake
        holds no place."""
        listener = """
[listener.https]
listen = "tcp:0:interface=127.0.0.1"
to = "echo"
guard = {{ connections = 1, allow = ["127.0.0.0/16"] }}
tls = {{ certificate = "{certificate}" }}
"""

        def answer(connection: socket.socket) -> None:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with tempfile.TemporaryDirectory() as directory, SocketServer(answer) as server:
            authority = Authority(directory)
            certificate = str(authority.issue("web.example"))
            balancer = self.start(server, "connections = 1", TCP + listener, certificate=certificate)
            where = balancer.addresses["https"]
            context = ssl.create_default_context(cafile=str(authority.file))
            with socket.create_connection(where, PATIENCE) as failing:
                failing.sendall(b"no TLS at all, by any means")
                self.assertTrue(failing.recv(100) is not None)
                while failing.recv(100):
                    pass

            def secure() -> ssl.SSLSocket | None:
                with contextlib.suppress(OSError):
                    plain = socket.create_connection(where, PATIENCE)
                    return context.wrap_socket(plain, server_hostname="web.example")
                return None

            with eventually(secure) as tls:
                self.assertIsNone(ask(where[1], "127.0.0.1"))
                self.assertIsNone(ask(where[1], "127.1.0.1"))
                tls.sendall(b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
                self.assertIn(b"200 OK", tls.recv(65536))

    def test_a_lifetime(self) -> None:
        """An idle connection of HTTP is closed at its age, one in use after its answer, which says so; one of TCP is
        reset, and the access log says why."""
        free = threading.Event()

        def answer(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                if b"GET /slow" in data:
                    free.wait(PATIENCE)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        listener = """
[listener.web]
listen = "tcp:0:interface=127.0.0.1"
to = "echo"
guard = {{ {guard} }}
"""
        with SocketServer(answer) as server:
            balancer = self.start(server, 'max_lifetime = "1s"', TCP + listener)
            web = balancer.addresses["web"]
            with (
                socket.create_connection(web, PATIENCE) as busy,
                socket.create_connection(web, PATIENCE) as idle,
                socket.create_connection(("127.0.0.1", balancer.addresses["guarded"][1]), PATIENCE) as forwarded,
            ):
                busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertIn(b"200 OK", idle.recv(65536))
                self.assertEqual(idle.recv(1), b"")
                free.set()
                received = b""
                while data := busy.recv(65536):
                    received += data
                self.assertIn(b"Connection: close\r\n", received)
                self.assertTrue(received.endswith(b"ok"))
                self.assertRaises(ConnectionResetError, forwarded.recv, 1)
            balancer.process.send_signal(signal.SIGTERM)
            balancer.process.wait(PATIENCE)
            self.assertIn('"max_lifetime"', (balancer.directory / "access.log").read_text())

    def test_a_reload(self) -> None:
        """What is denied by a reload is refused from then on; who is connected stays, and stays counted."""
        with SocketServer(echo) as server:
            balancer = self.start(server, "connections = 2")
            port = balancer.addresses["guarded"][1]
            here, there = ask(port, "127.0.0.5"), ask(port, "127.0.0.6")
            assert here is not None and there is not None
            config = TCP.format(address=server.address, guard="connections = 1, deny = ['127.0.0.6']")
            (balancer.directory / "balancer.toml").write_text(config)
            balancer.process.send_signal(signal.SIGHUP)
            balancer.wait_for("reload: ")
            self.assertIsNone(ask(port, "127.0.0.6"))
            self.assertIsNone(ask(port, "127.0.0.5"))
            self.assertEqual(self.served(port, "127.0.0.7"), 1)
            for client in (here, there):
                client.sendall(b"still here")
                self.assertEqual(client.recv(100), b"still here")
                client.close()
