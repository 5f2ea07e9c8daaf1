"""Every file under etc/ is started the way a user starts it, with real backends on the ports it names."""

import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer, free_port, wait_until_open
from balancer.testing.process import PATIENCE, BalancerProcess, twistd

ETC = Path(__file__).resolve().parents[2] / "etc"


def name_itself(name: bytes) -> "SocketServer":
    """An HTTP server that answers everything with its name."""

    def handle(connection: socket.socket) -> None:
        data = b""
        while more := connection.recv(65536):
            data += more
            while b"\r\n\r\n" in data:
                _, _, data = data.partition(b"\r\n\r\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))

    return SocketServer(handle)


def get(port: int, path: str = "/") -> bytes:
    """One GET; the whole answer, up to the close."""
    return ask(port, path)


def ask(port: int, path: str, fields: str = "", method: str = "GET") -> bytes:
    """One request; the whole answer, up to the close."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}Connection: close\r\n\r\n".encode())
        received = b""
        while more := client.recv(65536):
            received += more
        return received


def tagged(connection: socket.socket) -> None:
    """An HTTP server whose pages have a lifetime and a tag, and whose files have neither."""
    data = b""
    while more := connection.recv(65536):
        data += more
        while b"\r\n\r\n" in data:
            head, _, data = data.partition(b"\r\n\r\n")
            fields = b"" if b" /static" in head else b"Cache-Control: max-age=60\r\nCache-Tag: news\r\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % fields)


def status(port: int, path: str, fields: str = "") -> str:
    """What the answer to a GET has in Cache-Status; empty for none."""
    found = re.search(rb"\r\nCache-Status: (.*?)\r\n", ask(port, path, fields))
    return "" if found is None else found[1].decode("ascii")


def get_kept(port: int, length: int) -> bytes:
    """One GET through layer 4, which ends where the backend says; the last bytes of the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        received = b""
        while not re.search(rb"\r\n\r\n.{%d}" % length, received, re.DOTALL):
            more = client.recv(65536)
            if not more:
                break
            received += more
        return received[-length:]


class TacTests(SynchronousTestCase):
    """The three ways in from Python."""

    def run_tac(self, name: str, listens: int) -> int:
        """Start the example with backends and a port of this test's; the port it listens on."""
        text = (ETC / "examples" / name).read_text()
        for port, letter in ((9001, b"one"), (9002, b"two")):
            server = name_itself(letter)
            server.__enter__()
            self.addCleanup(server.__exit__, None, None, None)
            self.assertIn(f"127.0.0.1:{port}", text)
            text = text.replace(f"127.0.0.1:{port}", server.address)
        here = free_port()
        self.assertIn(str(listens), text)
        text = text.replace(str(listens), str(here))
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        file = Path(directory.name) / name
        file.write_text(text)
        process = subprocess.Popen(
            [*twistd(), "--nodaemon", "--pidfile=", "--python", str(file)],
            cwd=directory.name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.send_signal, signal.SIGTERM)
        wait_until_open(("127.0.0.1", here), process)
        return here

    def test_balancer(self) -> None:
        """balancer.tac is a balancer in ten lines of code."""
        port = self.run_tac("balancer.tac", 8080)
        self.assertIn(get(port)[-3:], (b"one", b"two"))
        code = [line for line in (ETC / "examples/balancer.tac").read_text().splitlines() if line.strip()]
        self.assertLessEqual(len([line for line in code if not line.startswith("#")]), 10)

    def test_site(self) -> None:
        """site.tac serves its own page and, at a path, the balancer's layer 7."""
        port = self.run_tac("site.tac", 8082)
        self.assertTrue(get(port).endswith(b"the site's own page\n"))
        self.assertIn(get(port, "/shop/x")[-3:], (b"one", b"two"))

    def test_forward(self) -> None:
        """forward.tac forwards TCP at any endpoint."""
        port = self.run_tac("forward.tac", 8081)
        self.assertIn(get_kept(port, 3), (b"one", b"two"))


class ConfigurationTests(SynchronousTestCase):
    """The configurations."""

    def test_every_configuration_is_started(self) -> None:
        """Each TOML file under etc/ starts as it is (on a port of the system's choice) and answers."""
        files = sorted(ETC.glob("*.toml"))
        self.assertIn("balancer.toml", [file.name for file in files])
        self.assertIn("minimal.toml", [file.name for file in files])
        for file in files:
            with self.subTest(file=file.name):
                text = re.sub(r"(?m)^(\s*listen = )\"[^\"]*\"", r'\1"tcp:0:interface=127.0.0.1"', file.read_text())
                listeners = len(re.findall(r"(?m)^\s*listen = ", text))
                self.assertGreater(listeners, 0)
                with BalancerProcess(config=text, expect=listeners) as balancer:
                    for host, port in balancer.addresses.values():
                        self.assertEqual(host, "127.0.0.1")
                        self.assertGreater(port, 0)

    def test_the_site_behind_a_cache(self) -> None:
        """cache.toml keeps pages and files, not the account, and with a token written in it is purged as it says."""
        text = (ETC / "cache.toml").read_text().replace("#[cache.pages.purge]", "[cache.pages.purge]")
        text = text.replace("#token =", 'token = "tested-by-this-token"').replace(
            "tcp:8080", "tcp:0:interface=127.0.0.1"
        )
        with SocketServer(tagged) as one, SocketServer(tagged) as two:
            text = text.replace("127.0.0.1:8001", one.address).replace("127.0.0.1:8002", two.address)
            with BalancerProcess(config=text, expect=1) as balancer:
                ((_, port),) = balancer.addresses.values()
                self.assertIn("fwd=uri-miss", status(port, "/"))
                self.assertIn("hit", status(port, "/?utm_source=mail"))
                self.assertIn("fwd=bypass", status(port, "/", "Cookie: session=1\r\n"))
                self.assertIn("fwd=uri-miss", status(port, "/static/a.css?1"))
                self.assertIn("hit", status(port, "/static/a.css?2"))
                self.assertEqual([status(port, "/account"), status(port, "/account")], ["", ""])
                purge = "Authorization: Bearer tested-by-this-token\r\nCache-Tag: news\r\n"
                self.assertIn(b'{"purged": null}', ask(port, "/", purge, "PURGE"))
                self.assertIn("fwd=uri-miss", status(port, "/"))
