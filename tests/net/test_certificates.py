"""What a listener shows: files read and looked over, names, versions, sessions, clients' certificates."""

import contextlib
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL.SSL import Connection, WantReadError
from OpenSSL.SSL import Error as TlsError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.tls import CertificateFiles, ListenerTls
from balancer.errors import TlsSettingsError
from balancer.net.certificates import ServerTls
from balancer.testing.certificates import Authority


class CertificateTestCase(SynchronousTestCase):
    """An authority, and handshakes in memory with the standard library's client."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(directory.name)

    def write(self, name: str, content: str | bytes) -> str:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def context(self) -> ssl.SSLContext:
        """A client that trusts the authority."""
        return ssl.create_default_context(cafile=self.authority.file)

    def shake(
        self, tls: ServerTls, name: str, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
    ) -> tuple[ssl.SSLObject, Connection]:
        """A handshake; raises what the side raises that refuses."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = (context or self.context()).wrap_bio(incoming, outgoing, server_hostname=name, session=session)
        server = tls.connection()
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            if outgoing.pending:
                server.bio_write(outgoing.read())
            with contextlib.suppress(WantReadError):
                server.do_handshake()
            with contextlib.suppress(WantReadError):
                incoming.write(server.bio_read(65536))
        server.send(b"hello")
        incoming.write(server.bio_read(65536))
        self.assertEqual(client.read(5), b"hello")  # with it come the tickets of TLS 1.3
        return client, server


class FileTests(CertificateTestCase):
    """What is told of files."""

    def problems(self, settings: ListenerTls) -> tuple[str, ...]:
        with self.assertRaises(TlsSettingsError) as caught:
            ServerTls(settings)
        return caught.exception.problems

    def test_everything_at_once(self) -> None:
        """Missing, no PEM, another certificate's key, ciphers, authorities: all is told in one go."""
        one, two = self.authority.issue("one.example"), self.authority.issue("two.example")
        text = self.write("text.pem", "nothing here")
        found = self.problems(
            ListenerTls(
                certificate=one,
                key=two,
                certificates=(
                    CertificateFiles(certificate=str(self.directory / "absent.pem")),
                    CertificateFiles(certificate=text, key=one),
                    CertificateFiles(certificate=one, key=text),
                ),
                ciphers="NO-SUCH",
                client_ca=text,
            )
        )
        for words, problem in zip(
            (
                f'tls.key = "{two}" has another key than the certificate in "{one}"',
                'absent.pem" cannot be read: No such file',
                f'tls.certificates[1].certificate = "{text}" has no "-----BEGIN CERTIFICATE-----"',
                f'tls.certificates[2].key = "{text}" has no "-----BEGIN PRIVATE KEY-----"',
                f'tls.client_ca = "{text}" has no',
                'tls.ciphers = "NO-SUCH"',
            ),
            found,
            strict=True,
        ):
            self.assertIn(words, problem)

    def test_an_unreadable_file(self) -> None:
        """What cannot be opened is told with the system's word; a directory will do."""
        (problem,) = self.problems(ListenerTls(certificate=str(self.directory)))
        self.assertIn("cannot be read: Is a directory", problem)

    def test_no_key(self) -> None:
        """A certificate without a key, and no key named, says which key to set."""
        (problem,) = self.problems(ListenerTls(certificate=self.authority.file))
        self.assertIn('name its file with "key"', problem)

    def test_a_passphrase(self) -> None:
        """A key with a passphrase is refused: OpenSSL would ask for it at a terminal."""
        pem = self.authority.issue("a.example")
        key = load_pem_private_key(Path(pem).read_bytes(), None)
        locked = self.write(
            "locked.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        )
        (problem,) = self.problems(ListenerTls(certificate=pem, key=locked))
        self.assertIn("passphrase", problem)

    def test_broken_content(self) -> None:
        """PEM that holds nonsense is told, for certificates and for keys."""
        pem = self.authority.issue("a.example")
        broken = self.write("c.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        key = self.write("k.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        (problem,) = self.problems(ListenerTls(certificate=broken, key=pem))
        self.assertIn("a certificate that cannot be read", problem)
        (problem,) = self.problems(ListenerTls(certificate=pem, key=key))
        self.assertIn("a key that cannot be read", problem)

    def test_times(self) -> None:
        """Expired, about to expire and not valid yet are remarks: the balancer starts all the same."""
        begin, end = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 4, 1, tzinfo=UTC)
        tls = ServerTls(ListenerTls(certificate=self.authority.issue("a.example", valid=(begin, end))))
        for moment, words in (
            (datetime(2029, 12, 31, tzinfo=UTC), "valid only from 2030-01-01 00:00 UTC"),
            (datetime(2030, 3, 25, tzinfo=UTC), "expires at 2030-04-01 00:00 UTC"),
            (datetime(2030, 4, 2, tzinfo=UTC), "expired at 2030-04-01 00:00 UTC"),
        ):
            (remark,) = tls.remarks(moment.timestamp())
            self.assertIn(words, remark)
        self.assertEqual(tls.remarks(datetime(2030, 2, 1, tzinfo=UTC).timestamp()), ())

    def test_fingerprint(self) -> None:
        """The same files read again are the same; a renewed one is not."""
        settings = ListenerTls(certificate=self.authority.issue("a.example"))
        before = ServerTls(settings).fingerprint
        self.assertEqual(ServerTls(settings).fingerprint, before)
        self.authority.issue("a.example")
        self.assertNotEqual(ServerTls(settings).fingerprint, before)


class HandshakeTests(CertificateTestCase):
    """What clients get."""

    def several(self) -> ServerTls:
        first, *others = (
            self.authority.issue("default.example"),
            self.authority.issue("*.example", "example"),
            self.authority.issue("exact.example"),
            self.authority.issue("late.example", "exact.example"),
        )
        return ServerTls(
            ListenerTls(certificate=first, certificates=tuple(CertificateFiles(certificate=path) for path in others))
        )

    def shown(self, tls: ServerTls, name: str) -> str:
        """The common name of the certificate shown to who asks for a name."""
        context = self.context()
        context.check_hostname = False
        client, _ = self.shake(tls, name, context)
        certificate = client.getpeercert() or {}
        return str(dict(item[0] for item in certificate["subject"])["commonName"])

    def test_names_choose_the_certificate(self) -> None:
        """The exact name first, then the wildcard for one label, else the default; case does not matter."""
        tls = self.several()
        for asked, got in (
            ("exact.example", "exact.example"),
            ("EXACT.example", "exact.example"),
            ("any.example", "*.example"),
            ("example", "*.example"),
            ("late.example", "late.example"),
            ("a.b.example", "default.example"),
            ("elsewhere.test", "default.example"),
        ):
            with self.subTest(asked=asked):
                self.assertEqual(self.shown(tls, asked), got)

    def test_the_chosen_certificate_verifies(self) -> None:
        """A client that checks names is satisfied; one that is shown another name is not."""
        tls = self.several()
        self.shake(tls, "exact.example")
        self.assertRaises(ssl.SSLCertVerificationError, self.shake, tls, "elsewhere.test")

    def test_sessions_are_resumed(self) -> None:
        """A session is taken up again, in TLS 1.2 and 1.3, whichever certificate it began with."""
        tls = self.several()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.maximum_version = version
            for name in ("default.example", "exact.example"):
                with self.subTest(version=version, name=name):
                    first, _ = self.shake(tls, name, context)
                    self.assertFalse(first.session_reused)
                    again, _ = self.shake(tls, name, context, first.session)
                    self.assertTrue(again.session_reused)

    def test_the_oldest_version(self) -> None:
        """TLS 1.2 by default; 1.1 never; with min_version 1.3 not 1.2 either."""
        pem = self.authority.issue("a.example")
        old = self.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        client, _ = self.shake(ServerTls(ListenerTls(certificate=pem)), "a.example", old)
        self.assertEqual(client.version(), "TLSv1.2")
        self.assertRaises(
            TlsError, self.shake, ServerTls(ListenerTls(certificate=pem, min_version="1.3")), "a.example", old
        )

    def test_alpn(self) -> None:
        """What we like best of what the client speaks; nothing in common is no error."""
        tls = ServerTls(ListenerTls(certificate=self.authority.issue("a.example")), ("b", "a"))
        for offered, agreed in ((["a", "b"], "b"), (["a"], "a"), (["c"], None), ([], None)):
            context = self.context()
            if offered:
                context.set_alpn_protocols(offered)
            client, _ = self.shake(tls, "a.example", context)
            self.assertEqual(client.selected_alpn_protocol(), agreed)

    def test_ciphers(self) -> None:
        """TLS 1.2 takes what the list says."""
        tls = ServerTls(ListenerTls(certificate=self.authority.issue("a.example"), ciphers="ECDHE+CHACHA20"))
        old = self.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        client, _ = self.shake(tls, "a.example", old)
        self.assertIn("CHACHA20", (client.cipher() or ("",))[0])

    def test_clients_certificates(self) -> None:
        """With client_ca a client needs a certificate of that authority: none and a stranger's are refused."""
        strangers = Authority(str(self.directory), "strangers")
        tls = ServerTls(ListenerTls(certificate=self.authority.issue("a.example"), client_ca=self.authority.file))
        known, stranger = self.context(), self.context()
        known.load_cert_chain(self.authority.issue("client.example"))
        stranger.load_cert_chain(strangers.issue("client2.example"))
        self.shake(tls, "a.example", known)
        self.assertRaises(TlsError, self.shake, tls, "a.example", self.context())
        self.assertRaises(TlsError, self.shake, tls, "a.example", stranger)

    def test_the_chain_is_sent(self) -> None:
        """What stands behind the certificate in its file goes to the client."""
        pem = Path(self.authority.issue("a.example"))
        pem.write_bytes(pem.read_bytes() + Path(self.authority.file).read_bytes())
        context = ServerTls(ListenerTls(certificate=str(pem)))
        client = self.context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client.maximum_version = ssl.TLSVersion.TLSv1_2  # where certificates go in the clear
        tls = client.wrap_bio(incoming, outgoing, server_hostname="a.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        server = context.connection()
        server.bio_write(outgoing.read())
        with contextlib.suppress(WantReadError):
            server.do_handshake()
        flight = server.bio_read(65536)
        self.assertIn(ssl.PEM_cert_to_DER_cert(Path(self.authority.file).read_text()), flight)
