"""What TLS is to be, towards backends and towards clients, as settings.

It never reads a file and never makes a context (see ``net``).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import AfterValidator
from typing_extensions import Doc

MAX_PROTOCOL = 255
"""Bytes of one name in ALPN: its length is one octet (RFC 7301 section 3.1)."""


def checked_protocol(name: str) -> str:
    """Return a protocol's name.

    :raises ValueError: it cannot be one.
    """
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= MAX_PROTOCOL):
        raise ValueError(f'the name of a protocol, 1 to {MAX_PROTOCOL} ASCII characters, for example "http/1.1"')
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTls:
    """TLS to an upstream's backends: verified, unless the operator says otherwise."""

    __pydantic_config__ = {"extra": "forbid"}

    name: Annotated[
        str, Doc("The name to ask for (SNI) and to verify; empty takes each server's host name or address.")
    ] = ""
    verify: Annotated[
        bool, Doc("Whether the certificate and its name are verified; `false` is logged as a warning.")
    ] = True
    ca: Annotated[
        str, Doc("A PEM file of the authorities to trust instead of the system's; empty for the system's.")
    ] = ""
    certificate: Annotated[
        str,
        Doc(
            "A PEM file of the certificate to show to servers that ask for one, and behind it those that lead to its "
            "authority; empty for none."
        ),
    ] = ""
    key: Annotated[str, Doc("A PEM file of its private key; empty where the key is in `certificate` too.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """A further certificate of a listener, for the names that are in it."""

    __pydantic_config__ = {"extra": "forbid"}

    certificate: Annotated[
        str, MinLen(1), Doc("A PEM file: the certificate, and behind it those that lead to its authority.")
    ]
    key: Annotated[str, Doc("A PEM file of its private key; empty where the key is in `certificate` too.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls(CertificateFiles):
    """TLS to a listener's clients. The files are read at start and at each reload."""

    __pydantic_config__ = {"extra": "forbid"}

    certificates: Annotated[
        tuple[CertificateFiles, ...],
        Doc("Further certificates: a client gets the one that has the name it asks for (SNI), else the one above."),
    ] = ()
    min_version: Annotated[Literal["1.2", "1.3"], Doc("The oldest TLS that clients may speak.")] = "1.2"
    ciphers: Annotated[
        str, Doc("What TLS 1.2 may use, as an OpenSSL cipher list; empty for modern ones with forward secrecy.")
    ] = ""
    alpn: Annotated[
        tuple[Annotated[str, AfterValidator(checked_protocol)], ...],
        Doc("Protocols to agree on with ALPN, the best first, for mode tcp; mode http says `http/1.1` by itself."),
    ] = ()
    client_ca: Annotated[
        str, Doc("A PEM file of authorities: clients have to show a certificate of theirs; empty asks for none.")
    ] = ""

    @property
    def pairs(self) -> tuple[CertificateFiles, ...]:
        """All certificates with their keys, the default first."""
        return (self, *self.certificates)
