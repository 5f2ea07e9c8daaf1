"""RFC 9111 sections 3.2, 4.3 and 4.4: validation, what it changes in what is stored, and invalidation."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.testing.cache_case import BODY, CacheCase, date, fields

MODIFIED = f"Last-Modified: {date(-5000)}"


class Section431(CacheCase, SynchronousTestCase):
    """4.3.1: sending a validation request."""

    def validating(self, *lines: str) -> dict[bytes, bytes]:
        """The fields of the request that validates a stale response with these fields."""
        self.origin("Cache-Control: max-age=60", *lines)
        self.ask("X-Other: 1")
        self.wait(70)
        self.ask("X-Other: 1", 'If-None-Match: "client\'s"', f"If-Modified-Since: {date(-9)}")
        return dict(self.sent[0])

    def test_etag(self) -> None:
        """RFC 9111 section 4.3.1: an entity tag validates by If-None-Match; the client's conditions are replaced."""
        sent = self.validating('ETag: "a"')
        self.assertEqual((sent[b"If-None-Match"], sent[b"X-Other"]), (b'"a"', b"1"))
        self.assertNotIn(date(-9).encode(), sent.values())

    def test_last_modified(self) -> None:
        """RFC 9111 section 4.3.1: Last-Modified validates by If-Modified-Since."""
        sent = self.validating(MODIFIED)
        self.assertEqual(sent[b"If-Modified-Since"], date(-5000).encode())
        self.assertNotIn(b"If-None-Match", sent)

    def test_neither(self) -> None:
        """RFC 9111 section 4.3.1: without a validator the response itself is asked for, unconditionally."""
        sent = self.validating()
        self.assertEqual([name for name in sent if name.startswith(b"If-")], [])

    def test_several(self) -> None:
        """RFC 9111 section 4.3.1: the entity tags of all stored responses may be sent; ours are of those that match."""
        for number, vary, lines in ((1, "A", ["A: 1"]), (2, "B", ["A: 2", "B: 1"]), (3, "A", ["A: 3"])):
            self.origin("Cache-Control: max-age=60", f"Vary: {vary}", f'ETag: "{number}"')
            self.ask(*lines)
        self.wait(70)
        self.ask("A: 1", "B: 1")
        self.assertEqual(set(dict(self.sent[0])[b"If-None-Match"].split(b", ")), {b'"1"', b'"2"'})

    def test_part(self) -> None:
        """RFC 9111 section 4.3.2: a stored part's tag is sent only for a range that the part would satisfy."""
        for value, sent in (("bytes=100-109", True), ("bytes=100-300", False)):
            self.setUp()
            lines = ["Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: bytes 100-199/1000"]
            self.origin(*lines, status=206, body=BODY[100:200])
            self.ask("Range: bytes=100-199")
            self.wait(70)
            self.ask(f"Range: {value}")
            self.assertEqual(b"If-None-Match" in dict(self.sent[0]), sent, value)


class Section432(CacheCase, SynchronousTestCase):
    """4.3.2: handling a received validation request."""

    def setUp(self) -> None:
        """A response is stored."""
        super().setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', MODIFIED)
        self.ask()

    def status(self, *lines: str, method: bytes = b"GET") -> int:
        """The status of an answer from the cache; 0 where the origin was asked."""
        reply = self.ask(*lines, method=method)
        return 0 if self.sent else reply.status

    def test_evaluated(self) -> None:
        """RFC 9111 section 4.3.2: preconditions are evaluated with respect to the selected stored response."""
        self.assertEqual(self.status('If-None-Match: "a"'), 304)
        self.assertEqual(self.status('If-None-Match: "x", W/"a"'), 304)
        self.assertEqual(self.status("If-None-Match: *"), 304)
        self.assertEqual(self.status('If-None-Match: "x"'), 200)
        self.assertEqual(self.status('If-None-Match: "a"', method=b"HEAD"), 304)

    def test_not_applicable(self) -> None:
        """RFC 9111 section 4.3.2: If-Match and If-Unmodified-Since are not the cache's to evaluate: they go on."""
        for line in ('If-Match: "a"', 'If-Match: "x"', "If-Match: *", f"If-Unmodified-Since: {date(0)}"):
            self.assertEqual(self.status(line), 0, line)
            name, _, value = line.partition(": ")
            self.assertEqual(dict(self.sent[0])[name.encode()], value.encode())

    def test_not_stored(self) -> None:
        """RFC 9111 section 4.3.2: a condition for a resource with nothing stored is no matter of the cache: it is asked
        for, and whoever has it already is told so by what comes."""
        reply = self.ask('If-None-Match: "a"', path=b"/other")
        self.assertEqual((len(self.sent), reply.status), (1, 304))
        self.origin("Cache-Control: max-age=60", status=404)
        self.assertEqual(self.ask("If-None-Match: *", path=b"/absent").status, 404)

    def test_precedence(self) -> None:
        """RFC 9111 section 4.3.2: If-Modified-Since counts only without If-None-Match."""
        self.assertEqual(self.status('If-None-Match: "x"', f"If-Modified-Since: {date(0)}"), 200)
        self.assertEqual(self.status('If-None-Match: "a"', f"If-Modified-Since: {date(-9000)}"), 304)

    def test_modified_since(self) -> None:
        """RFC 9111 section 4.3.2: a Last-Modified at or before the date makes a 304."""
        self.assertEqual(self.status(f"If-Modified-Since: {date(-5000)}"), 304)
        self.assertEqual(self.status(f"If-Modified-Since: {date(-4999)}"), 304)
        self.assertEqual(self.status(f"If-Modified-Since: {date(-5001)}"), 200)

    def test_without_last_modified(self) -> None:
        """RFC 9111 section 4.3.2: without Last-Modified, Date is compared."""
        self.origin("Cache-Control: max-age=60", f"Date: {date(-5)}")
        self.ask(path=b"/b")
        for seconds, status in ((-5, 304), (0, 304), (-6, 200)):
            self.assertEqual(self.ask(f"If-Modified-Since: {date(seconds)}", path=b"/b").status, status, seconds)

    def test_if_range(self) -> None:
        """RFC 9111 section 4.3.2: If-Range is evaluated with respect to the selected response."""
        self.assertEqual(self.status("Range: bytes=0-1", 'If-Range: "a"'), 206)
        self.assertEqual(self.status("Range: bytes=0-1", 'If-Range: "x"'), 200)

    def test_tag_of_ours(self) -> None:
        """RFC 9111 section 4.3.2: a 304 for a tag that the client does not have becomes a 200 with what is stored, as
        updated."""
        self.wait(70)
        reply = self.ask('If-None-Match: "client\'s"')
        self.assertEqual((len(self.sent), reply.status, reply.body), (1, 200, BODY))
        self.assertEqual(reply.get(b"date"), date(70).encode())

    def test_tag_of_both(self) -> None:
        """RFC 9111 section 4.3.2: ... and stays one for a client that has it."""
        self.wait(70)
        reply = self.ask('If-None-Match: "a"')
        self.assertEqual((len(self.sent), reply.status, reply.body), (1, 304, b""))


class Section433(CacheCase, SynchronousTestCase):
    """4.3.3: handling a validation response."""

    def setUp(self) -> None:
        """A stale response is stored."""
        super().setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.ask()
        self.wait(70)

    def test_304(self) -> None:
        """RFC 9111 section 4.3.3: 304 updates the stored response, which is reused."""
        reply = self.ask()
        self.assertEqual((len(self.sent), reply.status, reply.body), (1, 200, BODY))
        self.wait(59)
        self.assertTrue(self.hit())
        self.wait(1)
        self.assertFalse(self.hit())

    def test_full(self) -> None:
        """RFC 9111 section 4.3.3: a full response is used, and may be stored."""
        self.origin("Cache-Control: max-age=60", 'ETag: "b"', body=b"new")
        self.assertEqual(self.ask().body, b"new")
        self.assertEqual((self.ask().body, self.sent), (b"new", []))

    def test_full_not_stored(self) -> None:
        """RFC 9111 section 4.3.3: ... subject to what may be stored; it is used all the same."""
        self.origin("Cache-Control: no-store", 'ETag: "b"', body=b"new")
        self.assertEqual((self.ask().body, self.ask().body), (b"new", b"new"))

    def test_full_instead(self) -> None:
        """RFC 9111 section 4.3.3: ... and what it shows not to be suitable is not sent again, stale or not."""
        for status in (200, 404, 410, 301):
            self.setUp()
            self.origin("Cache-Control: no-store", 'ETag: "b"', status=status)
            self.ask()
            self.assertFalse(self.hit("Cache-Control: max-stale"), status)
            self.assertIsNone(self.broken(), status)

    def test_not_instead(self) -> None:
        """RFC 9111 section 4.3.3: a response about one client or one moment replaces nothing."""
        for status in (401, 403, 429, 501):
            self.setUp()
            self.origin("Cache-Control: no-store", status=status)
            self.ask()
            self.assertTrue(self.hit("Cache-Control: max-stale"), status)

    def test_error(self) -> None:
        """RFC 9111 section 4.3.3: a 5xx is forwarded, or the server counts as failed and what is stored is sent."""
        for status, expected in ((500, 200), (502, 200), (503, 200), (504, 200), (501, 501), (404, 404)):
            self.origin(status=status)
            self.assertEqual(self.ask().status, expected, status)


class Section434(CacheCase, SynchronousTestCase):
    """4.3.4: freshening stored responses upon validation; and 3.2: updating stored header fields."""

    def validated(self, *lines: str, first: list[str]) -> tuple[int, bytes]:
        """Store a response with the first fields, validate it with a 304 of the others: how often the origin was asked
        and what was sent. Without conditions the origin has the body ``new``."""
        self.setUp()
        self.origin("Cache-Control: max-age=60", *first)
        self.ask()
        self.wait(70)
        asking = self.cache.ask(PlainRequest(b"GET", b"example.org", b"/"), self.now)
        given = fields(["Cache-Control: max-age=60", f"Date: {date(70)}", *lines])
        reply = self.cache.received(asking, PlainResponse(304, given), b"", self.now)
        if reply is not None:
            return 1, reply.body
        self.assertEqual(asking.fields, [])
        reply = self.cache.received(asking, PlainResponse(200, given), b"new", self.now)
        assert reply is not None
        return 2, reply.body

    def test_strong(self) -> None:
        """RFC 9111 section 4.3.4: a strong validator selects the stored responses with the same one, ..."""
        self.assertEqual(self.validated('ETag: "a"', first=['ETag: "a"', MODIFIED]), (1, BODY))

    def test_no_other(self) -> None:
        """RFC 9111 section 4.3.4: ... and where none has it, none is updated: the response is fetched."""
        for tag in ('"b"', 'W/"b"'):
            self.assertEqual(self.validated(f"ETag: {tag}", first=['ETag: "a"', MODIFIED]), (2, b"new"), tag)

    def test_weak(self) -> None:
        """RFC 9111 section 4.3.4: a weak validator selects the most recent response it corresponds to."""
        self.assertEqual(self.validated('ETag: W/"a"', first=['ETag: W/"a"']), (1, BODY))
        self.assertEqual(self.validated(MODIFIED, first=[MODIFIED]), (1, BODY))
        self.assertEqual(self.validated(f"Last-Modified: {date(-4)}", first=[MODIFIED]), (2, b"new"))

    def test_none(self) -> None:
        """RFC 9111 section 4.3.4: a 304 without validator updates a single stored response that has none either."""
        self.assertEqual(self.validated(first=['ETag: "a"'])[0], 2)

    def updated(self, first: list[str], second: list[str]) -> CacheCase:
        """A case with a response stored with the first fields, and validated by a 304 with the second."""
        self.setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', *first)
        self.ask()
        self.wait(70)
        self.origin("Cache-Control: max-age=600", 'ETag: "a"', *second)
        self.ask()
        self.assertEqual(len(self.sent), 1)
        return self

    def test_replaced(self) -> None:
        """RFC 9111 sections 3.2 and 4.3.4: each field of the 304 replaces all those of its name; others stay; new ones
        are added."""
        self.updated(["X-A: 1", "X-A: 2", "X-B: 1"], ["x-a: 3", "X-C: 4"])
        reply = self.ask()
        self.assertEqual(self.sent, [])
        self.assertEqual(
            (reply.get_all(b"x-a"), reply.get_all(b"x-b"), reply.get_all(b"x-c")), ([b"3"], [b"1"], [b"4"])
        )
        self.assertEqual(reply.get_all(b"cache-control"), [b"max-age=600"])

    def test_freshness(self) -> None:
        """RFC 9111 section 4.3.4: the new lifetime and age count from then on."""
        self.updated([], [])
        self.wait(599)
        self.assertEqual((self.ask().get(b"age"), self.sent), (b"599", []))
        self.wait(1)
        self.assertFalse(self.hit())

    def test_not_replaced(self) -> None:
        """RFC 9111 section 3.2: Content-Length, and what the stored body depends on, are not updated; nor are fields
        that are not stored."""
        self.updated(
            ["Content-Encoding: gzip"],
            ["Content-Length: 7", "Content-Encoding: br", "Content-Range: bytes 0-1/2", "Connection: X-H", "X-H: 1"],
        )
        reply = self.ask()
        self.assertEqual((reply.get_all(b"content-length"), reply.get_all(b"content-encoding")), ([b"1000"], [b"gzip"]))
        for name in (b"content-range", b"connection", b"x-h"):
            self.assertIsNone(reply.get(name), name)

    def test_forbidden(self) -> None:
        """RFC 9111 section 3.2: a 304 that says no-store or private ends the storing."""
        for value in ("no-store", "private"):
            self.setUp()
            self.origin("Cache-Control: max-age=60", 'ETag: "a"')
            self.ask()
            self.wait(70)
            self.origin(f"Cache-Control: {value}", 'ETag: "a"')
            self.assertEqual(self.ask().body, BODY)
            self.assertFalse(self.hit(), value)

    def test_variants(self) -> None:
        """RFC 9111 section 4.3.4: a 304 that names another stored response's tag has that one answer."""
        for number, vary, lines in ((1, "A", ["A: 1"]), (2, "B", ["A: 2", "B: 1"])):
            self.origin("Cache-Control: max-age=60", f"Vary: {vary}", f'ETag: "{number}"', body=b"%d" % number)
            self.ask(*lines)
        self.wait(70)
        for number in (1, 2):
            self.origin("Cache-Control: max-age=0", f'ETag: "{number}"')
            reply = self.ask("A: 1", "B: 1")
            self.assertEqual((len(self.sent), reply.body), (1, b"%d" % number))


class Section435(CacheCase, SynchronousTestCase):
    """4.3.5: freshening responses with HEAD."""

    def head(self, *lines: str, status: int = 200) -> bool:
        """Whether a response stored for GET is reused unasked after its lifetime, since HEAD was answered so."""
        self.setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"', MODIFIED, "Content-Length: 1000", "X: old")
        self.ask()
        self.wait(50)
        self.origin("Cache-Control: max-age=600", *lines, status=status)
        self.conditions = False
        self.ask("Cache-Control: no-cache", method=b"HEAD")
        self.assertEqual(len(self.sent), 1)
        self.wait(70)
        self.reply = self.ask()
        return not self.sent

    def test_updated(self) -> None:
        """RFC 9111 section 4.3.5: with the same validators and length, its fields update what is stored for GET."""
        self.assertTrue(self.head('ETag: "a"', MODIFIED, "Content-Length: 1000", "X: new", "Y: 1"))
        self.assertEqual((self.reply.body, self.reply.get(b"x"), self.reply.get(b"y")), (BODY, b"new", b"1"))

    def test_outdated(self) -> None:
        """RFC 9111 section 4.3.5: otherwise the stored response counts as stale."""
        for lines in (['ETag: "b"'], ['ETag: "a"', f"Last-Modified: {date(0)}"], ["Content-Length: 999"]):
            self.assertFalse(self.head(*lines), lines)

    def test_other_statuses(self) -> None:
        """RFC 9111 section 4.3.5: only a 200 says something of it."""
        self.setUp()
        self.origin("Cache-Control: max-age=60", 'ETag: "a"')
        self.ask()
        self.origin("Cache-Control: max-age=600", 'ETag: "b"', status=404)
        self.ask("Cache-Control: no-cache", method=b"HEAD")
        self.assertTrue(self.hit())


class Section44(CacheCase, SynchronousTestCase):
    """4.4: invalidating stored responses."""

    def after(self, method: bytes, *lines: str, status: int = 200, path: bytes = b"/", target: bytes = b"/") -> bool:
        """Whether what is stored for ``path`` is still there after such a request to ``target``."""
        self.setUp()
        self.ask(path=path)
        self.origin(*lines, status=status)
        self.ask(method=method, path=target)
        return self.hit(path=path)

    def test_unsafe(self) -> None:
        """RFC 9111 section 4.4: a non-error response to an unsafe method invalidates the target, unknown ones too."""
        for method in (b"PUT", b"DELETE", b"POST", b"PATCH", b"FOO", b"MKCOL"):
            for status in (200, 201, 204, 301, 303):
                self.assertFalse(self.after(method, status=status), (method, status))

    def test_safe(self) -> None:
        """RFC 9111 section 4.4: safe methods invalidate nothing."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND"):
            self.assertTrue(self.after(method), method)

    def test_errors(self) -> None:
        """RFC 9111 section 4.4: errors invalidate nothing."""
        for status in (400, 404, 409, 500, 503):
            self.assertTrue(self.after(b"POST", status=status), status)

    def test_related(self) -> None:
        """RFC 9111 section 4.4: so are the URIs of Location and Content-Location, on the same origin."""
        for name in ("Location", "Content-Location"):
            for value in (
                "/a",
                "http://example.org/a",
                "http://example.org:80/a",
                "HTTP://EXAMPLE.ORG/a",
                "a",
                "./x/../a",
            ):
                self.assertFalse(self.after(b"POST", f"{name}: {value}", path=b"/a"), (name, value))

    def test_other_origins(self) -> None:
        """RFC 9111 section 4.4: never those of another origin."""
        for value in ("http://other.example/", "https://example.org/", "http://example.org:8080/", "//other.example/"):
            self.setUp()
            self.ask(host=b"other.example")
            self.origin(f"Location: {value}", f"Content-Location: {value}", status=201)
            self.ask(method=b"POST", host=b"attacker.example")
            self.ask(host=b"other.example")
            self.assertEqual(self.sent, [], value)

    def test_nonsense(self) -> None:
        """RFC 9111 section 4.4: a reference that is none invalidates nothing more, and breaks nothing."""
        for value in ("http://[", "", "http://\xff/", "#", "mailto:a", "http://example.org:99999999/"):
            self.assertFalse(self.after(b"POST", f"Location: {value}"), value)

    def test_all_variants(self) -> None:
        """RFC 9111 section 4.4: all responses stored for the URI go, whatever they vary by."""
        self.origin("Cache-Control: max-age=60", "Vary: A")
        for number in ("1", "2"):
            self.ask(f"A: {number}")
        self.ask(method=b"DELETE")
        for number in ("1", "2"):
            self.assertFalse(self.hit(f"A: {number}"))
