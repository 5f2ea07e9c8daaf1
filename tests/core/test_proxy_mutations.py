"""Hostile PROXY headers; benchmarks/proxy_mutations.py does the same with a million."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.proxy_protocol import V2_MOST
from balancer.testing.mutations import mutated, pieces
from balancer.testing.proxy_headers import survive


class MutationTests(SynchronousTestCase):
    """What a stranger may send."""

    def test_own_errors_only(self) -> None:
        """Mutated headers, cut anywhere, are decoded, refused or incomplete, and the same as uncut."""
        found = survive(20_000, Random(4))
        self.assertEqual(sum(found.values()), 20_000)
        self.assertTrue(all(found.values()), found)

    def test_with_the_greatest_limit(self) -> None:
        """The same where a header may be as large as its length can say."""
        self.assertEqual(sum(survive(2_000, Random(5), V2_MOST).values()), 2_000)

    def test_pieces(self) -> None:
        """Pieces are the whole again, and mutations are found again."""
        random = Random(6)
        for size in (0, 1, 100):
            data = random.randbytes(size)
            self.assertEqual(b"".join(pieces(data, random)), data)
        self.assertEqual(mutated(b"PROXY", Random(7)), mutated(b"PROXY", Random(7)))
