"""The settings of a cache check themselves, whoever writes them."""

from typing import Any

from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import BypassPolicy, CachePolicy, KeyPolicy, PurgePolicy

TOKEN = "correct-horse-battery"


class PolicyTests(SynchronousTestCase):
    """Written in Python; ``tests/config/test_cache_rules.py`` reads them from a file."""

    def refused(self, kind: Any, words: str, **values: object) -> None:
        """Neither Python nor a file can make it, and both are told why."""
        for make in (kind, lambda **values: TypeAdapter(kind).validate_python(values)):
            with self.assertRaises(ValueError) as caught:
                make(**values)
            self.assertIn(words, str(caught.exception))

    def test_names_of_fields_are_lower_case(self) -> None:
        """However they are written, and both from Python and from a file."""
        policy = CachePolicy(
            targets=("CDN-Cache-Control",),
            tags=("X-Tags",),
            key=KeyPolicy(headers=("X-Tenant",)),
            bypass=BypassPolicy(headers={"X-Preview": True}),
        )
        self.assertEqual((policy.targets, policy.tags), (("cdn-cache-control",), ("x-tags",)))
        self.assertEqual((policy.key.headers, policy.bypass.headers), (("x-tenant",), {"x-preview": True}))
        written = {"targets": ("CDN-Cache-Control",), "tags": ("X-Tags",), "key": {"headers": ("X-Tenant",)}}
        read = TypeAdapter(CachePolicy).validate_python({**written, "bypass": {"headers": {"X-Preview": True}}})
        self.assertEqual(read, policy)

    def test_defaults_are_their_own(self) -> None:
        """What says nothing equals what says the defaults."""
        self.assertEqual(
            CachePolicy(), CachePolicy(targets=("cdn-cache-control",), tags=("surrogate-key", "cache-tag"))
        )

    def test_names_that_are_none(self) -> None:
        """Fields, cookies and arguments have the characters that they can have."""
        self.refused(CachePolicy, "the name of a field", targets=("a b",))
        self.refused(CachePolicy, "the name of a field", tags=("",))
        self.refused(KeyPolicy, "the name of a field", headers=("a:",))
        self.refused(BypassPolicy, "the name of a field", headers={"a,b": True})
        self.refused(KeyPolicy, "the whole name of a cookie", cookies=("a;b",))
        self.refused(BypassPolicy, "the whole name of a cookie", cookies=("a b*",))
        self.refused(KeyPolicy, "the whole name of a cookie", cookies=("session_*",))
        for name in ("", "a&b", "a=b", "a#", " a", "a\n"):
            self.refused(KeyPolicy, "the name of an argument", include_query=(name,))
        KeyPolicy(exclude_query=("a[]", "utm_*", "first name", "caf\u00e9", "*"), cookies=("__Host-id",))

    def test_an_asterisk_stands_at_the_end(self) -> None:
        """Elsewhere it would look like more than there is."""
        self.refused(KeyPolicy, "at its end", exclude_query=("*_id",))
        self.refused(BypassPolicy, "at its end", cookies=("*_session",))
        BypassPolicy(cookies=("*", "wordpress_*"), query=("preview",))
        self.refused(BypassPolicy, "at its end", query=("a*b",))

    def test_two_ways_to_say_which_arguments_count(self) -> None:
        """One of them, and none where no argument counts."""
        self.refused(KeyPolicy, "only one of", include_query=("a",), exclude_query=("b",))
        self.refused(KeyPolicy, '"include_query" says nothing', query=False, include_query=("a",))
        self.refused(KeyPolicy, '"exclude_query" says nothing', query=False, exclude_query=("a",))
        self.refused(KeyPolicy, '"sort_query" says nothing', query=False, sort_query=True)

    def test_tokens(self) -> None:
        """A token is long, and is what Bearer takes; its text is in no message and no repr."""
        for token in ("", "short", "x" * 15, "correct horse battery", "correct-horse=battery", "caf\u00e9" * 8):
            with self.assertRaises(ValueError) as caught:
                PurgePolicy(token=token)
            self.assertIn("at least 16", str(caught.exception))
            self.assertFalse(token and token in str(caught.exception))
        self.assertNotIn(TOKEN, repr(CachePolicy(purge=PurgePolicy(token=TOKEN + "=="))))

    def test_sources(self) -> None:
        """Networks, at least one."""
        self.refused(PurgePolicy, "does not appear to be", token=TOKEN, sources=("localhost",))
        self.refused(PurgePolicy, "has host bits set", token=TOKEN, sources=("10.0.0.1/8",))
        with self.assertRaises(ValueError):
            PurgePolicy(token=TOKEN, sources=())

    def test_what_cache_status_says(self) -> None:
        """A name that stands in a String of a structured field, or none."""
        self.refused(CachePolicy, "visible ASCII", name="caf\u00e9")
        self.refused(CachePolicy, "visible ASCII", name="x" * 65)
        self.assertEqual(CachePolicy(name="").name, "")
