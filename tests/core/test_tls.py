"""TLS to backends is verified unless somebody says otherwise."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.tls import BackendTls


class Defaults(SynchronousTestCase):
    """What an empty table means."""

    def test_verified(self) -> None:
        """The certificate and its name are verified, against the system's authorities."""
        self.assertEqual(BackendTls(), BackendTls(name="", verify=True, ca=""))
