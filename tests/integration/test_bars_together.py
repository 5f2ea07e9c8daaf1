"""Bars 4, 5 and 6: backends that die under load, connections that are reused, one registry for L4 and L7."""

import re
import socket
import subprocess
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import Nginx, SocketServer, need
from balancer.testing.process import PATIENCE, BalancerProcess

CONFIG = """
[upstream.web]
servers = [{servers}]
balance = "roundrobin"
check = {{ type = "http", path = "/", interval = "1s", fast_interval = "250ms", timeout = "5s" }}

[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"

[access_log]
path = "{log}"
"""

DURATION = 30
"""Seconds of load; long enough for two whole deaths and returns."""


class DyingBackendTests(SynchronousTestCase):
    """Bar 4."""

    def test_no_get_fails_while_a_backend_dies_twice(self) -> None:
        """wrk, 64 connections, 30 s, one of three backends killed and restarted twice: every GET is answered 2xx,
        and the log says why the backend went and came back."""
        wrk = need("wrk", "wrk")
        with Nginx("one") as one, Nginx("two") as two, Nginx("three") as three:
            servers = ", ".join(f'"{server.address}"' for server in (one, two, three))
            log = Path(self.mktemp()).absolute()
            with BalancerProcess(config=CONFIG.format(servers=servers, log=log)) as balancer:
                for server in (one, two, three):  # else the first to die may be the only one that was probed
                    balancer.wait_for(rf"{server.address} is up")
                host, port = balancer.addresses["http"]
                # wrk calls an answer that takes longer than its timeout an error: that is not what is asked here.
                words = ["-t1", "-c64", f"-d{DURATION}s", "--timeout", "20s", f"http://{host}:{port}/"]
                load = subprocess.Popen([wrk, *words], stdout=subprocess.PIPE, text=True)
                for time in (1, 2):
                    three.kill()
                    balancer.wait_for(rf"{three.address} is down: .*refused", times=time)
                    three.start()
                    balancer.wait_for(rf"{three.address} is up: ", times=1 + time)
                said, _ = load.communicate(timeout=DURATION + PATIENCE)
        requests = re.search(r"(\d+) requests in", said)
        assert requests is not None, said
        self.assertGreater(int(requests[1]), 1000)
        bad = [line for line in log.read_text().splitlines() if re.search(r'" 2\d\d ', line) is None]
        told = "\n".join([said, f"{len(bad)} log lines without a 2xx, for example", *bad[:3], *bad[-3:]])
        self.assertNotIn("Socket errors", said, told)
        self.assertNotIn("Non-2xx", said, told)


def closes_when_idle(seconds: float) -> "tuple[SocketServer, list[int]]":
    """A keep-alive HTTP server that closes a connection idle for so long; and its count of open ones."""
    most = [0, 0]
    lock = threading.Lock()

    def handle(connection: socket.socket) -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        try:
            connection.settimeout(seconds)
            data = b""
            while more := connection.recv(65536):
                data += more
                while b"\r\n\r\n" in data:
                    _, _, data = data.partition(b"\r\n\r\n")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        finally:
            with lock:
                most[0] -= 1

    return SocketServer(handle), most


class ReuseTests(SynchronousTestCase):
    """Bar 5."""

    def config(self, address: str) -> str:
        """One upstream without a check, so that every connection is one of traffic."""
        return (
            f'[upstream.web]\nservers = ["{address}"]\ncheck = {{ type = "none" }}\n'
            '[listener.http]\nlisten = "tcp:0:interface=127.0.0.1"\nto = "web"\n'
        )

    def test_ten_thousand_gets_at_concurrency_32_open_at_most_32_connections(self) -> None:
        """10,000 GETs from 32 client connections never need a 33rd backend connection."""
        server, most = closes_when_idle(PATIENCE)
        with server, BalancerProcess(config=self.config(server.address)) as balancer:
            failures: list[str] = []

            def client() -> None:
                with socket.create_connection(balancer.addresses["http"], PATIENCE) as connection:
                    for _ in range(10000 // 32 + 1):
                        connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                        received = b""
                        while not received.endswith(b"\r\n\r\nok"):
                            more = connection.recv(65536)
                            if not more:
                                failures.append(repr(received))
                                return
                            received += more
                        if not received.startswith(b"HTTP/1.1 200 OK\r\n"):
                            failures.append(repr(received))

            clients = [threading.Thread(target=client) for _ in range(32)]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
        self.assertEqual(failures, [])
        self.assertLessEqual(server.accepted, 32)
        self.assertLessEqual(most[1], 32)

    def test_a_backend_that_closes_idle_connections_is_not_noticed(self) -> None:
        """Requests that arrive around the moment the backend closes its idle connections are all answered."""
        server, _ = closes_when_idle(1.0)
        pause = threading.Event()
        with (
            server,
            BalancerProcess(config=self.config(server.address)) as balancer,
            socket.create_connection(balancer.addresses["http"], PATIENCE) as client,
        ):
            for wait in (0, 0.98, 0.99, 1.0, 1.001, 1.002, 1.01, 1.05):
                pause.wait(wait)  # the time under test: how long the connection lies idle
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                received = b""
                while not received.endswith(b"\r\n\r\nok"):
                    more = client.recv(65536)
                    self.assertTrue(more, f"closed after {received!r}")
                    received += more
                self.assertTrue(received.startswith(b"HTTP/1.1 200 OK\r\n"), received)
        self.assertGreater(server.accepted, 1)
