"""Members by key."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.hashed import COOKIE, HASH_TYPES, HEADER, SOURCE, URI, URL_PARAM
from balancer.testing.selectors import Asked, options_with, some_members


class HashedTests(SynchronousTestCase):
    def test_no_key(self) -> None:
        """A request without the key, or with an empty one, is left to the next of the chain."""
        members = some_members([1, 1])
        for kind, argument in ((HEADER, "x-none"), (COOKIE, "none"), (URL_PARAM, "none"), (HEADER, "x-empty")):
            selector = kind.selector((argument,), members, options_with())
            self.assertIsNone(selector.candidates(Asked(fields={b"x-empty": b""})))

    def test_different_keys_different_members(self) -> None:
        """Many keys meet every member, each key always its own, with both kinds of table."""
        members = some_members([1, 1, 1, 1])
        for kind in HASH_TYPES:
            selector = SOURCE.selector((), members, options_with(hash_type=kind))
            requests = [Asked(source_address=f"192.0.2.{number}") for number in range(100)]
            first = [next(selector.candidates(request)) for request in requests]
            self.assertEqual(set(first), set(members))
            self.assertEqual([next(selector.candidates(request)) for request in requests], first)

    def test_arguments_are_checked(self) -> None:
        """source takes none; a wrong option of uri is refused before any selector is made."""
        for kind, argument in ((SOURCE, "x"), (URI, "x"), (HEADER, "x y")):
            with self.assertRaises(ValueError):
                kind.check((argument,))
