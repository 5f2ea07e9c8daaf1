"""TLS for clients, started the way a user starts it, against curl, ``openssl s_client`` and the standard library."""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.pattern import fits, piece
from balancer.testing.peers import SocketServer, need
from balancer.testing.process import PATIENCE, BalancerProcess, twistd

SIZE = 8 << 20
TWO = """
access_log = {{ path = "access.log", format = "json" }}
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
[listener.https]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
tls = {{ certificate = "{one}", certificates = [{{ certificate = "{two}" }}] }}
[listener.tls]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "web"
tls = {{ certificate = "{one}", alpn = ["echo"] }}
"""

IMPATIENT = """
[listener.impatient]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
tls = {{ certificate = "{one}" }}
timeouts = {{ tls_handshake = "300ms" }}
"""
"""For who is silent: a handshake that is meant to succeed may take longer on a slow machine."""


def answer(connection: socket.socket) -> None:
    """HTTP: ``/big`` is the pattern; anything else is answered with the head that came."""
    data = b""
    while more := connection.recv(65536):
        data += more
        while b"\r\n\r\n" in data:
            head, data = data.split(b"\r\n\r\n", 1)
            if head.startswith(b"GET /big "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                for offset in range(0, SIZE, 1 << 16):
                    connection.sendall(piece(offset, 1 << 16))
            elif head.startswith(b"GET /cut "):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
                return
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


def reverse(connection: socket.socket) -> None:
    """Answers only when the client has said everything: all of it, backwards."""
    data = b""
    while more := connection.recv(65536):
        data += more
    connection.sendall(data[::-1])


class TlsTestCase(SynchronousTestCase):
    """An authority and a directory."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(directory.name)
        self.one = self.authority.issue("127.0.0.1", "one.example")
        self.two = self.authority.issue("*.two.example")

    def run_two(self, server: SocketServer, more: str = "") -> BalancerProcess:
        """A balancer with both listeners, and more."""
        text = (TWO + more).format(address=server.address, one=self.one, two=self.two)
        balancer = BalancerProcess(config=text, expect=2 + more.count("[listener."))
        balancer.__enter__()
        self.addCleanup(balancer.__exit__, None, None, None)
        return balancer

    def serve(self, handle: Callable[[socket.socket], None] = answer) -> SocketServer:
        server = SocketServer(handle)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def connect(self, address: tuple[str, int], name: str = "127.0.0.1", **alpn: list[str]) -> ssl.SSLSocket:
        """A client that verifies, and tells a torn end from an orderly one."""
        context = ssl.create_default_context(cafile=self.authority.file)
        if alpn:
            context.set_alpn_protocols(alpn["alpn"])
        plain = socket.create_connection(address, PATIENCE)
        client = context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)
        self.addCleanup(client.close)
        return client

    def curl(self, address: tuple[str, int], path: str, *options: str) -> bytes:
        """One request with curl; fails where curl does."""
        url = f"https://127.0.0.1:{address[1]}{path}"
        command = [need("curl", "curl"), "-sS", "--cacert", self.authority.file, *options, url]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout

    def records(self, balancer: BalancerProcess, end: str) -> list[dict[str, object]]:
        """The access log's records that ended like this."""
        text = (balancer.directory / "access.log").read_text() if (balancer.directory / "access.log").exists() else ""
        return [line for line in map(json.loads, text.splitlines()) if end in line.values()]


class ServingTests(TlsTestCase):
    """Clients that do it right."""

    def test_http_and_tcp(self) -> None:
        """curl and the standard library get answers, small and large, in both modes; the backend hears of https."""
        balancer = self.run_two(self.serve())
        https, tls = balancer.addresses["https"], balancer.addresses["tls"]
        self.assertIn(b"X-Forwarded-Proto: https", self.curl(https, "/a"))
        self.assertTrue(fits(0, self.curl(https, "/big")))
        self.assertEqual(len(self.curl(tls, "/big", "--no-alpn")), SIZE)
        self.assertEqual(self.connect(tls, alpn=["echo"]).selected_alpn_protocol(), "echo")
        self.assertEqual(self.connect(https, alpn=["h2", "http/1.1"]).selected_alpn_protocol(), "http/1.1")

    def test_names(self) -> None:
        """The name a client asks for chooses the certificate."""
        balancer = self.run_two(self.serve())
        for name in ("one.example", "a.two.example"):
            client = self.connect(balancer.addresses["https"], name)
            self.assertIn(("DNS", name.replace("a.", "*.")), (client.getpeercert() or {})["subjectAltName"])

    def test_openssl_resumes(self) -> None:
        """``openssl s_client -reconnect`` takes its session up again."""
        balancer = self.run_two(self.serve())
        host, port = balancer.addresses["https"]
        command = [need("openssl", "openssl"), "s_client", "-reconnect", "-tls1_2", "-connect", f"{host}:{port}"]
        said = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE).stdout
        self.assertEqual((said.count(b"\nNew, TLSv1.2"), said.count(b"\nReused, TLSv1.2")), (1, 5))

    def test_half_close(self) -> None:
        """In mode tcp a client's close_notify is a half-close for the backend, whose answer still arrives."""
        balancer = self.run_two(self.serve(reverse))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=self.authority.file)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with socket.create_connection(balancer.addresses["tls"], PATIENCE) as plain:

            def done(step: Callable[[], object]) -> object:
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        plain.sendall(outgoing.read())
                        incoming.write(plain.recv(65536))

            done(tls.do_handshake)
            tls.write(b"abc")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()  # our close_notify; the balancer's comes after its answer
            received = done(lambda: tls.read(100))
        self.assertEqual(received, b"cba")

    def test_a_cut_response_is_torn(self) -> None:
        """A response the backend cut ends without close_notify."""
        balancer = self.run_two(self.serve())
        client = self.connect(balancer.addresses["https"])
        client.sendall(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        with self.assertRaises(OSError):
            while client.recv(65536):
                pass

    def test_command_line(self) -> None:
        """``--https`` and ``--tls`` with ``--cert`` and ``--key`` serve the same servers."""
        text = Path(self.one).read_text()
        key, certificate = self.directory / "key.pem", self.directory / "cert.pem"
        certificate.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
        key.write_text(text[: text.index("-----BEGIN CERTIFICATE")])
        with BalancerProcess(
            *("--https", "127.0.0.1:0", "--tls", "127.0.0.1:0", "--cert", str(certificate), "--key", str(key)),
            *("--to", self.serve().address),
            expect=2,
        ) as balancer:
            for address in balancer.addresses.values():
                self.assertIn(b"GET /a HTTP/1.1", self.curl(address, "/a"))


class FailingTests(TlsTestCase):
    """Clients that do it wrong, and files that are wrong."""

    def test_each_failed_handshake_is_one_record(self) -> None:
        """Silence, plain HTTP, distrust and a closed connection: a record each, and nothing in the log."""
        balancer = self.run_two(self.serve(), IMPATIENT)
        address, impatient = balancer.addresses["https"], balancer.addresses["impatient"]
        with socket.create_connection(impatient, PATIENCE) as silent, self.assertRaises(ConnectionResetError):
            silent.recv(1)
        with socket.create_connection(address, PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(100)
        with self.assertRaises(ssl.SSLError), socket.create_connection(address, PATIENCE) as sceptic:
            ssl.create_default_context().wrap_socket(sceptic, server_hostname="one.example")
        socket.create_connection(address, PATIENCE).close()
        self.curl(address, "/still-serving")
        balancer.process.send_signal(signal.SIGTERM)
        balancer.process.wait(PATIENCE)
        found = self.records(balancer, "client_tls_failed")
        reasons = sorted(str(record["reason"]) for record in found)
        self.assertEqual(len(reasons), 4, reasons)
        for words in ("not done within 0.3 s", "http request", "unknown ca", "closed the connection"):
            self.assertTrue(any(words in reason for reason in reasons), (words, reasons))
        self.assertNotIn("Traceback", balancer.log)
        self.assertNotIn("Unhandled", balancer.log)

    def check(self, text: str) -> tuple[int, str]:
        """``--check``: exit code and all it says."""
        file = self.directory / "b.toml"
        file.write_text(text)
        command = [*twistd(), "--nodaemon", "--pidfile=", "balancer", "--config", str(file), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2)
        return done.returncode, done.stdout + done.stderr

    def test_check_reports_files(self) -> None:
        """``--check`` names listener, key and file of everything wrong at once; an expired certificate is a warning."""
        text = TWO.format(address="127.0.0.1:9", one=self.one, two=self.two)
        wrong = text.replace(
            f'{{ certificate = "{self.two}" }}', f'{{ certificate = "{self.two}", key = "{self.one}" }}'
        )
        wrong = wrong.replace(f'"{self.one}", alpn', '"/nowhere/cert.pem", alpn')
        code, said = self.check(wrong)
        self.assertNotEqual(code, 0)
        self.assertIn(f'listener "https": tls.certificates[0].key = "{self.one}" has another key', said)
        self.assertIn('listener "tls": tls.certificate = "/nowhere/cert.pem" cannot be read: No such file', said)
        past = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
        self.authority.issue("127.0.0.1", "one.example", valid=past)
        code, said = self.check(text)
        self.assertEqual(code, 0, said)
        self.assertIn('warning: listener "https": tls.certificate', said)
        self.assertIn("expired at 2021-01-01", said)


class ReloadTests(TlsTestCase):
    """SIGHUP."""

    def serial(self, client: ssl.SSLSocket) -> object:
        return (client.getpeercert() or {})["serialNumber"]

    def test_renewed_certificates(self) -> None:
        """After SIGHUP new handshakes get the renewed certificate, at the same port, and open connections go on; one
        that cannot be used changes nothing."""
        balancer = self.run_two(self.serve())
        address = balancer.addresses["https"]
        before = self.connect(address)
        Path(self.one).write_text("broken")
        balancer.process.send_signal(signal.SIGHUP)
        balancer.wait_for(r'not reloaded.*listener "https": tls.certificate')
        self.assertEqual(self.serial(self.connect(address)), self.serial(before))
        self.authority.issue("127.0.0.1", "one.example")
        balancer.process.send_signal(signal.SIGHUP)
        balancer.wait_for("listener 'https' has new certificates")
        self.assertNotEqual(self.serial(self.connect(address)), self.serial(before))
        before.sendall(b"GET /same HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"200 OK", before.recv(65536))
        self.assertEqual(len(balancer.addresses), 2)
