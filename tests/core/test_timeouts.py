"""The waits are those that design.md section 6 promises."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.timeouts import BackendTimeouts, ClientTimeouts


class Defaults(SynchronousTestCase):
    """The figures."""

    def test_backends(self) -> None:
        """Connect 3 s, TLS handshake 5 s, first byte 60 s, idle read 60 s, total none."""
        t = BackendTimeouts()
        self.assertEqual((t.connect, t.tls_handshake, t.first_byte, t.idle, t.total), (3, 5, 60, 60, 0))

    def test_clients(self) -> None:
        """Head 10 s, body idle 60 s, keep-alive 75 s, tunnels 1 h."""
        t = ClientTimeouts()
        self.assertEqual((t.head, t.body, t.keep_alive, t.tunnel), (10, 60, 75, 3600))
