"""PROXY protocol headers towards servers: what one says of a client, and how it gets in front of all other bytes.

The header goes in the clear, before TLS. Which connection is whose is decided elsewhere.
Source: HAProxy's doc/proxy-protocol.txt, section 2.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509
from OpenSSL.SSL import Connection as TlsConnection
from twisted.internet.interfaces import IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import classImplements

from balancer.core.proxy_header import (
    ALPN,
    AUTHORITY,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    SSL,
    SSL_CIPHER,
    SSL_CN,
    SSL_VERSION,
    UNIQUE_ID,
    UNIQUE_ID_LIMIT,
    ProxyHeader,
    SslInfo,
    Tlv,
    Unix,
)
from balancer.core.proxy_policy import SendProxy
from balancer.core.proxy_protocol import encode
from balancer.net.proxied import endpoint, proxied
from balancer.net.tls import is_tls

CARRIED = 8192
"""Bytes of one value of the proxy in front that are passed on; a longer one is left out. Four of them always fit into a
header, and each of the real ones is some hundred at most."""

UNVERIFIED = 1
"""What ``verify`` says where the client showed no certificate: not 0 (section 2.2.6)."""


class ProxySender:
    """Makes the header for each connection of one upstream.

    :param new_id: makes an id for a connection that has none.
    :raises ValueError: version 1 is to say more than addresses. (A configuration that asks for it is refused earlier.)
    """

    def __init__(self, settings: SendProxy, new_id: Callable[[], bytes]) -> None:
        if settings.version == "v1" and settings.tlvs:
            raise ValueError(f"version 1 of the PROXY protocol cannot say {', '.join(settings.tlvs)}")
        self.settings = settings
        self._version = 1 if settings.version == "v1" else 2
        self._checksum = "crc32c" in settings.tlvs
        self._new_id = new_id

    def __repr__(self) -> str:
        return f"<ProxySender {self.settings.version} {' '.join(self.settings.tlvs)}>"

    def preface(self, client: ITransport, unique_id: bytes = b"", authority: bytes = b"") -> bytes:
        """The header for a connection on behalf of the client of this transport.

        :param unique_id: of what the connection is for; the id that the proxy in front gave goes before it, and where
            there is none a new one is made.
        :param authority: the name that the client asked for in TLS which is not ended here.
        """
        introduced = proxied(client)
        before = introduced.header if introduced is not None else None
        if before is not None:
            source, destination = before.source, before.destination
        else:
            source, destination = endpoint(client.getPeer()), endpoint(client.getHost())
        datagram = before is not None and before.datagram
        if isinstance(source, Unix) is not isinstance(destination, Unix):
            source = destination = None
        tlvs = self._tlvs(client, before, unique_id, authority) if self.settings.tlvs else ()
        return encode(ProxyHeader(self._version, False, source, destination, datagram, tlvs), self._checksum)

    def _tlvs(
        self, client: ITransport, before: ProxyHeader | None, unique_id: bytes, authority: bytes
    ) -> tuple[Tlv, ...]:
        wanted = self.settings.tlvs
        tls: TlsConnection | None = cast(Any, client).getHandle() if is_tls(client) else None
        found: list[Tlv] = []
        if "alpn" in wanted:
            _add(found, ALPN, tls.get_alpn_proto_negotiated() if tls is not None else b"", before)
        if "authority" in wanted:
            _add(found, AUTHORITY, tls.get_servername() or b"" if tls is not None else authority, before)
        if "unique-id" in wanted:
            given = before.get(UNIQUE_ID) if before is not None else None
            fitting = unique_id if len(unique_id) <= UNIQUE_ID_LIMIT else b""
            found.append((UNIQUE_ID, given or fitting or self._new_id()))
        if "ssl" in wanted:
            _add(found, SSL, tls_value(tls) if tls is not None else b"", before)
        return tuple(found)


def _add(found: list[Tlv], kind: int, value: bytes, before: ProxyHeader | None) -> None:
    """What is known here; else what the proxy in front said."""
    if not value and before is not None:
        value = before.get(kind) or b""
    if 0 < len(value) <= CARRIED:
        found.append((kind, value))


def tls_value(tls: TlsConnection) -> bytes:
    """What a header says of a client's TLS. (Whether its certificate came on this connection or with the session it
    resumed pyOpenSSL does not tell, so that only the latter, which is always true, is said.)"""
    certificate = tls.get_peer_certificate()
    tlvs = [
        (SSL_VERSION, tls.get_protocol_version_name().encode()),
        (SSL_CIPHER, (tls.get_cipher_name() or "").encode()),
    ]
    if certificate is None:
        return SslInfo(CLIENT_SSL, UNVERIFIED, tuple(tlvs)).value()
    tlvs += [(SSL_CN, name) for name in _common_name(certificate)]
    return SslInfo(CLIENT_SSL | CLIENT_CERT_SESS, 0, tuple(tlvs)).value()


def _common_name(certificate: X509) -> list[bytes]:
    """The first one, if it has any."""
    names = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    values = [name.value for name in names[:1]]
    return [value.encode() if isinstance(value, str) else value for value in values]


class Following(Protocol):
    """Who has a connection prefaced."""

    def connected(self) -> IProtocol:
        """The header is written: for whom is the connection?"""


class Preface:
    """Writes a header and leaves the transport to whom it is for.

    :ivar following: that protocol, once it is connected.
    """

    __slots__ = ("_data", "_owner", "following")

    def __init__(self, owner: Following, data: bytes) -> None:
        self._owner: Following | None = owner
        self._data = data
        self.following: IProtocol | None = None

    def __repr__(self) -> str:
        return f"<Preface of {len(self._data)} bytes for {self.following or 'nobody yet'}>"

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected."""
        owner, self._owner = self._owner, None
        assert owner is not None  # it connects once
        transport.write(self._data)
        self.following = following = owner.connected()
        leaf = cast(Any, transport)
        leaf.protocol = following
        following.makeConnection(transport)

    def connectionMade(self) -> None:
        """:meth:`makeConnection` does it."""

    def dataReceived(self, data: bytes) -> None:
        """Only through a transport that keeps its protocol."""
        if self.following is not None:
            self.following.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """The same."""
        following, self.following = self.following, None
        if following is not None:
            following.connectionLost(reason)


classImplements(Preface, IProtocol)
