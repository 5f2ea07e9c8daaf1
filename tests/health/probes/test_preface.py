"""Probes that begin with a PROXY header, in memory."""

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.health import CheckSettings
from balancer.core.model import Backend
from balancer.core.proxy_protocol import greeting
from balancer.health.asking import Surroundings
from balancer.health.gate import Gate
from balancer.health.probes import EXPECT, HTTP, TCP, TLS
from balancer.health.settings import ExpectCheckSettings, HttpCheckSettings, TlsCheckSettings
from balancer.health.stream import ProbeStream
from balancer.interfaces import ProbeTarget
from balancer.testing.probes import PlayedBackend, ScriptedProbe

TARGET = ProbeTarget(host="10.0.0.1", port=80, tls_name=None, name="db.example", preface=greeting("v2"))


class PrefaceTests(SynchronousTestCase):
    """Every probe."""

    def test_first(self) -> None:
        """The header is the first that every probe sends, before its own bytes and before TLS; then it goes on."""
        for plugin, settings, then in (
            (TCP, CheckSettings(), b""),
            (HTTP, HttpCheckSettings(), b"GET / HTTP/1.1\r\n"),
            (TLS, TlsCheckSettings(verify=False), b"\x16\x03"),
            (EXPECT, ExpectCheckSettings(send="PING"), b"PING"),
        ):
            with self.subTest(probe=settings.type):
                backend = PlayedBackend()
                probe = plugin.probe(TARGET, settings, backend.reactor)
                backend.accept()
                written = backend.transport.value()
                self.assertTrue(written.startswith(TARGET.preface + then), written)
                probe.addErrback(lambda failure: None)
                probe.cancel()
                self.assertTrue(backend.closed)

    def test_result(self) -> None:
        """A probe behind a header passes as any other."""
        backend = PlayedBackend()
        probe = TCP.probe(TARGET, CheckSettings(), backend.reactor)
        backend.accept()
        self.assertTrue(self.successResultOf(probe).passed)

    def test_by_the_check(self) -> None:
        """The check says which header its target gets."""
        backend = Backend(("10.0.0.1", 80, None), lambda event: None)
        shared = Surroundings(Clock(), Random(1), Gate(8), lambda name: ScriptedProbe())
        for version in ("", "none", "v1", "v2"):
            check = CheckSettings(send_proxy=version)  # type: ignore[arg-type]  # one of those that are allowed
            self.assertEqual(ProbeStream(backend, check, "db", shared).target.preface, greeting(version))
