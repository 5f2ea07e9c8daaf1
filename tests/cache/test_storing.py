"""Which responses are stored, and what of them."""

from email.utils import formatdate

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.asked import Asked
from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.cache.policy import CachePolicy
from balancer.cache.stored import (
    ALWAYS_VALIDATE,
    HEURISTIC,
    IMMUTABLE,
    MUST_REVALIDATE,
    OVERRIDDEN,
    Fields,
    Stored,
)
from balancer.cache.storing import MAX_TAGS, UNDERSTOOD, Judgement, judge

NOW = 1_800_000_000.0
DATE = (b"Date", formatdate(NOW, usegmt=True).encode("ascii"))
FRESH = (b"Cache-Control", b"max-age=60")
ETAG = (b"ETag", b'"v"')
MODIFIED = (b"Last-Modified", formatdate(NOW - 1000, usegmt=True).encode("ascii"))


def control(value: bytes) -> tuple[bytes, bytes]:
    """A Cache-Control field."""
    return (b"Cache-Control", value)


def judged(
    *fields: tuple[bytes, bytes],
    status: int = 200,
    method: bytes = b"GET",
    asking: Fields | None = None,
    **policy: object,
) -> Judgement:
    """The judgement about a response with these fields and a Date, to a request with those, in such a cache."""
    request = PlainRequest(method, b"a", b"/", None, asking or [])
    rules = CachePolicy(**policy)  # type: ignore[arg-type]
    response = PlainResponse(status, [DATE, *fields], b"Fine")
    asked = Asked(request, rules)
    return judge(asked, request, response, response.fields, rules, asked_at=NOW - 2.0, now=NOW, serial=7)


class JudgeCase(SynchronousTestCase):
    """Says what comes out."""

    def stored(self, *fields: tuple[bytes, bytes], **more: object) -> Stored:
        """It is stored."""
        judgement = judged(*fields, **more)  # type: ignore[arg-type]
        assert judgement.stored is not None, judgement.reason
        self.assertEqual(judgement.reason, "")
        return judgement.stored

    def refused(self, reason: str, *fields: tuple[bytes, bytes], **more: object) -> None:
        """It is not stored, for this reason."""
        judgement = judged(*fields, **more)  # type: ignore[arg-type]
        self.assertEqual((judgement.stored, judgement.reason), (None, reason))


class StorableTests(JudgeCase):
    """RFC 9111 section 3."""

    def test_methods(self) -> None:
        """Responses to GET and QUERY are stored, to HEAD and other methods not."""
        self.stored(FRESH, method=b"QUERY")
        self.refused("HEAD", FRESH, method=b"HEAD")
        for method in (b"POST", b"PUT", b"OPTIONS", b"FOO"):
            self.refused("method", FRESH, method=method)

    def test_statuses(self) -> None:
        """Only statuses that are understood, whatever the response says; none that answers a condition or a range."""
        for status in (
            100,
            101,
            199,
            201,
            205,
            226,
            304,
            305,
            407,
            408,
            412,
            416,
            417,
            421,
            425,
            428,
            429,
            431,
            499,
            511,
        ):
            self.refused(f"status {status}", FRESH, ETAG, status=status)
            self.refused(f"status {status}", control(b"public, must-understand, max-age=9"), status=status)
        for status in UNDERSTOOD - {206}:
            self.stored(FRESH, status=status)

    def test_no_store(self) -> None:
        """no-store of either side; beside must-understand it counts for nothing where the status is understood."""
        self.refused("no-store", control(b"no-store, max-age=60"), ETAG)
        self.refused("no-store", control(b"max-age=60"), control(b"No-Store=x"))
        self.refused("no-store in the request", FRESH, asking=[control(b"no-store")])
        self.stored(control(b"no-store, must-understand, max-age=60"))
        self.refused("status 299", control(b"no-store, must-understand, max-age=60"), status=299)

    def test_private(self) -> None:
        """private is not stored; private fields are left out, unless the body cannot be read without them."""
        self.refused("private", control(b"private, max-age=60"))
        self.refused("private", control(b'private="content-encoding", max-age=60'))
        lines = self.stored(control(b'private="X-User", max-age=60'), (b"x-user", b"joe"), (b"X-Other", b"1")).lines
        self.assertNotIn(b"joe", lines)
        self.assertIn(b"X-Other: 1\r\n", lines)

    def test_authorization(self) -> None:
        """A response to credentials only where public, must-revalidate or s-maxage allow it (section 3.5)."""
        asking = [(b"Authorization", b"Basic x")]
        for value in (b"max-age=60", b"max-age=60, proxy-revalidate", b"max-age=60, immutable", b"no-cache"):
            self.refused("authorization", control(value), ETAG, asking=asking)
        self.refused("authorization", FRESH, asking=asking, ttl=60.0, min_ttl=9.0)
        for value in (b"max-age=60, public", b"max-age=60, must-revalidate", b"s-maxage=60"):
            self.stored(control(value), asking=asking)

    def test_something_said(self) -> None:
        """Without a word about freshness only statuses that may be guessed about, or what is public or ruled."""
        self.refused("no freshness", ETAG, status=302)
        self.refused("no freshness", ETAG, status=500, default_ttl=60.0)
        self.refused("no freshness", ETAG, status=503, ttl=60.0)
        self.stored(ETAG, status=404)
        self.stored(ETAG, control(b"public"), status=302)
        self.stored(ETAG, status=302, ttl=60.0)
        self.stored((b"Expires", b"0"), ETAG, status=500)

    def test_bypass(self) -> None:
        """What goes past the cache is not stored."""
        self.refused("bypass", FRESH, asking=[(b"If-Match", b"*")])

    def test_vary(self) -> None:
        """A response for one request alone is not stored; what the others are to say is remembered."""
        self.refused("Vary: *", FRESH, (b"Vary", b"a, *"))
        stored = self.stored(FRESH, (b"Vary", b"X-A"), asking=[(b"X-A", b"1")])
        self.assertEqual(stored.nominated, b"x-a/=1")

    def test_too_large(self) -> None:
        """A body that is known to be larger than the limit is not stored."""
        self.refused("too large", FRESH, (b"Content-Length", b"101"), max_object=100)
        self.stored(FRESH, (b"Content-Length", b"100"), max_object=100)
        self.stored(FRESH, (b"Content-Length", b"x"), max_object=100)

    def test_worth(self) -> None:
        """What can never be used is not stored: neither fresh nor validated, nor stale as it says itself."""
        for fields in ([], [control(b"max-age=0")], [(b"Expires", b"0")], [FRESH, (b"Age", b"60")]):
            self.refused("no freshness and no validator", *fields)
            self.stored(*fields, ETAG)
            self.stored(*fields, MODIFIED)
            self.refused("no freshness and no validator", *fields, (b"ETag", b"malformed"))
        self.refused("no-cache and no validator", control(b"no-cache, max-age=60"))
        self.stored(control(b"no-cache"), ETAG)
        self.stored(control(b"max-age=0, stale-while-revalidate=9"))
        self.stored(control(b"max-age=0, stale-if-error=9"))
        self.refused("no freshness and no validator", control(b"max-age=0, stale-if-error=9, must-revalidate"))

    def test_set_cookie(self) -> None:
        """A response that sets a cookie is not stored, or without the cookie, or with it, as the settings say."""
        cookie = (b"Set-Cookie", b"a=1")
        self.refused("set-cookie", FRESH, cookie)
        self.assertNotIn(b"a=1", self.stored(FRESH, cookie, set_cookie="strip").lines)
        self.assertIn(b"Set-Cookie: a=1\r\n", self.stored(FRESH, cookie, set_cookie="store").lines)
        for value in (b'no-cache="set-cookie", max-age=60', b'private="Set-Cookie", max-age=60'):
            for policy in ("pass", "strip", "store"):
                self.assertNotIn(b"a=1", self.stored(control(value), cookie, set_cookie=policy).lines)


class KeptTests(JudgeCase):
    """What of a response is kept."""

    def test_lines(self) -> None:
        """All fields in order, with repeats and spelling; not those of a hop, Age and Cache-Status."""
        lines = self.stored(
            FRESH, (b"x-A", b"1"), (b"AGE", b"5"), (b"X-a", b"2"), (b"Connection", b"x"), (b"Cache-Status", b"o; hit"),
            (b"Proxy-Authenticate", b"x"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5"),
            (b"X-Empty", b""),
        ).lines  # fmt: skip
        self.assertEqual(
            lines,
            b"Date: %b\r\nCache-Control: max-age=60\r\nx-A: 1\r\nX-a: 2\r\nContent-Length: 5\r\nX-Empty: \r\n"
            % DATE[1],
        )

    def test_fields_as_sent(self) -> None:
        """Lines are made of the fields that go to clients, decisions of the response as received."""
        request = PlainRequest(b"GET", b"a", b"/")
        policy = CachePolicy()
        response = PlainResponse(200, [FRESH, (b"Age", b"5"), (b"X-Hop", b"1")], b"OK")
        stored = judge(
            Asked(request, policy), request, response, [DATE, FRESH], policy, asked_at=NOW, now=NOW, serial=1
        ).stored
        assert stored is not None
        self.assertEqual(stored.lines, b"Date: %b\r\nCache-Control: max-age=60\r\n" % DATE[1])
        self.assertEqual(stored.age, 5.0)

    def test_values(self) -> None:
        """Status, reason, times and serial."""
        stored = self.stored(FRESH, (b"Age", b"5"), status=404)
        self.assertEqual((stored.status, stored.reason, stored.serial), (404, b"Fine", 7))
        self.assertEqual((stored.arrived, stored.age, stored.lifetime), (NOW, 7.0, 60.0))
        self.assertEqual((stored.body, stored.parts, stored.total), (b"", None, -1))

    def test_tags(self) -> None:
        """Tags are separated by spaces and commas, in any of the fields; too many are not stored."""
        stored = self.stored(FRESH, (b"Surrogate-Key", b"a b  c"), (b"cache-tag", b"c,d , e"), (b"X-Tag", b"f"))
        self.assertEqual(stored.tags, (b"a", b"b", b"c", b"d", b"e"))
        self.assertEqual(self.stored(FRESH, (b"X-Tag", b"f"), tags=("X-Tag",)).tags, (b"f",))
        many = b" ".join(b"%d" % number for number in range(MAX_TAGS + 1))
        self.refused(f"more than {MAX_TAGS} tags", FRESH, (b"Surrogate-Key", many))
        self.assertEqual(len(self.stored(FRESH, (b"Surrogate-Key", many[2:])).tags), MAX_TAGS)

    def test_flags(self) -> None:
        """What is said once is a bit."""
        for value, flags in (
            (b"max-age=60", 0),
            (b"max-age=60, no-cache", ALWAYS_VALIDATE),
            (b'max-age=60, no-cache="x"', 0),
            (b'max-age=60, no-cache="content-type"', ALWAYS_VALIDATE),
            (b"max-age=60, must-revalidate", MUST_REVALIDATE),
            (b"max-age=60, proxy-revalidate", MUST_REVALIDATE),
            (b"s-maxage=60", MUST_REVALIDATE),
            (b"s-maxage=x", MUST_REVALIDATE),
            (b"max-age=60, immutable", IMMUTABLE),
            (b"public", HEURISTIC),
        ):
            self.assertEqual(self.stored(control(value), MODIFIED).flags, flags, value)
        self.assertEqual(self.stored(ETAG).flags, HEURISTIC)
        self.assertEqual(self.stored(FRESH, ttl=5.0).flags, OVERRIDDEN)
        self.assertEqual(self.stored(FRESH, min_ttl=62.0).flags, OVERRIDDEN)
        self.assertEqual(self.stored(FRESH, min_ttl=50.0).flags, 0)

    def test_windows(self) -> None:
        """How long it may be sent stale is its own word, else the settings'; never against its word (RFC 5861)."""
        stored = self.stored(control(b"max-age=60, stale-while-revalidate=5, stale-if-error=6"))
        self.assertEqual((stored.while_revalidate, stored.if_error), (5.0, 6.0))
        stored = self.stored(FRESH, stale_while_revalidate=7.0, stale_if_error=8.0)
        self.assertEqual((stored.while_revalidate, stored.if_error), (7.0, 8.0))
        stored = self.stored(control(b"max-age=60, stale-while-revalidate=0"), stale_while_revalidate=7.0)
        self.assertEqual(stored.while_revalidate, 0.0)
        for value in (b"must-revalidate", b"proxy-revalidate", b"s-maxage=9", b"no-cache"):
            said = b"max-age=60, stale-while-revalidate=5, stale-if-error=6, " + value
            stored = self.stored(control(said), ETAG, stale_while_revalidate=7.0)
            self.assertEqual((stored.while_revalidate, stored.if_error), (0.0, 0.0), value)

    def test_hidden(self) -> None:
        """Fields that no-cache names are not kept: they would need a validation."""
        lines = self.stored(
            control(b'no-cache="X-A, x-b", max-age=60'), (b"x-a", b"1"), (b"X-B", b"2"), (b"X-C", b"3")
        ).lines
        self.assertNotIn(b"x-a: ", lines)
        self.assertNotIn(b"X-B: ", lines)
        self.assertIn(b"X-C: 3\r\n", lines)


class TargetedTests(JudgeCase):
    """CDN-Cache-Control (RFC 9213)."""

    def test_instead(self) -> None:
        """It takes the place of Cache-Control and Expires, whatever they say; both are passed on."""
        stored = self.stored(control(b"no-store"), (b"CDN-Cache-Control", b"max-age=60"), (b"Expires", b"0"))
        self.assertEqual(stored.lifetime, 60.0)
        self.assertIn(b"Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n", stored.lines)
        self.refused("private", FRESH, (b"CDN-Cache-Control", b"private"))
        self.refused("no-store", FRESH, (b"CDN-Cache-Control", b"no-store, max-age=60"))

    def test_malformed(self) -> None:
        """One that cannot be read is as none."""
        self.refused("no-store", control(b"no-store"), (b"CDN-Cache-Control", b"max-age=10, &&&&"))
        self.refused("no-store", control(b"no-store"), (b"CDN-Cache-Control", b'max-age="10"'))

    def test_not_ours(self) -> None:
        """A field that is not in the settings means nothing."""
        self.refused("no-store", control(b"no-store"), (b"CDN-Cache-Control", b"max-age=60"), targets=())
        self.refused("no-store", control(b"no-store"), (b"Surrogate-Control", b"max-age=60"))


class PartialTests(JudgeCase):
    """206 (RFC 9111 section 3.3)."""

    ASKING = [(b"Range", b"bytes=0-9")]

    def test_part(self) -> None:
        """One range of a representation with a strong entity tag is stored as that part."""
        stored = self.stored(FRESH, ETAG, (b"Content-Range", b"bytes 5-9/100"), status=206, asking=self.ASKING)
        self.assertEqual((stored.status, stored.parts, stored.total), (206, ((5, 10),), 100))
        self.assertNotIn(b"Content-Range", stored.lines)
        stored = self.stored(FRESH, ETAG, (b"content-range", b"bytes 0-0/*"), status=206, asking=self.ASKING)
        self.assertEqual((stored.parts, stored.total), (((0, 1),), -1))

    def test_no_part(self) -> None:
        """Without one valid range, or one that was asked for, it is not stored."""
        for value in (b"bytes 9-5/100", b"bytes 5-100/100", b"items 0-1/2", b"bytes */100", b"x", b""):
            self.refused("no single range", FRESH, ETAG, (b"Content-Range", value), status=206, asking=self.ASKING)
        part = (b"Content-Range", b"bytes 5-9/100")
        self.refused("no single range", FRESH, ETAG, status=206, asking=self.ASKING)
        self.refused("no single range", FRESH, ETAG, part, part, status=206, asking=self.ASKING)
        self.refused("no single range", FRESH, ETAG, part, status=206)

    def test_validator(self) -> None:
        """Without a strong entity tag nobody could tell what it is a part of."""
        part = (b"Content-Range", b"bytes 5-9/100")
        for field in (FRESH, MODIFIED, (b"ETag", b'W/"v"'), (b"ETag", b"v")):
            self.refused("partial without a strong validator", FRESH, field, part, status=206, asking=self.ASKING)

    def test_rules(self) -> None:
        """All other rules hold for it too."""
        part = (b"Content-Range", b"bytes 5-9/100")
        self.refused("no-store", control(b"no-store"), ETAG, part, status=206, asking=self.ASKING)

    def test_if_range(self) -> None:
        """What was asked for with If-Range may lack fields that its client has (RFC 9110 section 15.3.7)."""
        part = (b"Content-Range", b"bytes 5-9/100")
        self.refused("If-Range", FRESH, ETAG, part, status=206, asking=[*self.ASKING, (b"If-Range", b'"v"')])

    def test_length(self) -> None:
        """Its two lengths have to agree."""
        part = (b"Content-Range", b"bytes 5-9/100")
        self.stored(FRESH, ETAG, part, (b"Content-Length", b"5"), status=206, asking=self.ASKING)
        for value in (b"6", b"100", b"x"):
            length = (b"Content-Length", value)
            why = "lengths that contradict each other"
            self.refused(why, FRESH, ETAG, part, length, status=206, asking=self.ASKING)


NAMES = st.sampled_from([b"Cache-Control", b"Expires", b"Age", b"ETag", b"Last-Modified", b"Vary", b"CDN-Cache-Control",
                         b"Set-Cookie", b"Surrogate-Key", b"Content-Range", b"Content-Length"])  # fmt: skip
VALUES = st.sampled_from([
    b"max-age=60", b"no-store", b"private", b"no-cache", b"public", b"s-maxage=5", b"must-revalidate", b"0", b'"v"',
    b"must-understand", b'private="x"', b"*", b"bytes 0-4/9", DATE[1],
]) | st.binary(max_size=8)  # fmt: skip


class LawTests(SynchronousTestCase):
    """What holds for every response."""

    @given(
        st.sampled_from([200, 204, 206, 302, 304, 404, 500, 299]),
        st.lists(st.tuples(NAMES, VALUES), max_size=6),
        st.sampled_from([[], [(b"Authorization", b"x")], [(b"Range", b"bytes=0-4")], [control(b"no-store")]]),
        st.sampled_from([{}, {"ttl": 60.0}, {"min_ttl": 9.0, "stale_while_revalidate": 5.0}, {"targets": ()}]),
    )
    @settings(max_examples=400)
    def test_laws(self, status: int, fields: Fields, asking: Fields, policy: dict[str, object]) -> None:
        """Nothing raises; a reason is given just where nothing is stored; what is stored was allowed to be, and never
        is stale where it said so."""
        judgement = judged(*fields, status=status, asking=asking, **policy)  # type: ignore[arg-type]
        stored = judgement.stored
        self.assertEqual(stored is None, judgement.reason != "")
        if stored is None:
            return
        self.assertEqual((stored.status, status in UNDERSTOOD), (status, True))
        self.assertNotEqual(asking, [control(b"no-store")])
        lines = [value for name, value in fields if name == b"Cache-Control"]
        aimed = any(name == b"CDN-Cache-Control" for name, _ in fields)
        if not aimed:
            self.assertFalse(b"private" in lines)
            self.assertTrue(b"no-store" not in lines or b"must-understand" in lines)
            strict = {b"must-revalidate", b"s-maxage=5"} & set(lines)
            self.assertEqual(bool(stored.flags & MUST_REVALIDATE), bool(strict))
        if stored.flags & (MUST_REVALIDATE | ALWAYS_VALIDATE):
            self.assertEqual((stored.while_revalidate, stored.if_error), (0.0, 0.0))
        self.assertEqual(stored.parts is not None, status == 206)
        self.assertGreaterEqual(min(stored.age, stored.lifetime), 0.0)
