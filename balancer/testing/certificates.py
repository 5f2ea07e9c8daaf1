"""A certificate authority for tests: certificates for any names, made on the spot. Never used to serve anyone."""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from balancer.core.model import is_literal

_EVER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2119, 12, 8, tzinfo=UTC)


class Authority:
    """An authority whose files live in one directory.

    :ivar file: its own certificate (PEM), for whoever is to trust it.
    """

    def __init__(self, directory: str, name: str = "authority") -> None:
        self._directory = Path(directory)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file = str(self._directory / f"{name}.pem")
        certificate = builder.sign(self._key, SHA256())
        Path(self.file).write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, *names: str, valid: tuple[datetime, datetime] = _EVER) -> str:
        """A key and a certificate for these host names and addresses; returns the one file (PEM) of both.

        :param valid: from when to when.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.IPAddress(ip_address(name)) if is_literal(name) else x509.DNSName(name) for name in names]
        builder = _builder(_named(names[0]), self._name, key.public_key(), valid)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, SHA256())
        path = self._directory / f"{names[0]}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        return str(path)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: tuple[datetime, datetime] = _EVER
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
