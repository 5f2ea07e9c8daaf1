"""Which fields go on."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.headers import (
    HOP_BY_HOP,
    PINNED,
    Verdicts,
    forwarded_target,
    goes_to_backend,
    kept,
    may_upgrade,
    pinned,
    response_fields,
    trailer_fields,
    with_host,
    without,
)

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def spelled(name: bytes, cases: list[bool]) -> bytes:
    """The name with each letter's case chosen."""
    chosen = bytes((c - 32 if up and 97 <= c <= 122 else c) for c, up in zip(name, cases, strict=False))
    return chosen + name[len(cases) :]


names = st.one_of(
    st.sampled_from(sorted(HOP_BY_HOP | PINNED | {b"x-a", b"x-b", b"x-forwarded-for", b"accept"})),
    st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).map(str.encode),
)
spellings = st.builds(spelled, names, st.lists(st.booleans(), max_size=20))
field_lists = st.lists(st.tuples(spellings, st.sampled_from([b"", b"1", b"a, b"])), max_size=10)
options = st.frozensets(names.map(bytes.lower), max_size=4)


class HopByHopTests(SynchronousTestCase):
    def request(self, *fields: tuple[bytes, bytes], connection: frozenset[bytes] = frozenset()) -> list[bytes]:
        return [name for name, _ in kept(list(fields), Verdicts(goes_to_backend), connection)]

    def test_fields_of_one_connection_end_here(self) -> None:
        """Hop-by-hop fields do not go on, in any case, named in Connection or not."""
        for name in (b"Connection", b"KEEP-ALIVE", b"Proxy-Connection", b"TE", b"Transfer-Encoding", b"Upgrade",
                     b"Proxy-Authorization", b"HTTP2-Settings"):  # fmt: skip
            self.assertEqual(self.request((b"A", b"1"), (name, b"x"), (b"B", b"2")), [b"A", b"B"], name)
            self.assertEqual(response_fields([(name, b"x"), (b"B", b"2")], frozenset()), [(b"B", b"2")], name)

    def test_everything_named_in_connection_ends_here(self) -> None:
        """A field that Connection names does not go on, in any spelling and as often as it comes."""
        fields = [(b"X-Hop", b"1"), (b"x-hop", b"2"), (b"Keep", b"3")]
        self.assertEqual(self.request(*fields, connection=frozenset({b"x-hop", b"close"})), [b"Keep"])
        self.assertEqual(response_fields(fields, frozenset({b"x-hop"})), [(b"Keep", b"3")])

    def test_connection_cannot_take_away_what_a_backend_relies_on(self) -> None:
        """Naming Host, Content-Length, Cookie or X-Forwarded-For in Connection has no effect."""
        attacked = (b"Host", b"Content-Length", b"Cookie", b"Authorization", b"X-Forwarded-For", b"X-Forwarded-User",
                    b"Forwarded", b"X-Real-IP", b"X-Request-ID", b"Via", b"Content-Type")  # fmt: skip
        fields = [(name, b"1") for name in attacked]
        connection = frozenset(name.lower() for name in attacked)
        self.assertEqual(self.request(*fields, connection=connection), list(attacked))
        self.assertEqual(response_fields([(b"Content-Length", b"1")], frozenset({b"content-length"})),
                         [(b"Content-Length", b"1")])  # fmt: skip

    def test_spellings_that_only_a_backend_would_fold_are_dropped(self) -> None:
        """``Content_Length`` is no framing for us and may be for the backend, so it does not go on."""
        for name in (b"Content_Length", b"TRANSFER_ENCODING", b"Transfer.Encoding", b"x_forwarded_for", b"X-Real_IP",
                     b"X_Forwarded-Proto", b"Set_Cookie", b"Proxy"):  # fmt: skip
            self.assertEqual(self.request((name, b"1")), [], name)
        self.assertEqual(self.request((b"my_field", b"1"), (b"X.Y", b"2")), [b"my_field", b"X.Y"])

    def test_trailer_and_expect_go_on(self) -> None:
        """They are for whoever reads the content, not for one connection."""
        self.assertEqual(self.request((b"Trailer", b"X-Sum"), (b"Expect", b"100-continue")), [b"Trailer", b"Expect"])

    @settings(max_examples=300, deadline=None)
    @given(field_lists, options)
    def test_the_law_of_both_directions(self, fields: list[tuple[bytes, bytes]], connection: frozenset[bytes]) -> None:
        """What goes on is in order, spelled and repeated as received; fields of one connection end, and no others."""
        ended = {name for name in connection if not pinned(name)} - {b"close", b"keep-alive"}
        wanted = [f for f in fields if f[0].lower() not in HOP_BY_HOP and f[0].lower() not in ended]
        self.assertEqual(response_fields(fields, connection), wanted)
        to_backend = kept(fields, Verdicts(goes_to_backend), connection)
        self.assertEqual(to_backend, [f for f in wanted if goes_to_backend(f[0])])


class UpgradeTests(SynchronousTestCase):
    def test_a_tunnel_keeps_the_two_fields(self) -> None:
        """The 101 that opens a tunnel says Connection and Upgrade in our words."""
        fields = [(b"connection", b"upgrade, x"), (b"upgrade", b"websocket"), (b"X", b"1")]
        fields.append((b"Sec-WebSocket-Accept", b"a"))
        self.assertEqual(
            response_fields(fields, frozenset({b"upgrade", b"x"}), upgrade=b"websocket"),
            [(b"Sec-WebSocket-Accept", b"a"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")],
        )

    def test_http_inside_a_tunnel_is_not_opened(self) -> None:
        """h2c would carry requests that no route has seen, alone or in a list."""
        for protocol in (b"websocket", b"WebSocket", b"tcp", b"foo/2, websocket", b"connect-udp"):
            self.assertTrue(may_upgrade(protocol), protocol)
        for protocol in (None, b"", b"h2c", b"H2C", b"websocket, h2c", b"HTTP/2.0", b"TLS/1.0", b"h2", b"a,,b"):
            self.assertFalse(may_upgrade(protocol), protocol)


class ViaTests(SynchronousTestCase):
    def test_via_is_added_behind_those_before_us(self) -> None:
        """The response's Via fields stay and ours comes last."""
        fields = [(b"Via", b"1.0 inner"), (b"A", b"1")]
        self.assertEqual(response_fields(fields, frozenset(), via=b"1.1 b"), [*fields, (b"Via", b"1.1 b")])
        self.assertEqual(fields, [(b"Via", b"1.0 inner"), (b"A", b"1")])


class TrailerTests(SynchronousTestCase):
    def test_trailers_that_frame_route_or_authenticate_are_dropped(self) -> None:
        """A trailer cannot say what only the head may say, in any spelling."""
        for name in (b"Content-Length", b"transfer-encoding", b"Host", b"Cookie", b"Authorization", b"X-Forwarded-For",
                     b"x_forwarded_for", b"Forwarded", b"Trailer", b"TE", b"Content-Type", b"X-Original-URL", b"Expect",
                     b"Content_Length", b"X-Request-ID"):  # fmt: skip
            self.assertEqual(trailer_fields([(name, b"1"), (b"X-Sum", b"2")]), [(b"X-Sum", b"2")], name)

    def test_other_trailers_keep_order_and_repeats(self) -> None:
        """Checksums, timings and application fields go on as received."""
        fields = [(b"Digest", b"a"), (b"grpc-status", b"0"), (b"Digest", b"b"), (b"Server-Timing", b"x")]
        self.assertEqual(trailer_fields(fields), fields)


class VerdictsTests(SynchronousTestCase):
    def test_what_is_remembered_is_bounded(self) -> None:
        """Neither many names nor long ones make it grow beyond its limit, and the answers stay right."""
        verdicts = Verdicts(goes_to_backend, limit=10, longest=8)
        for number in range(1000):
            self.assertTrue(verdicts[b"x%d" % number])
            self.assertFalse(verdicts[b"TE"])
            self.assertLessEqual(len(verdicts), 10)
        self.assertTrue(verdicts[b"x" * 9])
        self.assertNotIn(b"x" * 9, verdicts)


class HostTests(SynchronousTestCase):
    def test_with_host_replaces_in_place_or_inserts_first(self) -> None:
        """There is one Host afterwards, where the old one was."""
        fields = [(b"A", b"1"), (b"host", b"old"), (b"B", b"2")]
        self.assertEqual(with_host(fields, b"new"), [(b"A", b"1"), (b"host", b"new"), (b"B", b"2")])
        self.assertEqual(with_host([(b"A", b"1")], b"new"), [(b"Host", b"new"), (b"A", b"1")])
        self.assertEqual(fields[1], (b"host", b"old"))

    def test_without_removes_every_spelling(self) -> None:
        """All fields of the names are gone, the others in order."""
        fields = [(b"Expect", b"1"), (b"A", b"1"), (b"EXPECT", b"2")]
        self.assertEqual(without(fields, {b"expect"}), [(b"A", b"1")])

    def test_the_target_goes_on_in_origin_form(self) -> None:
        """What was received in origin form goes on byte for byte, an absolute target loses scheme and authority."""
        for target, path, query, wanted in (
            (b"/a//b/%2f?x=%20", b"/a//b/%2f", b"x=%20", b"/a//b/%2f?x=%20"), (b"*", b"*", None, b"*"),
            (b"http://h/a?", b"/a", b"", b"/a?"), (b"http://h", b"/", None, b"/"),
            (b"HTTP://h:1/x", b"/x", None, b"/x"),
            (b"http://h?q", b"/", b"q", b"/?q"), (b"/?", b"/", b"", b"/?"),
        ):  # fmt: skip
            self.assertEqual(forwarded_target(target, path, query), wanted, target)
