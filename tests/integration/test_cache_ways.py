"""Ways to a cache other than HTTP/1.1 over plain sockets, and what goes past one: HTTP/1.0, TLS, a site of twisted.web,
WebSocket, uploads."""

import json
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.origins import Client, Origin, Reply, Told, ask, response
from balancer.testing.pattern import PERIOD, fits, piece
from balancer.testing.peers import SocketServer, free_port, wait_until_open
from balancer.testing.process import PATIENCE, BalancerProcess, twistd

SIZE = 10 << 20

CONFIG = """
[store.ssd]
type = "disk"
path = "{path}"
[cache.pages]
[cache.files]
store = "ssd"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "{listen}:0:interface=127.0.0.1{keys}"
to = "web"
[[listener.http.route]]
path_prefix = "/files"
to = "web"
cache = "files"
"""

SITE = """
import json
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from balancer.cache.policy import CachePolicy
from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.service import BalancerService

web = UpstreamConfig(servers=(ServerConfig(address="{address}"),), cache="pages")
balancer = BalancerService(Configuration(upstream={{"web": web}}, cache={{"pages": CachePolicy()}}), reactor)

class Figures(Resource):
    def render_GET(self, request):
        return json.dumps(dict(balancer.caches["pages"].figures())).encode()

root = Resource()
root.putChild(b"figures", Figures())
root.putChild(b"web", balancer.resource("web"))
application = Application("site")
balancer.setServiceParent(application)
where = serverFromString(reactor, "tcp:{port}:interface=127.0.0.1")
StreamServerEndpointService(where, Site(root)).setServiceParent(application)
"""


class Answering:
    """``/…large``: the pattern; ``/…chunked``: the same in chunks, the rest when the test says so; else the path.

    :ivar rest: set by the test.
    """

    def __init__(self) -> None:
        self.rest = threading.Event()

    def __call__(self, told: Told) -> Iterator[bytes]:
        lasting = ("Cache-Control: max-age=3600", f'ETag: "{told.target}"')
        if told.method == "POST":
            yield response(b"%d" % told.size, "Cache-Control: max-age=3600", status="201 Created")
        elif told.target.endswith("large"):
            yield response(b"", *lasting).replace(b"Length: 0", b"Length: %d" % SIZE)
            yield from (piece(at, min(PERIOD, SIZE - at)) for at in range(0, SIZE, PERIOD))
        elif told.target.endswith("chunked"):
            yield response(b"", *lasting).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            for half in (0, 1):
                yield b"%x\r\n%b\r\n" % (PERIOD, piece(half * PERIOD, PERIOD))
                assert self.rest.wait(PATIENCE)
            yield b"0\r\n\r\n"
        else:
            yield response(told.target.encode(), *lasting)


class WaysTests(SynchronousTestCase):
    """See the module."""

    def right(self, reply: Reply, size: int) -> None:
        """The body is that much of the pattern."""
        self.assertEqual((reply.status, len(reply.body)), (200, size))
        self.assertTrue(fits(0, reply.body))

    def config(self, origin: str, listen: str = "tcp", key: str = "") -> str:
        """A configuration."""
        keys = f":privateKey={key}:certKey={key}" if key else ""
        return CONFIG.format(address=origin, path=Path(self.mktemp()).absolute(), listen=listen, keys=keys)

    def test_http_1_0(self) -> None:
        """A client of HTTP/1.0 gets what is stored, and what arrives in chunks without them, until the close."""
        answering = Answering()
        with Origin(answering) as origin, BalancerProcess(config=self.config(origin.address)) as balancer:
            http = balancer.addresses["http"]
            with Client(http) as leader, Client(http) as follower:
                leader.send("/chunked", version="1.1")
                head = leader.head()
                self.assertEqual(head.headers["Transfer-Encoding"], "chunked")
                follower.send("/chunked", version="1.0")
                plain = follower.head()
                self.assertIsNone(plain.headers["Transfer-Encoding"])
                self.assertIn("collapsed", plain.headers["Cache-Status"])
                answering.rest.set()
                for got in (head.read(), plain.read()):
                    self.assertEqual(len(got), 2 * PERIOD)
                    self.assertTrue(fits(0, got))
            for lines in ((), ("Connection: keep-alive",)):
                with Client(http) as client:
                    for _ in range(2 if lines else 1):
                        client.send("/chunked", *lines, version="1.0")
                        reply = client.receive()
                        self.right(reply, 2 * PERIOD)
                        self.assertIn("; hit", reply.cache)
                        self.assertEqual(reply.fields["content-length"], str(2 * PERIOD))
            self.assertEqual(origin.asked("/chunked"), 1)

    def test_https(self) -> None:
        """Over TLS: small and large ones, from memory and from the disk, ranges, one connection for all."""
        with tempfile.TemporaryDirectory() as directory, Origin(Answering()) as origin:
            authority = Authority(directory)
            config = self.config(origin.address, "ssl", authority.issue("site.test"))
            context = ssl.create_default_context(cafile=authority.file)
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                plain = socket.create_connection(http, PATIENCE)
                with Client(http, context.wrap_socket(plain, server_hostname="site.test")) as client:
                    for target in ("/a", "/large", "/files/a", "/files/large"):
                        for _ in range(100):  # a directory that is new takes a moment to be one
                            client.send(target)
                            reply = client.receive()
                            if "; hit" in reply.cache:
                                break
                        self.assertIn("; hit", reply.cache)
                        if target.endswith("large"):
                            self.right(reply, SIZE)
                            client.send(target, f"Range: bytes={SIZE // 2}-{SIZE // 2 + 1000000}")
                            part = client.receive()
                            self.assertEqual((part.status, len(part.body)), (206, 1000001))
                            self.assertTrue(fits(SIZE // 2, part.body))
                        else:
                            self.assertEqual(reply.body, target.encode())

    def test_a_site_of_twisted_web(self) -> None:
        """A resource mounted in a site has the cache, and the program can read its figures."""
        port = free_port()
        http = ("127.0.0.1", port)
        with Origin(Answering()) as origin, tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "site.tac").write_text(SITE.format(address=origin.address, port=port))
            command = [*twistd(), "--nodaemon", "--pidfile=", "--python=site.tac"]
            process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
            try:
                wait_until_open(http, process)
                for word in ("fwd=uri-miss; fwd-status=200; stored", "hit; ttl="):
                    self.right(reply := ask(http, "/web/large"), SIZE)
                    self.assertIn(word, reply.cache)
                    self.assertIn(word, (reply := ask(http, "/web/a")).cache)
                    self.assertEqual(reply.body, b"/a")
                part = ask(http, "/web/large", "Range: bytes=1000-1999")
                self.assertEqual((part.status, part.body), (206, piece(1000, 1000)))
                self.assertEqual(part.fields["content-range"], f"bytes 1000-1999/{SIZE}")
                head = ask(http, "/web/large", method="HEAD")
                self.assertEqual((head.status, head.fields["content-length"]), (200, str(SIZE)))
                self.assertEqual(ask(http, "/web/a", 'If-None-Match: "/a"').status, 304)
                figures = json.loads(ask(http, "/figures").body)
                self.assertEqual(
                    [figures[name] for name in ("hit", "miss: uri-miss", "stored", "store: objects", "bytes saved")],
                    [5, 2, 2, 2, SIZE + 1000 + 2],
                    figures,
                )
                self.assertEqual([origin.asked(target) for target in ("/large", "/a")], [1, 1])
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def test_websocket(self) -> None:
        """An upgrade becomes a tunnel; nothing of it is stored, and a GET of the same path is answered by itself."""

        def serve(connection: socket.socket) -> None:
            while data := read(connection, b"\r\n\r\n"):
                if b"Upgrade: websocket" not in data:
                    connection.sendall(response(b"plain", "Cache-Control: max-age=3600"))
                    continue
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Cache-Control: max-age=3600\r\n\r\n"
                )
                while more := connection.recv(65536):
                    connection.sendall(more)
                return

        with SocketServer(serve) as server, BalancerProcess(config=self.config(server.address)) as balancer:
            http = balancer.addresses["http"]
            for stored in (False, True):
                with self.subTest(stored=stored), socket.create_connection(http, PATIENCE) as client:
                    client.sendall(
                        b"GET /chat HTTP/1.1\r\nHost: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                    )
                    self.assertTrue(read(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101 "))
                    client.sendall(b"frame\n")
                    self.assertEqual(read(client, b"\n"), b"frame\n")
                    self.assertIn("; hit" if stored else "fwd=uri-miss", ask(http, "/chat").cache)
            self.assertEqual(server.errors, [])

    def test_uploads(self) -> None:
        """10 MiB by POST, with a length and in chunks, go past the cache; what was stored of their URL goes."""
        with Origin(Answering()) as origin, BalancerProcess(config=self.config(origin.address)) as balancer:
            http = balancer.addresses["http"]
            body = b"".join(piece(at, PERIOD) for at in range(0, SIZE, PERIOD))[:SIZE]
            chunks = b"".join(b"%x\r\n%b\r\n" % (100_000, body[at : at + 100_000]) for at in range(0, SIZE, 100_000))
            chunks = chunks.rpartition(b"%x\r\n" % 100_000)[0]
            left = SIZE % 100_000
            chunked = chunks + b"%x\r\n%b\r\n0\r\n\r\n" % (left, body[-left:])
            for number in range(2):
                ask(http, "/a")
                self.assertIn("; hit", ask(http, "/a").cache)
                with Client(http) as client:
                    if number:
                        client.send("/a", "Transfer-Encoding: chunked", method="POST")
                        client.socket.sendall(chunked)
                    else:
                        client.send("/a", method="POST", body=body)
                    reply = client.receive()
                self.assertEqual((reply.status, reply.body), (201, b"%d" % SIZE))
                self.assertEqual(reply.cache, "balancer; fwd=method; fwd-status=201")
                self.assertIn("fwd=uri-miss", ask(http, "/a").cache)
            self.assertEqual(origin.asked("/a", "POST"), 2)


def read(connection: socket.socket, end: bytes) -> bytes:
    """Until the end, or what came before the close."""
    data = b""
    while not data.endswith(end) and (more := connection.recv(65536)):
        data += more
    return data
