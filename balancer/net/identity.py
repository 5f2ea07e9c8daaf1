"""Certificates with their keys, read from PEM files: a listener's, and those the balancer shows to servers.

Problems are collected, so that all that is wrong with the files is told at once. It makes no context.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey

from balancer.core.tls import CertificateFiles

MAX_FILE = 4 << 20
"""Bytes of a PEM file that are read: the system's whole bundle of authorities has about a quarter of a megabyte."""

SOON = 14 * 86400
"""Seconds before its end that a certificate is worth a warning: authorities that renew by themselves do so at a third
of its life, 30 days of 90, and of 47 days (the longest from 2029) 15."""

_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.+?-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----", re.DOTALL)


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

    @property
    def options(self) -> dict[str, Any]:
        """It, for Twisted's ``CertificateOptions``."""
        first, *rest = [X509.from_cryptography(certificate) for certificate in self.chain]
        return {"privateKey": PKey.from_cryptography_key(self.key), "certificate": first, "extraCertChain": rest}


class IdentityReader:
    """One look at files.

    :ivar problems: what was found wrong.
    :ivar digest: of all contents.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.digest = sha256()

    def identity(self, place: str, files: CertificateFiles) -> Identity | None:
        """A certificate and its key; ``None``, and problems, where they cannot be used.

        :param place: what messages call the table.
        """
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


def _public(holder: Any) -> bytes:
    encoded: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def untimely(identities: Sequence[Identity], now: float, who: str) -> Iterator[str]:
    """What is wrong with the certificates' times, for the log and for ``--check``.

    :param now: seconds since the epoch.
    :param who: will refuse them.
    """
    for identity in identities:
        certificate = identity.chain[0]
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        moment = datetime.fromtimestamp(now, UTC)
        if moment >= end:
            yield f"{identity.place} expired at {end:%Y-%m-%d %H:%M} UTC: {who} will refuse it"
        elif moment < begin:
            yield f"{identity.place} is valid only from {begin:%Y-%m-%d %H:%M} UTC on: {who} will refuse it"
        elif (end - moment).total_seconds() < SOON:
            yield f"{identity.place} expires at {end:%Y-%m-%d %H:%M} UTC"
