"""RFC 9111 section 3, storing responses: every requirement on a shared cache, by section, paraphrased.

Sections 4 and 5 are in the files beside this one; so are RFC 9110's and the extensions'.
"""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.testing.cache_case import BODY, CacheCase, date

OLD = f"Last-Modified: {date(-10000)}"
"""Fresh for 1000 seconds by the heuristic."""


class Section3(CacheCase, SynchronousTestCase):
    """Storing responses in caches."""

    def test_method(self) -> None:
        """RFC 9111 section 3: a response is stored only if its request's method is understood."""
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"FOO", b"get"):
            self.assertFalse(self.stored("Cache-Control: max-age=60", method=method), method)
        self.assertTrue(self.stored("Cache-Control: max-age=60"))

    def test_final(self) -> None:
        """RFC 9111 section 3: ... if its status is final."""
        for status in (100, 102, 103, 199):
            self.assertFalse(self.stored("Cache-Control: max-age=60", status=status), status)

    def test_206_and_304(self) -> None:
        """RFC 9111 section 3: ... if a status of 206 or 304 is understood: a part of no known place is not."""
        for lines in ([], ["Content-Range: items 0-1/2"], ["Content-Range: bytes 0-1"], ["Content-Range: bytes */9"]):
            lines = ["Cache-Control: max-age=60", 'ETag: "a"', *lines]
            self.assertFalse(self.stored(*lines, status=206, request=["Range: bytes=0-1"]), lines)
        self.assertFalse(self.stored("Cache-Control: max-age=60", status=304, request=['If-None-Match: "a"']))

    def test_must_understand(self) -> None:
        """RFC 9111 sections 3 and 5.2.2.3: with must-understand a status that is not understood is not stored."""
        for status in (299, 418, 499, 599, 999):
            self.assertFalse(self.stored("Cache-Control: max-age=60, must-understand", status=status), status)

    def test_must_understand_over_no_store(self) -> None:
        """RFC 9111 section 3 and 5.2.2.3: a cache that understands the status may ignore no-store beside it."""
        self.assertTrue(self.stored("Cache-Control: max-age=60, must-understand, no-store"))
        self.assertFalse(self.stored("Cache-Control: max-age=60, must-understand, no-store", status=599))

    def test_no_store(self) -> None:
        """RFC 9111 section 3: ... if the response has no no-store."""
        for value in ("no-store", "max-age=60, No-Store", "no-store, public", 'no-store="x"', "no-store=1, s-maxage=9"):
            self.assertFalse(self.stored(f"Cache-Control: {value}"), value)
        self.assertFalse(self.stored("Cache-Control: max-age=60", "Cache-Control: no-store"))

    def test_private(self) -> None:
        """RFC 9111 section 3: ... if private is absent, or allows a shared cache to store a changed response."""
        for value in ("private, max-age=60", "private, public, s-maxage=60", "PRIVATE, max-age=60"):
            self.assertFalse(self.stored(f"Cache-Control: {value}"), value)
        self.assertTrue(self.stored('Cache-Control: private="x-user", max-age=60'))

    def test_authorization(self) -> None:
        """RFC 9111 section 3: ... if the request has no Authorization, or a directive of the response allows it."""
        asking = ["Authorization: Basic YTpi"]
        self.assertFalse(self.stored("Cache-Control: max-age=60", request=asking))
        self.assertFalse(self.stored(OLD, request=asking))
        self.assertFalse(self.stored("Cache-Control: max-age=60", request=["Authorization:"]))

    def test_for_the_authorized(self) -> None:
        """RFC 9111 section 3.5: what was stored for a request without Authorization answers one that has it."""
        self.ask()
        self.assertTrue(self.hit("Authorization: Basic YTpi"))

    def test_reason_to_store(self) -> None:
        """RFC 9111 section 3: ... if one of public, Expires, max-age, s-maxage or a heuristically cacheable status is
        there."""
        for status in (302, 307, 400, 403, 500, 503):
            self.assertFalse(self.stored(OLD, status=status), status)
            for line in (f"Expires: {date(60)}", "Cache-Control: max-age=60", "Cache-Control: s-maxage=60"):
                self.assertTrue(self.stored(line, status=status), (status, line))
            self.assertTrue(self.stored("Cache-Control: public", OLD, status=status), status)
        for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501):
            self.assertTrue(self.stored(OLD, status=status), status)

    def test_must_revalidate_is_no_reason(self) -> None:
        """RFC 9111 sections 3 and 5.2.2.8: proxy-revalidate and the like do not make a response cacheable."""
        for value in ("must-revalidate", "proxy-revalidate", "no-transform", "immutable", "stale-if-error=60"):
            self.assertFalse(self.stored(f"Cache-Control: {value}", OLD, status=302), value)

    def test_request_no_store(self) -> None:
        """RFC 9111 section 5.2.1.5: no part of the response to a request with no-store is stored."""
        self.origin("Cache-Control: max-age=60")
        for line in ("Cache-Control: no-store", "Cache-Control: max-age=9, NO-STORE"):
            self.ask(line)
            self.assertFalse(self.store.held.get(self.asking.key), line)


class Section31(CacheCase, SynchronousTestCase):
    """3.1: storing header and trailer fields."""

    def test_all(self) -> None:
        """RFC 9111 section 3.1: every field received is stored, unrecognized ones too, with repeats and order."""
        self.origin("Cache-Control: max-age=60", "X-A: 1", "Foo: a", "x-a: 2", "X-Empty:", "Set-Thing: b; c")
        first = self.ask()
        second = self.ask()
        self.assertEqual(self.sent, [])
        for name in (b"x-a", b"foo", b"x-empty", b"set-thing", b"cache-control", b"date"):
            self.assertEqual(second.get_all(name), first.get_all(name), name)
        self.assertEqual(second.get_all(b"x-a"), [b"1", b"2"])

    def test_hop_by_hop(self) -> None:
        """RFC 9111 section 3.1: Connection, what it names, and fields of one hop are not."""
        self.origin(
            "Cache-Control: max-age=60", "Connection: X-Hop, close", "X-Hop: 1", "Keep-Alive: timeout=5",
            "Proxy-Connection: close", "TE: trailers", "Transfer-Encoding: chunked", "Upgrade: foo",
        )  # fmt: skip
        for reply in (self.ask(), self.ask()):
            for name in (
                b"connection", b"x-hop", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
            ):  # fmt: skip
                self.assertIsNone(reply.get(name), name)

    def test_of_the_proxy(self) -> None:
        """RFC 9111 section 3.1: fields of the proxy's authentication need not be stored."""
        self.origin("Cache-Control: max-age=60", "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: a=b")
        for reply in (self.ask(), self.ask()):
            self.assertIsNone(reply.get(b"proxy-authenticate"))
            self.assertIsNone(reply.get(b"proxy-authentication-info"))

    def test_named(self) -> None:
        """RFC 9111 sections 3.1, 5.2.2.4 and 5.2.2.7: fields that no-cache or private names are not stored; the client
        they are for has them."""
        for directive in ("no-cache", "private"):
            for names in ('"x-a, X-B"', '" X-a ,, x-b "', '"x-a", ' + directive + '="x-b"'):
                self.setUp()
                self.origin(f"Cache-Control: max-age=60, {directive}={names}", "X-A: 1", "X-B: 2", "X-C: 3")
                first, second = self.ask(), self.ask()
                self.assertEqual(self.sent, [])
                self.assertEqual((first.get(b"x-a"), first.get(b"x-b"), first.get(b"x-c")), (b"1", b"2", b"3"))
                self.assertEqual((second.get(b"x-a"), second.get(b"x-b"), second.get(b"x-c")), (None, None, b"3"))

    def test_no_names(self) -> None:
        """RFC 9111 section 5.2.2.4: an argument that names nothing, or is none, counts for the whole response."""
        for argument in ('""', '", ,"', '"a b"', '"x-a', ""):
            self.assertFalse(self.stored(f"Cache-Control: max-age=60, private={argument}"), argument)
            self.assertFalse(self.stored(f"Cache-Control: max-age=60, no-cache={argument}", 'ETag: "a"'), argument)


class Section33(CacheCase, SynchronousTestCase):
    """3.3: storing incomplete responses."""

    def part(self, first: int, last: int, *lines: str, total: str = "1000", tag: str = '"a"') -> None:
        """Have the cache fetch a part."""
        self.origin(
            "Cache-Control: max-age=60",
            f"ETag: {tag}",
            f"Content-Range: bytes {first}-{last}/{total}",
            *lines,
            status=206,
            body=BODY[first : last + 1],
        )
        self.ask(f"Range: bytes={first}-{last}")

    def test_not_for_whole(self) -> None:
        """RFC 9111 section 3.3: an incomplete response answers no request but for a range wholly within it."""
        self.part(100, 199)
        for lines in ([], ["Range: bytes=0-150"], ["Range: bytes=150-200"], ["Range: bytes=150-"], ["Range: x=1-2"]):
            self.part(100, 199)
            self.origin("Cache-Control: max-age=60", 'ETag: "a"')
            self.assertFalse(self.hit(*lines), lines)
            self.setUp()
        self.part(100, 199)
        self.assertFalse(self.hit(method=b"HEAD"))

    def test_marked(self) -> None:
        """RFC 9111 section 3.3: a partial response is always sent as 206."""
        self.part(100, 199)
        reply = self.ask("Range: bytes=120-129")
        self.assertEqual((self.sent, reply.status, reply.body), ([], 206, BODY[120:130]))
        self.assertEqual(reply.get_all(b"content-range"), [b"bytes 120-129/1000"])
        self.assertEqual(reply.get_all(b"content-length"), [b"10"])

    def test_units(self) -> None:
        """RFC 9111 section 3.3: parts in units that are not understood are not stored."""
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: pages 1-2/9", status=206)
        self.ask("Range: pages=1-2")
        self.assertFalse(self.hit("Range: pages=1-2"))

    def test_not_asked_for(self) -> None:
        """RFC 9110 section 15.3.7: a 206 nobody asked a range of is not stored."""
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: bytes 0-9/1000", status=206)
        self.ask()
        self.assertFalse(self.hit("Range: bytes=0-5"))

    def test_completed(self) -> None:
        """RFC 9111 section 3.3: an incomplete response may be completed by further range requests."""
        self.part(0, 499)
        self.part(500, 999)
        reply = self.ask()
        self.assertEqual((self.sent, reply.status, reply.body), ([], 200, BODY))

    def test_combined(self) -> None:
        """RFC 9111 section 3.4: parts are combined only if they have the same strong validator."""
        for first, second in (('"a"', '"b"'), ('W/"a"', 'W/"a"'), ('"a"', 'W/"a"')):
            self.setUp()
            self.part(0, 499, tag=first)
            self.part(500, 999, tag=second)
            self.origin("Cache-Control: max-age=60", 'ETag: "c"', body=b"other")
            self.assertEqual(self.ask().body, b"other")

    def test_combined_lengths(self) -> None:
        """RFC 9110 section 15.3.7.3: what contradicts itself about its length is not one representation."""
        self.part(0, 499)
        self.part(500, 999, total="2000")
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', body=b"other")
        self.assertEqual(self.ask().body, b"other")

    def test_combined_fields(self) -> None:
        """RFC 9111 section 3.4: the new response's fields replace the stored one's, Content-Range aside."""
        self.part(0, 499, "X-A: old", "X-A: older", "X-B: old")
        self.part(500, 999, "X-A: new")
        reply = self.ask()
        self.assertEqual((reply.get_all(b"x-a"), reply.get_all(b"x-b")), ([b"new"], [b"old"]))
        self.assertEqual((reply.get_all(b"content-range"), reply.get_all(b"content-length")), ([], [b"1000"]))

    def test_if_range(self) -> None:
        """RFC 9110 section 15.3.7: what is sent for If-Range may lack fields its client has; it answers nobody else."""
        self.origin(
            "Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: bytes 0-9/1000", status=206, body=BODY[:10]
        )
        self.ask("Range: bytes=0-9", 'If-Range: "a"')
        self.assertNotIn(b"range", [name.lower() for sent in self.sent for name, _ in sent])


@pytest.mark.parametrize("directive", ["public", "must-revalidate", "s-maxage=60"])
class TestSection35:
    """3.5: storing responses to authenticated requests."""

    def test_allowed(self, directive: str) -> None:
        """RFC 9111 section 3.5: public, must-revalidate and s-maxage each allow a shared cache to store them."""
        case = Section3()
        assert case.stored(f"Cache-Control: max-age=60, {directive}", request=["Authorization: Basic YTpi"])

    def test_stale(self, directive: str) -> None:
        """RFC 9111 section 3.5: ... if it conforms to the directive: the latter two are validated once stale."""
        case = Section3()
        case.stored(f"Cache-Control: max-age=60, {directive}", 'ETag: "a"', request=["Authorization: Basic YTpi"])
        case.wait(70)
        assert not case.hit("Authorization: Basic YTpi", "Cache-Control: max-stale=1000") or directive == "public"


class Settings(CacheCase, SynchronousTestCase):
    """What the operator may ask beyond the RFC, and only that."""

    policy = CachePolicy(ttl=60.0)

    def test_ttl_is_not_permission(self) -> None:
        """RFC 9111 section 3: a lifetime of the operator's makes nothing storable that may not be stored."""
        for value in ("no-store", "private", "max-age=0, private"):
            self.assertFalse(self.stored(f"Cache-Control: {value}"), value)
        self.assertFalse(self.stored("Cache-Control: no-cache", 'ETag: "a"'))
        self.assertTrue(self.stored("Cache-Control: max-age=0"))
