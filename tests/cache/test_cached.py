"""The cache as a library: that its pieces work together. What each RFC asks of it is in test_rfc9111."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.cache.asking import Asking, Reply
from balancer.cache.cached import HttpCache
from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.cache.policy import CachePolicy, KeyPolicy
from balancer.cache.stored import Fields, Stored
from balancer.interfaces import ICacheStore
from balancer.testing.plain_store import PlainStore

NOW = 1795521600.0
"""Tue, 24 Nov 2026 12:00:00 GMT."""
DATE = b"Tue, 24 Nov 2026 12:00:00 GMT"
BODY = b"0123456789" * 100


def request(path: bytes = b"/", *fields: tuple[bytes, bytes], method: bytes = b"GET") -> PlainRequest:
    """One to the one host."""
    return PlainRequest(method, b"example.org", path, None, list(fields))


def response(*fields: tuple[bytes, bytes], status: int = 200) -> PlainResponse:
    """One that is fresh for a minute, unless its fields say something else."""
    given = [(b"Date", DATE), (b"Cache-Control", b"max-age=60"), *fields]
    replaced = {name.lower() for name, _ in fields}
    return PlainResponse(status, [field for n, field in enumerate(given) if n > 1 or field[0].lower() not in replaced])


class Body:
    """A body that is read in pieces, at once or not, and its reader."""

    file = None

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.slow = False
        self.opened = 0

    def open(self) -> "Body":
        """A reader."""
        self.opened += 1
        return self

    def read(self, offset: int, size: int) -> object:
        """Seven bytes at most."""
        return Deferred() if self.slow else self.data[offset : offset + min(size, 7)]

    def close(self) -> None:
        """It was read."""
        self.opened -= 1


class CachedTests(SynchronousTestCase):
    """One cache over a dictionary."""

    def setUp(self) -> None:
        """An empty one."""
        self.store = PlainStore()
        self.cache = HttpCache(CachePolicy(), self.store)
        self.went: list[Fields] = []

    def get(
        self,
        asked: PlainRequest,
        origin: Callable[[Fields], tuple[PlainResponse, bytes]] | None = None,
        now: float = NOW,
        **more: float,
    ) -> Reply | None:
        """The whole way of one request, as the module's example has it."""
        asking = self.cache.ask(asked, now, **more)
        reply = self.cache.answer(asking, now)
        while reply is None and origin is not None:
            self.went.append(asking.fields)
            reply = self.cache.received(asking, *origin(asking.fields), now)
        return reply

    def fill(self, *fields: tuple[bytes, bytes], body: bytes = BODY) -> Reply:
        """Have the origin's answer stored."""
        reply = self.get(request(), lambda sent: (response(*fields), body))
        assert reply is not None
        return reply

    def asking(self, *fields: tuple[bytes, bytes], now: float = NOW) -> Asking:
        """A request that is on its way."""
        return self.cache.ask(request(b"/", *fields), now)

    def test_store(self) -> None:
        """What these tests store into is a store."""
        verifyObject(ICacheStore, self.store)

    def test_miss_then_hit(self) -> None:
        """The first goes to the origin and is passed on with all its fields, the second is answered, with its age."""
        reply = self.fill((b"X-A", b"1"), (b"Connection", b"X-B"), (b"X-B", b"2"))
        self.assertEqual((reply.status, reply.body, reply.get(b"x-a"), reply.get(b"x-b")), (200, BODY, b"1", None))
        self.assertIsNotNone(reply.stored)
        self.assertIsNone(reply.get(b"age"))
        self.assertEqual(reply.get(b"cache-status"), b"balancer; fwd=uri-miss; ttl=60; stored")
        hit = self.get(request(), now=NOW + 7)
        assert hit is not None
        self.assertEqual((hit.status, hit.body, hit.get(b"age"), hit.get(b"x-a")), (200, BODY, b"7", b"1"))
        self.assertEqual(hit.get(b"cache-status"), b"balancer; hit; ttl=53")
        self.assertEqual(hit.get_all(b"content-length"), [b"1000"])

    def test_not_stored(self) -> None:
        """What may not be stored is passed on, and says why it was not."""
        reply = self.fill((b"Cache-Control", b"no-store"))
        self.assertEqual((reply.body, reply.stored, reply.reason), (BODY, None, "no-store"))
        self.assertIn(b"detail=no-store", reply.get(b"cache-status") or b"")
        self.assertIsNone(self.get(request()))

    def test_without_name(self) -> None:
        """A cache without a name says nothing of itself."""
        self.cache = HttpCache(CachePolicy(name=""), self.store)
        self.assertIsNone(self.fill().get(b"cache-status"))
        hit = self.get(request())
        assert hit is not None
        self.assertEqual((hit.get(b"cache-status"), hit.get(b"age")), (None, b"0"))

    def test_validated(self) -> None:
        """A stale one is validated with its own tag, and a 304 makes it fresh, for the client a whole response."""
        self.fill((b"ETag", b'"a"'))
        asked = request(b"/", (b"If-None-Match", b'"mine"'))
        same = response((b"ETag", b'"a"'), (b"X-New", b"1"), (b"Date", b"Tue, 24 Nov 2026 12:01:30 GMT"), status=304)
        reply = self.get(asked, lambda sent: (same, b""), NOW + 90)
        assert reply is not None
        self.assertEqual(self.went[-1], [(b"If-None-Match", b'"a"')])
        self.assertEqual((reply.status, reply.body, reply.get(b"x-new")), (200, BODY, b"1"))
        self.assertIsNotNone(self.get(request(), now=NOW + 91))

    def test_validation_in_vain(self) -> None:
        """A 304 that fits nothing stored is no answer: the origin is asked again, without conditions."""
        self.fill((b"ETag", b'"a"'))
        answers = [(response((b"ETag", b'"b"'), status=304), b""), (response((b"ETag", b'"b"')), b"new")]
        reply = self.get(request(), lambda sent: answers.pop(0), NOW + 90)
        assert reply is not None
        self.assertEqual((reply.body, self.went[-1]), (b"new", []))

    def test_failed(self) -> None:
        """A stale one covers an origin that fails or is not there, and says so."""
        self.fill((b"ETag", b'"a"'))
        asking = self.asking(now=NOW + 90)
        for reply, told in (
            (self.cache.failed(asking, NOW + 90), b"fwd=stale;"),
            (self.cache.received(asking, response(status=503), b"down", NOW + 90), b"fwd-status=503"),
        ):
            assert reply is not None
            self.assertEqual((reply.status, reply.body, reply.get(b"age")), (200, BODY, b"90"))
            self.assertIn(told, reply.get(b"cache-status") or b"")
        self.assertIsNone(self.cache.failed(self.cache.ask(request(b"/other"), NOW), NOW))

    def test_conditions_of_the_client(self) -> None:
        """They are answered from what came, stored or not."""
        for control in (b"max-age=60", b"no-store"):
            given = response((b"ETag", b'"a"'), (b"Cache-Control", control))
            reply = self.get(request(control, (b"If-None-Match", b'"a"')), lambda sent, given=given: (given, BODY))  # type: ignore[misc]
            assert reply is not None
            self.assertEqual((reply.status, reply.body), (304, b""))
            self.assertEqual(self.went[-1], [])

    def test_parts(self) -> None:
        """Parts of one representation are put together until it is whole; then it answers requests for the whole."""

        def origin(sent: Fields) -> tuple[PlainResponse, bytes]:
            first, last = (int(number) for number in dict(sent)[b"Range"].removeprefix(b"bytes=").split(b"-"))
            part = b"bytes %d-%d/1000" % (first, last)
            return response((b"ETag", b'"a"'), (b"Content-Range", part), status=206), BODY[first : last + 1]

        for span in (b"0-399", b"600-999"):
            self.assertIsNotNone(self.get(request(b"/", (b"Range", b"bytes=" + span)), origin))
        hit = self.get(request(b"/", (b"Range", b"bytes=700-709")))
        assert hit is not None
        self.assertEqual((hit.status, hit.body), (206, BODY[700:710]))
        self.assertIsNone(self.get(request()))
        self.assertIsNotNone(self.get(request(b"/", (b"Range", b"bytes=400-599")), origin))
        hit = self.get(request())
        assert hit is not None
        self.assertEqual((hit.status, hit.body, hit.get_all(b"content-length")), (200, BODY, [b"1000"]))

    def test_refused(self) -> None:
        """Who wants only what is stored gets 504 where nothing is."""
        reply = self.get(request(b"/", (b"Cache-Control", b"only-if-cached")))
        assert reply is not None
        self.assertEqual((reply.status, reply.get(b"content-length")), (504, b"0"))

    def test_purge(self) -> None:
        """Purges by what they name, in any spelling of the URI; a soft one leaves what can be validated."""
        for kind, what in (("url", b"HTTP://Example.org:80/"), ("host", b"example.org"), ("tag", b"t"), ("all", b"")):
            self.fill((b"Surrogate-Key", b"s t"))
            self.assertIsNotNone(self.get(request()))
            self.cache.purge(kind, what)  # type: ignore[arg-type]  # a tuple of the literals
            self.assertIsNone(self.get(request()), kind)
        self.fill((b"ETag", b'"a"'))
        self.cache.purge("all", soft=True)
        self.assertEqual(self.asking().fields, [(b"If-None-Match", b'"a"')])

    def test_purged_meanwhile(self) -> None:
        """What was asked for before a purge is passed on and not stored."""
        asking = self.asking()
        self.cache.purge("all")
        self.assertIsNotNone(self.cache.received(asking, response(), BODY, NOW))
        self.assertIsNone(self.get(request()))

    def test_variants(self) -> None:
        """Of more variants than allowed the oldest leaves."""
        self.cache = HttpCache(CachePolicy(max_variants=2), self.store)
        for name in (b"a", b"b", b"c"):
            self.get(request(b"/", (b"X", name)), lambda sent: (response((b"Vary", b"X")), BODY))
        found = [self.get(request(b"/", (b"X", name))) is not None for name in (b"a", b"b", b"c")]
        self.assertEqual(found, [False, True, True])

    def test_too_large(self) -> None:
        """A body over the limit is passed on only."""
        self.cache = HttpCache(CachePolicy(max_object=999), self.store)
        self.assertEqual((self.fill().body, self.fill().reason), (BODY, "too large"))

    def test_key(self) -> None:
        """Keys are of the policy, the cache's name and the scheme."""
        self.cache = HttpCache(CachePolicy(key=KeyPolicy(query=False)), self.store, b"https", "other")
        asking = self.cache.ask(PlainRequest(b"GET", b"example.org:443", b"/", b"a=b"), NOW)
        self.assertEqual(asking.key, b"https://example.org/\nother")

    def test_lines_of_their_own(self) -> None:
        """A response whose fields would write lines of their own is refused before anything is kept of it."""
        asking = self.asking()
        self.assertRaises(ValueError, self.cache.received, asking, response((b"X", b"a\r\nSet-Cookie: b")), BODY, NOW)
        self.assertIsNone(self.get(request()))

    def test_other_stores(self) -> None:
        """A store that needs time is refused in words, for its heads and for its bodies."""
        self.fill()
        body = Body(BODY)
        self.store.held[self.asking().key][0].body = body
        hit = self.get(request())
        assert hit is not None
        self.assertEqual((hit.body, body.opened), (BODY, 0))
        body.slow = True
        self.assertRaises(TypeError, self.get, request())
        self.assertEqual(body.opened, 0)
        self.store.get = lambda key: Deferred()  # type: ignore[method-assign, assignment, return-value]
        self.assertRaises(TypeError, self.asking)

    def test_repr(self) -> None:
        """A reply tells what it is."""
        reply = self.fill()
        self.assertIn("200 1000 bytes", repr(reply))
        self.assertIsInstance(reply.stored, Stored)

    def test_304_that_forbids(self) -> None:
        """A 304 that says no-store, or has another Vary, leaves nothing of what it is about to be sent."""
        for said in ((b"Cache-Control", b"no-store"), (b"Vary", b"X-A")):
            self.setUp()
            self.fill((b"ETag", b'"e"'))

            def origin(sent: Fields, said: tuple[bytes, bytes] = said) -> tuple[PlainResponse, bytes]:
                status = 304 if any(name == b"If-None-Match" for name, _ in sent) else 200
                return response(said, (b"ETag", b'"e"'), status=status), b"" if status == 304 else b"new"

            reply = self.get(request(b"/", (b"Cache-Control", b"no-cache")), origin)
            assert reply is not None
            self.assertEqual((reply.status, reply.body), (200, b"new"))
            self.assertIsNone(self.get(request(b"/", (b"X-A", b"1"))))

    def test_304_for_several(self) -> None:
        """What else has the entity tag that a 304 confirms, and fits the request, is not sent as it was before."""
        self.fill((b"ETag", b'"e"'), (b"Vary", b"X-A"))
        later = b"Tue, 24 Nov 2026 12:00:01 GMT"
        refused = request(b"/", (b"X-A", b"1"))
        self.get(refused, lambda sent: (response((b"Date", later), (b"ETag", b'"e"'), status=301), b""))
        confirmed = response((b"ETag", b'"e"'), (b"X-New", b"1"), status=304)
        for _ in range(2):
            reply = self.get(request(b"/", (b"Cache-Control", b"no-cache")), lambda sent: (confirmed, b""))
            assert reply is not None
            self.assertEqual(reply.get(b"x-new"), b"1")
        self.assertEqual(len(self.asking().variants), 1)

    def test_fetched_anew(self) -> None:
        """The age of what was fetched after a validation in vain counts from the second request."""
        self.fill((b"ETag", b'"e"'))
        asking = self.asking((b"Cache-Control", b"no-cache"))
        self.assertIsNone(self.cache.received(asking, response((b"ETag", b'"f"'), status=304), b"", NOW + 3))
        self.cache.received(asking, response((b"Date", b"Tue, 24 Nov 2026 12:00:05 GMT")), BODY, NOW + 5)
        reply = self.get(request(), now=NOW + 5)
        assert reply is not None
        self.assertEqual(reply.get(b"age"), b"2")

    def test_stale_for_who_says_max_age(self) -> None:
        """A client that says max-age and not max-stale gets nothing stale (RFC 9111 section 5.2.1.1)."""
        self.fill((b"Cache-Control", b"max-age=60, stale-while-revalidate=60"))
        self.assertIsNotNone(self.get(request(), now=NOW + 70))
        self.assertIsNone(self.get(request(b"/", (b"Cache-Control", b"max-age=100")), now=NOW + 70))
        self.assertIsNotNone(self.get(request(b"/", (b"Cache-Control", b"max-age=100, max-stale=20")), now=NOW + 70))
        self.assertIsNone(self.get(request(b"/", (b"Cache-Control", b"max-age=100, max-stale=5")), now=NOW + 70))

    def test_date_that_is_none(self) -> None:
        """Of several the most recent is sent; one whose Date is none counts by its arrival."""
        self.fill()
        wrong = (b"Date", b"yesterday")
        again = request(b"/", (b"Cache-Control", b"no-cache"))
        self.get(again, lambda sent: (response(wrong, (b"Vary", b"X-A")), b"new"), now=NOW + 5)
        reply = self.get(request(), now=NOW + 5)
        assert reply is not None
        self.assertEqual(reply.body, b"new")
