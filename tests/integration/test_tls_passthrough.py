"""TLS passed through by name, against real TLS servers and clients, and beside nginx's ``ssl_preread``."""

import json
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.hellos import GREASE, alpn, extension, message, pieces, real, records, server_name, unwrapped
from balancer.testing.openssl import OpensslServer, s_client
from balancer.testing.pattern import fits, piece
from balancer.testing.peers import PATIENCE, SocketServer, free_port, need, wait_until_open
from balancer.testing.process import BalancerProcess

CONFIG = """
access_log = {{ path = "access.log", format = "json", flush_interval = "50ms" }}
[listener.tls]
listen = "tcp:0:interface=127.0.0.1"
mode = "tls-passthrough"
"""
SIZE = 8 << 20


class PassthroughTestCase(SynchronousTestCase):
    """An authority, servers and a balancer."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(directory.name)

    def openssl(self, name: str, *options: str) -> OpensslServer:
        """An ``openssl s_server`` with a certificate for that name."""
        server = OpensslServer(self.authority.issue(name), *options)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def serve(self, handle: Callable[[socket.socket], None]) -> SocketServer:
        server = SocketServer(handle)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def python(self, name: str, handle: Callable[[ssl.SSLSocket], None], *protocols: str) -> SocketServer:
        """A TLS server of the standard library."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.issue(name))
        context.set_alpn_protocols(list(protocols))

        def serve(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as tls:
                handle(tls)

        return self.serve(serve)

    def config(self, upstreams: dict[str, str], routes: str, more: str = "") -> str:
        """A configuration with upstreams by name, and what the listener says beyond its mode."""
        text = CONFIG.format() + more + routes
        for name, address in upstreams.items():
            text += f'\n[upstream.{name}]\nservers = ["{address}"]\ncheck = "none"\n'
        return text

    def run_balancer(self, text: str) -> BalancerProcess:
        balancer = BalancerProcess(config=text)
        balancer.__enter__()
        self.addCleanup(balancer.__exit__, None, None, None)
        return balancer

    def verified(self, name: str) -> list[str]:
        """What has ``s_client`` ask for a name, and insist on it."""
        return [
            "-servername", name, "-CAfile", self.authority.file, "-verify_return_error", "-verify_hostname", name,
        ]  # fmt: skip

    def connect(self, address: tuple[str, int], name: str | None, *protocols: str) -> ssl.SSLSocket:
        """A client that verifies, where it asks for a name."""
        context = ssl.create_default_context(cafile=self.authority.file)
        context.check_hostname = name is not None
        if protocols:
            context.set_alpn_protocols(list(protocols))
        client = context.wrap_socket(socket.create_connection(address, PATIENCE), server_hostname=name)
        self.addCleanup(client.close)
        return client

    def record(self, balancer: BalancerProcess, end: str) -> dict[str, object]:
        """The one record that ended like this, once the log has it: the balancer is ended for that."""
        balancer.process.send_signal(signal.SIGTERM)
        balancer.process.wait(PATIENCE)
        lines = [json.loads(line) for line in (balancer.directory / "access.log").read_text().splitlines()]
        (found,) = [line for line in lines if line["end"] == end]
        return dict(found)


def answer_with(word: bytes) -> Callable[[socket.socket], None]:
    """Answers any first bytes with a word."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(word)
        while connection.recv(65536):
            pass

    return handle


def answered(address: tuple[str, int], *data: bytes) -> bytes:
    """What comes back for these bytes, each sent by itself: the first of it, or nothing where the end comes first."""
    with socket.create_connection(address, PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in data:
            client.sendall(part)
        return client.recv(100)


class RoutingTests(PassthroughTestCase):
    """Names lead to servers, which end TLS themselves."""

    ROUTES = """
[[listener.tls.route]]
sni = ["a.example"]
to = "a"
[[listener.tls.route]]
sni = ["*.b.example"]
to = "b"
[[listener.tls.route]]
sni = [""]
to = "none"
"""

    def test_openssl_both_versions(self) -> None:
        """``s_client`` reaches the ``s_server`` of its name, whose certificate it verifies, with TLS 1.3 and 1.2; and
        without a name the one for that."""
        servers = {
            "a": self.openssl("a.example").address,
            "b": self.openssl("x.b.example", "-tls1_2").address,
            "none": self.openssl("127.0.0.1").address,
        }
        balancer = self.run_balancer(self.config(servers, self.ROUTES))
        address = balancer.addresses["tls"]
        for name, version in (("a.example", "-tls1_3"), ("a.example", "-tls1_2"), ("x.b.example", "-tls1_2")):
            answer, said = s_client(address, *self.verified(name), version)
            self.assertEqual(answer, "olleh", said)
        answer, said = s_client(address, "-noservername", "-CAfile", self.authority.file, "-verify_ip", "127.0.0.1")
        self.assertEqual(answer, "olleh", said)
        self.assertIn("Verification: OK", said)

    def test_no_such_name(self) -> None:
        """A name that nobody has: the client is told by an alert, the log has the name and the reason."""
        balancer = self.run_balancer(
            self.config({"a": "127.0.0.1:9", "b": "127.0.0.1:9", "none": "127.0.0.1:9"}, self.ROUTES)
        )
        _, said = s_client(balancer.addresses["tls"], "-servername", "c.example")
        self.assertIn("unrecognized name", said)
        record = self.record(balancer, "no_route")
        self.assertEqual((record["sni"], record["kind"], record["backend"]), ("c.example", "tcp", ""))
        self.assertIn("no route for the server name", str(record["reason"]))

    def test_protocols(self) -> None:
        """ALPN chooses among the servers of one name, and is agreed on with the server."""
        servers = {
            "two": self.python("a.example", answer_with(b"two"), "h2").address,
            "acme": self.python("a.example", answer_with(b"acme"), "acme-tls/1").address,
        }
        routes = '[[listener.tls.route]]\nalpn = ["acme-tls/1"]\nto = "acme"\n'
        balancer = self.run_balancer(self.config(servers, routes, 'to = "two"\n'))
        for protocols, chosen, word in (
            (("acme-tls/1",), "acme-tls/1", b"acme"), (("http/1.1", "h2"), "h2", b"two"), ((), None, b"two"),
        ):  # fmt: skip
            client = self.connect(balancer.addresses["tls"], "a.example", *protocols)
            self.assertEqual(client.selected_alpn_protocol(), chosen)
            client.sendall(b"?")
            self.assertEqual(client.recv(100), word)

    def test_much_both_ways(self) -> None:
        """Megabytes in both directions, which the kernel moves, arrive as they were sent."""

        def echo(connection: socket.socket) -> None:
            data = bytearray()
            while len(data) < SIZE:
                data += connection.recv(1 << 16)
            connection.sendall(data)

        balancer = self.run_balancer(self.config({"a": self.python("a.example", echo).address}, "", 'to = "a"\n'))
        client = self.connect(balancer.addresses["tls"], "a.example")
        for offset in range(0, SIZE, 1 << 16):
            client.sendall(piece(offset, 1 << 16))
        data = bytearray()
        while len(data) < SIZE and (more := client.recv(1 << 16)):
            data += more
        self.assertEqual(len(data), SIZE)
        self.assertTrue(fits(0, bytes(data)))

    def test_a_large_hello(self) -> None:
        """A ClientHello of more than 12 KiB, with hundreds of protocols, makes a handshake."""
        servers = {"a": self.python("a.example", answer_with(b"yes"), "last").address}
        balancer = self.run_balancer(self.config(servers, '[[listener.tls.route]]\nalpn = ["last"]\nto = "a"\n'))
        many = [f"{number:040}" for number in range(300)]
        client = self.connect(balancer.addresses["tls"], "a.example", *many, "last")
        self.assertEqual(client.selected_alpn_protocol(), "last")

    def test_one_upstream_for_two_modes(self) -> None:
        """The servers of an upstream with ``tls`` get a client's own TLS from one listener, and ours from another."""
        server = self.python("a.example", answer_with(b"yes"))
        text = (
            self.config({}, "", 'to = "a"\n')
            + f"""
[listener.ended]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "a"
[upstream.a]
servers = ["{server.address}"]
check = "none"
tls = {{ name = "a.example", ca = "{self.authority.file}" }}
"""
        )
        balancer = BalancerProcess(config=text, expect=2)
        with balancer:
            client = self.connect(balancer.addresses["tls"], "a.example")
            client.sendall(b"?")
            self.assertEqual(client.recv(100), b"yes")
            self.assertEqual(answered(balancer.addresses["ended"], b"?"), b"yes")

    def test_reload(self) -> None:
        """SIGHUP changes where a name leads; who is connected stays where it is."""
        upstreams = {
            "a": self.python("a.example", answer_with(b"a")).address,
            "b": self.python("a.example", answer_with(b"b")).address,
        }
        route = '[[listener.tls.route]]\nsni = ["a.example"]\nto = "{}"\n'
        balancer = self.run_balancer(self.config(upstreams, route.format("a")))
        early = self.connect(balancer.addresses["tls"], "a.example")
        (balancer.directory / "balancer.toml").write_text(self.config(upstreams, route.format("b")))
        balancer.process.send_signal(signal.SIGHUP)
        balancer.wait_for("reload: ")
        for client, word in ((early, b"a"), (self.connect(balancer.addresses["tls"], "a.example"), b"b")):
            client.sendall(b"?")
            self.assertEqual(client.recv(100), word)


class BytesTests(PassthroughTestCase):
    """What reaches a server, byte for byte, and what reaches none."""

    def test_every_cut_arrives_unmodified(self) -> None:
        """A ClientHello that is cut in two, at many places, or split over many records, arrives as it was sent."""
        seen: list[bytes] = []

        def keep(connection: socket.socket) -> None:
            data = b""
            while more := connection.recv(65536):
                data += more
            seen.append(data)
            connection.sendall(b"done")

        hello = real("a.example", "h2")
        split = records(unwrapped(hello), [1] * 50 + [40] * 3)
        balancer = self.run_balancer(self.config({"a": self.serve(keep).address}, "", 'to = "a"\n'))
        sent = [pieces(hello, [place]) for place in range(0, len(hello), 13)]
        sent += [pieces(split, [place]) for place in range(0, len(split), 97)]
        sent.append([bytes([octet]) for octet in hello])
        for parts in sent:
            with socket.create_connection(balancer.addresses["tls"], PATIENCE) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for part in parts:
                    client.sendall(part)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(client.recv(100), b"done")
            self.assertEqual(seen.pop(), b"".join(parts))

    def test_not_tls(self) -> None:
        """curl without TLS gets an empty reply; the log says what its bytes looked like."""
        balancer = self.run_balancer(self.config({"a": "127.0.0.1:9"}, "", 'to = "a"\n'))
        url = f"http://127.0.0.1:{balancer.addresses['tls'][1]}/"
        done = subprocess.run([need("curl", "curl"), "-sS", url], capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 52, done.stderr)  # CURLE_GOT_NOTHING
        self.assertIn("perhaps an HTTP request", str(self.record(balancer, "not_tls")["reason"]))

    def test_slow(self) -> None:
        """A client that does not finish its ClientHello in time is reset, and the log says so."""
        text = self.config({"a": "127.0.0.1:9"}, "", 'to = "a"\ntimeouts = { client_hello = "300ms" }\n')
        balancer = self.run_balancer(text)
        with socket.create_connection(balancer.addresses["tls"], PATIENCE) as client:
            client.sendall(real("a.example")[:200])
            self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertIn("not whole within 0.3 s", str(self.record(balancer, "client_tls_failed")["reason"]))

    def test_above_the_limit(self) -> None:
        """A ClientHello above ``max_client_hello`` is refused with an alert."""
        text = self.config({"a": "127.0.0.1:9"}, "", 'to = "a"\nmax_client_hello = "1KiB"\n')
        balancer = self.run_balancer(text)
        hello = records(message(server_name(b"a.example"), extension(21, bytes(2000))))
        self.assertEqual(answered(balancer.addresses["tls"], hello), b"\x15\x03\x03\x00\x02\x02\x2f")
        self.assertIn("max_client_hello (1024)", str(self.record(balancer, "client_tls_failed")["reason"]))


class NginxTests(PassthroughTestCase):
    """nginx, set up in the same way, sends the same ClientHellos to the same servers."""

    def nginx(self, upstreams: dict[str, str]) -> tuple[str, int]:
        """An nginx that passes TLS through by name."""
        port = free_port()
        conf = self.directory / "nginx.conf"
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # where Debian's libnginx-mod-stream has it
        load = f"load_module {module};" if module.exists() else ""
        conf.write_text(
            f"{load} worker_processes 1; daemon off; pid {self.directory / 'pid'}; error_log stderr crit;\n"
            "events {} stream { ssl_preread on; map $ssl_preread_server_name $place { hostnames;\n"
            f" a.example {upstreams['a']}; *.b.example {upstreams['b']}; default {upstreams['none']}; }}\n"
            f" server {{ listen 127.0.0.1:{port}; ssl_preread on; proxy_pass $place; }} }}\n"
        )
        process = subprocess.Popen([need("nginx", "nginx"), "-e", "stderr", "-c", str(conf)], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.terminate)
        wait_until_open(("127.0.0.1", port), process)
        return "127.0.0.1", port

    def test_the_same_servers(self) -> None:
        """Names of every kind, in one record or many, in one piece or many."""
        upstreams = {name: self.serve(answer_with(name.encode())).address for name in ("a", "b", "none")}
        there = self.nginx(upstreams)
        routes = RoutingTests.ROUTES.replace('sni = [""]\n', "")
        here = self.run_balancer(self.config(upstreams, routes)).addresses["tls"]
        hellos = {
            name: real(name)
            for name in ("a.example", "A.Example", "x.b.example", "x.y.b.example", "b.example", "z.a.example", "c.test")
        }
        hellos["no name"] = real(None)
        hellos["TLS 1.2"] = real("a.example", newest=ssl.TLSVersion.TLSv1_2)
        hellos["GREASE and ECH"] = records(
            message(
                extension(0x1A1A, b""), server_name(b"q.b.example"), alpn(GREASE, b"h2"), extension(0xFE0D, bytes(99))
            )
        )
        for what, hello in hellos.items():
            for parts in ([hello], pieces(hello, [3, 7, 90]), [records(unwrapped(hello), [60, 60])]):
                self.assertEqual(answered(here, *parts), answered(there, *parts), what)
