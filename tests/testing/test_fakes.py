"""The stand-ins are what they stand in for."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.core.traits import NOTHING_KNOWN, Traits
from balancer.interfaces import ISelector
from balancer.testing.fakes import Backends, FakeTraits, InOrder, make_specs, make_upstream


class Fakes(SynchronousTestCase):
    """What a test may rely on."""

    def test_selector(self) -> None:
        """InOrder provides ISelector and yields the usable members in order, each once."""
        upstream = make_upstream(3)
        upstream.members[1].usable = False
        selector = InOrder(upstream.members)
        verifyObject(ISelector, selector)
        self.assertEqual(list(selector.candidates(NOTHING_KNOWN)), [upstream.members[0], upstream.members[2]])

    def test_traits(self) -> None:
        """FakeTraits answers what it was given, and None for the rest."""
        traits: Traits = FakeTraits(path=b"/a", headers={b"cookie": b"c"})
        self.assertEqual((traits.path(), traits.header(b"cookie")), (b"/a", b"c"))
        rest = (traits.source(), traits.method(), traits.host(), traits.query(), traits.header(b"x"))
        self.assertEqual(rest, (None,) * 5)

    def test_shared(self) -> None:
        """Upstreams made with one Backends share the backends of equal address."""
        backends = Backends()
        one, other = (make_upstream(make_specs(2), name=name, backends=backends) for name in ("one", "other"))
        self.assertEqual([m.backend for m in one.members], [m.backend for m in other.members])
        self.assertIsNot(make_upstream(1).members[0].backend, one.members[0].backend)
