"""The PROXY protocol with real HAProxy and nginx, as senders and receivers, against a balancer in its own process.

Clients come from loopback addresses of their own, so that what arrives can be told from what a proxy's address is.
"""

import json
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.proxy_header import (
    ALPN,
    AUTHORITY,
    CLIENT_SSL,
    SSL_CIPHER,
    SSL_VERSION,
    UNIQUE_ID,
    Inet,
    ProxyHeader,
)
from balancer.core.proxy_protocol import ProxyDecoder
from balancer.testing.certificates import Authority
from balancer.testing.peers import SocketServer, free_port
from balancer.testing.process import PATIENCE, BalancerProcess
from balancer.testing.proxies import Haproxy, NginxProxy

CLIENT = "127.0.0.77"
LISTENERS = """
access_log = {{ path = "access.log", format = "json" }}
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
accept_proxy = {{ trusted = ["127.0.0.1"] }}
forwarded = {{ forwarded = true }}
[listener.tcp]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "web"
accept_proxy = {{ trusted = ["127.0.0.1"] }}
[listener.https]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
tls = {{ certificate = "{certificate}" }}
accept_proxy = {{ trusted = ["127.0.0.1"] }}
"""
SENDING = """
[upstream.web]
servers = ["127.0.0.1:{port}"]
check = {check}
send_proxy = {send_proxy}
{tls}
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
[listener.tcp]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "web"
"""
TLVS = '{ version = "v2", tlvs = ["authority", "alpn", "unique-id", "ssl", "crc32c"] }'


def answer(connection: socket.socket) -> None:
    """HTTP: every request is answered with its head."""
    data = b""
    while more := connection.recv(65536):
        data += more
        while b"\r\n\r\n" in data:
            head, data = data.split(b"\r\n\r\n", 1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


def read_response(connection: socket.socket) -> bytes:
    """The body of one response with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise AssertionError(f"the connection ended after {data!r}")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < size:
        body += connection.recv(65536)
    return body


class ProxyProtocolTestCase(SynchronousTestCase):
    """Programs, and clients with an address of their own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(directory.name)
        self.certificate = self.authority.issue("www.example.org")
        self.trust = ssl.create_default_context(cafile=self.authority.file)

    def run_one(self, program: Any) -> Any:
        started = program.__enter__()
        self.addCleanup(program.__exit__, None, None, None)
        return started

    def get(self, address: tuple[str, int], source: str = CLIENT, secure: bool = False) -> tuple[str, int]:
        """What the backend says to one request, and the client's port."""
        with socket.create_connection(address, PATIENCE, (source, 0)) as plain:
            port = plain.getsockname()[1]
            connection = self.trust.wrap_socket(plain, server_hostname="www.example.org") if secure else plain
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
            return read_response(connection).decode(), port


class ReceivingTests(ProxyProtocolTestCase):
    """Others send to us."""

    pause = threading.Event()

    def setUp(self) -> None:
        super().setUp()
        server = self.run_one(SocketServer(answer))
        config = LISTENERS.format(address=server.address, certificate=self.certificate)
        self.balancer: BalancerProcess = self.run_one(BalancerProcess(config=config, expect=3))
        self.ports = {name: port for name, (_, port) in self.balancer.addresses.items()}

    def line(self, listener: str, **wanted: object) -> dict[str, Any]:
        """The line of the access log about that listener with these values, once it is there."""
        path = Path(self.balancer.directory) / "access.log"
        for _ in range(int(PATIENCE / 0.02)):
            for text in path.read_text().splitlines():
                found: dict[str, Any] = json.loads(text)
                if found["listener"] == listener and all(found[key] == value for key, value in wanted.items()):
                    return found
            self.pause.wait(0.02)
        raise AssertionError(f"no line of {listener} with {wanted} in:\n{path.read_text()}")

    def passed(self, address: tuple[str, int], listener: str, secure: bool = False) -> None:
        """Through that proxy the real client is in what the backend gets and in the access log."""
        said, port = self.get(address, secure=secure)
        if listener != "tcp":
            self.assertIn(f"X-Forwarded-For: {CLIENT}\r\n", said)
        if listener == "http":
            self.assertIn(f"for={CLIENT};", said)
        self.line(listener, client=CLIENT, client_port=port)

    def test_haproxy_sends(self) -> None:
        """HAProxy sends version 1 and 2, plain and in front of TLS, to every mode: we see its client."""
        ways = {
            "one": f"{self.ports['http']} send-proxy",
            "two": f"{self.ports['http']} send-proxy-v2",
            "layer4": f"{self.ports['tcp']} send-proxy-v2 proxy-v2-options crc32c,unique-id",
            "layer4v1": f"{self.ports['tcp']} send-proxy",
            "tls": f"{self.ports['https']} send-proxy-v2 ssl verify none",
        }
        taken = {name: free_port() for name in ways}
        text = "".join(
            f"listen {name}\n bind 127.0.0.1:{taken[name]}\n unique-id-format %ci-%cp-%rt\n server s 127.0.0.1:{way}\n"
            for name, way in ways.items()
        )
        # Its clients of mode http speak HTTP through mode tcp; TLS to us is HAProxy's own.
        self.run_one(Haproxy(text, *taken.values()))
        for name in ("one", "two"):
            self.passed(("127.0.0.1", taken[name]), "http")
        self.passed(("127.0.0.1", taken["layer4"]), "tcp")
        self.passed(("127.0.0.1", taken["layer4v1"]), "tcp")
        self.passed(("127.0.0.1", taken["tls"]), "https")

    def test_haproxy_ends_tls_in_front(self) -> None:
        """HAProxy ends its client's TLS and tells of it, with checksum, authority and unique id; its probes (LOCAL) are
        served, for it finds us up."""
        port = free_port()
        options = "proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id"
        text = (
            f"listen secure\n bind 127.0.0.1:{port} ssl crt {self.certificate}\n unique-id-format %ci-%cp\n"
            f" server s 127.0.0.1:{self.ports['http']} send-proxy-v2 {options} check inter 100ms\n"
        )
        self.run_one(Haproxy(text, port))
        self.passed(("127.0.0.1", port), "http", secure=True)

    def test_nginx_sends(self) -> None:
        """nginx (stream) sends version 1, to every mode, plain and with its client's TLS passed through."""
        taken = {name: free_port() for name in self.ports}
        servers = "".join(
            f"server {{ listen 127.0.0.1:{taken[name]}; proxy_pass 127.0.0.1:{port}; proxy_protocol on; }}\n"
            for name, port in self.ports.items()
        )
        self.run_one(NginxProxy(*taken.values(), stream=servers))
        for name in self.ports:
            self.passed(("127.0.0.1", taken[name]), name, secure=name == "https")

    def test_refusals(self) -> None:
        """A stranger that sends a header and a trusted peer that sends none are reset, with a line that says why; a
        stranger without one is served as itself."""
        said, _ = self.get(("127.0.0.1", self.ports["http"]), CLIENT)
        self.assertIn(f"X-Forwarded-For: {CLIENT}\r\n", said)
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
        for name, source, sent, reason in (
            ("http", CLIENT, header, "it sent a PROXY header and is none of accept_proxy.trusted"),
            ("tcp", CLIENT, header, "it sent a PROXY header and is none of accept_proxy.trusted"),
            ("https", CLIENT, header, "it sent a PROXY header and is none of accept_proxy.trusted"),
            ("http", "127.0.0.1", b"GET / HTTP/1.1\r\n\r\n", "the connection does not begin with a PROXY header"),
            ("tcp", "127.0.0.1", b"hello", "the connection does not begin with a PROXY header"),
        ):
            with (
                self.subTest(name=name, source=source),
                socket.create_connection(("127.0.0.1", self.ports[name]), PATIENCE, (source, 0)) as connection,
            ):
                connection.sendall(sent)
                with self.assertRaises(ConnectionResetError):
                    connection.recv(100)
                line = self.line(name, client=source, client_port=connection.getsockname()[1])
                self.assertEqual((line["end"], line["reason"]), ("client_proxy_refused", reason))
        self.balancer.wait_for("refused a connection from 127.0.0.77: it sent a PROXY header")

    def test_byte_by_byte(self) -> None:
        """A header that comes byte by byte is read as one, over real sockets."""
        header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.ports["http"]), PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(len(header)):
                connection.sendall(header[place : place + 1])
            self.assertIn(b"X-Forwarded-For: 192.0.2.7\r\n", read_response(connection))


class SendingTests(ProxyProtocolTestCase):
    """We send to others."""

    def balance(self, port: int, send_proxy: str, check: str = '{ type = "none" }', tls: str = "") -> BalancerProcess:
        config = SENDING.format(port=port, send_proxy=send_proxy, check=check, tls=tls)
        started: BalancerProcess = self.run_one(BalancerProcess(config=config, expect=2))
        return started

    def test_haproxy_receives(self) -> None:
        """HAProxy with accept-proxy sees our client, whatever version and mode; it takes our checksum."""
        port = free_port()
        page = "http-request return status 200 content-type text/plain lf-string"
        text = (
            f"frontend web\n mode http\n bind 127.0.0.1:{port} accept-proxy\n"
            f' {page} "%[src] %[src_port] %[dst] %[fc_rcvd_proxy] %[fc_pp_unique_id]"\n'
        )
        self.run_one(Haproxy(text))
        for send_proxy in ('"v1"', '"v2"', TLVS):
            balancer = self.balance(port, send_proxy)
            for name in ("http", "tcp"):
                said, source = self.get(balancer.addresses[name])
                client, from_port, host, received, *unique = said.split()
                self.assertEqual((client, from_port, host, received), (CLIENT, str(source), "127.0.0.1", "1"))
                self.assertEqual([len(found) for found in unique], [32] if send_proxy == TLVS else [])

    def test_haproxy_receives_before_tls(self) -> None:
        """With TLS to the servers the header comes first, in the clear; probes (LOCAL) find the server up."""
        port = free_port()
        page = "http-request return status 200 content-type text/plain lf-string"
        text = (
            f"frontend web\n mode http\n bind 127.0.0.1:{port} accept-proxy ssl crt {self.certificate}\n"
            f' {page} "%[src] %[ssl_fc_sni]"\n'
        )
        self.run_one(Haproxy(text))
        tls = f'tls = {{ name = "www.example.org", ca = "{self.authority.file}" }}'
        check = f'{{ type = "http", ca = "{self.authority.file}", interval = "100ms", start = "down", rise = 2 }}'
        for send_proxy in ('"v1"', '"v2"'):
            balancer = self.balance(port, send_proxy, check, tls)
            balancer.wait_for("is up")
            for name in ("http", "tcp"):
                said, _ = self.get(balancer.addresses[name])
                self.assertEqual(said.split(), [CLIENT, "www.example.org"])

    def test_nginx_receives(self) -> None:
        """nginx with proxy_protocol sees our client, whatever version and mode; our probes, of every kind, pass."""
        port = free_port()
        http = (
            f"server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ default_type text/plain;"
            f' return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr"; }} }}'
        )
        self.run_one(NginxProxy(http=http))
        for send_proxy in ('"v1"', '"v2"', TLVS):
            balancer = self.balance(port, send_proxy, '{ type = "http", interval = "100ms", start = "down", rise = 2 }')
            balancer.wait_for("is up")
            for name in ("http", "tcp"):
                said, source = self.get(balancer.addresses[name])
                self.assertEqual(said.split(), [CLIENT, str(source), "127.0.0.1"])

    def test_one_client_one_connection(self) -> None:
        """In mode http no connection speaks for two clients: each request opens its own, with its client and its id."""
        headers: list[tuple[ProxyHeader, bytes]] = []

        def serve(connection: socket.socket) -> None:
            decoder, header, data = ProxyDecoder(), None, b""
            while header is None:
                header = decoder.feed(connection.recv(65536))
            data = decoder.rest
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            headers.append((header, data))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            while connection.recv(65536):
                raise AssertionError("a second request came on the connection of one client")

        server = self.run_one(SocketServer(serve))
        balancer = self.balance(server.port, TLVS)
        for source in (CLIENT, "127.0.0.78"):
            with socket.create_connection(balancer.addresses["http"], PATIENCE, (source, 0)) as connection:
                for _ in range(2):
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertEqual(read_response(connection), b"ok")
                port = connection.getsockname()[1]
            for header, head in headers[-2:]:
                self.assertEqual(header.source, Inet(source, port))
                unique = header.get(UNIQUE_ID)
                assert unique is not None
                self.assertIn(b"X-Request-ID: " + unique + b"\r\n", head)
        self.assertEqual((len(headers), server.errors), (4, []))

    def test_chain(self) -> None:
        """Two balancers in a row: the second tells its server the first one's client, and what that knew of its TLS."""
        heard: list[ProxyHeader] = []

        def serve(connection: socket.socket) -> None:
            decoder, header = ProxyDecoder(), None
            while header is None:
                header = decoder.feed(connection.recv(65536))
            heard.append(header)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        server = self.run_one(SocketServer(serve))
        second = self.run_one(
            BalancerProcess(
                config=f"""
[upstream.web]
servers = ["{server.address}"]
check = {{ type = "none" }}
send_proxy = {TLVS}
[listener.tcp]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "web"
accept_proxy = {{ trusted = ["127.0.0.0/8"] }}
"""
            )
        )
        first = self.run_one(
            BalancerProcess(
                config=f"""
[upstream.next]
servers = ["127.0.0.1:{second.addresses["tcp"][1]}"]
check = {{ type = "none" }}
send_proxy = {TLVS}
[listener.tls]
listen = "tcp:0:interface=127.0.0.1"
mode = "tcp"
to = "next"
tls = {{ certificate = "{self.certificate}", alpn = ["x-test"] }}
"""
            )
        )
        self.trust.set_alpn_protocols(["x-test"])
        self.get(first.addresses["tls"], secure=True)
        (header,) = heard
        assert isinstance(header.source, Inet) and header.ssl is not None
        self.assertEqual(header.source.host, CLIENT)
        self.assertEqual((header.get(AUTHORITY), header.get(ALPN)), (b"www.example.org", b"x-test"))
        self.assertEqual((header.ssl.client, header.ssl.verify), (CLIENT_SSL, 1))
        said = dict(header.ssl.tlvs)
        self.assertEqual((said[SSL_VERSION], said[SSL_CIPHER][:4]), (b"TLSv1.3", b"TLS_"))
