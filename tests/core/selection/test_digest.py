"""The hash is the same everywhere."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.model import Backend
from balancer.core.selection.digest import digest, identity


class DigestTests(SynchronousTestCase):
    def test_known_values(self) -> None:
        """The hash of known keys is what it was in every release: a change would move every client."""
        self.assertEqual(digest(b""), 0xE4A6A0577479B2B4)
        self.assertEqual(digest(b"tenant-1"), 2086557690168676083)

    def test_identity(self) -> None:
        """A backend is hashed by address and TLS name."""
        self.assertEqual(identity(Backend(("2001:db8::1", 443, "a.example"))), b"[2001:db8::1]:443 a.example")
        self.assertNotEqual(identity(Backend(("10.0.0.1", 443, "a"))), identity(Backend(("10.0.0.1", 443, None))))
