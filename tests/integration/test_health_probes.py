"""The probes and the monitor against real servers on loopback sockets."""

import contextlib
import socket
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.core.health import CheckSettings
from balancer.core.model import BackendSpec, Health
from balancer.errors import TlsSettingsError
from balancer.health.monitor import Monitor
from balancer.health.probes import EXPECT, HTTP, TCP, TLS
from balancer.health.probes.tls import TlsProbe
from balancer.health.settings import ExpectCheckSettings, HttpCheckSettings, TlsCheckSettings
from balancer.interfaces import ProbeTarget
from balancer.registry import Registry
from balancer.testing.certificates import Authority
from balancer.testing.peers import PATIENCE, SocketServer, free_port


class ProbesCase(TestCase):
    """Servers in threads, probes on the real reactor."""

    timeout = 60

    def serve(self, handle: Callable[[socket.socket], None]) -> SocketServer:
        server = SocketServer(handle).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def target(self, port: int, tls_name: str | None = None) -> ProbeTarget:
        return ProbeTarget(host="127.0.0.1", port=port, tls_name=tls_name, name="db.example")

    async def until(self, condition: Callable[[], bool]) -> None:
        begun = reactor.seconds()
        while not condition():
            self.assertLess(reactor.seconds() - begun, PATIENCE)
            await deferLater(reactor, 0.005)

    async def nothing_left(self) -> None:
        """The reactor has neither a timer nor a socket of a probe."""
        await deferLater(reactor, 0)  # an aborted connection is lost in the next turn
        timers = [str(call) for call in reactor.getDelayedCalls()]
        others = ("TestCase._run", "_updateLogDateTime")  # trial's own timeout, and a web server of the test
        self.assertEqual([timer for timer in timers if not any(other in timer for other in others)], [])
        self.assertEqual([reader for reader in reactor.getReaders() if "Client" in type(reader).__name__], [])


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader("X-State", "ready")
        request.setResponseCode(200 if request.path == b"/health" else 500)
        return b"state: ready\n" * 1000


class HttpTests(ProbesCase):
    async def test_a_twisted_site_is_probed_and_nothing_is_left(self) -> None:
        """Status, field and body of a real server, and the client's side is closed when the result is there."""
        port = reactor.listenTCP(0, Site(Page()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        target = self.target(port.getHost().port)
        good = HttpCheckSettings(path="/health", expect_headers=(("X-State", "ready"),), expect_body="^ready")
        result = await HTTP.probe(target, good, reactor)
        self.assertEqual(
            (result.passed, result.reason), (False, "GET /health answered 200, its body does not match '^ready'")
        )
        good = HttpCheckSettings(path="/health", expect_headers=(("X-State", "ready"),), expect_body="ready\n")
        self.assertEqual((await HTTP.probe(target, good, reactor)).reason, "GET /health answered 200")
        bad = await HTTP.probe(target, HttpCheckSettings(path="/"), reactor)
        self.assertEqual(bad.reason, "GET / answered 500, expected 200-399")
        await self.until(lambda: len(reactor.getReaders()) <= 3)

    async def test_a_server_that_is_silent_sees_the_close_of_a_cancelled_probe(self) -> None:
        """Cancelling reaches the other side at once, by a reset."""
        ends: list[str] = []
        asked: list[bytes] = []

        def silent(connection: socket.socket) -> None:
            connection.settimeout(PATIENCE)
            try:
                while data := connection.recv(65536):
                    asked.append(data)
                ends.append("closed")
            except ConnectionResetError:
                ends.append("reset")

        server = self.serve(silent)
        probe = HTTP.probe(self.target(server.port), HttpCheckSettings(), reactor)
        await self.until(lambda: b"".join(asked).endswith(b"\r\n\r\n"))
        probe.cancel()
        with contextlib.suppress(BaseException):
            await probe
        await self.until(lambda: bool(ends))
        self.assertEqual(ends, ["reset"])
        await self.nothing_left()

    async def test_nobody_listens(self) -> None:
        """A refused connect is told as such by every probe."""
        target = self.target(free_port())
        reason = f"connect to 127.0.0.1:{target.port} refused"
        for probe, settings in (
            (TCP, CheckSettings()),
            (TLS, TlsCheckSettings()),
            (HTTP, HttpCheckSettings()),
            (HTTP, HttpCheckSettings(tls=True)),
            (EXPECT, ExpectCheckSettings(expect="x")),
        ):
            self.assertEqual((await probe.probe(target, settings, reactor)).reason, reason)
        await self.nothing_left()


class TlsTests(ProbesCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(directory.name)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.authority.issue("db.example"))
        self.asked_for: list[str | None] = []
        self.context.sni_callback = lambda connection, name, context: self.asked_for.append(name)

    def secure(self, answer: bytes = b"") -> SocketServer:
        def handle(connection: socket.socket) -> None:
            with contextlib.suppress(ssl.SSLError), self.context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(answer)
                secure.recv(65536)

        return self.serve(handle)

    async def test_a_verified_handshake_passes_and_others_say_why(self) -> None:
        """The right name and authority pass; a wrong name, an unknown authority and a plain server do not."""
        target = self.target(self.secure().port, "db.example")
        where = f"127.0.0.1:{target.port}"
        trusted = TlsCheckSettings(ca=self.authority.file)
        self.assertEqual((await TLS.probe(target, trusted, reactor)).reason, f"TLS with {where} established")
        self.assertEqual(self.asked_for, ["db.example"])
        for settings, reason in (
            (
                TlsCheckSettings(ca=self.authority.file, tls_name="other.example"),
                f"TLS with {where}: the certificate is not for the expected name",
            ),
            (TlsCheckSettings(), f"TLS with {where} failed: certificate verify failed"),
        ):
            result = await TLS.probe(target, settings, reactor)
            self.assertEqual((result.passed, result.reason), (False, reason))
        await self.nothing_left()

    async def test_verification_can_be_turned_off(self) -> None:
        """verify = false takes any certificate, and still says whom it wants."""
        target = self.target(self.secure().port, "other.example")
        self.assertTrue((await TLS.probe(target, TlsCheckSettings(verify=False), reactor)).passed)
        self.assertEqual(self.asked_for, ["other.example"])

    async def test_a_server_without_tls_fails(self) -> None:
        """One that closes and one that answers in plain text."""

        def plain(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        target = self.target(self.serve(plain).port, "db.example")
        result = await TLS.probe(target, TlsCheckSettings(), reactor)
        self.assertFalse(result.passed)
        self.assertRegex(result.reason, f"^TLS with 127.0.0.1:{target.port} failed: ")
        target = self.target(self.serve(lambda connection: None).port, "db.example")
        result = await TLS.probe(target, TlsCheckSettings(), reactor)
        self.assertFalse(result.passed)
        self.assertIn("closed", result.reason)

    async def test_a_certificate_that_is_about_to_end_is_warned_of_once(self) -> None:
        """It passes, the reason says how many days are left, the log says it once."""
        probe = TlsProbe(now=lambda: datetime(2119, 12, 1, tzinfo=UTC))
        target = self.target(self.secure().port, "db.example")
        settings = TlsCheckSettings(ca=self.authority.file)
        warned = probe._warned
        for _ in range(2):
            result = await probe.probe(target, settings, reactor)
            self.assertTrue(result.passed)
            self.assertRegex(result.reason, "established; its certificate ends in [0-9]{1,2} days$")
        self.assertEqual(len(warned), 1)
        quiet = TlsCheckSettings(ca=self.authority.file, expiry_warning=0)
        self.assertNotIn("ends", (await probe.probe(target, quiet, reactor)).reason)

    async def test_http_and_expect_go_through_tls_where_the_backend_speaks_it(self) -> None:
        """A target with a TLS name is asked through TLS, verified."""
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        target = self.target(self.secure(answer).port, "db.example")
        http = await HTTP.probe(target, HttpCheckSettings(ca=self.authority.file), reactor)
        self.assertEqual((http.passed, http.reason), (True, "GET / answered 204"))
        expecting = ExpectCheckSettings(ca=self.authority.file, send=r"x\r\n", expect="204")
        self.assertTrue((await EXPECT.probe(target, expecting, reactor)).passed)
        nothing = ExpectCheckSettings(ca=self.authority.file)
        self.assertTrue((await EXPECT.probe(target, nothing, reactor)).passed)
        untrusted = await HTTP.probe(target, HttpCheckSettings(), reactor)
        self.assertEqual(untrusted.reason, f"GET /: TLS with 127.0.0.1:{target.port} failed: certificate verify failed")
        wrong = await HTTP.probe(target, HttpCheckSettings(ca=self.authority.file, tls_name="x.example"), reactor)
        self.assertIn("not for the expected name", wrong.reason)
        plain = self.target(target.port)
        forced = await HTTP.probe(plain, HttpCheckSettings(ca=self.authority.file, tls=True), reactor)
        self.assertTrue(forced.passed)
        await self.nothing_left()

    async def test_a_missing_file_of_authorities_says_so(self) -> None:
        """The failure names the file: the monitor makes a failed probe of it."""
        settings = TlsCheckSettings(ca="/nonexistent/ca.pem")
        with self.assertRaisesRegex(TlsSettingsError, "/nonexistent/ca.pem"):
            await TLS.probe(self.target(1, "db.example"), settings, reactor)


class MonitorTests(ProbesCase):
    async def test_a_server_that_dies_and_comes_back_is_seen_to(self) -> None:
        """Up, down when nobody listens any more, up again: with the reasons of real sockets."""
        quick = {"interval": 0.05, "fast_interval": 0.02, "timeout": PATIENCE}
        server = self.serve(lambda connection: None)
        registry = Registry(reactor.seconds, Random(1))
        check = CheckSettings(**quick)
        upstream = UpstreamConfig(servers=(ServerConfig(address=server.address),), check=check)
        registry.apply(Configuration(upstream={"web": upstream}))
        monitor = Monitor(registry, reactor, Random(1))
        monitor.start()
        self.addCleanup(monitor.stop)
        registry.publish("web", [BackendSpec(host="127.0.0.1", port=server.port)])
        backend = registry.find(server.address)[0]
        await self.until(lambda: backend.health is Health.UP)
        server.__exit__(None, None, None)
        await self.until(lambda: backend.health is Health.DOWN)
        refused = f"3 probes in a row failed, the last: connect to {server.address} refused"
        self.assertEqual(backend.events[-1].reason, refused)
        again = reactor.listenTCP(server.port, Site(Resource()), interface="127.0.0.1")
        self.addCleanup(again.stopListening)
        await self.until(lambda: backend.health is Health.UP)
        monitor.stop()
        await self.nothing_left()
