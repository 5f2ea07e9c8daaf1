"""TLS for TCP, ended here, begun here, or both: ``openssl s_client`` and ``s_server``, and HAProxy on either side."""

import contextlib
import json
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.openssl import OpensslServer, s_client
from balancer.testing.peers import PATIENCE, SocketServer, free_port, need, wait_until_open
from balancer.testing.process import BalancerProcess

LISTENER = """
access_log = {{ path = "access.log", format = "json", flush_interval = "50ms" }}
[listener.in]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "servers"
{more}
[upstream.servers]
servers = ["{address}"]
check = "none"
"""


def backwards(connection: socket.socket) -> None:
    """Each line, backwards, as ``s_server -rev`` does it."""
    with connection.makefile("rwb", buffering=0) as file:
        for line in file:
            file.write(line.rstrip()[::-1] + b"\n")


def line_through(address: tuple[str, int]) -> bytes:
    """What comes back for a line without TLS; nothing where the connection is reset."""
    with socket.create_connection(address, PATIENCE) as client, contextlib.suppress(ConnectionResetError):
        client.sendall(b"hello\n")
        return client.recv(100).strip()
    return b""


class OffloadTestCase(SynchronousTestCase):
    """An authority with certificates for all, another one, and what a test starts."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(directory.name)
        self.stranger = Authority(directory.name, "stranger")
        self.front = self.authority.issue("front.example", "127.0.0.1")
        self.server = self.authority.issue("server.example", "127.0.0.2")
        self.client = self.authority.issue("client.example")

    def started(self, peer: "OpensslServer | SocketServer") -> str:
        """It is started, and ended with the test; its address."""
        peer.__enter__()
        self.addCleanup(peer.__exit__, None, None, None)
        return peer.address

    def openssl(self, *options: str, pem: str = "") -> str:
        return self.started(OpensslServer(pem or self.server, *options))

    def plain(self, handle: Callable[[socket.socket], None] = backwards) -> str:
        return self.started(SocketServer(handle))

    def balancer(self, address: str, front: str = "", back: str = "") -> BalancerProcess:
        """A balancer in mode tcp: what ``tls`` has in front, and towards the server."""
        text = LISTENER.format(address=address, more=f"tls = {{ {front} }}" if front else "")
        balancer = BalancerProcess(config=text + (f"tls = {{ {back} }}" if back else ""))
        balancer.__enter__()
        self.addCleanup(balancer.__exit__, None, None, None)
        return balancer

    def verified(self) -> list[str]:
        """What has ``s_client`` insist on the front's certificate."""
        name = "front.example"
        return ["-servername", name, "-CAfile", self.authority.file, "-verify_return_error", "-verify_hostname", name]

    def ends(self, balancer: BalancerProcess) -> list[tuple[str, str]]:
        """How connections ended, in order: word and reason. The balancer is ended for that."""
        balancer.process.send_signal(signal.SIGTERM)
        balancer.process.wait(PATIENCE)
        lines = map(json.loads, (balancer.directory / "access.log").read_text().splitlines())
        return [(line["end"], line["reason"]) for line in lines]

    def haproxy(self, server: str, bind: str = "") -> tuple[str, int]:
        """A HAProxy in TCP mode: what ``bind`` and ``server`` say beyond their addresses; its own address."""
        port = free_port()
        file = self.directory / f"haproxy-{port}.cfg"
        file.write_text(
            "global\n ca-base /\n crt-base /\n"
            "defaults\n mode tcp\n timeout connect 9s\n timeout client 99s\n timeout server 99s\n"
            f"listen in\n bind 127.0.0.1:{port} {bind}\n server one {server}\n"
        )
        process = subprocess.Popen(
            [need("haproxy", "haproxy"), "-q", "-db", "-f", str(file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        wait_until_open(("127.0.0.1", port), process)
        return "127.0.0.1", port


class TerminateTests(OffloadTestCase):
    """TLS to clients, plain TCP to the server."""

    def test_s_client(self) -> None:
        """``s_client`` verifies the certificate, with TLS 1.2 and 1.3; the server gets plain bytes."""
        address = self.balancer(self.plain(), f'certificate = "{self.front}"').addresses["in"]
        for version in ("-tls1_2", "-tls1_3"):
            answer, said = s_client(address, *self.verified(), version)
            self.assertEqual(answer, "olleh", said)

    def test_old_versions(self) -> None:
        """A client that is too old is refused."""
        front = f'certificate = "{self.front}", min_version = "1.3"'
        balancer = self.balancer(self.plain(), front)
        answer, said = s_client(balancer.addresses["in"], "-tls1_2")
        self.assertEqual(answer, "")
        self.assertIn("alert protocol version", said)
        self.assertIn(("client_tls_failed", "unsupported protocol"), self.ends(balancer))

    def test_clients_certificates(self) -> None:
        """Where clients have to show one, ``s_client`` gets through with ours, and with none or a stranger's not."""
        front = f'certificate = "{self.front}", client_ca = "{self.authority.file}"'
        address = self.balancer(self.plain(), front).addresses["in"]
        strange = self.stranger.issue("strange.example")
        for version in ("-tls1_2", "-tls1_3"):
            for pem, expected in ((self.client, "olleh"), (strange, ""), ("", "")):
                shown = ["-cert", pem, "-key", pem] if pem else []
                answer, said = s_client(address, *self.verified(), version, *shown)
                self.assertEqual(answer, expected, said)

    def test_alpn(self) -> None:
        """``s_client`` and the listener agree on a protocol of both."""
        front = f'certificate = "{self.front}", alpn = ["imap"]'
        address = self.balancer(self.plain(), front).addresses["in"]
        self.assertIn("ALPN protocol: imap", s_client(address, *self.verified(), "-alpn", "pop3,imap")[1])

    def test_haproxy_as_client(self) -> None:
        """HAProxy, as a client that verifies, gets through."""
        host, port = self.balancer(self.plain(), f'certificate = "{self.front}"').addresses["in"]
        trust = f"ssl verify required ca-file {self.authority.file} sni str(front.example) verifyhost front.example"
        self.assertEqual(line_through(self.haproxy(f"{host}:{port} {trust}")), b"olleh")

    def test_from_the_command_line(self) -> None:
        """``--tls`` with ``--cert`` is the same without a file."""
        options = ["--tls", "127.0.0.1:0", "--cert", self.front, "--to", self.plain()]
        with BalancerProcess(*options) as balancer:
            (address,) = balancer.addresses.values()
            answer, said = s_client(address, *self.verified())
        self.assertEqual(answer, "olleh", said)


class OriginateTests(OffloadTestCase):
    """Plain TCP to clients, TLS to the server."""

    def named(self, more: str = "", ca: str = "") -> str:
        return f'name = "server.example", ca = "{ca or self.authority.file}"{more}'

    def test_s_server(self) -> None:
        """The server's certificate is verified by the authority and the name given, with TLS 1.2 and 1.3."""
        for version in ("-tls1_2", "-tls1_3"):
            balancer = self.balancer(self.openssl(version), back=self.named())
            self.assertEqual(line_through(balancer.addresses["in"]), b"olleh")

    def test_what_is_not_verified_is_not_used(self) -> None:
        """An authority that is not ours, the system's ones alone, another name: the client is reset, and the log says
        why. ``verify = false`` takes it all the same."""
        address = self.openssl()
        for back, words in (
            (self.named(ca=self.stranger.file), "certificate verify failed"),
            ('name = "server.example"', "certificate verify failed"),
            (f'name = "other.example", ca = "{self.authority.file}"', "the certificate is not for other.example"),
            (f'ca = "{self.authority.file}"', "the certificate is not for 127.0.0.1"),
        ):
            balancer = self.balancer(address, back=back)
            self.assertEqual(line_through(balancer.addresses["in"]), b"", back)
            ((end, reason),) = self.ends(balancer)
            self.assertEqual(end, "backend_tls_failed")
            self.assertIn(words, reason)
        balancer = self.balancer(address, back="verify = false")
        self.assertEqual(line_through(balancer.addresses["in"]), b"olleh")
        balancer.wait_for("does not verify the certificates")

    def test_our_certificate(self) -> None:
        """A server that demands a certificate gets ours, verified or not; without one it closes."""
        for version in ("-tls1_2", "-tls1_3"):
            address = self.openssl("-CAfile", self.authority.file, "-Verify", "1", "-verify_return_error", version)
            ours = f', certificate = "{self.client}"'
            for back, expected in (
                (self.named(ours), b"olleh"), ("verify = false" + ours, b"olleh"), (self.named(), b""),
            ):  # fmt: skip
                balancer = self.balancer(address, back=back)
                self.assertEqual(line_through(balancer.addresses["in"]), expected, (version, back))

    def test_a_renewed_certificate(self) -> None:
        """After SIGHUP connections show what is in the files by then, though the configuration is the same."""
        demanding = self.openssl("-CAfile", self.authority.file, "-Verify", "1", "-verify_return_error", "-tls1_2")
        ours = self.directory / "ours.pem"
        ours.write_text(Path(self.stranger.issue("strange.example")).read_text())
        balancer = self.balancer(demanding, back=self.named(f', certificate = "{ours}"'))
        self.assertEqual(line_through(balancer.addresses["in"]), b"")
        ours.write_text(Path(self.client).read_text())
        balancer.process.send_signal(signal.SIGHUP)
        balancer.wait_for("upstream 'servers' has new")
        self.assertEqual(line_through(balancer.addresses["in"]), b"olleh")

    def test_checks_show_a_certificate(self) -> None:
        """A check with our certificate passes at a server that demands one; without it the server is down."""
        demand = ["-CAfile", self.authority.file, "-Verify", "1", "-verify_return_error", "-tls1_2"]
        check = f'check = {{ type = "tls", tls_name = "server.example", ca = "{self.authority.file}", fall = 1%s }}'
        for shown, words in ((f', certificate = "{self.client}"', "is up"), ("", "is down")):
            text = LISTENER.format(address=self.openssl(*demand), more="").replace('check = "none"', check % shown)
            with BalancerProcess(config=text) as balancer:
                balancer.wait_for(words)

    def test_haproxy_as_server(self) -> None:
        """HAProxy ends our TLS, and demands our certificate."""
        bind = f"ssl crt {self.server} ca-file {self.authority.file} verify required"
        host, port = self.haproxy(self.plain(), bind)
        back = self.named(f', certificate = "{self.client}"')
        self.assertEqual(line_through(self.balancer(f"{host}:{port}", back=back).addresses["in"]), b"olleh")


class BothTests(OffloadTestCase):
    """TLS on both sides, each of its own."""

    def test_s_client_and_s_server(self) -> None:
        """Every pair of versions; each side verifies, and shows a certificate."""
        front = f'certificate = "{self.front}", client_ca = "{self.authority.file}"'
        back = f'name = "server.example", ca = "{self.authority.file}", certificate = "{self.client}"'
        shown = ["-cert", self.client, "-key", self.client]
        for there in ("-tls1_2", "-tls1_3"):
            demand = ["-CAfile", self.authority.file, "-Verify", "1", "-verify_return_error"]
            address = self.balancer(self.openssl(there, *demand), front, back).addresses["in"]
            for here in ("-tls1_2", "-tls1_3"):
                answer, said = s_client(address, *self.verified(), *shown, here)
                self.assertEqual(answer, "olleh", said)

    def test_haproxy_on_both_sides(self) -> None:
        """HAProxy as the client and as the server; much, both ways at one time, arrives whole."""
        size = 4 << 20

        def echo(connection: socket.socket) -> None:
            while more := connection.recv(1 << 16):
                connection.sendall(more)

        host, port = self.haproxy(self.plain(echo), f"ssl crt {self.server}")
        back = f'name = "server.example", ca = "{self.authority.file}"'
        balancer = self.balancer(f"{host}:{port}", f'certificate = "{self.front}"', back)
        host, port = balancer.addresses["in"]
        trust = f"ssl verify required ca-file {self.authority.file} sni str(front.example)"
        with socket.create_connection(self.haproxy(f"{host}:{port} {trust}"), PATIENCE) as client:
            sender = threading.Thread(target=client.sendall, args=(bytes(size),), daemon=True)
            sender.start()
            received = 0
            while received < size and (more := client.recv(1 << 16)):
                received += len(more)
            sender.join(PATIENCE)
        self.assertEqual(received, size)
