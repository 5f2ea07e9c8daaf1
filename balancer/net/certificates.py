"""What a listener shows its clients: certificates and keys, read and looked over once, and the contexts made of them.

All that is wrong with the files is told at once. Which certificate a client gets is decided by the names in them: the
exact name first, then the wildcard (RFC 6125 section 6.4.3: one whole leftmost label), else the default. Nothing here
is done again for a connection but making its :class:`OpenSSL.SSL.Connection`.
"""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Any

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

from balancer.core.tls import ListenerTls
from balancer.errors import TlsSettingsError
from balancer.net.identity import Identity, IdentityReader, untimely
from balancer.net.tls import authorities, tls_words

_VERSIONS = {"1.2": TLS1_2_VERSION, "1.3": TLS1_3_VERSION}


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
        return tuple(untimely(self._identities, now, "clients"))

    def _choose(self, connection: Connection) -> None:
        """The client named whom it wants to talk to. (OpenSSL takes certificate and key from the other context, and
        everything else, tickets included, from the first one.)"""
        name = (connection.get_servername() or b"").lower().removesuffix(b".")
        context = self._exact.get(name) or self._wildcard.get(name.partition(b".")[2])
        if context is not None:
            connection.set_context(context)


class _Reading(IdentityReader):
    """One look at the files of a listener.

    :ivar identities: what was found good.
    """

    def __init__(self, settings: ListenerTls) -> None:
        super().__init__()
        self._settings = settings
        self._session_context = sha256(repr(settings).encode()).digest()
        found = [
            self.identity(f"tls.certificates[{number - 1}]" if number else "tls", files)
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

    def context(self, identity: Identity, protocols: Sequence[str]) -> Context:
        """The context for one certificate; what OpenSSL refuses becomes a problem."""
        settings = self._settings
        trust = {"trustRoot": trustRootFromCertificates(self._authorities)} if self._authorities else {}
        try:
            context: Context = CertificateOptions(
                enableSessions=True,
                enableSessionTickets=True,
                **identity.options,
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
