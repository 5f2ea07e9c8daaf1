"""What extends RFC 9111: stale content (RFC 5861), immutable (8246), Cache-Status (9211), targeted fields (9213)."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.testing.cache_case import BODY, CacheCase, date


class Rfc5861(CacheCase, SynchronousTestCase):
    """stale-while-revalidate and stale-if-error, as responses and requests have them."""

    policy = CachePolicy(stale_if_error=0.0, jitter=0.0)

    def stale(self, directive: str, seconds: float, *lines: str) -> None:
        """Store a response that is fresh for a minute, and let it be stale for some seconds."""
        self.setUp()
        self.origin(f"Cache-Control: max-age=60, {directive}", 'ETag: "a"', *lines)
        self.ask()
        self.wait(60 + seconds)

    def test_while_revalidate(self) -> None:
        """RFC 5861 section 3: within its seconds it may be sent stale, while it is validated."""
        self.stale("stale-while-revalidate=30", 10)
        reply = self.ask()
        self.assertEqual((self.sent, reply.status, reply.get(b"age")), ([], 200, b"70"))
        self.assertTrue(self.asking.decision.background)

    def test_validated_meanwhile(self) -> None:
        """RFC 5861 section 3: ... and what the validation brings is stored."""
        self.stale("stale-while-revalidate=30", 10)
        self.ask()
        response, body = self._answered(self.asking.fields, b"GET")
        self.assertEqual(response.status, 304)
        self.assertIsNotNone(self.cache.received(self.asking, response, body, self.now))
        reply = self.ask()
        self.assertEqual((self.sent, reply.get(b"age"), self.asking.decision.background), ([], b"0", False))

    def test_after_its_seconds(self) -> None:
        """RFC 5861 section 3: after them it is not sent without validation."""
        for seconds in (30, 31, 1000):
            self.stale("stale-while-revalidate=30", seconds)
            self.assertFalse(self.hit(), seconds)
        self.stale("stale-while-revalidate=x", 0)
        self.assertFalse(self.hit())

    def test_if_error(self) -> None:
        """RFC 5861 section 4: within its seconds it may be sent where the answer were 500, 502, 503 or 504, or none."""
        for status in (500, 502, 503, 504):
            self.stale("stale-if-error=30", 10)
            self.origin(status=status)
            reply = self.ask()
            self.assertEqual((len(self.sent), reply.status, reply.body), (1, 200, BODY), status)
            self.assertIsNotNone(self.broken())

    def test_no_error(self) -> None:
        """RFC 5861 section 4: not for other statuses."""
        for status in (400, 404, 410, 501, 505):
            self.stale("stale-if-error=30", 10)
            self.origin(status=status)
            self.assertEqual(self.ask().status, status)

    def test_error_after_its_seconds(self) -> None:
        """RFC 5861 section 4: not after its seconds, nor without the directive."""
        for directive, seconds in (
            ("stale-if-error=30", 30),
            ("stale-if-error=30", 500),
            ("stale-if-error=", 0),
            ("", 0),
        ):
            self.stale(directive, seconds)
            self.assertIsNone(self.broken(), (directive, seconds))
            self.origin(status=503)
            self.assertEqual(self.ask().status, 503, (directive, seconds))

    def test_if_error_of_request(self) -> None:
        """RFC 5861 section 4: a request may allow it, for as many seconds as it says."""
        self.stale("", 10)
        self.assertIsNotNone(self.broken("Cache-Control: stale-if-error=11"))
        self.assertIsNone(self.broken("Cache-Control: stale-if-error=10"))
        self.stale("stale-if-error=900", 10)
        self.assertIsNone(self.broken("Cache-Control: stale-if-error=5"))

    def test_not_against(self) -> None:
        """RFC 5861 sections 3 and 4: neither changes what other directives forbid."""
        for directive in ("must-revalidate", "no-cache", "proxy-revalidate", "s-maxage=60"):
            self.stale(f"stale-while-revalidate=900, stale-if-error=900, {directive}", 10)
            self.assertFalse(self.hit(), directive)
            self.stale(f"stale-while-revalidate=900, stale-if-error=900, {directive}", 10)
            self.assertIsNone(self.broken(), directive)

    def test_fresh_enough(self) -> None:
        """RFC 5861 section 3: a request that wants a younger or a fresh one does not get it."""
        for value in ("no-cache", "max-age=65", "min-fresh=1"):
            self.stale("stale-while-revalidate=900", 10)
            self.assertFalse(self.hit(f"Cache-Control: {value}"), value)


class Rfc8246(CacheCase, SynchronousTestCase):
    """immutable."""

    def test_reload(self) -> None:
        """RFC 8246 section 2: while it is fresh, a reload (max-age=0) is no reason to validate it."""
        self.origin("Cache-Control: max-age=60, immutable", 'ETag: "a"')
        self.ask()
        self.wait(30)
        self.assertTrue(self.hit("Cache-Control: max-age=0"))
        self.assertTrue(self.hit("Cache-Control: max-age=10"))

    def test_conditional(self) -> None:
        """RFC 8246 section 2: ... and a client's own condition is answered from the store."""
        self.origin("Cache-Control: max-age=60, immutable", 'ETag: "a"')
        self.ask()
        self.assertEqual((self.ask("Cache-Control: max-age=0", 'If-None-Match: "a"').status, self.sent), (304, []))

    def test_forced(self) -> None:
        """RFC 8246 section 2: whoever says no-cache forces a reload, and gets one."""
        self.origin("Cache-Control: max-age=60, immutable", 'ETag: "a"')
        self.ask()
        self.assertFalse(self.hit("Cache-Control: no-cache"))

    def test_stale(self) -> None:
        """RFC 8246 section 2: once it is stale it is as any other; immutable makes nothing fresh."""
        self.origin("Cache-Control: max-age=60, immutable", 'ETag: "a"')
        self.ask()
        self.wait(60)
        self.assertFalse(self.hit())
        self.assertFalse(self.stored("Cache-Control: immutable"))
        self.assertFalse(self.stored("Cache-Control: max-age=60, immutable, no-store"))


class Rfc9213(CacheCase, SynchronousTestCase):
    """CDN-Cache-Control."""

    def test_first(self) -> None:
        """RFC 9213 section 2.1: a valid targeted field counts, and Cache-Control and Expires do not."""
        self.assertTrue(self.stored("CDN-Cache-Control: max-age=60", "Cache-Control: no-store", "Expires: 0"))
        self.assertFalse(self.stored("CDN-Cache-Control: no-store", "Cache-Control: max-age=60"))
        self.assertFalse(
            self.stored("CDN-Cache-Control: max-age=0", "Cache-Control: s-maxage=60", f"Expires: {date(60)}")
        )
        self.assertTrue(self.stored("CDN-Cache-Control: max-age=60", "Cache-Control: private"))

    def test_nothing_of_the_rest(self) -> None:
        """RFC 9213 section 2.1: ... also for what it leaves unsaid: no Expires comes in its place."""
        self.assertFalse(self.stored("CDN-Cache-Control: must-revalidate", "Cache-Control: max-age=60", status=302))
        self.assertFalse(self.stored("CDN-Cache-Control: foo", f"Expires: {date(60)}", status=302))

    def test_empty_or_invalid(self) -> None:
        """RFC 9213 section 2.1: an empty field, or one that is no structured dictionary, is ignored."""
        for value in (
            "",
            "max-age=60 no-store",
            "max-age==60",
            "Max-Age=0",
            "no-store;",
            "max-age=60,",
            '"no-store"',
            "&",
        ):
            self.assertTrue(self.stored(f"CDN-Cache-Control: {value}", "Cache-Control: max-age=60"), value)
            self.assertFalse(self.stored(f"CDN-Cache-Control: {value}", "Cache-Control: no-store"), value)

    def test_dictionary(self) -> None:
        """RFC 9213 section 2.1: it is a dictionary: of members of one name the last counts, parameters do not, and a
        false directive is none."""
        self.assertTrue(self.stored("CDN-Cache-Control: max-age=0, max-age=60"))
        self.assertTrue(self.stored("CDN-Cache-Control: max-age=60;no-store"))
        self.assertTrue(self.stored("CDN-Cache-Control: no-store=?0, max-age=60"))
        self.assertFalse(self.stored("CDN-Cache-Control: no-store=?1, max-age=60"))
        self.assertTrue(self.stored("CDN-Cache-Control: max-age=60", "CDN-Cache-Control: foo=(a b)"))

    def test_passed_on(self) -> None:
        """RFC 9213 section 3.1: CDN-Cache-Control is left in the response, for caches behind us."""
        self.origin("CDN-Cache-Control: max-age=60", "Cache-Control: no-store")
        self.ask()
        reply = self.ask()
        self.assertEqual(
            (self.sent, reply.get(b"cdn-cache-control"), reply.get(b"cache-control")), ([], b"max-age=60", b"no-store")
        )

    def test_other_targets(self) -> None:
        """RFC 9213 section 2: a field for other caches is not for us."""
        self.assertTrue(self.stored("Foo-Cache-Control: no-store", "Cache-Control: max-age=60"))


class Targets(CacheCase, SynchronousTestCase):
    """A list of targets of one's own."""

    policy = CachePolicy(targets=("Our-Cache-Control", "CDN-Cache-Control"))

    def test_list(self) -> None:
        """RFC 9213 section 2.2: the first field of the target list that is there, valid and not empty, counts."""
        self.assertTrue(self.stored("CDN-Cache-Control: no-store", "Our-Cache-Control: max-age=60"))
        self.assertFalse(self.stored("Our-Cache-Control: no-store", "CDN-Cache-Control: max-age=60"))
        self.assertTrue(self.stored("Our-Cache-Control: ;;", "CDN-Cache-Control: max-age=60"))
        self.assertTrue(self.stored("Our-Cache-Control:", "CDN-Cache-Control: max-age=60"))


class Rfc9211(CacheCase, SynchronousTestCase):
    """Cache-Status."""

    policy = CachePolicy(name="edge")

    def told(self, *lines: str, path: bytes = b"/", method: bytes = b"GET") -> list[str]:
        """The parameters of our member after such a request."""
        reply = self.ask(*lines, path=path, method=method)
        name, *parameters = (reply.get_all(b"cache-status")[-1]).decode("ascii").split("; ")
        self.assertEqual(name, "edge")
        return parameters

    def test_hit(self) -> None:
        """RFC 9211 section 2.1: hit says that nobody was asked; it and fwd exclude each other (2.2)."""
        self.ask()
        self.wait(10)
        self.assertEqual(self.told(), ["hit", "ttl=50"])

    def test_reasons(self) -> None:
        """RFC 9211 section 2.2: fwd says why it was forwarded."""
        self.origin("Cache-Control: max-age=60", "Vary: A")
        self.assertIn("fwd=uri-miss", self.told("A: 1"))
        self.assertIn("fwd=vary-miss", self.told("A: 2"))
        self.assertIn("fwd=request", self.told("A: 1", "Cache-Control: no-cache"))
        self.wait(70)
        self.assertIn("fwd=stale", self.told("A: 1"))
        self.assertIn("fwd=method", self.told(method=b"POST"))
        self.assertIn("fwd=bypass", self.told('If-Match: "a"'))

    def test_partial(self) -> None:
        """RFC 9211 section 2.2: ... partial where only parts of what is asked for are stored."""
        self.origin(
            "Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: bytes 0-9/1000", status=206, body=BODY[:10]
        )
        self.ask("Range: bytes=0-9")
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.assertIn("fwd=partial", self.told())

    def test_forward_status(self) -> None:
        """RFC 9211 section 2.3: fwd-status is what the origin answered, where that is not what is sent."""
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.assertNotIn("fwd-status=200", self.told())
        self.wait(70)
        self.assertIn("fwd-status=304", self.told())
        self.wait(70)
        self.origin(status=503)
        self.assertIn("fwd-status=503", self.told())

    def test_ttl(self) -> None:
        """RFC 9211 section 2.4: ttl is the remaining lifetime, negative for a stale response."""
        self.origin("Cache-Control: max-age=60", "Age: 20")
        self.assertIn("ttl=40", self.told())
        self.wait(100)
        self.assertIn("ttl=-60", self.told("Cache-Control: max-stale"))

    def test_stored(self) -> None:
        """RFC 9211 section 2.5: stored says that the response was."""
        self.assertIn("stored", self.told())
        self.origin("Cache-Control: private")
        told = self.told(path=b"/b")
        self.assertNotIn("stored", told)
        self.assertIn("detail=private", told)

    def test_others(self) -> None:
        """RFC 9211 section 2: what caches nearer to the origin said stays, before our member."""
        self.origin("Cache-Control: max-age=60", "Cache-Status: origin; hit")
        self.assertEqual(self.ask().get_all(b"cache-status"), [b"origin; hit", b"edge; fwd=uri-miss; ttl=60; stored"])

    def test_refused(self) -> None:
        """RFC 9211 section 2.2: a response that we made ourselves is neither a hit nor forwarded."""
        told = self.told("Cache-Control: only-if-cached")
        self.assertEqual([one for one in told if one == "hit" or one.startswith("fwd")], [])


class Name(CacheCase, SynchronousTestCase):
    """A cache's name."""

    policy = CachePolicy(name='the "edge"')

    def test_string(self) -> None:
        """RFC 9211 section 2: the name is a string or a token; what is no token is a string, escaped."""
        self.assertEqual((self.ask().get(b"cache-status") or b"")[:15], b'"the \\"edge\\"";')
