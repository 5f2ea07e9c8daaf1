"""ProxyResource in a twisted.web site: what is forwarded, streaming both ways, and endings that must not look whole."""

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from balancer.core.termination import Termination
from balancer.core.timeouts import ClientTimeouts
from balancer.http.resource import ProxyResource
from balancer.testing.caching import CacheBench
from balancer.testing.http import Bench, Party
from balancer.testing.transports import Wire

GET = b"GET /shop/cart HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


class Page(Resource):
    """A page of the site's own."""

    isLeaf = True

    def render_GET(self, request: object) -> bytes:
        """The page."""
        return b"mine"


class MountedBench(Bench):
    """A bench whose clients meet a site with a page of its own at ``/page`` and the balancer at ``/shop``."""

    prefix = b""

    def client(self, data: bytes = b"", host: str = "192.0.2.1") -> Party:
        """A client of the site."""
        root = Resource()
        root.putChild(b"page", Page())
        root.putChild(b"shop", ProxyResource(self.settings, self.prefix))
        site = Site(root, reactor=self.reactor)
        site.noisy = False
        client = Party()
        self.wires.append(Wire(site.buildProtocol(None), client, host).open())
        self.send(client, data)
        return client


class CachedBench(MountedBench, CacheBench):
    """The same with a cache."""


class CacheTests(SynchronousTestCase):
    """A mounted balancer with a cache."""

    def test_a_stored_response(self) -> None:
        """It is sent again without a backend, with its fields, its Age and its Cache-Status, also to a condition."""
        bench = CachedBench()
        first = bench.client(GET)
        bench.answer(bench.date(), b"Cache-Control: max-age=60", b'ETag: "a"', b"X-Mine: 1", body=b"hello")
        self.assertTrue(first.received.endswith(b"\r\n\r\nhello"), first.received)
        second = bench.client(GET)
        for line in (b"X-Mine: 1", b"Age: 0", b"Cache-Status: balancer; hit; ttl=60", b"Content-Length: 5"):
            self.assertEqual(second.received.count(b"\r\n%b\r\n" % line), 1, second.received)
        self.assertTrue(second.received.endswith(b"\r\n\r\nhello"))
        third = bench.client(GET.replace(b"\r\n\r\n", b'\r\nIf-None-Match: "a"\r\n\r\n'))
        self.assertTrue(third.received.startswith(b"HTTP/1.1 304 "), third.received)
        self.assertEqual(bench.asked, 0)
        self.assertEqual([record.cache for record in bench.records], ["miss", "hit", "hit"])

    def test_a_client_that_leaves(self) -> None:
        """What it waited for goes on for those who still wait."""
        bench = CachedBench()
        first, second = bench.client(GET), bench.client(GET)
        bench.reset(first)
        bench.answer(bench.date(), b"Cache-Control: max-age=60", body=b"hello")
        self.assertTrue(second.received.endswith(b"\r\n\r\nhello"), second.received)
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_LEFT, Termination.DONE])


class ResourceTests(SynchronousTestCase):
    """The balancer in a site."""

    def test_get(self) -> None:
        """The path below the mount is forwarded as received; the answer comes back with its own fields and framing."""
        bench = MountedBench()
        client = bench.client(b"GET /shop/a%2Fb//c?x=%20&y HTTP/1.1\r\nHost: test\r\nCookie: a\r\nTE: x\r\n\r\n")
        backend = bench.accept()
        self.assertTrue(backend.received.startswith(b"GET /a%2Fb//c?x=%20&y HTTP/1.1\r\n"), backend.received)
        self.assertIn(b"\r\nX-Forwarded-For: 192.0.2.1\r\n", backend.received)
        self.assertNotIn(b"TE:", backend.received)
        bench.send(backend, OK.replace(b"Date", b"Set-Cookie: a\r\nSet-Cookie: b\r\nServer: them\r\nDate"))
        self.assertTrue(client.received.startswith(b"HTTP/1.1 200 OK\r\n"), client.received)
        for line in (b"Set-Cookie: a\r\nSet-Cookie: b", b"Server: them", b"Date: x", b"Content-Length: 2"):
            self.assertEqual(client.received.count(line), 1, client.received)
        self.assertNotIn(b"text/html", client.received)
        self.assertTrue(client.received.endswith(b"\r\n\r\nok"))
        self.assertEqual([record.termination for record in bench.records], [Termination.DONE])

    def test_targets(self) -> None:
        """Mount and prefix are exchanged, whatever slashes there are."""
        for prefix, asked, forwarded in (
            (b"", b"/shop", b"/"),
            (b"", b"/shop/", b"/"),
            (b"", b"/shop?q", b"/?q"),
            (b"/v1", b"/shop", b"/v1"),
            (b"/v1/", b"/shop/x/", b"/v1/x/"),
        ):
            bench = MountedBench()
            bench.prefix = prefix
            bench.client(GET.replace(b"/shop/cart", asked))
            backend = bench.accept()
            self.assertTrue(backend.received.startswith(b"GET %b HTTP/1.1\r\n" % forwarded), backend.received)

    def test_prefix_must_be_a_path(self) -> None:
        """A prefix that is no path is refused when the resource is made."""
        bench = Bench()
        for prefix in (b"v1", b"/a b", b"/a\r\n", b"/?q"):
            with self.assertRaises(ValueError):
                ProxyResource(bench.settings, prefix)

    def test_neighbours(self) -> None:
        """The rest of the site is served as before, on the same connection."""
        bench = MountedBench()
        client = bench.client(GET)
        bench.send(bench.accept(), OK)
        client.received = b""
        bench.send(client, GET.replace(b"/shop/cart", b"/page"))
        self.assertTrue(client.received.endswith(b"\r\n\r\nmine"))

    def test_the_gate(self) -> None:
        """What twisted.web accepts and we do not forward is refused: two Hosts, an absolute target, dot segments."""
        for request in (
            GET.replace(b"Host: test", b"Host: test\r\nHost: other"),
            GET.replace(b"/shop/cart", b"/shop/../admin"),
            GET.replace(b"/shop/cart", b"/shop/a|b\\c"),
        ):
            bench = MountedBench()
            client = bench.client(request)
            self.assertTrue(client.received.startswith(b"HTTP/1.1 400 "), client.received)
            self.assertEqual(bench.connects, [])
            self.assertEqual([record.termination for record in bench.records], [Termination.REFUSED])

    def test_root(self) -> None:
        """Mounted as the root, absolute targets are refused, for they would get around a prefix."""
        bench = Bench()
        site = Site(ProxyResource(bench.settings, b"/public"), reactor=bench.reactor)
        channel = site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET http://test/admin HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 "), transport.value())
        self.assertEqual(bench.connects, [])

    def test_upload(self) -> None:
        """A body goes on with its length, however it came, in bounded pieces."""
        bench = MountedBench(buffer=100000)
        client = bench.client(b"POST /shop/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        bench.send(client, b"%x\r\n%b\r\n0\r\n\r\n" % (1000000, b"z" * 1000000))
        self.assertEqual(len(bench.connects), 1)
        backend = bench.accept()
        head, _, body = backend.received.partition(b"\r\n\r\n")
        self.assertIn(b"\r\nContent-Length: 1000000\r\n", head + b"\r\n")
        self.assertNotIn(b"chunked", head)
        self.assertEqual(body, b"z" * 1000000)
        self.assertLess(backend.transport.other.peak, 262144)
        bench.send(backend, OK)
        self.assertTrue(client.received.endswith(b"ok"))
        self.assertEqual(bench.records[0].bytes_in, 1000000)

    def test_streaming(self) -> None:
        """A response is streamed in twisted.web's chunks; a client that does not read pauses the backend."""
        bench = MountedBench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.send(backend, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        self.assertTrue(client.received.endswith(b"5\r\nhello\r\n"), client.received)
        client.transport.reading = False
        bench.send(backend, b"%x\r\n%b\r\n0\r\n\r\n" % (1000000, b"y" * 1000000))
        self.assertLess(client.transport.other.peak, 262144)
        self.assertGreater(len(backend.transport.waiting), 500000)
        client.transport.reading = True
        bench.run()
        self.assertEqual(client.received.count(b"y"), 1000000)
        self.assertTrue(client.received.endswith(b"\r\n0\r\n\r\n"))

    def test_truncated(self) -> None:
        """A response that is cut off resets the client's connection, never finishes it."""
        for answer in (b"Content-Length: 9\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"):
            bench = MountedBench()
            client = bench.client(GET)
            backend = bench.accept()
            bench.send(backend, b"HTTP/1.1 200 OK\r\n" + answer)
            bench.close(backend)
            self.assertEqual(client.closed, "reset")
            self.assertNotIn(b"0\r\n\r\n", client.received)
            self.assertEqual([record.termination for record in bench.records], [Termination.TRUNCATED_RESPONSE])

    def test_client_leaves(self) -> None:
        """A client that leaves takes the backend connection with it."""
        bench = MountedBench()
        client = bench.client(GET)
        backend = bench.accept()
        bench.reset(client)
        self.assertEqual(backend.closed, "reset")
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_LEFT])
        self.assertEqual(bench.upstream.active, 0)

    def test_client_reads_nothing(self) -> None:
        """A client that does not read is reset after the write timeout."""
        bench = MountedBench(clients=ClientTimeouts(write=5))
        client = bench.client(GET)
        backend = bench.accept()
        client.transport.reading = False
        bench.send(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 999999)
        bench.advance(5.3)
        self.assertEqual((client.closed, backend.closed), ("reset", "reset"))
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_WRITE_TIMEOUT])

    def test_failures(self) -> None:
        """A backend that does not answer is a 502 of ours."""
        bench = MountedBench()
        client = bench.client(GET)
        bench.refuse()
        self.assertTrue(client.received.startswith(b"HTTP/1.1 502 "), client.received)
        self.assertIn(b"text/plain", client.received)
        self.assertEqual(client.closed, "open")

    def test_head(self) -> None:
        """HEAD gets the head alone."""
        bench = MountedBench()
        client = bench.client(GET.replace(b"GET", b"HEAD"))
        bench.send(bench.accept(), b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        self.assertIn(b"Content-Length: 7", client.received)
        self.assertTrue(client.received.endswith(b"\r\n\r\n"))
        self.assertEqual(client.closed, "open")

    def test_no_upgrade(self) -> None:
        """An upgrade is not asked for, because twisted.web has no tunnels; nor are 1xx passed on."""
        bench = MountedBench()
        client = bench.client(GET.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost"))
        backend = bench.accept()
        self.assertNotIn(b"Upgrade", backend.received)
        bench.send(backend, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertTrue(client.received.startswith(b"HTTP/1.1 200"))
