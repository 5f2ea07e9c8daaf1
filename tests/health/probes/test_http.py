"""The probe http, in memory."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.health.probes import HTTP
from balancer.health.probes.http import HEAD_LIMIT
from balancer.health.settings import HttpCheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from balancer.testing.probes import PlayedBackend

TARGET = ProbeTarget(host="10.0.0.1", port=8080, tls_name=None, name="db.example")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-State: ready\r\n\r\nhello world"


class HttpCase(SynchronousTestCase):
    def begin(self, target: ProbeTarget = TARGET, **keys: object) -> Deferred[ProbeResult]:
        self.backend = PlayedBackend()
        probe = HTTP.probe(target, HttpCheckSettings(**keys), self.backend.reactor)  # type: ignore[arg-type]
        self.backend.accept()
        return probe

    def answered(self, *pieces: bytes, lose: bool = False, **keys: object) -> ProbeResult:
        """The result of a probe that is answered so; nothing of it is left."""
        probe = self.begin(**keys)
        self.backend.send(*pieces)
        if lose and not self.backend.closed:
            self.backend.lose()
        result = self.successResultOf(probe)
        self.assertEqual(self.backend.reactor.getDelayedCalls(), [])
        return result


class Requests(HttpCase):
    def sent(self, target: ProbeTarget = TARGET, **keys: object) -> tuple[bytes, set[bytes]]:
        self.begin(target, **keys)
        head, _, rest = self.backend.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(rest, b"")
        line, *fields = head.split(b"\r\n")
        return line, set(fields)

    def test_it_is_a_probe_plugin(self) -> None:
        """It provides IProbePlugin whole."""
        verifyObject(IProbePlugin, HTTP)

    def test_the_request_is_plain_and_asks_for_the_close(self) -> None:
        """No coding that would have to be undone, no connection that would have to be kept."""
        line, fields = self.sent()
        self.assertEqual(line, b"GET / HTTP/1.1")
        self.assertEqual(
            fields, {b"Host: db.example:8080", b"Connection: close", b"User-Agent: twistd-balancer health check"}
        )

    def test_method_path_host_and_headers_are_as_set(self) -> None:
        """The path goes out as written, percent-encodings and all."""
        line, fields = self.sent(
            method="HEAD", path="/a%2Fb/%41?q=%20&x", host="www.example", headers=(("X-Probe", "1"),)
        )
        self.assertEqual(line, b"HEAD /a%2Fb/%41?q=%20&x HTTP/1.1")
        self.assertLessEqual({b"Host: www.example", b"X-Probe: 1"}, fields)

    def test_a_host_in_the_headers_counts(self) -> None:
        """Who writes it among the headers means it."""
        _, fields = self.sent(headers=(("Host", "x.example"), ("User-Agent", "me")))
        self.assertLessEqual({b"Host: x.example", b"User-Agent: me"}, fields)

    def test_the_schemes_own_port_is_not_spelled(self) -> None:
        """Host: db.example at port 80, and an IPv6 address in brackets."""
        self.assertIn(
            b"Host: db.example", self.sent(ProbeTarget(host="10.0.0.1", port=80, tls_name=None, name="db.example"))[1]
        )
        self.assertIn(
            b"Host: [fd00::1]:81", self.sent(ProbeTarget(host="fd00::1", port=81, tls_name=None, name="fd00::1"))[1]
        )

    def test_the_connection_goes_to_the_target_whatever_the_host(self) -> None:
        """Neither Host nor name is ever resolved."""
        self.begin(host="elsewhere.example:99")
        self.assertEqual(self.backend.address, ("10.0.0.1", 8080))


class Statuses(HttpCase):
    def test_a_status_in_the_ranges_passes_without_reading_the_body(self) -> None:
        """As soon as the head is there the result is, and the connection is closed."""
        result = self.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        self.assertEqual(result, ProbeResult(True, "GET / answered 200"))
        self.assertTrue(self.backend.closed)

    def test_a_status_outside_the_ranges_fails_in_words(self) -> None:
        """What came, and what was expected."""
        result = self.answered(
            b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", path="/health", status=((200, 299), (301, 301))
        )
        self.assertEqual(result, ProbeResult(False, "GET /health answered 500, expected 200-299, 301"))

    def test_a_redirect_is_an_answer(self) -> None:
        """It is judged by its status, and not followed."""
        redirect = b"HTTP/1.1 302 Found\r\nLocation: http://10.9.9.9/\r\nContent-Length: 0\r\n\r\n"
        self.assertTrue(self.answered(redirect).passed)
        self.assertEqual(len(self.backend.reactor.tcpClients), 1)
        self.assertFalse(self.answered(redirect, status=((200, 299),)).passed)

    def test_informational_answers_are_passed_over(self) -> None:
        """The final status counts."""
        self.assertTrue(self.answered(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER).passed)


class Contents(HttpCase):
    def test_expected_fields_must_be_there_with_their_values(self) -> None:
        """An empty value is content with any; names do not differ by case."""
        self.assertTrue(self.answered(ANSWER, expect_headers=(("x-state", "ready"),)).passed)
        self.assertTrue(self.answered(ANSWER, expect_headers=(("X-State", ""),)).passed)
        self.assertEqual(
            self.answered(ANSWER, expect_headers=(("X-State", "busy"),)).reason,
            "GET / answered 200, its field X-State is 'ready', expected 'busy'",
        )
        self.assertEqual(
            self.answered(ANSWER, expect_headers=(("X-Other", ""),)).reason,
            "GET / answered 200, without the field X-Other",
        )

    def test_the_body_is_searched_however_it_is_framed_and_cut(self) -> None:
        """Length, chunks or close; whole, byte by byte and randomly cut."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        closed = b"HTTP/1.0 200 OK\r\n\r\nhello world"
        random = Random(3)
        for wire in (ANSWER, chunked, closed):
            cuts = [[wire], [wire[i : i + 1] for i in range(len(wire))]]
            for _ in range(10):
                at = sorted(random.sample(range(len(wire)), 5))
                cuts.append([wire[i:j] for i, j in zip([0, *at], [*at, len(wire)], strict=True)])
            for pieces in cuts:
                self.assertTrue(self.answered(*pieces, lose=True, expect_body="lo wo").passed)
                self.assertEqual(
                    self.answered(*pieces, lose=True, expect_body="^world").reason,
                    "GET / answered 200, its body does not match '^world'",
                )

    def test_the_body_is_read_up_to_its_limit(self) -> None:
        """What comes after it is not looked at, and not waited for."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        self.assertTrue(self.answered(head + b"a" * 99 + b"z", b"y", expect_body="z", body_limit=100).passed)
        self.assertFalse(self.answered(head + b"a" * 100 + b"z", expect_body="z", body_limit=100).passed)

    def test_a_compressed_body_is_not_undone(self) -> None:
        """A body of a few bytes must not become one of gigabytes: it is searched as it came."""
        bomb = b"\x1f\x8b\x08\x00not really gzip"
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        self.assertTrue(self.answered(head + bomb, expect_body="not really").passed)


class Broken(HttpCase):
    def test_a_close_without_an_answer_fails(self) -> None:
        """Nothing came: the connection was closed."""
        self.assertEqual(self.answered(lose=True).reason, "GET /: 10.0.0.1:8080 closed the connection")

    def test_a_body_that_is_cut_short_fails(self) -> None:
        """A part of a response is no response, even if the expected is in it."""
        result = self.answered(ANSWER[:-3], lose=True, expect_body="hello")
        self.assertEqual(result.passed, False)
        self.assertIn("GET /: 10.0.0.1:8080 closed the connection", result.reason)

    def test_what_is_not_http_fails(self) -> None:
        """A greeting of another protocol is told from a bad status."""
        result = self.answered(b"220 mail.example ESMTP\r\n", lose=True)
        self.assertRegex(result.reason, "^GET / was not answered in HTTP: ")

    def test_a_head_without_end_is_cut_off(self) -> None:
        """Fields without number cost no more than the limit, and the probe fails by it."""
        probe = self.begin(body_limit=1000)
        self.backend.send(b"HTTP/1.1 200 OK\r\n")
        sent = 0
        while not self.backend.closed and sent < 10 * HEAD_LIMIT:
            self.backend.send(b"X-More: and more\r\n" * 100)
            sent += 1800
        self.assertLess(sent, HEAD_LIMIT + 1000 + 1800)
        self.backend.lose()
        expected = f"GET / answered with more than {HEAD_LIMIT + 1000} bytes"
        self.assertEqual(self.successResultOf(probe), ProbeResult(False, expected))

    def test_chunks_that_carry_more_frame_than_body_are_cut_off(self) -> None:
        """Chunk extensions do not slip past the bound."""
        probe = self.begin(body_limit=1000, expect_body="x")
        self.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            self.backend.send(b"1;" + b"e" * 900 + b"\r\na\r\n")
        self.assertTrue(self.backend.closed)
        self.backend.lose()
        self.assertFalse(self.successResultOf(probe).passed)

    def test_a_refused_connect_fails(self) -> None:
        """In the words of the tcp probe."""
        backend = PlayedBackend()
        probe = HTTP.probe(TARGET, HttpCheckSettings(), backend.reactor)
        backend.refuse(ConnectionRefusedError())
        self.assertEqual(self.successResultOf(probe).reason, "connect to 10.0.0.1:8080 refused")


class Cancelling(HttpCase):
    def test_cancelling_closes_at_once_at_every_stage(self) -> None:
        """While connecting, waiting for the head, and reading the body: no socket and no timer is left."""
        for accepted, pieces in ((False, ()), (True, ()), (True, (ANSWER[:20],)), (True, (ANSWER[:-5],))):
            self.backend = PlayedBackend()
            probe = HTTP.probe(TARGET, HttpCheckSettings(expect_body="x"), self.backend.reactor)
            if accepted:
                self.backend.accept()
                self.backend.send(*pieces)
            probe.cancel()
            self.failureResultOf(probe)
            self.assertTrue(self.backend.closed)
            if accepted:
                self.backend.lose()
            self.assertEqual(self.backend.reactor.getDelayedCalls(), [])
