"""The PROXY protocol's codec: what it says is read as it was written, cut anywhere; what it may not say is refused."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.proxy_header import (
    CLIENT_CERT_CONN,
    CLIENT_SSL,
    CRC32C,
    LOCAL,
    NOOP,
    SSL,
    SSL_CN,
    SSL_VERSION,
    UNIQUE_ID,
    UNKNOWN,
    Endpoint,
    Inet,
    ProxyHeader,
    SslInfo,
    Unix,
    packed,
)
from balancer.core.proxy_protocol import (
    V1_LIMIT,
    V2_LIMIT,
    V2_MOST,
    V2_SIGNATURE,
    ProxyDecoder,
    begins_one,
    crc32c,
    encode,
    greeting,
)
from balancer.errors import BadProxyHeader
from balancer.testing.proxy_headers import PATHS, SAMPLES, TLVS, V4, V6, decoded

WORST = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
"""The longest line there is, as the specification has it."""


def v2(family: int, body: bytes, command: int = 0x21, size: int | None = None) -> bytes:
    """A header by hand."""
    length = len(body) if size is None else size
    return V2_SIGNATURE + bytes([command, family]) + length.to_bytes(2, "big") + body


def ports() -> st.SearchStrategy[int]:
    return st.integers(0, 65535)


def inets(kind: type[IPv4Address] | type[IPv6Address]) -> st.SearchStrategy[Inet]:
    width = 32 if kind is IPv4Address else 128
    return st.builds(Inet, st.integers(0, 2**width - 1).map(lambda number: str(kind(number))), ports())


def plain_v6() -> st.SearchStrategy[Inet]:
    """Without IPv4 inside: that is written as IPv4."""
    return inets(IPv6Address).filter(lambda end: IPv6Address(end.host).ipv4_mapped is None)


def paths() -> st.SearchStrategy[Unix]:
    named = st.binary(max_size=108).map(lambda path: path.partition(b"\0")[0])
    abstract = st.binary(min_size=1, max_size=107).map(lambda name: (b"\0" + name).rstrip(b"\0"))
    return st.builds(Unix, named | abstract)


def ends() -> st.SearchStrategy[tuple[Endpoint, Endpoint]]:
    return st.one_of(
        st.tuples(inets(IPv4Address), inets(IPv4Address)),
        st.tuples(plain_v6(), plain_v6()),
        st.tuples(paths(), paths()),
    )


def tlvs() -> st.SearchStrategy[tuple[tuple[int, bytes], ...]]:
    kinds = st.integers(0, 255).filter(lambda kind: kind not in (CRC32C, NOOP, SSL))
    ordinary = st.tuples(kinds, st.binary(max_size=128))
    inner = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=4).map(tuple)
    ssl = st.builds(SslInfo, st.integers(0, 255), st.integers(0, 2**32 - 1), inner).map(
        lambda info: (SSL, info.value())
    )
    return st.lists(ordinary | ssl, max_size=8).map(tuple)


class Laws(SynchronousTestCase):
    """What holds for every header."""

    @given(ends(), st.booleans(), tlvs(), st.booleans(), st.binary(max_size=40))
    def test_version_2(
        self,
        ends: tuple[Endpoint, Endpoint],
        datagram: bool,
        tlvs: tuple[tuple[int, bytes], ...],
        checksum: bool,
        rest: bytes,
    ) -> None:
        """What was written is read, with what comes behind it left alone."""
        header = ProxyHeader(2, False, *ends, datagram, tlvs)
        self.assertEqual(decoded([encode(header, checksum) + rest]), (header, rest))

    @given(st.tuples(inets(IPv4Address), inets(IPv4Address)) | st.tuples(plain_v6(), plain_v6()), st.binary(max_size=9))
    def test_version_1(self, ends: tuple[Inet, Inet], rest: bytes) -> None:
        """The same, in a line."""
        line = encode(ProxyHeader(1, False, *ends))
        self.assertLessEqual(len(line), V1_LIMIT)
        self.assertEqual(decoded([line + rest]), (ProxyHeader(1, False, *ends), rest))

    @given(st.sampled_from(SAMPLES), st.binary(max_size=50), st.lists(st.integers(0, 400)))
    def test_cut_anywhere(self, sample: bytes, rest: bytes, cuts: list[int]) -> None:
        """Any fragmentation equals whole, byte by byte included."""
        data = sample + rest
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        whole = decoded([data])
        self.assertEqual(decoded(data[one:other] for one, other in zip(places, places[1:], strict=False)), whole)
        self.assertEqual(decoded(data[place : place + 1] for place in range(len(data))), whole)
        self.assertIsInstance(whole, tuple)

    @given(
        st.sampled_from((b"", *SAMPLES)), st.binary(max_size=300), st.integers(0, 300), st.lists(st.integers(0, 400))
    )
    def test_wrong_is_wrong_however_it_is_cut(self, sample: bytes, noise: bytes, keep: int, cuts: list[int]) -> None:
        """So it is for bytes that are no header: the same refusal, or the same wait for more."""
        data = sample[:keep] + noise
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        parts = [data[one:other] for one, other in zip(places, places[1:], strict=False)]
        self.assertEqual(decoded(parts), decoded([data]))

    @given(st.sampled_from(SAMPLES))
    def test_prefixes_wait(self, sample: bytes) -> None:
        """A header that is cut off is no header yet, at any byte."""
        for size in range(len(sample)):
            self.assertIsNone(decoded([sample[:size]]))


class VersionOneTests(SynchronousTestCase):
    """Lines."""

    def test_as_specified(self) -> None:
        """The lines of the specification."""
        line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
        self.assertEqual(encode(ProxyHeader(1, False, *V4)), line)
        self.assertEqual(decoded([line + b"GET /"]), (ProxyHeader(1, False, *V4), b"GET /"))
        self.assertEqual(len(WORST), V1_LIMIT)
        for unknown in (WORST, b"PROXY UNKNOWN\r\n"):
            self.assertEqual(decoded([unknown]), (UNKNOWN, b""))

    def test_refused(self) -> None:
        """Everything that has another shape: spaces, ports, addresses, the family, what is too long."""
        for line in (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r\n",
            b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP6 ::1%lo ::2 1 2\r\n",
            b"PROXY TCP6 ::g ::2 1 2\r\n",
            b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY \r\n",
            b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"GET / HTTP/1.1\r\n",
            b"PROXY UNKNOWN " + b"x" * 100,
        ):
            with self.subTest(line=line):
                self.assertIsInstance(decoded([line]), str)

    def test_without_an_end(self) -> None:
        """What has no end is refused at the last byte that could be one, and not before."""
        endless = b"PROXY TCP4 " + b"1" * 100
        self.assertIsNone(decoded([endless[: V1_LIMIT - 1]]))
        self.assertIn("107", str(decoded([endless[:V1_LIMIT]])))

    def test_no_words(self) -> None:
        """What version 1 cannot say: UNIX sockets and UDP are UNKNOWN, values beside the addresses an error."""
        unknown = b"PROXY UNKNOWN\r\n"
        self.assertEqual(encode(ProxyHeader(1, False, *PATHS)), unknown)
        self.assertEqual(encode(ProxyHeader(1, False, *V4, True)), unknown)
        for header, checksum in ((ProxyHeader(1, False, *V4, False, TLVS), False), (ProxyHeader(1, False, *V4), True)):
            with self.assertRaises(ValueError):
                encode(header, checksum)


class VersionTwoTests(SynchronousTestCase):
    """Binary headers."""

    def test_as_specified(self) -> None:
        """Byte for byte: TCP over IPv4."""
        expected = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c c0000207 c6336401 dc04 01bb")
        self.assertEqual(encode(ProxyHeader(2, False, *V4)), expected)

    def test_local_and_unspec(self) -> None:
        """LOCAL discards whatever follows; UNSPEC introduces nobody."""
        self.assertEqual(decoded([v2(0xFF & 0x31, b"\xff" * 20, command=0x20) + b"x"]), (LOCAL, b"x"))
        self.assertEqual(decoded([v2(0x00, b"anything") + b"x"]), (ProxyHeader(), b"x"))
        self.assertEqual(decoded([v2(0x10, b"") + b"x"]), (ProxyHeader(), b"x"))

    def test_refused(self) -> None:
        """Versions, commands, families and protocols that there are not; too little for the addresses; too much."""
        four = bytes(12)
        for data, word in (
            (v2(0x11, four, command=0x11), "version 1"),
            (v2(0x11, four, command=0x22), "command 2"),
            (v2(0x41, four), "family 4"),
            (v2(0x13, four), "protocol 3"),
            (v2(0x11, four[1:]), "no room"),
            (v2(0x21, bytes(35)), "no room"),
            (v2(0x31, bytes(215)), "no room"),
            (v2(0x11, four, size=V2_LIMIT), "the limit is 4096"),
            (v2(0x11, four + b"\x01\x00"), "cut"),
            (v2(0x11, four + b"\x01\x00\x02x"), "cut"),
            (v2(0x11, four + packed(((UNIQUE_ID, bytes(129)),))), "unique id"),
            (v2(0x11, four + packed(((SSL, b"\x01\0\0\0"),))), "cut"),
            (v2(0x11, four + packed(((SSL, b"\x01\0\0\0\0\x21\0\x09x"),))), "cut"),
            (v2(0x11, four + packed(((CRC32C, bytes(4)),))), "checksum"),
            (v2(0x11, four + packed(((CRC32C, bytes(3)),))), "checksum"),
            (b"\r\n\r\n\0\r\nQUIT\r", "does not begin"),
        ):
            with self.subTest(word=word):
                self.assertIn(word, str(decoded([data])))

    def test_limit(self) -> None:
        """A header of exactly the limit passes, one byte more does not; the largest there is passes where it may."""
        fit = v2(0x11, bytes(12) + packed(((0xE0, bytes(256 - 16 - 12 - 3)),)))
        self.assertEqual(len(fit), 256)
        self.assertIsInstance(decoded([fit], 256), tuple)
        self.assertIn("the limit is 255", str(decoded([fit], 255)))
        largest = v2(0x11, bytes(12) + packed(((0xE0, bytes(65535 - 12 - 3)),)))
        self.assertIsInstance(decoded([largest], V2_MOST), tuple)

    def test_checksum(self) -> None:
        """A checksum is checked wherever it stands, over the whole header; padding is ignored."""
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)  # RFC 3720 and every catalogue of CRCs
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)  # RFC 3720 appendix B.4
        body = bytes(12) + packed(((NOOP, b"pad"), (CRC32C, bytes(4)), (0xE0, b"after")))
        data = bytearray(v2(0x11, body))
        place = 16 + 12 + 6 + 3
        data[place : place + 4] = crc32c(bytes(data)).to_bytes(4, "big")
        outcome = decoded([bytes(data)])
        assert isinstance(outcome, tuple)
        self.assertEqual(outcome[0].tlvs, ((0xE0, b"after"),))
        for changed in (16, place, len(data) - 1):
            wrong = bytearray(data)
            wrong[changed] ^= 1
            self.assertIn("checksum", str(decoded([bytes(wrong)])))
        twice = bytes(12) + packed(((CRC32C, bytes(4)), (CRC32C, bytes(4))))
        self.assertIn("checksum", str(decoded([v2(0x11, twice)])))

    def test_values(self) -> None:
        """Values are asked for by type; those of TLS have values of their own."""
        info = SslInfo(CLIENT_SSL | CLIENT_CERT_CONN, 0, ((SSL_VERSION, b"TLSv1.3"), (SSL_CN, b"example.com")))
        header = ProxyHeader(2, False, *V6, False, ((SSL, info.value()), (UNIQUE_ID, b"id")))
        self.assertEqual((header.ssl, header.get(UNIQUE_ID), header.get(NOOP)), (info, b"id", None))
        self.assertIsNone(LOCAL.ssl)

    def test_two_families(self) -> None:
        """IPv4 inside IPv6 is IPv4; where the ends differ both are IPv6; an IP address and a path are an error."""
        mixed = ProxyHeader(2, False, Inet("::ffff:192.0.2.7", 56324), V4[1])
        self.assertEqual(encode(mixed), encode(ProxyHeader(2, False, *V4)))
        outcome = decoded([encode(ProxyHeader(2, False, V4[0], V6[1]))])
        assert isinstance(outcome, tuple)
        self.assertEqual(outcome[0].source, Inet("::ffff:c000:207", 56324))
        self.assertEqual(
            encode(ProxyHeader(2, False, Inet("fe80::1%eth0", 1), V6[1]))[16:32],
            bytes.fromhex("fe80" + 28 * "0")[:15] + b"\x01",
        )
        with self.assertRaises(ValueError):
            encode(ProxyHeader(2, False, V4[0], PATHS[0]))

    def test_too_large(self) -> None:
        """What does not fit is an error of who encodes."""
        for header in (
            ProxyHeader(2, False, Unix(b"x" * 109), Unix(b"")),
            ProxyHeader(2, False, *V4, False, ((0xE0, bytes(65536)),)),
            ProxyHeader(2, False, *V4, False, ((0xE0, bytes(65530)),)),
            ProxyHeader(2, False, *V4, False, ((256, b""),)),
            ProxyHeader(2, False, *V4, False, ((UNIQUE_ID, bytes(129)),)),
        ):
            with self.assertRaises(ValueError):
                encode(header)


class BeginningTests(SynchronousTestCase):
    """What can be told from the first bytes."""

    def test_signatures(self) -> None:
        """They are recognised at their last byte, and another's at the first that differs."""
        self.assertEqual([begins_one(data) for data in (b"PROXY ", V2_SIGNATURE, V2_SIGNATURE + b"x")], [True] * 3)
        self.assertEqual([begins_one(data) for data in (b"", b"P", b"PROXY", b"\r\n", V2_SIGNATURE[:-1])], [None] * 5)
        self.assertEqual([begins_one(data) for data in (b"POST", b"\r\n\r\nGET", b"\x16\x03", b"PROXY\t")], [False] * 4)

    def test_greeting(self) -> None:
        """A health check speaks for itself."""
        self.assertEqual(greeting("v1"), b"PROXY UNKNOWN\r\n")
        self.assertEqual(greeting("v2"), V2_SIGNATURE + b"\x20\0\0\0")
        self.assertEqual((greeting(""), greeting("none")), (b"", b""))

    def test_state(self) -> None:
        """A decoder shows what it waits for."""
        decoder = ProxyDecoder(300)
        decoder.feed(b"PROX")
        self.assertEqual(repr(decoder), "<ProxyDecoder waiting=4 limit=300>")
        with self.assertRaises(BadProxyHeader):
            decoder.feed(b"!")
