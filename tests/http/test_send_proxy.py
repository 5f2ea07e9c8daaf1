"""PROXY headers towards HTTP servers: one connection, one client, one request."""

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from balancer.core.policies import PoolPolicy
from balancer.core.proxy_header import UNIQUE_ID, Inet, ProxyHeader
from balancer.core.proxy_policy import SendProxy
from balancer.core.proxy_protocol import ProxyDecoder
from balancer.core.upstream import Upstream
from balancer.http.resource import ProxyResource
from balancer.http.upstreams import HttpUpstream
from balancer.net.proxy_backend import ProxySender
from balancer.testing.http import Bench, Party
from balancer.testing.transports import Wire

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok"


class SendingBench(Bench):
    """One whose upstream sends headers."""

    def reach(self, upstream: Upstream) -> HttpUpstream:
        """As the parent's, with a header of version 2."""
        sender = ProxySender(SendProxy(version="v2", tlvs=("unique-id",)), lambda: b"new")
        return HttpUpstream(upstream, self.connector, self.timers, pool=PoolPolicy(), sender=sender)

    def heard(self, backend: Party) -> tuple[ProxyHeader, bytes]:
        """The header and what came after it."""
        decoder = ProxyDecoder()
        header = decoder.feed(backend.received)
        assert header is not None
        return header, decoder.rest


class MountedBench(SendingBench):
    """The same behind a ``twisted.web`` site."""

    def client(self, data: bytes = b"", host: str = "192.0.2.1") -> Party:
        """A client of the site."""
        root = Resource()
        root.putChild(b"", ProxyResource(self.settings))
        site = Site(root, reactor=self.reactor)
        site.noisy = False
        client = Party()
        self.wires.append(Wire(site.buildProtocol(None), client, host).open())
        self.send(client, data)
        return client


class SendProxyTests(SynchronousTestCase):
    """See the module."""

    def test_each_request(self) -> None:
        """Each request opens a connection that names its client and its id, asks for the end, and is not kept."""
        bench = SendingBench()
        client = bench.client(GET, "192.0.2.9")
        for number in range(2):
            backend = bench.accept(number)
            header, request = bench.heard(backend)
            self.assertEqual((header.source, header.destination), (Inet("192.0.2.9", 40000), Inet("127.0.0.1", 80)))
            self.assertEqual(header.get(UNIQUE_ID), b"id")
            self.assertIn(b"\r\nX-Request-ID: id\r\n", request)
            self.assertIn(b"\r\nConnection: close\r\n", request)
            bench.send(backend, OK)
            self.assertEqual((backend.closed, bench.http["web"].idle), ("fin", 0))
            if not number:
                bench.send(client, GET)
        self.assertEqual(client.received.count(b"HTTP/1.1 200 OK"), 2)

    def test_mounted(self) -> None:
        """A resource in a site names the client of the site."""
        bench = MountedBench()
        bench.client(GET, "192.0.2.8")
        header, _ = bench.heard(bench.accept())
        self.assertEqual(header.source, Inet("192.0.2.8", 40000))
