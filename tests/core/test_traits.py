"""Layer 4 knows where a client comes from, and where TLS passes through the name it asks for."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.traits import NOTHING_KNOWN, ConnectionTraits, HelloTraits, Traits


class Connections(SynchronousTestCase):
    """What a selector learns of a TCP connection."""

    def answers(self, traits: Traits) -> list[object]:
        """Every answer."""
        return [
            traits.source(),
            traits.method(),
            traits.host(),
            traits.path(),
            traits.query(),
            traits.header(b"cookie"),
        ]

    def test_source_only(self) -> None:
        """The source is known; a selector that asks for more has no key."""
        self.assertEqual(self.answers(ConnectionTraits("192.0.2.1")), ["192.0.2.1", *[None] * 5])

    def test_a_name_asked_for(self) -> None:
        """Where TLS passes through, the name it asks for is the host; without one a selector has no key."""
        self.assertEqual(
            self.answers(HelloTraits("192.0.2.1", b"a.example")), ["192.0.2.1", None, b"a.example", *[None] * 3]
        )
        self.assertEqual(self.answers(HelloTraits(None, b"")), [None] * 6)

    def test_nothing(self) -> None:
        """Where nothing is known every answer says so."""
        self.assertEqual(self.answers(NOTHING_KNOWN), [None] * 6)
