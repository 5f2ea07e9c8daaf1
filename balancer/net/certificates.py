"""What a listener shows its clients: certificates and keys, read and looked over once, and the contexts made of them.

All that is wrong with the files is told at once. Which certificate a client gets is decided by the names in them: the
exact name first, then the wildcard (RFC 6125 section 6.4.3: one whole leftmost label), else the default. Nothing here
is done again for a connection but making its :class:`OpenSSL.SSL.Connection`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from OpenSSL.SSL import (
    NO_OVERLAPPING_PROTOCOLS,
    OP_NO_RENEGOTIATION,
    TLS1_2_VERSION,
    TLS1_3_VERSION,
    TLS_METHOD,
    Connection,
    Context,
)
from OpenSSL.SSL import Error as TlsError
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates

from balancer.core.tls import CertificateFiles, ListenerTls
from balancer.errors import TlsSettingsError
from balancer.net.tls import MAX_FILE, authorities, tls_words

SOON = 14 * 86400
"""Seconds before its end that a certificate is worth a warning: authorities that renew by themselves do so at a third
of its life, 30 days of 90, and of 47 days (the longest from 2029) 15."""

_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.+?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----", re.DOTALL)
_VERSIONS = {"1.2": TLS1_2_VERSION, "1.3": TLS1_3_VERSION}


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One certificate with its key.

    :ivar place: what messages call it.
    :ivar chain: the certificate itself first.
    """

    place: str
    chain: tuple[x509.Certificate, ...]
    key: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The host names it is for: those of the extension, or, as old ones have it, the common name."""
        certificate = self.chain[0]
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (x509.ExtensionNotFound, ValueError):
            common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return tuple(str(name.value).lower() for name in common)
        return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


class ServerTls:
    """TLS as one listener offers it.

    :param protocols: for ALPN, the best first; empty for none.
    :raises TlsSettingsError: with everything that is wrong with the files and the ciphers.
    :ivar fingerprint: the same for the same settings and contents of files.
    """

    def __init__(self, settings: ListenerTls, protocols: Sequence[str] = ()) -> None:
        reading = _Reading(settings)
        self.fingerprint = reading.digest.digest() + repr((settings, tuple(protocols))).encode()
        self._identities = reading.identities
        self._contexts = [
            reading.context(identity, protocols) for identity in reading.identities if not reading.problems
        ]
        if reading.problems:
            raise TlsSettingsError(*reading.problems)
        self._exact: dict[bytes, Context] = {}
        self._wildcard: dict[bytes, Context] = {}
        for identity, context in zip(self._identities, self._contexts, strict=True):
            for name in identity.names:
                table = self._wildcard if name.startswith("*.") else self._exact
                table.setdefault(name.removeprefix("*.").encode(), context)  # the first one counts
        self._default = self._contexts[0]
        if len(self._contexts) > 1:
            self._default.set_tlsext_servername_callback(self._choose)

    def __repr__(self) -> str:
        names = sorted({name for identity in self._identities for name in identity.names})
        return f"<ServerTls for {', '.join(names) or 'no name'}>"

    def connection(self) -> Connection:
        """The TLS side of a client's new connection."""
        connection = Connection(self._default, None)
        connection.set_accept_state()
        return connection

    def remarks(self, now: float) -> tuple[str, ...]:
        """What is wrong with the certificates' times, for the log and for ``--check``.

        :param now: seconds since the epoch.
        """
        return tuple(_untimely(self._identities, now))

    def _choose(self, connection: Connection) -> None:
        """The client named whom it wants to talk to. (OpenSSL takes certificate and key from the other context, and
        everything else, tickets included, from the first one.)"""
        name = (connection.get_servername() or b"").lower().removesuffix(b".")
        context = self._exact.get(name) or self._wildcard.get(name.partition(b".")[2])
        if context is not None:
            connection.set_context(context)


class _Reading:
    """One look at the files of a listener.

    :ivar problems: what was found wrong.
    :ivar identities: what was found good.
    :ivar digest: of all contents.
    """

    def __init__(self, settings: ListenerTls) -> None:
        self.problems: list[str] = []
        self.digest = sha256()
        self._settings = settings
        self._session_context = sha256(repr(settings).encode()).digest()
        found = [
            self._identity(f"tls.certificates[{number - 1}]" if number else "tls", files)
            for number, files in enumerate(settings.pairs)
        ]
        self.identities = [identity for identity in found if identity is not None]
        self._authorities = self._clients_authorities(settings.client_ca) if settings.client_ca else []
        if settings.ciphers:
            self._try_ciphers(settings.ciphers)

    def _clients_authorities(self, path: str) -> list[Certificate]:
        try:
            found = authorities(path, "tls.client_ca")
        except TlsSettingsError as error:
            self.problems += error.problems
            return []
        for certificate in found:
            self.digest.update(certificate.dumpPEM())
        return found

    def _try_ciphers(self, text: str) -> None:
        try:
            Context(TLS_METHOD).set_cipher_list(text.encode())
        except TlsError as error:
            self.problems.append(f'tls.ciphers = "{text}" is no list of ciphers for OpenSSL: {tls_words(error)}')

    def _identity(self, place: str, files: CertificateFiles) -> Identity | None:
        chain = self._chain(f'{place}.certificate = "{files.certificate}"', files.certificate)
        where = f'{place}.key = "{files.key}"' if files.key else f'{place}.certificate = "{files.certificate}"'
        key = self._key(where, files.key or files.certificate, bool(files.key))
        if not chain or key is None:
            return None
        if _public(chain[0]) != _public(key):
            self.problems.append(f'{where} has another key than the certificate in "{files.certificate}" is for')
            return None
        return Identity(f'{place}.certificate = "{files.certificate}"', chain, key)

    def _chain(self, where: str, path: str) -> tuple[x509.Certificate, ...]:
        content = self._content(where, path)
        if content is None:
            return ()
        if b"-----BEGIN CERTIFICATE-----" not in content:
            self.problems.append(f'{where} has no "-----BEGIN CERTIFICATE-----": a PEM file is expected')
            return ()
        try:
            return tuple(x509.load_pem_x509_certificates(content))
        except ValueError as error:
            self.problems.append(f"{where} has a certificate that cannot be read: {error}")
            return ()

    def _key(self, where: str, path: str, of_its_own: bool) -> Any:
        content = self._content(where, path, told=not of_its_own)
        if content is None:
            return None
        block = _KEY.search(content)
        if block is None:
            remedy = "a PEM file is expected" if of_its_own else 'name its file with "key"'
            self.problems.append(f'{where} has no "-----BEGIN PRIVATE KEY-----": {remedy}')
            return None
        try:
            return load_pem_private_key(block[0], password=None)
        except TypeError:
            self.problems.append(f"{where} has a key with a passphrase: nobody is there to type it, so take it off")
        except (ValueError, UnsupportedAlgorithm) as error:
            self.problems.append(f"{where} has a key that cannot be read: {error}")
        return None

    def _content(self, where: str, path: str, told: bool = False) -> bytes | None:
        """What is in a file; ``None``, and a problem unless it was told before, where it cannot be read."""
        try:
            with open(path, "rb") as file:
                content = file.read(MAX_FILE)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            if not told:
                self.problems.append(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}")
            return None
        self.digest.update(content)
        return content

    def context(self, identity: Identity, protocols: Sequence[str]) -> Context:
        """The context for one certificate; what OpenSSL refuses becomes a problem."""
        settings = self._settings
        first, *rest = [X509.from_cryptography(certificate) for certificate in identity.chain]
        trust = {"trustRoot": trustRootFromCertificates(self._authorities)} if self._authorities else {}
        try:
            context: Context = CertificateOptions(
                privateKey=PKey.from_cryptography_key(identity.key),
                certificate=first,
                extraCertChain=rest,
                enableSessions=True,
                enableSessionTickets=True,
                **trust,
            ).getContext()
            if settings.ciphers:
                context.set_cipher_list(settings.ciphers.encode())
        except (TlsError, TypeError, ValueError) as error:
            self.problems.append(f"{identity.place} cannot be used: {tls_words(error)}")
            return Context(TLS_METHOD)
        context.set_min_proto_version(_VERSIONS[settings.min_version])
        context.set_options(OP_NO_RENEGOTIATION)
        # One for all contexts of the listener, for a session is taken up before the name has chosen among them.
        context.set_session_id(self._session_context)
        # Always, for Twisted's own is made for Twisted's own transport.
        context.set_alpn_select_callback(partial(_agree, [name.encode("ascii") for name in protocols]))
        for authority in self._authorities:
            context.add_client_ca(authority.original.to_cryptography())
        return context


def _agree(ours: Sequence[bytes], _connection: Connection, theirs: Sequence[bytes]) -> Any:
    """What we like best of what they speak; else no word of it, and they may try (as HAProxy has it)."""
    return next((name for name in ours if name in theirs), NO_OVERLAPPING_PROTOCOLS)


def _public(holder: Any) -> bytes:
    encoded: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _untimely(identities: Sequence[Identity], now: float) -> Iterator[str]:
    for identity in identities:
        certificate = identity.chain[0]
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        moment = datetime.fromtimestamp(now, UTC)
        if moment >= end:
            yield f"{identity.place} expired at {end:%Y-%m-%d %H:%M} UTC: clients will refuse it"
        elif moment < begin:
            yield f"{identity.place} is valid only from {begin:%Y-%m-%d %H:%M} UTC on: clients will refuse it"
        elif (end - moment).total_seconds() < SOON:
            yield f"{identity.place} expires at {end:%Y-%m-%d %H:%M} UTC"
