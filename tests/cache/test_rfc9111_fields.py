"""RFC 9111 section 5, field definitions: Age, Cache-Control of requests and responses, Expires, Pragma, Warning."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.testing.cache_case import CacheCase, date

OLD = f"Last-Modified: {date(-10000)}"


class Section51(CacheCase, SynchronousTestCase):
    """5.1: Age."""

    def age(self, *lines: str) -> bytes | None:
        """What the cache says of the age of a response that came with these fields."""
        self.setUp()
        self.origin("Cache-Control: max-age=600", *lines)
        self.ask()
        reply = self.ask()
        self.assertEqual(self.sent, [])
        return reply.get(b"age")

    def test_first(self) -> None:
        """RFC 9111 section 5.1: of several members or lines the first should be used."""
        self.assertEqual(self.age("Age: 10", "Age: 20"), b"10")
        self.assertEqual(self.age("Age: 10, 20"), b"10")

    def test_invalid(self) -> None:
        """RFC 9111 section 5.1: an invalid value should be ignored."""
        for value in ("", "abc", "-5", "1.5", "10s", "+7", "\xb2", "10 20"):
            self.assertEqual(self.age(f"Age: {value}"), b"0", value)

    def test_large(self) -> None:
        """RFC 9111 section 1.2.2: a value that is too large counts as 2**31: the response is stale."""
        for value in ("2147483649", "9" * 5000):
            self.assertFalse(self.stored("Cache-Control: max-age=600", f"Age: {value}", 'ETag: "a"'), len(value))

    def test_not_without(self) -> None:
        """RFC 9111 section 5.1: an Age says that the origin was not asked: what comes from it has none."""
        self.assertIsNone(self.ask().get(b"age"))


class Section52(CacheCase, SynchronousTestCase):
    """5.2: Cache-Control."""

    def test_passed_on(self) -> None:
        """RFC 9111 section 5.2: directives are passed on in both directions, whatever they mean to us."""
        asking = 'no-transform, max-age=7, x="a, b"'
        said = 'max-age=60, foo, s-maxage=70, no-cache="x-a", private="x-b"'
        self.origin(f"Cache-Control: {said}", "Cache-Control: public")
        for reply in (self.ask(f"Cache-Control: {asking}"), self.ask(f"Cache-Control: {asking}")):
            self.assertEqual(reply.get_all(b"cache-control"), [said.encode(), b"public"])
        self.ask(f"Cache-Control: {asking}", path=b"/b")
        self.assertEqual(dict(self.sent[0])[b"Cache-Control"], asking.encode())

    def test_case(self) -> None:
        """RFC 9111 section 5.2: directives are compared without case."""
        self.assertTrue(self.stored("Cache-Control: MAX-AGE=60"))
        self.assertFalse(self.stored("CACHE-CONTROL: No-Store, max-age=60"))

    def test_quoted(self) -> None:
        """RFC 9111 section 5.2: recipients accept an argument as a token and as a quoted string."""
        self.assertTrue(self.stored('Cache-Control: max-age="60"'))
        self.ask()
        self.assertTrue(self.hit('Cache-Control: max-age="50"'))
        self.wait(20)
        self.assertFalse(self.hit('Cache-Control: max-age="10"'))
        self.assertTrue(self.stored("Cache-Control: max-age=60, private=x-a", "X-A: 1"))

    def test_within_quotes(self) -> None:
        """RFC 9110 section 5.6.4: what stands within a quoted string is no directive."""
        self.assertTrue(self.stored('Cache-Control: max-age=60, ext="no-store, private"'))
        self.assertTrue(self.stored('Cache-Control: ext="a\\", no-store", max-age=60'))
        self.assertFalse(self.stored('Cache-Control: ext="a\\\\", no-store, max-age=60'))
        self.assertFalse(self.stored('Cache-Control: ext="a, no-store, max-age=60'))

    def test_empty_elements(self) -> None:
        """RFC 9110 section 5.6.1: empty elements count for nothing."""
        self.assertTrue(self.stored("Cache-Control: ,, max-age=60 ,\t,"))


class Section521(CacheCase, SynchronousTestCase):
    """5.2.1: request directives."""

    def setUp(self) -> None:
        """A response is stored that is 20 s old and fresh for 40 more."""
        super().setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.ask()
        self.wait(20)

    def test_max_age(self) -> None:
        """RFC 9111 section 5.2.1.1: max-age wants a response that is no older."""
        for value, found in (("max-age=20", True), ("max-age=21", True), ("max-age=19", False), ("max-age=0", False)):
            self.setUp()
            self.assertEqual(self.hit(f"Cache-Control: {value}"), found, value)

    def test_max_age_and_stale(self) -> None:
        """RFC 9111 section 5.2.1.1: ... and no stale one, unless max-stale is there too."""
        self.wait(50)
        self.assertTrue(self.hit("Cache-Control: max-age=100, max-stale=20"))
        self.assertFalse(self.hit("Cache-Control: max-age=100"))

    def test_max_stale(self) -> None:
        """RFC 9111 section 5.2.1.2: max-stale takes one that is stale by no more seconds; without a number, any."""
        self.wait(50)
        for value in ("max-stale=10", "max-stale=11", "max-stale"):
            self.assertTrue(self.hit(f"Cache-Control: {value}"), value)
        for value in ("max-stale=9", "max-stale=0", "max-stale=x", "max-stale=-1"):
            self.setUp()
            self.wait(50)
            self.assertFalse(self.hit(f"Cache-Control: {value}"), value)

    def test_min_fresh(self) -> None:
        """RFC 9111 section 5.2.1.3: min-fresh wants one that is fresh for so many seconds yet."""
        for value, found in (("min-fresh=40", True), ("min-fresh=41", False), ("min-fresh=0", True)):
            self.setUp()
            self.assertEqual(self.hit(f"Cache-Control: {value}"), found, value)

    def test_no_cache(self) -> None:
        """RFC 9111 section 5.2.1.4: no-cache wants none without validation at the origin."""
        reply = self.ask("Cache-Control: no-cache")
        self.assertEqual((dict(self.sent[0])[b"If-None-Match"], reply.status), (b'"a"', 200))
        self.wait(50)
        self.assertFalse(self.hit("Cache-Control: no-cache, max-stale"))

    def test_no_store(self) -> None:
        """RFC 9111 section 5.2.1.5: no-store is no matter of what is stored already, which may answer."""
        self.assertTrue(self.hit("Cache-Control: no-store"))
        self.ask("Cache-Control: no-store", path=b"/b")
        self.assertFalse(self.hit(path=b"/b"))

    def test_no_store_and_validation(self) -> None:
        """RFC 9111 section 5.2.1.5: ... and nothing of what validates it is stored."""
        self.wait(50)
        self.ask("Cache-Control: no-store")
        self.assertFalse(self.hit())

    def test_only_if_cached(self) -> None:
        """RFC 9111 section 5.2.1.7: only-if-cached gets a stored response that fits, or 504."""
        self.assertEqual((self.ask("Cache-Control: only-if-cached").status, self.sent), (200, []))
        for lines, path in (([], b"/b"), (["Cache-Control: max-age=5"], b"/"), (["Range: bytes=0-1"], b"/b")):
            reply = self.ask("Cache-Control: only-if-cached", *lines, path=path)
            self.assertEqual((reply.status, self.sent), (504, []), path)
        self.wait(50)
        self.assertEqual(self.ask("Cache-Control: only-if-cached").status, 504)
        self.assertEqual(self.ask("Cache-Control: only-if-cached, max-stale").status, 200)

    def test_unknown(self) -> None:
        """RFC 9111 section 5.2.3: unrecognized directives are ignored; so are those of responses."""
        self.assertTrue(self.hit("Cache-Control: foo, bar=1, private, must-revalidate"))


class Section522(CacheCase, SynchronousTestCase):
    """5.2.2: response directives; those about storing are in the first file, those about staleness in the second."""

    def test_max_age(self) -> None:
        """RFC 9111 section 5.2.2.1: after max-age seconds a response is stale."""
        self.origin("Cache-Control: max-age=5")
        self.ask()
        self.wait(4)
        self.assertTrue(self.hit())
        self.wait(2)
        self.assertFalse(self.hit())

    def test_must_revalidate(self) -> None:
        """RFC 9111 section 5.2.2.2: must-revalidate counts once it is stale, not while it is fresh."""
        self.origin("Cache-Control: max-age=60, must-revalidate", 'ETag: "a"')
        self.ask()
        self.assertTrue(self.hit())
        self.wait(60)
        self.assertFalse(self.hit("Cache-Control: max-stale"))

    def test_disconnected(self) -> None:
        """RFC 9111 section 5.2.2.2: ... and a cache that cannot reach the origin has no answer then."""
        self.origin("Cache-Control: max-age=60, must-revalidate", 'ETag: "a"')
        self.ask()
        self.assertIsNotNone(self.broken())
        self.wait(60)
        self.assertIsNone(self.broken())

    def test_no_cache_disconnected(self) -> None:
        """RFC 9111 section 5.2.2.4: no-cache forbids what is not validated even to a cache that sends stale ones."""
        self.origin("Cache-Control: no-cache, max-age=60", 'ETag: "a"')
        self.ask()
        self.assertIsNone(self.broken())
        self.assertIsNone(self.broken("Cache-Control: max-stale, stale-if-error=100"))

    def test_no_cache_once_validated(self) -> None:
        """RFC 9111 section 5.2.2.4: ... and each use needs its own validation."""
        self.origin("Cache-Control: no-cache", 'ETag: "a"')
        self.ask()
        for _ in range(3):
            self.assertFalse(self.hit())

    def test_no_transform(self) -> None:
        """RFC 9111 section 5.2.2.6: content is never transformed: it is sent as it came, in its coding."""
        self.origin("Cache-Control: max-age=60", "Content-Encoding: gzip", body=b"\x1f\x8b")
        self.ask("Accept-Encoding: gzip")
        reply = self.ask("Accept-Encoding: identity")
        self.assertEqual((self.sent, reply.body, reply.get(b"content-encoding")), ([], b"\x1f\x8b", b"gzip"))

    def test_private_beside_public(self) -> None:
        """RFC 9111 section 5.2.2.7: private, without names, is not stored by a shared cache, whatever else is there."""
        for value in ("private, public", "private, s-maxage=60", 'private, private="x-a"', 'private="x-a", private'):
            self.assertFalse(self.stored(f"Cache-Control: max-age=60, {value}"), value)

    def test_public(self) -> None:
        """RFC 9111 section 5.2.2.9: public without a lifetime makes a response one that may be guessed about."""
        self.assertTrue(self.stored("Cache-Control: public", OLD, status=302))
        self.assertFalse(self.stored("Cache-Control: public", status=302))

    def test_s_maxage(self) -> None:
        """RFC 9111 section 5.2.2.10: s-maxage overrides max-age and Expires for a shared cache."""
        self.assertTrue(self.stored("Cache-Control: max-age=0, s-maxage=60", "Expires: 0"))
        self.assertFalse(self.stored("Cache-Control: max-age=60, s-maxage=0", f"Expires: {date(60)}"))

    def test_extensions(self) -> None:
        """RFC 9111 section 5.2.3: unrecognized directives are ignored, those they modify are not."""
        self.assertFalse(self.stored('Cache-Control: private, community="UCI", max-age=60'))
        self.assertTrue(self.stored("Cache-Control: max-age=60, community=UCI, foo, bar=, =baz, only-if-cached"))


class Section53(CacheCase, SynchronousTestCase):
    """5.3: Expires."""

    def test_invalid(self) -> None:
        """RFC 9111 section 5.3: an invalid date, "0" before all, lies in the past."""
        for value in ("0", "-1", "", "never", "2026-11-25T12:00:00Z", "Wed, 31 Feb 2027 12:00:00 GMT", "1795600000"):
            self.assertFalse(self.stored(f"Expires: {value}", OLD), value)

    def test_max_age_first(self) -> None:
        """RFC 9111 section 5.3: with max-age or s-maxage Expires is ignored."""
        for name in ("max-age", "s-maxage"):
            self.assertTrue(self.stored("Expires: 0", f"Cache-Control: {name}=60"), name)
            self.assertFalse(self.stored(f"Expires: {date(600)}", f"Cache-Control: {name}=0"), name)

    def test_far(self) -> None:
        """RFC 9111 section 5.3: a date that lies far ahead overflows nothing."""
        self.assertTrue(self.stored("Expires: Fri, 31 Dec 9999 23:59:59 GMT"))

    def test_before_date(self) -> None:
        """RFC 9111 section 5.3: one that is not after Date is stale at once."""
        self.assertFalse(self.stored(f"Expires: {date(0)}", OLD))


class Section54(CacheCase, SynchronousTestCase):
    """5.4 and 5.5: Pragma and Warning."""

    def test_request(self) -> None:
        """RFC 9111 section 5.4: Pragma: no-cache of a request counts where it has no Cache-Control."""
        self.ask()
        self.assertTrue(self.hit("Pragma: no-cache", "Cache-Control: max-age=60"))
        self.assertTrue(self.hit("Pragma: foo"))
        self.assertFalse(self.hit("Pragma: no-cache"))

    def test_response(self) -> None:
        """RFC 9111 section 5.4: in a response it means nothing."""
        self.assertTrue(self.stored("Cache-Control: max-age=60", "Pragma: no-cache"))

    def test_warning(self) -> None:
        """RFC 9111 section 5.5: Warning is obsolete: none is made, not even for a stale response."""
        self.ask()
        self.wait(70)
        self.assertIsNone(self.ask("Cache-Control: max-stale").get(b"warning"))


class Unheeded(CacheCase, SynchronousTestCase):
    """Section 5.2.1: caches may ignore the directives of requests: with the setting, those that cost the origin."""

    policy = CachePolicy(request_directives=False)

    def test_ignored(self) -> None:
        """RFC 9111 section 5.2.1: then no-cache, max-age and min-fresh do nothing, no-store and only-if-cached do."""
        self.ask()
        self.wait(20)
        for value in ("no-cache", "max-age=0", "min-fresh=100"):
            self.assertTrue(self.hit(f"Cache-Control: {value}"), value)
        self.assertTrue(self.hit("Pragma: no-cache"))
        self.ask("Cache-Control: no-store", path=b"/b")
        self.assertFalse(self.hit(path=b"/b"))
        self.assertEqual(self.ask("Cache-Control: only-if-cached", path=b"/c").status, 504)
