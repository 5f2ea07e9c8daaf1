"""The short way and the long way send the same bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.traits import NOTHING_KNOWN
from balancer.http.messages import backend_head
from balancer.http.plans import Plan, Reply
from balancer.http1.heads import RequestHead, ResponseHead
from balancer.http1.parser import RequestParser, ResponseParser
from balancer.http1.serialize import request_head
from balancer.testing.http import Bench

NAMES = st.sampled_from([
    b"Accept", b"X-Forwarded-For", b"x_forwarded_host", b"Cookie", b"Via", b"TE", b"X-Real-IP", b"Keep-Alive",
    b"Forwarded", b"X-Request-ID", b"X-A", b"X-B", b"Content_Type",
])  # fmt: skip
CONNECTION = st.sampled_from([b"", b"close", b"keep-alive", b"X-A", b"x-b, close", b"upgrade", b"Cookie"])
ANSWER = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"


def head_of(data: bytes) -> RequestHead:
    parser = RequestParser(Bench().settings.limits)
    parser.feed(data)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


class PlanTests(SynchronousTestCase):
    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(st.tuples(NAMES, st.sampled_from([b"", b"1", b"a, b"])), max_size=6),
        CONNECTION,
        st.booleans(),
        st.sampled_from(["", "balancer"]),
        st.sampled_from(["", "X-Request-ID", "Trace"]),
        st.sampled_from([b"/", b"/a?b", b"http://other/x"]),
    )
    def test_the_same_head(
        self, fields: list[tuple[bytes, bytes]], connection: bytes, told: bool, via: str, name: str, target: bytes
    ) -> None:
        """Whatever a client sends and the policy says: the planned head is the one the long way writes."""
        policy = ForwardedPolicy(x_forwarded=told, via=via, request_id=name)
        bench = Bench(forwarded=policy)
        named = [(b"Connection", connection)] if connection else []
        head = head_of(request_head(b"GET", target, [(b"Host", b"test"), *named, *fields]))
        plan = Plan(bench.settings, head, None, "web")
        self.assertEqual(plan.plain, target[:1] == b"/")
        if plan.plain:
            peer = bench.settings.forwarding.peer("192.0.2.1", b"http")
            request = peer.request(head)
            lease = bench.upstream.place(NOTHING_KNOWN, 0).next(0)
            assert lease is not None
            self.assertEqual(plan.head_from(peer, request.request_id), backend_head(head, request, lease, False))

    def test_who_has_no_plan(self) -> None:
        """Chunks, upgrades, HTTP/1.0, and policies that tell of the peer or the backend take the long way."""
        usual = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n"
        self.assertTrue(Plan(Bench().settings, head_of(usual), None, "web").plain)
        for data in (
            b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: test\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ):
            self.assertFalse(Plan(Bench().settings, head_of(data), None, "web").plain, data)
        for policy in (ForwardedPolicy(forwarded=True), ForwardedPolicy(host="backend")):
            self.assertFalse(Plan(Bench(forwarded=policy).settings, head_of(usual), None, "web").plain)

    def test_the_second_request_is_as_the_first(self) -> None:
        """A head that comes again reaches the backend, and its answer the client, as the first time."""
        data = b"GET /a HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: me\r\n\r\n"
        bench = Bench()
        client = bench.client(data)
        backend = bench.accept()
        seen, answers = [], []
        for _ in range(3):
            seen.append(backend.received)
            backend.received = b""
            bench.send(backend, ANSWER)
            answers.append(client.received)
            client.received = b""
            bench.send(client, data)
        self.assertEqual(len(set(seen)), 1)
        self.assertIn(b"X-Forwarded-For: 192.0.2.1\r\n", seen[0])
        self.assertEqual(answers, [ANSWER] * 3)
        other = bench.client(data, host="192.0.2.2")
        self.assertIn(b"X-Forwarded-For: 192.0.2.2\r\n", bench.accept().received)
        self.assertEqual(other.received, b"")

    def test_new_settings_make_a_new_plan(self) -> None:
        """After a change of the configuration the same head is told of by the new one."""
        bench = Bench()
        data = b"GET /a HTTP/1.1\r\nHost: test\r\n\r\n"
        client = bench.client(data)
        backend = bench.accept()
        bench.send(backend, ANSWER)
        bench.factory.settings = Bench(forwarded=ForwardedPolicy(via="other")).settings
        fresh = bench.factory.settings
        object.__setattr__(fresh, "upstreams", bench.http)
        backend.received = b""
        bench.send(client, data)
        self.assertIn(b"Via: 1.1 other\r\n", backend.received)

    def test_a_body_that_comes_with_its_head(self) -> None:
        """A request that is whole at one time is sent whole, and its bytes are counted."""
        data = b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
        bench = Bench()
        client = bench.client(data)
        backend = bench.accept()
        for _ in range(2):
            self.assertTrue(backend.received.endswith(b"\r\n\r\nabc"))
            backend.received = b""
            bench.send(backend, ANSWER)
            bench.send(client, data)
        self.assertEqual([record.bytes_in for record in bench.records], [3, 3])


class ReplyTests(SynchronousTestCase):
    def reply(self, data: bytes, bench: Bench) -> tuple[ResponseHead, Reply | None]:
        parser = ResponseParser(bench.settings.limits)
        parser.expect(b"GET")
        parser.feed(data)
        head = parser.next_event()
        assert isinstance(head, ResponseHead)
        return head, Reply.to(head, bench.settings)

    def test_without_a_date_there_is_none(self) -> None:
        """A Date of ours is another one each second, so such a head is written each time."""
        self.assertIsNone(self.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Bench())[1])

    def test_it_is_kept_for_its_settings(self) -> None:
        """The same settings find the same reply; others make their own."""
        bench = Bench()
        head, reply = self.reply(ANSWER, bench)
        self.assertIs(Reply.to(head, bench.settings), reply)
        other = Bench(forwarded=ForwardedPolicy(via_response=True)).settings
        again = Reply.to(head, other)
        assert again is not None
        self.assertIn(b"Via: 1.1 balancer\r\n", again.kept_alive)

    def test_whoever_closes_is_told(self) -> None:
        """A client that asked for the close gets the same head with Connection: close, HTTP/1.0 too."""
        for line, last in ((b"1.1", b"close"), (b"1.0", b"close")):
            bench = Bench()
            warm = bench.client(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            backend = bench.accept()
            bench.send(backend, ANSWER)
            self.assertEqual(warm.received, ANSWER)
            client = bench.client(b"GET / HTTP/%b\r\nHost: test\r\nConnection: close\r\n\r\n" % line)
            bench.send(backend, ANSWER)
            self.assertEqual(client.received, ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: " + last + b"\r\n\r\n"))
            self.assertEqual(client.closed, "fin")
