"""Layer 7 with TLS on both sides: requests, bulk, refusals, and cut-off responses that never look whole."""

import contextlib
import socket
import ssl
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.pattern import fits, piece
from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess

SIZE = 20 << 20
CONFIG = """
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
tls = {{ ca = "{ca}" }}
[listener.https]
listen = "ssl:0:interface=127.0.0.1:privateKey={key}:certKey={key}"
to = "web"
"""


class TlsTests(SynchronousTestCase):
    """A client, the balancer and a backend, all with TLS."""

    def setUp(self) -> None:
        """Certificates, a backend, a balancer."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        authority = Authority(directory.name)
        self.authority = authority.file
        key = authority.issue("127.0.0.1")
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(key)
        server = SocketServer(self.serve)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        self.server = server
        process = BalancerProcess(config=CONFIG.format(address=server.address, ca=authority.file, key=key))
        process.__enter__()
        self.addCleanup(process.__exit__, None, None, None)
        self.address = process.addresses["https"]

    def serve(self, connection: socket.socket) -> None:
        """``/big`` is the pattern, ``/cut`` is cut off, ``/until-close`` ends in order, ``/torn`` without a word."""
        with contextlib.suppress(ssl.SSLError), self.context.wrap_socket(connection, server_side=True) as secure:
            while True:
                data = b""
                while b"\r\n\r\n" not in data:
                    more = secure.recv(65536)
                    if not more:
                        return
                    data += more
                path = data.split(b" ")[1]
                if path == b"/big":
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
                    for offset in range(0, SIZE, 1 << 16):
                        secure.sendall(piece(offset, 1 << 16))
                elif path == b"/cut":
                    secure.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                    secure.unwrap()
                    return
                elif path in (b"/until-close", b"/torn"):
                    secure.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
                    if path == b"/until-close":
                        secure.unwrap()
                    return
                else:
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def client(self, *protocols: str) -> ssl.SSLSocket:
        """A connection that trusts the authority, tells a torn end from an orderly one, and offers protocols."""
        context = ssl.create_default_context(cafile=self.authority)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(self.address, PATIENCE)
        client = context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self.addCleanup(client.close)
        return client

    def ask(self, request: bytes) -> tuple[bytes, bool]:
        """All that comes back, and whether it ended in order (``close_notify``)."""
        client = self.client()
        client.sendall(request)
        answer = bytearray()
        try:
            while more := client.recv(1 << 16):
                answer += more
        except OSError:  # SSLEOFError, or the reset itself
            return bytes(answer), False
        return bytes(answer), True

    def test_both_ways(self) -> None:
        """Requests share connections; 20 MiB arrive as they were; everything ends in order."""
        client = self.client()
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(b"\r\n\r\nok"):
                data += client.recv(65536)
        self.assertEqual(self.server.accepted, 1)
        answer, in_order = self.ask(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "))
        self.assertTrue(fits(0, body) and len(body) == SIZE)
        self.assertTrue(in_order)
        answer, in_order = self.ask(b"GET /until-close HTTP/1.0\r\n\r\n")
        self.assertTrue(answer.endswith(b"\r\n\r\nhello"))
        self.assertTrue(in_order)

    def test_application_protocol(self) -> None:
        """A client that offers protocols, as browsers and curl do, gets HTTP/1.1 agreed on (RFC 7301)."""
        client = self.client("h2", "http/1.1")
        self.assertEqual(client.selected_alpn_protocol(), "http/1.1")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 "))

    def test_cut_off(self) -> None:
        """A response that was cut off, or that ended without ``close_notify``, ends without one at the client too."""
        for path in (b"/cut", b"/torn"):
            for version in (b"1.0", b"1.1"):
                answer, in_order = self.ask(b"GET %b HTTP/%b\r\nHost: a\r\nConnection: close\r\n\r\n" % (path, version))
                self.assertFalse(in_order, answer)
                self.assertNotIn(b"0\r\n\r\n", answer)

    def test_refusal(self) -> None:
        """A refusal is read by a client that still sends."""
        answer, _ = self.ask(b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 100000)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
