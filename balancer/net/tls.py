"""TLS towards backends: the context and the name check, made once; and what may be asked of any TLS transport.

Verification goes through Twisted's ``optionsForClientTLS`` and service-identity (RFC 6125 rules), with the system's
authorities or those of one PEM file; a certificate of our own is shown to who asks. This module never connects
anything.
"""

import re
from typing import Any

from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Connection, Context
from OpenSSL.SSL import Error as TlsError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from balancer.core.model import is_literal
from balancer.core.tls import BackendTls, CertificateFiles
from balancer.errors import TlsSettingsError
from balancer.net.identity import MAX_FILE, Identity, IdentityReader, untimely
from balancer.net.tls_stream import TlsStream

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class TlsFiles:
    """What is in the files of a :class:`BackendTls`, read at once.

    :raises TlsSettingsError: they cannot be used; each problem names key and file.
    :ivar trust: the authorities, ``None`` for the system's. (Twisted does not publish the type.)
    :ivar identity: the certificate to show, ``None`` for none.
    :ivar fingerprint: the same for the same settings and contents of files.
    """

    def __init__(self, settings: BackendTls) -> None:
        reader = IdentityReader()
        self.trust: Any = None
        self.identity: Identity | None = None
        if settings.verify and settings.ca:
            try:
                found = authorities(settings.ca, "ca")
            except TlsSettingsError as error:
                reader.problems += error.problems
            else:
                self.trust = trustRootFromCertificates(found)
                for certificate in found:
                    reader.digest.update(certificate.dumpPEM())
        if settings.certificate:
            files = CertificateFiles(certificate=settings.certificate, key=settings.key)
            self.identity = reader.identity("tls", files)
        if reader.problems:
            raise TlsSettingsError(*reader.problems)
        self.fingerprint = reader.digest.digest() + repr(settings).encode()

    @property
    def options(self) -> dict[str, Any]:
        """The certificate to show, for Twisted's ``CertificateOptions``."""
        return self.identity.options if self.identity is not None else {}


class TlsClient:
    """What TLS to one backend is: made once per backend and settings, used for each connection.

    :param settings: verification and its authorities.
    :param name: the name to ask for (SNI) and to verify, unless the settings give one; a host name or an IP address.
    :param files: what is in the settings' files, where they have been read already.
    :raises TlsSettingsError: a file, or the name, cannot be used; the message names it.
    :ivar creator: makes the TLS side of each connection.
    """

    def __init__(self, settings: BackendTls, name: str, files: TlsFiles | None = None) -> None:
        self.settings = settings
        self.name = settings.name or name
        self.creator: IOpenSSLClientConnectionCreator
        files = files or TlsFiles(settings)
        try:
            if settings.verify:
                self.creator = optionsForClientTLS(
                    self.name, trustRoot=files.trust, extraCertificateOptions=files.options
                )
            else:
                self.creator = _Unverified(self.name, files.options)
                _log.warn("TLS to {name}: the certificate is not verified (verify = false)", name=self.name)
        except UnicodeError as error:
            raise TlsSettingsError(f"{self.name!r} is not a name that TLS can verify: {error}") from error

    def __repr__(self) -> str:
        return f"<TlsClient {self.name} {'verified' if self.settings.verify else 'NOT verified'}>"


class TlsClients:
    """The TLS clients of one upstream, by name: each context is made once, the files are read once.

    :raises TlsSettingsError: see :class:`TlsClient`; raised here, when the service is built.
    """

    KEPT = 1024
    """Names kept: a context with the system's authorities takes some 100 KiB. One more makes a new start."""

    def __init__(self, settings: BackendTls) -> None:
        self.settings = settings
        self._files = TlsFiles(settings)
        self._clients: dict[str, TlsClient] = {}

    def __repr__(self) -> str:
        return f"<TlsClients names={sorted(self._clients)}>"

    def client(self, name: str) -> TlsClient:
        """What TLS to a backend of that name is.

        :raises TlsSettingsError: it is no name that can be verified.
        """
        client = self._clients.get(name)
        if client is None:
            if len(self._clients) >= self.KEPT:
                self._clients.clear()
            client = self._clients[name] = TlsClient(self.settings, name, self._files)
        return client

    @property
    def fingerprint(self) -> bytes:
        """The same for the same settings and contents of files."""
        return self._files.fingerprint

    def remarks(self, now: float) -> tuple[str, ...]:
        """What is wrong with the times of the certificate that is shown.

        :param now: seconds since the epoch.
        """
        return tuple(untimely([self._files.identity], now, "servers")) if self._files.identity is not None else ()


def tls_words(error: BaseException | None) -> str:
    """What OpenSSL, or its caller, says of an error, without codes."""
    if isinstance(error, TlsError) and error.args and error.args[0] and not isinstance(error.args[0], int | str):
        return str(error.args[0][-1][-1])
    return str(error) or type(error).__name__


def is_tls(transport: object) -> bool:
    """Whether a transport is TLS that ends in this process."""
    return isinstance(transport, TlsStream | TLSMemoryBIOProtocol)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS that accepts any certificate: for an operator who asked for it in so many words."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self._name = None if is_literal(name) else name.encode("idna")
        self._context: Context = CertificateOptions(**options).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        connection = Connection(self._context, None)
        if self._name is not None:  # an address is no server name (RFC 6066 section 3)
            connection.set_tlsext_host_name(self._name)
        return connection


def authorities(path: str, key: str) -> list[Certificate]:
    """The certificates in a PEM file.

    :param key: what messages call the file.
    :raises TlsSettingsError: there is none, or one cannot be read; the message names key and file.
    """
    try:
        with open(path, "rb") as file:
            blocks = _CERTIFICATE.findall(file.read(MAX_FILE))
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise TlsSettingsError(f'{key} = "{path}" cannot be read: {getattr(error, "strerror", error)}') from error
    except CryptoError as error:
        raise TlsSettingsError(f'{key} = "{path}" has a certificate that cannot be read: {error}') from error
    if not certificates:
        raise TlsSettingsError(f'{key} = "{path}" has no "-----BEGIN CERTIFICATE-----": a PEM file is expected')
    return certificates


_log = Logger()
