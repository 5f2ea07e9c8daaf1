"""The ClientHello: what real clients send, every cut, what is refused and how, and what rubbish does."""

import shutil
import socket
import ssl
import subprocess
from random import Random
from unittest import SkipTest

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.client_hello import LIMIT, ClientHello, ClientHelloReader, alert
from balancer.errors import ClientHelloRefused
from balancer.testing.hellos import (
    GREASE,
    alpn,
    extension,
    message,
    pieces,
    real,
    records,
    server_name,
    unwrapped,
    vector,
)

MUTATIONS = 20_000
"""Random changes tried here; ``mutate(1_000_000, seed)`` was run when the reader was written."""

Reading = tuple[bytes, tuple[bytes, ...], bool] | tuple[str, int | None] | None


def told(hello: ClientHello | None) -> Reading:
    return None if hello is None else (hello.name, hello.protocols, hello.encrypted)


def reading(fed: list[bytes], limit: int = LIMIT) -> Reading:
    """What a reader makes of bytes that come like this: the hello, the refusal, or nothing yet."""
    reader = ClientHelloReader(limit)
    try:
        for piece in fed:
            hello = reader.feed(piece)
            if hello is not None:
                return told(hello)
    except ClientHelloRefused as refused:
        return str(refused), refused.alert
    return None


def mutated(random: Random, data: bytes) -> bytes:
    """The bytes with a few changes: flipped, set, cut out, doubled, cut off."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(changed)) if changed else 0
        way = random.randrange(6)
        if way == 0 and changed:
            changed[place] ^= 1 << random.randrange(8)
        elif way == 1 and changed:
            changed[place] = random.choice((0, 1, 2, 3, 0x16, 0x7F, 0x80, 0xFE, 0xFF))
        elif way == 2:
            del changed[place : place + random.randint(1, 8)]
        elif way == 3:
            changed[place:place] = changed[place : place + random.randint(1, 40)]
        elif way == 4:
            changed[place:place] = random.randbytes(random.randint(1, 8))
        else:
            del changed[random.randint(place, len(changed)) :]
    return bytes(changed)


def mutate(times: int, seed: int) -> dict[str, int]:
    """Feed so many mutations, whole or in pieces; how many were read, refused and not whole.

    Anything but a hello, ``None`` or :class:`ClientHelloRefused` is raised.
    """
    random = Random(seed)
    samples = [*SAMPLES, records(unwrapped(SAMPLES[0]), [1, 1, 2, 30]), records(unwrapped(SAMPLES[0]), [7] * 20)]
    found = {"read": 0, "refused": 0, "waiting": 0}
    for _ in range(times):
        data = mutated(random, random.choice(samples))
        cuts = [random.randrange(len(data) + 1) for _ in range(random.choice((0, 0, 1, 3)))]
        result = reading(pieces(data, cuts))
        found["waiting" if result is None else "refused" if len(result) == 2 else "read"] += 1
    return found


SAMPLES = [
    real("www.example.com", "h2", "http/1.1"),
    real(None),
    real("a.example", newest=ssl.TLSVersion.TLSv1_2),
    records(message(server_name(b"b.example"), alpn(b"h2"), extension(0xFE0D, b"\0" * 40))),
    records(message()),
]


class RealTests(SynchronousTestCase):
    """What programs send."""

    def test_this_pythons_openssl(self) -> None:
        """Name and protocols are found, with TLS 1.3 and 1.2, with a name, without one, with protocols or without."""
        self.assertEqual(reading([real("www.Example.com", "h2", "x")]), (b"www.example.com", (b"h2", b"x"), False))
        self.assertEqual(reading([real(None)]), (b"", (), False))
        self.assertEqual(reading([real("a.b", newest=ssl.TLSVersion.TLSv1_2)]), (b"a.b", (), False))
        self.assertEqual(reading([real("xn--bcher-kva.example")]), (b"xn--bcher-kva.example", (), False))

    def captured(self, *command: str) -> bytes:
        """What a program sends to a port before it gets an answer."""
        if shutil.which(command[0]) is None:
            raise SkipTest(f"{command[0]} is not installed (Debian: apt-get install {command[0]})")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = str(listening.getsockname()[1])
            words = [word.replace("PORT", port) for word in command]
            with subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                connection, _ = listening.accept()
                with connection:
                    data = b""
                    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
                        data += connection.recv(65536)
                process.wait(60)
        return data

    def test_openssl_s_client(self) -> None:
        """``openssl s_client``."""
        data = self.captured(
            "openssl", "s_client", "-connect", "127.0.0.1:PORT", "-servername", "s.example", "-alpn", "h2,ftp"
        )
        self.assertEqual(reading([data]), (b"s.example", (b"h2", b"ftp"), False))

    def test_curl(self) -> None:
        """curl."""
        data = self.captured("curl", "-sk", "--resolve", "c.example:PORT:127.0.0.1", "https://c.example:PORT/")
        self.assertEqual(reading([data]), (b"c.example", (b"h2", b"http/1.1"), False))


class CutTests(SynchronousTestCase):
    """However it comes."""

    def test_byte_by_byte(self) -> None:
        """Each sample is read with its last byte, never before."""
        for data in SAMPLES:
            reader = ClientHelloReader()
            results = [reader.feed(data[i : i + 1]) for i in range(len(data))]
            self.assertEqual(set(results[:-1]), {None})
            self.assertEqual(told(results[-1]), reading([data]))
            self.assertEqual(reader.raw, data)

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(SAMPLES),
        st.lists(st.integers(1, 200), max_size=12),
        st.lists(st.integers(0, 900), max_size=8),
        st.binary(max_size=20),
    )
    def test_any_fragmentation_equals_whole(
        self, data: bytes, sizes: list[int], marks: list[int], after: bytes
    ) -> None:
        """Split over records of any sizes, cut anywhere, with bytes after it or not: it reads the same."""
        self.assertEqual(reading(pieces(records(unwrapped(data), sizes) + after, marks)), reading([data]))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(SAMPLES), st.integers(0, 2**32), st.lists(st.integers(0, 900), max_size=8))
    def test_any_cut_of_rubbish_equals_whole(self, data: bytes, seed: int, marks: list[int]) -> None:
        """What is wrong is refused with the same words, or waited for, however it is cut."""
        wrong = mutated(Random(seed), data)
        self.assertEqual(reading(pieces(wrong, marks)), reading([wrong]))

    def test_mutations(self) -> None:
        """Random changes lead to a hello, to a refusal or to waiting, and to nothing else."""
        found = mutate(MUTATIONS, 1)
        self.assertEqual(sum(found.values()), MUTATIONS)
        self.assertTrue(all(found.values()), found)


class RefusalTests(SynchronousTestCase):
    """What is wrong, in which words, and the alert."""

    def check(self, data: bytes, words: str, description: int | None, limit: int = LIMIT) -> None:
        result = reading([data], limit)
        assert result is not None
        self.assertEqual(len(result), 2, result)
        self.assertIn(words, str(result[0]))
        self.assertEqual(result[1], description)

    def test_what_is_not_tls(self) -> None:
        """Other protocols are told at their first bytes, and get no alert."""
        self.check(b"GET / HTTP/1.1\r\n", "perhaps an HTTP request", None)
        self.check(b"SSH-2.0-x", "they begin with 0x53", None)
        self.check(b"\x80\x2e\x01\x00\x02", "SSL 2.0", None)
        self.check(b"\x16\x02", "not TLS", None)

    def test_records(self) -> None:
        """Records that are empty, too long, of another type or version."""
        first = records(message(), [4])[:9]
        self.check(b"\x16\x03\x01\0\0", "a record of 0 bytes", 50)
        self.check(b"\x16\x03\x01\x40\x01", "a record of 16385 bytes", 50)
        self.check(first + b"\x15\x03\x01\0\x02\x02\0", "a record of type 21 in the middle", 10)
        self.check(first + b"\x16\x02", "a record of version 2", 50)

    def test_messages(self) -> None:
        """Another handshake message."""
        self.check(records(b"\x02\0\0\0"), "of type 2 where a ClientHello is expected", 10)

    def test_limit(self) -> None:
        """One byte above the limit is refused as soon as that is known; at the limit it is read."""
        hello = records(message(extension(1, bytes(5000))))
        self.assertEqual(reading([hello], len(hello)), (b"", (), False))
        self.check(hello[:5], "above max_client_hello", 47, len(hello) - 1)
        many = records(message(extension(1, bytes(5000))), [10, 2000])
        self.check(many[:15], "above max_client_hello", 47, 4000)
        self.check(records(b"\x01\xff\xff\xff"), "16777219 bytes or more", 47)

    def test_a_large_one(self) -> None:
        """Up to 16 KiB by default."""
        hello = records(message(server_name(b"big.example"), extension(21, bytes(16_200))))
        self.assertLessEqual(len(hello), LIMIT)
        self.assertEqual(reading([hello]), (b"big.example", (), False))

    def test_fields(self) -> None:
        """Each field within its bounds."""
        self.check(records(message(session=bytes(33))), "session id", 50)
        self.check(records(message(suites=b"")), "cipher suites of 0 bytes", 50)
        self.check(records(message(suites=b"\0\1\2")), "cipher suites of 3 bytes", 50)
        self.check(records(message(methods=b"")), "no compression method", 50)
        self.check(records(b"\x01" + vector(3, b"\x03\x03")), "the ClientHello ends too early", 50)
        self.check(records(b"\x01" + vector(3, message()[4:] + b"\0\0x")), "1 bytes too many", 50)
        self.check(records(message(b"\0\0\0\x09x")), "the list of extensions ends too early", 50)

    def test_extensions_twice(self) -> None:
        """Two extensions of a kind could be read either way (RFC 8446 section 4.2)."""
        self.check(records(message(server_name(b"a"), server_name(b"b"))), "extension 0 twice", 47)

    def test_names(self) -> None:
        """One host name of visible ASCII, 1 to 255 bytes; the trailing dot is taken off."""
        self.assertEqual(reading([records(message(server_name(b"A.example.")))]), (b"a.example", (), False))
        self.check(records(message(server_name(b"a", b"b"))), "more than one name", 50)
        self.check(records(message(server_name(b"a", kind=1))), "no host name", 50)
        self.check(records(message(server_name(b""))), "a server name of 0 bytes", 50)
        self.check(records(message(server_name(b"a" * 256))), "a server name of 256 bytes", 50)
        self.check(records(message(server_name(b"a\0b"))), "which is no host name", 50)
        self.check(records(message(extension(0, b""))), "server_name ends too early", 50)

    def test_protocols(self) -> None:
        """Those of GREASE are left out; an empty one is refused."""
        self.assertEqual(reading([records(message(alpn(GREASE, b"h2")))]), (b"", (b"h2",), False))
        self.check(records(message(alpn(b""))), "a protocol without a name", 50)

    def test_grease_and_ech(self) -> None:
        """Reserved extensions are passed over; with ECH it is the outer name, and told."""
        hello = message(extension(0x0A0A, b""), server_name(b"outer.example"), extension(0xFE0D, bytes(200)))
        self.assertEqual(reading([records(hello)]), (b"outer.example", (), True))

    def test_repr(self) -> None:
        """What it is can be seen."""
        reader = ClientHelloReader()
        hello = reader.feed(SAMPLES[3])
        self.assertEqual(repr(hello), "<ClientHello to b'b.example' protocols=(b'h2',) ECH>")
        self.assertEqual(repr(reader), f"<ClientHelloReader {len(SAMPLES[3])} bytes>")

    def test_the_alert_is_understood(self) -> None:
        """OpenSSL takes the record of an alert for what it is."""
        answer, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        client = context.wrap_bio(answer, sent, server_hostname="a.example")
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        answer.write(alert(112))
        error = self.assertRaises(ssl.SSLError, client.do_handshake)
        self.assertIn("UNRECOGNIZED_NAME", str(error))
