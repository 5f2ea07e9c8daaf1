"""TLS to backends is verified unless somebody says otherwise; listeners have certificates in order."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.tls import BackendTls, CertificateFiles, ListenerTls, checked_protocol


class Defaults(SynchronousTestCase):
    """What an empty table means."""

    def test_verified(self) -> None:
        """The certificate and its name are verified, against the system's authorities."""
        self.assertEqual(BackendTls(), BackendTls(name="", verify=True, ca=""))

    def test_the_default_certificate_comes_first(self) -> None:
        """The certificates of a listener are its own and the further ones, in that order."""
        other = CertificateFiles(certificate="b.pem")
        listener = ListenerTls(certificate="a.pem", certificates=(other,))
        self.assertEqual(listener.pairs, (listener, other))
        self.assertEqual(listener.min_version, "1.2")

    def test_names_of_protocols(self) -> None:
        """A protocol's name has 1 to 255 visible characters, as its length is one octet."""
        self.assertEqual(checked_protocol("http/1.1"), "http/1.1")
        for wrong in ("", "x" * 256, "h\x00", "\u00fc"):
            self.assertRaises(ValueError, checked_protocol, wrong)
