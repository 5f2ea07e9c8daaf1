"""What a backend is told about the client."""

from itertools import count
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.forwarded import Forwarding, Peer, quoted, random_ids
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.headers import FOLD, Fields


class Head:
    """As much of a request as is read."""

    def __init__(self, fields: Fields, host: bytes = b"example.com", minor: int = 1, target: bytes = b"/") -> None:
        self.method = b"GET"
        self.fields = fields
        self.host = host
        self.minor = minor
        self.target = target
        self.connection = frozenset(
            option.strip().lower() for name, value in fields if name.lower() == b"connection"
            for option in value.split(b",")
        )  # fmt: skip


def forwarding(**keys: object) -> Forwarding:
    numbers = count(1)
    return Forwarding(ForwardedPolicy(**keys), lambda: b"id-%d" % next(numbers))  # type: ignore[arg-type]  # test keys


def stranger(**keys: object) -> Peer:
    return forwarding(**keys).peer("203.0.113.7", b"http")


def proxy(**keys: object) -> Peer:
    return forwarding(trusted_proxies=("10.0.0.0/8",), **keys).peer("10.0.0.1", b"http")


HOST = (b"Host", b"example.com")


class StrangerTests(SynchronousTestCase):
    def test_the_default_fields(self) -> None:
        """The client's own fields stay first and in order; ours follow."""
        sent = stranger().request(Head([HOST, (b"Cookie", b"a"), (b"cookie", b"b")], host=b"example.com:8080"))
        self.assertEqual(sent.fields, [
            HOST, (b"Cookie", b"a"), (b"cookie", b"b"), (b"X-Forwarded-For", b"203.0.113.7"),
            (b"X-Forwarded-Proto", b"http"), (b"X-Forwarded-Host", b"example.com:8080"), (b"Via", b"1.1 balancer"),
            (b"X-Request-ID", b"id-1"),
        ])  # fmt: skip
        self.assertEqual((sent.client, sent.request_id, sent.needs_host), ("203.0.113.7", b"id-1", False))

    def test_everything_can_be_turned_off(self) -> None:
        """With every key off nothing is added, and what was spoofed is removed all the same."""
        peer = stranger(x_forwarded=False, via="", request_id="")
        sent = peer.request(Head([HOST, (b"X-Forwarded-For", b"1.1.1.1"), (b"X-Request-ID", b"x")]))
        self.assertEqual(sent.fields, [HOST])
        self.assertEqual((sent.client, sent.request_id), ("203.0.113.7", b""))

    def test_forwarded_quotes_what_is_no_token(self) -> None:
        """An IPv6 address and a host with a port stand between quotes (RFC 7239 section 4)."""
        peer = forwarding(forwarded=True, x_forwarded=False, via="", request_id="").peer("2001:DB8::1", b"https")
        for host, element in (
            (b"a.com:80", b'for="[2001:db8::1]";host="a.com:80";proto=https'),
            (b"a.com", b'for="[2001:db8::1]";host=a.com;proto=https'),
            (b"[::1]", b'for="[2001:db8::1]";host="[::1]";proto=https'), (b"", b'for="[2001:db8::1]";proto=https'),
        ):  # fmt: skip
            self.assertEqual(peer.request(Head([], host=host)).fields, [(b"Forwarded", element)])
        self.assertEqual(quoted(b'a"\\'), b'"a\\"\\\\"')

    def test_addresses_are_normalised(self) -> None:
        """IPv4 inside IPv6 is IPv4, a zone is not told, and a UNIX socket's peer is unknown."""
        for address, told in (("::ffff:192.0.2.1", b"192.0.2.1"), ("fe80::1%eth0", b"fe80::1"), ("", b"unknown")):
            for made in (forwarding(), forwarding(trusted_proxies=("10.0.0.0/8",))):
                fields = dict(made.peer(address, b"http").request(Head([])).fields)
                self.assertEqual(fields[b"X-Forwarded-For"], told)

    def test_via_keeps_those_before_us(self) -> None:
        """Via of proxies before us stays, and ours says the version that was received."""
        sent = stranger(via="edge:80").request(Head([(b"Via", b"1.1 a, 1.0 b")], minor=0))
        self.assertEqual([value for name, value in sent.fields if name == b"Via"], [b"1.1 a, 1.0 b", b"1.0 edge:80"])

    def test_connection_cannot_strip_what_we_add(self) -> None:
        """Naming our fields in Connection has no effect on them."""
        named = b"close, X-Forwarded-For, Via, X-Request-ID, Host, Forwarded, X-Hop"
        sent = stranger(forwarded=True).request(Head([HOST, (b"Connection", named), (b"X-Hop", b"1")]))
        self.assertEqual([name for name, _ in sent.fields], [
            b"Host", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded", b"Via",
            b"X-Request-ID",
        ])  # fmt: skip

    def test_fields_that_override_the_path_are_removed(self) -> None:
        """The path that was routed is the path the application sees; the list of such fields is a setting."""
        attack = [(b"X-Original-URL", b"/admin"), (b"x_rewrite_url", b"/admin"), (b"X-Mine", b"1")]
        silent = {"x_forwarded": False, "via": "", "request_id": ""}
        self.assertEqual(stranger(**silent).request(Head(attack)).fields, [(b"X-Mine", b"1")])
        peer = stranger(remove_untrusted=("X-Mine",), **silent)
        self.assertEqual(peer.request(Head(attack)).fields, attack[:2])


class ProxyTests(SynchronousTestCase):
    def test_what_a_trusted_proxy_said_is_continued(self) -> None:
        """Its list grows by its own address, in one field; scheme and host of the client and the id stay."""
        sent = proxy(forwarded=True).request(Head([
            HOST, (b"X-Forwarded-For", b"1.1.1.1, 203.0.113.9"), (b"x-forwarded-for", b"10.0.0.5"),
            (b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", b"shop.example"), (b"X-Real-IP", b"203.0.113.9"),
            (b"Forwarded", b"for=203.0.113.9"), (b"X-Request-ID", b"abc"), (b"X-Forwarded-Prefix", b"/shop"),
        ]))  # fmt: skip
        self.assertEqual(sent.fields, [
            HOST, (b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", b"shop.example"),
            (b"X-Real-IP", b"203.0.113.9"), (b"X-Forwarded-Prefix", b"/shop"),
            (b"X-Forwarded-For", b"1.1.1.1, 203.0.113.9, 10.0.0.5, 10.0.0.1"),
            (b"Forwarded", b"for=203.0.113.9, for=10.0.0.1;host=example.com;proto=http"), (b"Via", b"1.1 balancer"),
            (b"X-Request-ID", b"abc"),
        ])  # fmt: skip
        self.assertEqual((sent.client, sent.request_id), ("203.0.113.9", b"abc"))

    def test_a_proxy_that_said_nothing_is_itself_the_client(self) -> None:
        """Then the fields begin with the proxy."""
        sent = proxy(via="").request(Head([HOST]))
        self.assertEqual(sent.fields, [HOST, (b"X-Forwarded-For", b"10.0.0.1"), (b"X-Forwarded-Proto", b"http"),
                                       (b"X-Forwarded-Host", b"example.com"), (b"X-Request-ID", b"id-1")])  # fmt: skip
        self.assertEqual(sent.client, "10.0.0.1")

    def test_an_id_that_could_break_a_log_is_replaced(self) -> None:
        """Only a short id of visible ASCII is kept, even from a trusted proxy."""
        for value in (b"", b"a b", b"a\xff", b"x" * 201):
            self.assertEqual(proxy().request(Head([(b"X-Request-ID", value)])).request_id, b"id-1")
        self.assertEqual(proxy().request(Head([(b"x-request-id", b"x" * 200)])).request_id, b"x" * 200)

    def test_two_ids_become_one(self) -> None:
        """The first id is kept and sent once."""
        sent = proxy(request_id="X-Trace").request(Head([(b"x-trace", b"a"), (b"X-Trace", b"b")]))
        self.assertEqual([field for field in sent.fields if field[0].lower() == b"x-trace"], [(b"X-Trace", b"a")])

    def test_a_spelling_with_underscores_is_dropped_even_then(self) -> None:
        """A trusted proxy passes on ``X_Forwarded_For`` of its client; no application may see it."""
        sent = proxy().request(Head([(b"X_Forwarded_For", b"1.1.1.1"), (b"X-Forwarded_Proto", b"https")]))
        self.assertFalse([name for name, _ in sent.fields if b"_" in name])
        self.assertEqual(sent.client, "10.0.0.1")

    def test_connection_cannot_strip_what_a_trusted_proxy_said(self) -> None:
        """A client's Connection that a proxy wrongly passed on does not hide the client (CVE-2022-31813)."""
        said = [(b"X-Forwarded-For", b"203.0.113.9"), (b"X-Real-IP", b"203.0.113.9")]
        sent = proxy().request(Head([(b"Connection", b"x-forwarded-for, x-real-ip"), *said]))
        fields = dict(sent.fields)
        self.assertEqual(fields[b"X-Forwarded-For"], b"203.0.113.9, 10.0.0.1")
        self.assertEqual(fields[b"X-Real-IP"], b"203.0.113.9")

    def test_with_fields_off_what_a_trusted_proxy_said_passes(self) -> None:
        """What we do not write ourselves goes on as it came from a trusted proxy."""
        said = [(b"X-Forwarded-For", b"203.0.113.9"), (b"Forwarded", b"for=203.0.113.9"), (b"X-Request-ID", b"a")]
        sent = proxy(x_forwarded=False, via="", request_id="").request(Head(said))
        self.assertEqual(sent.fields, said)
        self.assertEqual(sent.client, "203.0.113.9")

    def test_a_unix_socket_is_trusted_by_name(self) -> None:
        """``unix`` in the list trusts peers without an address."""
        peer = forwarding(trusted_proxies=("unix",)).peer("", b"http")
        sent = peer.request(Head([(b"X-Forwarded-For", b"203.0.113.9")]))
        self.assertEqual(sent.client, "203.0.113.9")
        self.assertEqual(dict(sent.fields)[b"X-Forwarded-For"], b"203.0.113.9, unknown")
        self.assertEqual(repr(peer), "<Peer unknown trusted>")


class MessageTests(SynchronousTestCase):
    def test_an_absolute_target_sets_the_host(self) -> None:
        """The target's authority is the Host that goes on, whatever the field said (RFC 9112 section 3.2.2)."""
        head = Head([(b"A", b"1"), (b"Host", b"other")], host=b"example.com:81", target=b"http://Example.com:81/x")
        self.assertEqual(stranger().request(head).fields[:2], [(b"A", b"1"), (b"Host", b"example.com:81")])
        for target in (b"/", b"*"):
            head = Head([(b"Host", b"Example.COM")], target=target)
            self.assertEqual(stranger().request(head).fields[0], (b"Host", b"Example.COM"))

    def test_needs_host(self) -> None:
        """The engine names the backend if the policy says so or an old client named nobody."""
        self.assertTrue(stranger(host="backend").request(Head([HOST])).needs_host)
        sent = stranger().request(Head([], host=b"", minor=0))
        self.assertTrue(sent.needs_host)
        self.assertNotIn(b"X-Forwarded-Host", dict(sent.fields))

    def test_expect_of_an_old_client_is_dropped(self) -> None:
        """HTTP/1.0 has no 100, so its Expect is ignored (RFC 9110 section 10.1.1)."""
        fields = [(b"EXPECT", b"100-continue")]
        self.assertNotIn(b"EXPECT", dict(stranger().request(Head(fields, minor=0)).fields))
        self.assertIn(b"EXPECT", dict(stranger().request(Head(fields)).fields))

    def test_an_upgrade_is_asked_for_only_if_the_engine_tunnels(self) -> None:
        """Upgrade ends here unless the engine says which protocol it would tunnel."""
        fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"k")]
        plain = stranger().request(Head(fields)).fields
        self.assertEqual([name for name, _ in plain if name in (b"Connection", b"Upgrade")], [])
        tunnel = stranger().request(Head(fields), upgrade=b"websocket").fields
        self.assertEqual(tunnel[-2:], [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")])
        self.assertEqual(tunnel[0], (b"Sec-WebSocket-Key", b"k"))

    def test_the_request_is_not_changed(self) -> None:
        """The received fields stay as they are, for the log and for a retry."""
        fields = [HOST, (b"X-Forwarded-For", b"1.1.1.1")]
        stranger().request(Head(fields))
        proxy().request(Head(fields, target=b"http://x/"))
        self.assertEqual(fields, [HOST, (b"X-Forwarded-For", b"1.1.1.1")])

    def test_response_via(self) -> None:
        """Responses get Via only if the policy says so."""
        self.assertEqual(forwarding().response_via, (b"", b""))
        self.assertEqual(forwarding(via_response=True).response_via, (b"1.0 balancer", b"1.1 balancer"))

    def test_random_ids(self) -> None:
        """Ids are 32 hexadecimal digits and come from the randomness that was given."""
        new_id = random_ids(Random(1))
        ids = [new_id() for _ in range(100)]
        self.assertEqual(len(set(ids)), 100)
        for made in ids:
            self.assertRegex(made, rb"\A[0-9a-f]{32}\Z")
        self.assertEqual(random_ids(Random(1))(), ids[0])


class SettingsTests(SynchronousTestCase):
    def test_mistakes_are_named(self) -> None:
        """Wrong values are rejected when the policy is made, read from a file or not."""
        adapter = TypeAdapter(ForwardedPolicy)
        for keys in ({"trusted_proxies": ["proxy.example"]}, {"via": "a b"}, {"request_id": "a b"}, {"host": "x"},
                     {"remove_untrusted": ["a:b"]}, {"xforwarded": True}):  # fmt: skip
            self.assertRaises(ValidationError, adapter.validate_python, keys)
        self.assertRaises(ValueError, ForwardedPolicy, trusted_proxies=("10.0.0.1/8",))
        self.assertRaises(ValueError, ForwardedPolicy, via="a b")
        self.assertEqual(adapter.validate_python({"trusted_proxies": ["10.0.0.0/8"]}).trusted_proxies, ("10.0.0.0/8",))


ABOUT_THE_CLIENT = [
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-anything",
    b"forwarded", b"x-real-ip", b"x-request-id", b"true-client-ip", b"client-ip",
]  # fmt: skip


@st.composite
def spoofed_names(draw: st.DrawFn) -> bytes:
    """A field about the client in any case, its hyphens replaced by what backends take for hyphens."""
    name = draw(st.sampled_from(ABOUT_THE_CLIENT))
    return bytes(draw(st.sampled_from(b"-_.")) if c == ord("-") else c - 32 if draw(st.booleans()) else c for c in name)


class SpoofingLawTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(spoofed_names(), st.just(b"SPOOFED")), max_size=5), st.booleans(), st.booleans(),
        st.lists(spoofed_names(), max_size=3),
    )  # fmt: skip
    def test_a_spoofed_field_never_reaches_the_backend(
        self, fields: Fields, x_forwarded: bool, forwarded: bool, named: list[bytes]
    ) -> None:
        """From anyone but a trusted proxy no such field goes on in any spelling, and ours are there once."""
        made = forwarding(x_forwarded=x_forwarded, forwarded=forwarded, trusted_proxies=("10.0.0.0/8",))
        connection = [(b"Connection", b", ".join(named))] if named else []
        sent = made.peer("203.0.113.7", b"http").request(Head([HOST, *fields, *connection, (b"Accept", b"*/*")]))
        self.assertNotIn(b"SPOOFED", [value for _, value in sent.fields])
        names = [name.translate(FOLD) for name, _ in sent.fields]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(b"x-forwarded-for" in names, x_forwarded)
        self.assertEqual(b"forwarded" in names, forwarded)
        self.assertEqual(names[:2], [b"host", b"accept"])
        self.assertEqual(sent.client, "203.0.113.7")
