"""What a request says about caching."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.asked import MAX_FITS, Asked
from balancer.cache.messages import PlainRequest
from balancer.cache.policy import BypassPolicy, CachePolicy
from balancer.cache.vary import matches
from balancer.core.route_spec import HeaderPattern


def asked(
    *fields: tuple[bytes, bytes], method: bytes = b"GET", query: bytes | None = None, **settings: object
) -> Asked:
    """What a request with these fields says, in a cache with these settings."""
    policy = CachePolicy(**settings)  # type: ignore[arg-type]
    return Asked(PlainRequest(method, b"a", b"/", query, list(fields)), policy)


class MethodTests(SynchronousTestCase):
    """Whose responses are stored."""

    def test_cacheable(self) -> None:
        """GET, HEAD and QUERY; of others, and in other case, nothing is looked up nor stored."""
        for method in (b"GET", b"HEAD", b"QUERY"):
            self.assertTrue(asked(method=method).cacheable)
            self.assertTrue(asked(method=method).may_store)
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"get", b"PURGE", b"PROPFIND"):
            self.assertFalse(asked(method=method).cacheable or asked(method=method).may_store, method)
            self.assertEqual(asked(method=method).bypass, "")

    def test_repr(self) -> None:
        """It tells what was asked."""
        self.assertEqual(repr(asked()), "<Asked GET cacheable plain may_store>")


class PlainTests(SynchronousTestCase):
    """Requests that any fresh response answers."""

    def test_plain(self) -> None:
        """A GET with nothing that asks for more, whatever else it says."""
        for fields in (
            [], [(b"Accept", b"*/*")], [(b"Cookie", b"a=1")], [(b"Authorization", b"x")],
            [(b"Cache-Control", b"max-stale")], [(b"Cache-Control", b"only-if-cached")],
            [(b"Cache-Control", b"no-store")], [(b"Cache-Control", b"foo")],
        ):  # fmt: skip
            self.assertTrue(asked(*fields).plain, fields)

    def test_not_plain(self) -> None:
        """Another method, a condition, a range, or directives that a fresh response may not meet."""
        for field in (
            (b"Range", b"bytes=0-1"), (b"If-None-Match", b'"x"'), (b"If-Modified-Since", b"x"), (b"If-Match", b"*"),
            (b"If-Unmodified-Since", b"x"), (b"Pragma", b"no-cache"), (b"Cache-Control", b"no-cache"),
            (b"Cache-Control", b"max-age=0"), (b"Cache-Control", b"max-age=100"), (b"Cache-Control", b"min-fresh=1"),
        ):  # fmt: skip
            self.assertFalse(asked(field).plain, field)
        for method in (b"HEAD", b"QUERY", b"POST"):
            self.assertFalse(asked(method=method).plain)

    def test_what_it_has(self) -> None:
        """Conditions, ranges and credentials are told; Range counts for GET alone (RFC 9110 section 14.2)."""
        self.assertTrue(asked((b"If-None-Match", b"x")).conditional)
        self.assertTrue(asked((b"If-Modified-Since", b"x")).conditional)
        self.assertFalse(asked((b"If-Range", b"x")).conditional)
        self.assertTrue(asked((b"Range", b"x")).ranged)
        self.assertFalse(asked((b"Range", b"x"), method=b"HEAD").ranged)
        self.assertTrue(asked((b"Authorization", b"")).authorized)
        self.assertFalse(asked().authorized or asked().conditional or asked().ranged)


class DirectiveTests(SynchronousTestCase):
    """Cache-Control of requests (RFC 9111 section 5.2.1)."""

    def test_numbers(self) -> None:
        """Numbers are told, absent ones are None, any staleness is endless."""
        said = asked((b"Cache-Control", b"max-age=1, min-fresh=2, max-stale=3, stale-if-error=4"))
        self.assertEqual((said.max_age, said.min_fresh, said.max_stale, said.stale_if_error), (1.0, 2.0, 3.0, 4.0))
        said = asked()
        self.assertEqual((said.max_age, said.min_fresh, said.max_stale, said.stale_if_error), (None, None, None, None))
        self.assertEqual(asked((b"Cache-Control", b"max-stale")).max_stale, inf)

    def test_no_store(self) -> None:
        """no-store forbids to store, not to look."""
        said = asked((b"Cache-Control", b"no-store"))
        self.assertTrue(said.cacheable)
        self.assertFalse(said.may_store)

    def test_not_heeded(self) -> None:
        """Where the operator says so, only no-store and only-if-cached are heeded."""
        everything = b"no-cache, no-store, only-if-cached, max-age=0, min-fresh=9, max-stale, stale-if-error=9"
        said = asked((b"Cache-Control", everything), request_directives=False)
        self.assertEqual((said.max_age, said.min_fresh, said.max_stale, said.stale_if_error), (None, None, None, None))
        self.assertFalse(said.no_cache or said.may_store)
        self.assertTrue(said.only_if_cached and said.plain)
        self.assertFalse(asked((b"Pragma", b"no-cache"), request_directives=False).no_cache)


class BypassTests(SynchronousTestCase):
    """Requests that go past the cache."""

    def passes(self, why: str, *fields: tuple[bytes, bytes], query: bytes | None = None, **bypass: object) -> None:
        """A request with these fields goes past a cache with these conditions for that reason; "" for none."""
        said = asked(*fields, query=query, bypass=BypassPolicy(**bypass))  # type: ignore[arg-type]
        self.assertEqual(said.bypass, why)
        self.assertEqual((said.cacheable, said.may_store, said.plain), (not why, not why, not why))

    def test_headers(self) -> None:
        """A field that is there, is not, equals or matches."""
        self.passes("header x-debug", (b"x-debug", b""), headers={"X-Debug": True})
        self.passes("", headers={"X-Debug": True})
        self.passes("header x-ok", headers={"X-Ok": False})
        self.passes("", (b"X-Ok", b"1"), headers={"X-Ok": False})
        self.passes("header a", (b"A", b"x"), (b"a", b"y"), headers={"a": "y"})
        self.passes("", (b"A", b"Y"), headers={"a": "y"})
        self.passes("header a", (b"A", b"2.17"), headers={"a": HeaderPattern(regex="2\\..*")})
        self.passes("", (b"A", b"12.17"), headers={"a": HeaderPattern(regex="2\\..*")})

    def test_cookies(self) -> None:
        """A cookie that is there."""
        self.passes("cookie wordpress_x", (b"Cookie", b"a=1; wordpress_x=2"), cookies=("wordpress_*",))
        self.passes("", (b"Cookie", b"a=wordpress_x"), cookies=("wordpress_*",))

    def test_query(self) -> None:
        """An argument that is there, escaped or not."""
        for query in (b"a=1&preview", b"preview=1", b"pre%76iew=1"):
            said = asked(query=query, bypass=BypassPolicy(query=("preview",)))
            self.assertEqual((said.bypass, said.cacheable), ("query preview", False))
        self.assertEqual(asked(query=b"a=preview", bypass=BypassPolicy(query=("preview",))).bypass, "")
        self.assertEqual(asked(bypass=BypassPolicy(query=("preview",))).bypass, "")

    def test_origins_conditions(self) -> None:
        """Preconditions that a cache must not evaluate go to the origin (RFC 9111 section 4.3.2)."""
        self.passes("header if-match", (b"If-Match", b"*"))
        self.passes("header if-unmodified-since", (b"If-Unmodified-Since", b"x"))


class FitsTests(SynchronousTestCase):
    """Whether a response that varies is for it."""

    def test_remembered(self) -> None:
        """It is as :func:`balancer.cache.vary.matches` says, the first time and later, for however many."""
        request = PlainRequest(b"GET", b"a", b"/", None, [(b"X", b"5")])
        said = Asked(request, CachePolicy())
        for _ in range(2):
            for number in range(3 * MAX_FITS):
                nominated = b"x/=%d" % number
                self.assertEqual(said.fits(nominated, request), matches(nominated, request))
            self.assertTrue(said.fits(b"", request))


class LawTests(SynchronousTestCase):
    """What holds for every request."""

    @given(
        st.sampled_from([b"GET", b"HEAD", b"QUERY", b"POST"]),
        st.lists(
            st.tuples(
                st.sampled_from([b"Cache-Control", b"Pragma", b"Range", b"If-None-Match", b"If-Range", b"Cookie"]),
                st.sampled_from([b"no-cache", b"no-store", b"max-age=0", b"max-age", b"min-fresh=x"])
                | st.binary(max_size=9),
            ),
            max_size=4,
        ),
        st.booleans(),
    )
    def test_any_request(self, method: bytes, fields: list[tuple[bytes, bytes]], heeded: bool) -> None:
        """Whatever it says, it can be read; a plain one asks for nothing that a fresh response may fail."""
        said = asked(*fields, method=method, request_directives=heeded)
        if said.plain:
            self.assertEqual(method, b"GET")
            self.assertFalse(said.conditional or said.ranged or said.no_cache or said.bypass)
            self.assertEqual((said.max_age, said.min_fresh), (None, None))
        self.assertFalse(said.may_store and not said.cacheable)
