"""PROXY headers towards TCP servers, in memory."""

from balancer.config.schema import UpstreamConfig
from balancer.core.proxy_header import Inet, ProxyHeader
from balancer.core.proxy_policy import SendProxy
from balancer.core.proxy_protocol import encode
from balancer.core.termination import Termination
from balancer.net.proxy_backend import ProxySender
from balancer.tcp.factory import forward

from .stage import StageTestCase

HEADER = encode(ProxyHeader(2, False, Inet("192.0.2.1", 40000), Inet("127.0.0.1", 80)))


class SendProxyTests(StageTestCase):
    """An upstream whose servers expect a header."""

    def setUp(self) -> None:
        self.stage(sender=ProxySender(SendProxy(version="v2"), lambda: b"id"))

    def test_first(self) -> None:
        """The header comes before the client's bytes, those that came early included, and is counted as nobody's."""
        client = self.client()
        client.transport.write(b"early")
        self.flush()
        backend = self.accept()
        client.transport.write(b" late")
        self.flush()
        self.assertEqual(backend.data, HEADER + b"early late")
        backend.transport.write(b"answer")
        self.flush()
        self.assertEqual(client.data, b"answer")
        client.transport.loseConnection()
        self.flush()
        backend.transport.loseConnection()
        record = self.over()
        self.assertEqual((record.bytes_in, record.bytes_out, record.termination), (10, 6, Termination.DONE))

    def test_server_speaks_first(self) -> None:
        """It gets the header at once, not with the client's first byte."""
        client, backend = self.pair()
        self.flush()
        self.assertEqual(backend.data, HEADER)
        backend.transport.write(b"220 hello")
        self.flush()
        self.assertEqual(client.data, b"220 hello")

    def test_failover(self) -> None:
        """The next server, after one that refused, gets the same header."""
        self.client()
        self.refuse()
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.data, HEADER)
        self.assertEqual(len(self.tried), 2)

    def test_alone(self) -> None:
        """A forwarding factory by itself sends what its upstream says."""
        policy = UpstreamConfig(servers=(), balance="first", send_proxy=SendProxy(version="v1"))
        self.factory = forward(self.reactor, "10.0.0.1:25", policy=policy)
        self.client()
        backend = self.accept()
        self.flush()
        self.assertEqual(backend.data, b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 80\r\n")
