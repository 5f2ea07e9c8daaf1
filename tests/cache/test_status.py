"""Cache-Status."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.status import forwarded, hit, local
from balancer.cache.structured import dictionary


class StatusTests(SynchronousTestCase):
    """One member of the list (RFC 9211 section 2)."""

    def test_hits(self) -> None:
        """A hit has the time left, negative where it is stale, and more where there is more to say."""
        self.assertEqual(hit("balancer", 376), b"balancer; hit; ttl=376")
        self.assertEqual(hit("balancer", -412, "max-stale"), b"balancer; hit; ttl=-412; detail=max-stale")

    def test_forwarded(self) -> None:
        """A forwarded request has the reason, and only the parameters that say something."""
        self.assertEqual(forwarded("c", "uri-miss"), b"c; fwd=uri-miss")
        self.assertEqual(forwarded("c", "stale", 304), b"c; fwd=stale; fwd-status=304")
        self.assertEqual(forwarded("c", "uri-miss", collapsed=True), b"c; fwd=uri-miss; collapsed")
        self.assertEqual(
            forwarded("c", "request", 200, True, True, "max-age", ttl=5, key=b'http://a/"x"\nn'),
            b'c; fwd=request; fwd-status=200; ttl=5; stored; collapsed; key="http://a/\\"x\\"?n"; detail=max-age',
        )

    def test_local(self) -> None:
        """A response that the cache made is neither."""
        self.assertEqual(local("c", "only-if-cached"), b"c; detail=only-if-cached")

    def test_items(self) -> None:
        """Names and details are tokens where they can be, else strings, with what cannot stand in one as ``?``."""
        for text, item in (
            ("balancer", b"balancer"), ("Edge/1:a", b"Edge/1:a"), ("*", b"*"), ("my cache", b'"my cache"'),
            ("1a", b'"1a"'),
            ("", b'""'), ('a"b\\c', b'"a\\"b\\\\c"'), ("ü\n\x7f", b'"???"'),
            ("Vary: *", b'"Vary: *"'), ("a\n", b'"a?"'),
        ):  # fmt: skip
            self.assertEqual(local(text, text), item + b"; detail=" + item)

    @given(st.text(max_size=12), st.text(max_size=12), st.integers(-(10**9), 10**9), st.binary(max_size=12))
    def test_readable(self, name: str, detail: str, ttl: int, key: bytes) -> None:
        """Whatever the texts, what comes out is an item of a structured field with parameters, on one line."""
        members = [
            hit(name, ttl, detail), forwarded(name, "stale", 304, True, True, detail, ttl, key), local(name, detail),
        ]  # fmt: skip
        for member in members:
            found = dictionary([b"x=" + member])
            assert found is not None
            self.assertEqual(list(found), [b"x"])
            self.assertNotIn(b"\n", member)

    def test_many(self) -> None:
        """What is remembered of texts is bounded and changes no answer."""
        for number in range(1000):
            self.assertEqual(local(f"n{number}", "a b"), b'n%d; detail="a b"' % number)
