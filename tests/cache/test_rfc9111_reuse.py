"""RFC 9111 sections 4 to 4.2, constructing responses from caches: keys, Vary, freshness, age, staleness."""

import os
import time

import pytest
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.cached import HttpCache
from balancer.cache.policy import CachePolicy
from balancer.testing.cache_case import NOON, CacheCase, date

STALE = ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=60"]
"""Directives that forbid a stale response."""


class Section4(CacheCase, SynchronousTestCase):
    """Constructing responses from caches."""

    def test_uri(self) -> None:
        """RFC 9111 section 4: a stored response is reused only if the target URIs match."""
        self.ask()
        for path, query in ((b"/a", None), (b"/", b""), (b"/", b"a=1"), (b"//", None), (b"/%2f", None)):
            self.assertFalse(self.hit(path=path, query=query), (path, query))
        self.assertTrue(self.hit())
        self.ask(host=b"other.example")
        self.assertEqual(len(self.sent), 1)
        self.cache = HttpCache(self.policy, self.store, b"https")
        self.assertFalse(self.hit())

    def test_head_from_get(self) -> None:
        """RFC 9111 section 4: ... if the stored response's method allows it: GET's answers HEAD, without content."""
        whole = self.ask()
        head = self.ask(method=b"HEAD")
        self.assertEqual((self.sent, head.status, head.body), ([], 200, b""))
        self.assertEqual(head.get_all(b"content-length"), whole.get_all(b"content-length"))

    def test_get_from_others(self) -> None:
        """RFC 9111 section 4: ... and neither HEAD's nor QUERY's answers GET."""
        for method in (b"HEAD", b"QUERY"):
            self.ask(method=method)
            self.assertFalse(self.hit())
            self.setUp()

    def test_query(self) -> None:
        """The QUERY method's section on caching: its key has the content, and what that is to be read by."""
        self.ask("Content-Type: text/plain", method=b"QUERY", content=b"a")
        self.ask("Content-Type: text/plain", method=b"QUERY", content=b"a")
        self.assertEqual(self.sent, [])
        for kind, content in (("text/plain", b"b"), ("text/html", b"a")):
            self.ask(f"Content-Type: {kind}", method=b"QUERY", content=content)
            self.assertEqual(len(self.sent), 1)

    def test_no_cache(self) -> None:
        """RFC 9111 section 4: ... if it has no no-cache, or is validated."""
        self.origin("Cache-Control: no-cache, max-age=60", 'ETag: "a"')
        self.ask()
        reply = self.ask()
        self.assertEqual((self.sent[0], reply.status), ([(b"If-None-Match", b'"a"')], 200))

    def test_stale(self) -> None:
        """RFC 9111 section 4: ... if it is fresh, may be served stale, or is validated."""
        self.ask()
        self.wait(59)
        self.assertTrue(self.hit())
        self.wait(1)
        self.assertFalse(self.hit())

    def test_age(self) -> None:
        """RFC 9111 section 4: without validation an Age is generated in the place of any other: current_age."""
        self.origin("Cache-Control: max-age=600", "Age: 100", "age: 7")
        self.assertEqual(self.ask().get(b"age"), b"100")
        self.wait(7.5)
        self.assertEqual(self.ask().get_all(b"age"), [b"107"])
        self.assertEqual(self.ask(method=b"HEAD").get_all(b"age"), [b"107"])

    def test_write_through(self) -> None:
        """RFC 9111 section 4: requests with unsafe methods reach the origin before they are answered."""
        self.ask()
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"FOO"):
            self.assertFalse(self.hit(method=method), method)

    def test_most_recent(self) -> None:
        """RFC 9111 section 4: of several suitable responses that with the latest Date is used."""
        for first, second in ((b"new", b"old"), (b"old", b"new")):
            self.setUp()
            dates = {b"new": date(0), b"old": date(-50)}
            for body, lines, varies in ((first, ["A: 1", "B: 0"], "A"), (second, ["A: 0", "B: 1"], "B")):
                self.origin("Cache-Control: max-age=600", f"Vary: {varies}", f"Date: {dates[body]}", body=body)
                self.ask(*lines)
            self.assertEqual((self.ask("A: 1", "B: 1").body, self.sent), (b"new", []))

    def test_clock(self) -> None:
        """RFC 9111 section 4: without a clock every use is validated: one that was set back is none."""
        self.ask()
        self.wait(-1)
        self.assertFalse(self.hit())


class Section41(CacheCase, SynchronousTestCase):
    """4.1: calculating cache keys with Vary."""

    def varied(self, vary: str, first: list[str], second: list[str]) -> bool:
        """Whether the second request is answered by the response to the first."""
        self.setUp()
        self.origin("Cache-Control: max-age=60", f"Vary: {vary}")
        self.ask(*first)
        return self.hit(*second)

    def test_all_match(self) -> None:
        """RFC 9111 section 4.1: a response that varies is used only if all nominated fields match."""
        for vary, first, second, found in (
            ("A", ["A: 1"], ["A: 1"], True),
            ("a", ["A: 1", "B: 1"], ["a: 1", "B: 2"], True),
            ("A", ["A: 1"], ["A: 2"], False),
            ("A, B", ["A: 1", "B: 1"], ["A: 1", "B: 1"], True),
            ("A, B", ["A: 1", "B: 1"], ["A: 1", "B: 2"], False),
            ("A, ,B,", ["A: 1", "B: 1"], ["A: 2", "B: 1"], False),
            ("Cookie", ["Cookie: a=b"], ["Cookie: a=c"], False),
        ):
            self.assertEqual(self.varied(vary, first, second), found, (vary, first, second))

    def test_several_lines(self) -> None:
        """RFC 9111 section 4.1: ... those of every Vary field."""
        self.origin("Cache-Control: max-age=60", "Vary: A", "Vary: B")
        self.ask("A: 1", "B: 1")
        self.assertFalse(self.hit("A: 1", "B: 2"))

    def test_normalised(self) -> None:
        """RFC 9111 section 4.1: white space, lines that are combined, and what a field's definition lets differ."""
        for vary, first, second, found in (
            ("A", ["A: 1", "A: 2"], ["A: 1, 2"], True),
            ("Accept-Encoding", ["Accept-Encoding: gzip, br"], ["Accept-Encoding: BR ,gzip"], True),
            ("Accept-Encoding", ["Accept-Encoding: gzip"], ["Accept-Encoding: gzip;q=1"], True),
            ("Accept-Encoding", ["Accept-Encoding: gzip"], ["Accept-Encoding: gzip;q=0"], False),
            ("Accept-Language", ["Accept-Language: en, de"], ["Accept-Language: EN,de"], True),
            ("Accept-Language", ["Accept-Language: en"], ["Accept-Language: en-GB"], False),
            ("A", ["A: x"], ["A: X"], False),
            ("A", ["A: 1, 2"], ["A: 2, 1"], False),
        ):
            self.assertEqual(self.varied(vary, first, second), found, (vary, first, second))

    def test_absent(self) -> None:
        """RFC 9111 section 4.1: an absent field matches only an absent one."""
        self.assertTrue(self.varied("A", [], []))
        self.assertFalse(self.varied("A", [], ["A:"]))
        self.assertFalse(self.varied("A", ["A:"], []))
        self.assertFalse(self.varied("Accept-Encoding", [], ["Accept-Encoding: identity"]))

    def test_any(self) -> None:
        """RFC 9111 section 4.1: a Vary with a member * never matches."""
        for vary in ("*", "A, *", "*, A", "* , *"):
            self.assertFalse(self.varied(vary, ["A: 1"], ["A: 1"]), vary)

    def test_forwarded(self) -> None:
        """RFC 9111 section 4.1: if none matches, the request goes on, and its response is one more variant."""
        self.origin("Cache-Control: max-age=60", "Vary: A", 'ETag: "1"')
        self.ask("A: 1")
        self.origin("Cache-Control: max-age=60", "Vary: A", 'ETag: "2"', body=b"two")
        self.assertEqual(self.ask("A: 2").body, b"two")
        self.assertEqual((self.ask("A: 2").body, self.sent), (b"two", []))
        self.assertTrue(self.hit("A: 1"))

    def test_vary_left_out(self) -> None:
        """RFC 9111 section 4.1: where some responses omit Vary, the most recent one with a Vary should be chosen."""
        self.origin("Cache-Control: max-age=60", "Vary: Accept-Language", body=b"en")
        self.ask("Accept-Language: en")
        self.wait(5)
        self.origin("Cache-Control: max-age=60", body=b"default")
        self.ask()
        self.assertEqual((self.ask("Accept-Language: en").body, self.sent), (b"en", []))


class Section42(CacheCase, SynchronousTestCase):
    """4.2: freshness."""

    def fresh_for(self, *lines: str, status: int = 200) -> float:
        """Seconds for which it is fresh, up to 10000 (found by halves); 0 where it is never used."""
        if not self.stored(*lines, status=status):
            return 0
        low, high = 1, 10000
        while low < high:
            middle = (low + high + 1) // 2
            self.now = NOON + middle - 1
            asking = self.cache.ask(self.asking.request, self.now)
            low, high = (middle, high) if self.cache.answer(asking, self.now) else (low, middle - 1)
        return low

    def test_case_of_dates(self) -> None:
        """RFC 9111 section 4.2: dates should be matched without case."""
        self.assertEqual(self.fresh_for(f"Expires: {date(90).upper()}"), 90)
        self.assertEqual(self.fresh_for(f"Expires: {date(90).lower()}", f"Date: {date(0).lower()}"), 90)

    def test_forms_of_dates(self) -> None:
        """RFC 9110 section 5.6.7: all three forms of a date are understood."""
        self.assertEqual(self.fresh_for("Expires: Tuesday, 24-Nov-26 12:01:30 GMT"), 90)
        self.assertEqual(self.fresh_for("Expires: Tue Nov 24 12:01:30 2026"), 90)

    def test_zones(self) -> None:
        """RFC 9111 section 4.2: a zone other than GMT is invalid; the local one never counts."""
        for zone in ("UTC", "EST", "+0000", "Z", ""):
            self.assertEqual(self.fresh_for(f"Expires: {date(90).replace('GMT', zone)}"), 0, zone)
        before = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        self.addCleanup(lambda: os.environ.pop("TZ") if before is None else os.environ.update(TZ=before))
        for zone in ("America/New_York", "Asia/Kathmandu"):
            os.environ["TZ"] = zone
            time.tzset()
            self.assertEqual(self.fresh_for(f"Expires: {date(90)}"), 90, zone)

    def test_precedence(self) -> None:
        """RFC 9111 section 4.2.1: s-maxage, else max-age, else Expires less Date, counts."""
        expires = f"Expires: {date(30)}"
        self.assertEqual(self.fresh_for("Cache-Control: max-age=10, s-maxage=20", expires), 20)
        self.assertEqual(self.fresh_for("Cache-Control: s-maxage=20, max-age=10"), 20)
        self.assertEqual(self.fresh_for("Cache-Control: max-age=10", expires), 10)
        self.assertEqual(self.fresh_for(expires), 30)
        self.assertEqual(self.fresh_for(expires, f"Date: {date(10)}"), 20)

    def test_skew(self) -> None:
        """RFC 9111 section 4.2.1: Expires is measured by the origin's Date, whatever our clock says."""
        self.assertEqual(self.fresh_for(f"Expires: {date(5030)}", f"Date: {date(5000)}"), 30)
        self.assertEqual(self.fresh_for(f"Expires: {date(-5)}", f"Date: {date(-35)}"), 0)

    def test_repeated(self) -> None:
        """RFC 9111 section 4.2.1: of several values the first counts, or the response is stale."""
        self.assertLessEqual(self.fresh_for("Cache-Control: max-age=10, max-age=90"), 10)
        self.assertLessEqual(self.fresh_for("Cache-Control: max-age=90", "Cache-Control: max-age=10"), 90)
        self.assertLessEqual(self.fresh_for(f"Expires: {date(10)}", f"Expires: {date(90)}"), 10)
        self.assertLessEqual(self.fresh_for(f"Expires: {date(90)}", "Expires: 0"), 90)

    def test_conflicts(self) -> None:
        """RFC 9111 section 4.2.1: of directives that conflict the most restrictive counts."""
        for value in (
            "max-age=60, no-cache",
            "no-cache, s-maxage=60",
            "public, no-store",
            "max-age=60, private, public",
        ):
            self.assertEqual(self.fresh_for(f"Cache-Control: {value}"), 0, value)

    def test_invalid(self) -> None:
        """RFC 9111 section 4.2.1: invalid freshness information makes a response stale, not one that may be guessed
        about."""
        old = f"Last-Modified: {date(-10000)}"
        for value in ("abc", "", "-1", "1.5", "60s", "+60", "0x10", "6 0", "60;", "1e9"):
            for name in ("max-age", "s-maxage"):
                self.assertEqual(self.fresh_for(f"Cache-Control: {name}={value}", old), 0, (name, value))
        self.assertEqual(self.fresh_for("Cache-Control: max-age", old), 0)

    def test_large(self) -> None:
        """RFC 9111 section 1.2.2: numbers that are too large count as 2**31, and nothing overflows."""
        for digits in ("2147483648", "99999999999", "9" * 5000):
            self.assertEqual(self.fresh_for(f"Cache-Control: max-age={digits}"), 10000)

    def test_heuristic(self) -> None:
        """RFC 9111 section 4.2.2: without an explicit time a part of the time since Last-Modified, typically 10%."""
        self.assertEqual(self.fresh_for(f"Last-Modified: {date(-1000)}"), 100)
        self.assertEqual(self.fresh_for(), 0)
        self.assertEqual(self.fresh_for("Last-Modified: yesterday"), 0)
        self.assertEqual(self.fresh_for(f"Last-Modified: {date(1000)}"), 0)

    def test_heuristic_only_then(self) -> None:
        """RFC 9111 section 4.2.2: never where an explicit time is there, nor for a status that is not cacheable so."""
        old = f"Last-Modified: {date(-10000)}"
        for line in ("Cache-Control: max-age=5", f"Expires: {date(5)}"):
            self.assertEqual(self.fresh_for(old, line), 5, line)
        self.assertEqual(self.fresh_for(old, "Expires: 0"), 0)
        self.assertEqual(self.fresh_for(old, status=302), 0)
        self.assertEqual(self.fresh_for(old, "Cache-Control: public", status=302), 1000)
        self.assertEqual(self.fresh_for(old, status=404), 1000)

    def test_apparent_age(self) -> None:
        """RFC 9111 section 4.2.3: a response is at least as old as its Date says, and never younger than nothing."""
        self.assertEqual(self.fresh_for("Cache-Control: max-age=60", f"Date: {date(-20)}"), 40)
        self.assertEqual(self.fresh_for("Cache-Control: max-age=60", f"Date: {date(20)}"), 60)

    def test_corrected_age(self) -> None:
        """RFC 9111 section 4.2.3: ... nor younger than its Age, counted from when the request was sent."""
        self.assertEqual(self.fresh_for("Cache-Control: max-age=60", "Age: 20"), 40)
        self.setUp()
        self.origin("Cache-Control: max-age=60", "Age: 20", delay=15)
        self.ask()
        self.assertEqual(self.ask().get(b"age"), b"35")

    def test_greater_age(self) -> None:
        """RFC 9111 section 4.2.3: the greater of the two counts."""
        self.assertEqual(self.fresh_for("Cache-Control: max-age=60", "Age: 20", f"Date: {date(-30)}"), 30)
        self.assertEqual(self.fresh_for("Cache-Control: max-age=60", "Age: 30", f"Date: {date(-20)}"), 30)

    def test_resident_time(self) -> None:
        """RFC 9111 section 4.2.3: the time it has lain here is added."""
        self.origin("Cache-Control: max-age=600", "Age: 20", f"Date: {date(-10)}")
        self.ask()
        self.wait(100)
        self.assertEqual(self.ask().get(b"age"), b"120")


class Section424(CacheCase, SynchronousTestCase):
    """4.2.4: serving stale responses."""

    def test_not_without_permission(self) -> None:
        """RFC 9111 section 4.2.4: no stale response is sent, unless the client or origin permits it, or it fails."""
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.ask()
        self.wait(70)
        self.assertFalse(self.hit())

    def test_permitted(self) -> None:
        """RFC 9111 section 4.2.4: max-stale permits it, as do the extensions of RFC 5861, and a broken connection."""
        self.origin("Cache-Control: max-age=60")
        self.ask()
        self.wait(70)
        self.assertTrue(self.hit("Cache-Control: max-stale=20"))
        reply = self.broken()
        assert reply is not None
        self.assertEqual((reply.status, reply.get(b"age")), (200, b"70"))


@pytest.mark.parametrize("directive", STALE)
class TestForbidden:
    """Directives that forbid stale responses."""

    def case(self, directive: str) -> CacheCase:
        """A stale response with the directive."""
        case = Section424()
        case.setUp()
        case.origin(
            f"Cache-Control: max-age=60, stale-while-revalidate=900, stale-if-error=900, {directive}", 'ETag: "a"'
        )
        case.ask()
        case.wait(70)
        return case

    def test_max_stale(self, directive: str) -> None:
        """RFC 9111 section 4.2.4: nothing permits a stale response that a directive prohibits: not max-stale, ..."""
        assert not self.case(directive).hit("Cache-Control: max-stale")

    def test_windows(self, directive: str) -> None:
        """RFC 9111 section 4.2.4: ... not stale-while-revalidate, ..."""
        assert not self.case(directive).hit()

    def test_broken(self, directive: str) -> None:
        """RFC 9111 sections 4.2.4 and 5.2.2.2: ... and not that the origin is unreachable or fails."""
        case = self.case(directive)
        assert case.broken("Cache-Control: stale-if-error=900") is None
        case.origin(status=503)
        assert case.ask().status == 503


class Operator(CacheCase, SynchronousTestCase):
    """What settings may change of it."""

    policy = CachePolicy(stale_while_revalidate=900.0, stale_if_error=900.0, min_ttl=5.0, max_ttl=100.0)

    def test_windows(self) -> None:
        """RFC 9111 section 4.2.4: settings permit stale responses, and not those that are prohibited."""
        for directive in ("", *STALE):
            self.setUp()
            self.origin(f"Cache-Control: max-age=60, {directive}", 'ETag: "a"')
            self.ask()
            self.wait(70)
            self.assertEqual(self.hit(), not directive, directive)
