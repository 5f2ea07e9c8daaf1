"""Attacks on the cache of the HTTP engine, each of which succeeded once."""

import contextlib
import tracemalloc
from time import process_time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy, KeyPolicy, PurgePolicy
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.errors import StoreError
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings
from balancer.testing.caching import CacheBench
from balancer.testing.http import Party
from tests.http.test_cached import FRESH, parts

URI = b"http://test/"


def in_memory(size: int = 2**24, **more: Any) -> CacheBench:
    """A bench with the store that is the default."""
    return CacheBench(store=MemoryStore(MemorySettings(size=size), Clock()), **more)


def begin(bench: CacheBench, *fields: bytes, length: int) -> Party:
    """The origin sends a head; its connection."""
    origin = bench.origin()
    origin.received = b""
    lines = b"".join(b"%b\r\n" % field for field in (bench.date(), *fields, b"Content-Length: %d" % length))
    bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n" % lines)
    return origin


def stale(bench: CacheBench, *fields: bytes, body: bytes = b"page") -> CacheBench:
    """``/`` is stored there, and has become stale."""
    bench.get()
    bench.answer(bench.date(), *(fields or (FRESH,)), b'ETag: "a"', body=body)
    bench.advance(61)
    return bench


class AnswerTests(SynchronousTestCase):
    """One request, one answer: its own."""

    def test_no_second_answer_after_a_stale_one(self) -> None:
        """A leader that got a stale response gets nothing of the error, when another who waited may have nothing stale:
        else the next request on its connection is answered with it."""
        bench = stale(CacheBench())
        leader = bench.get()
        bench.get(b"/", b"Cache-Control: stale-if-error=0")
        bench.answer(bench.date(), b"Cache-Control: private", body=b"error page", status=b"503 No")
        self.assertEqual(leader.received.count(b"HTTP/1.1 "), 1)
        self.assertEqual(leader.closed, "open")

    def test_the_answer_to_the_next_request(self) -> None:
        """Likewise with a pipelined request, whose answer it would be."""
        bench = stale(CacheBench())
        get = b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n"
        leader = bench.client(get % b"/" + get % b"/other")
        bench.get(b"/", b"Cache-Control: stale-if-error=0")
        bench.answer(bench.date(), b"Cache-Control: private", body=b"error page", status=b"503 No")
        self.assertEqual(leader.received.count(b"HTTP/1.1 "), 1)  # /other waits at the origin

    def test_who_joins_while_others_get_what_is_stale(self) -> None:
        """The next request on the leader's connection, which begins as soon as the first has its stale answer, is
        answered too."""
        bench = stale(CacheBench())
        client = bench.client(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
        bench.answer(bench.date(), status=b"503 No")
        if bench.asked:
            bench.answer(bench.date(), status=b"503 No")
        self.assertEqual(client.received.count(b"HTTP/1.1 200"), 2)

    def test_ranges_out_of_order_of_what_is_not_stored(self) -> None:
        """Ranges that go back, of a response that the store does not take and that arrives in pieces: right and whole,
        or reset; never other bytes, never silence."""
        bench = CacheBench()
        bench.store.refusing = True
        body = bytes(number % 251 for number in range(20000))
        client = bench.get(b"/", b"Range: bytes=700-799,0-99")
        origin = begin(bench, FRESH, b'ETag: "a"', length=len(body))
        bench.send(origin, body[:600])
        bench.send(origin, body[600:15000])
        bench.send(origin, body[15000:])
        self.assertEqual(parts(client)[2], body)  # a server may ignore Range

    def test_ranges_out_of_order_are_not_waited_for_for_ever(self) -> None:
        """The same, where what was let go of is far away: nothing comes any more, no timer, no record."""
        bench = in_memory(2**20)  # which keeps no body of more than 128 KiB
        body = bytes(200000)
        client = bench.get(b"/", b"Range: bytes=150000-150099,0-99")
        origin = begin(bench, FRESH, b'ETag: "a"', length=len(body))
        for at in range(0, len(body), 10000):
            bench.send(origin, body[at : at + 10000])
        bench.advance(300)
        self.assertEqual(parts(client)[2], body)
        self.assertEqual(len(bench.records), 1)


class KeyTests(SynchronousTestCase):
    """What an origin did not see tells no responses apart."""

    def test_a_field_that_connection_names_and_vary(self) -> None:
        """Connection takes Accept-Language (or Origin, Cookie, ...) from the request on its way; what the origin says
        then is not what it says to those who send that field."""
        bench = CacheBench()
        bench.get(b"/", b"Accept-Language: en", b"Connection: accept-language")
        bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=b"no language")
        victim = bench.get(b"/", b"Accept-Language: en")
        self.assertNotEqual(parts(victim)[2] if victim.received else b"", b"no language")

    def test_a_field_that_connection_names_and_the_key(self) -> None:
        """Likewise with a field of ``key.headers``."""
        bench = CacheBench(cache=CachePolicy(key=KeyPolicy(headers=("x-tenant",))))
        bench.get(b"/", b"X-Tenant: a", b"Connection: x-tenant")
        bench.answer(bench.date(), FRESH, body=b"of no tenant")
        victim = bench.get(b"/", b"X-Tenant: a")
        self.assertEqual(victim.received, b"")

    def test_vary_by_what_we_tell_of_the_client(self) -> None:
        """A server that varies by the client's address varies by what it was told, which is not what the client
        sent."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, b"Vary: X-Forwarded-For", body=b"for 192.0.2.1")
        other = bench.client(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", host="198.51.100.9")
        self.assertEqual(other.received, b"")

    def test_paths_that_trusted_proxies_pass_on(self) -> None:
        """X-Original-URL and X-Rewrite-URL override the path in some frameworks. They are taken from strangers; from
        trusted proxies they go on, and so they count."""
        for name in (b"X-Original-URL", b"X-Rewrite-URL", b"X-Original-Host"):
            with self.subTest(name=name):
                bench = CacheBench(forwarded=ForwardedPolicy(trusted_proxies=("192.0.2.0/24",)))
                bench.get(b"/", name + b": /evil")
                bench.answer(bench.date(), FRESH, body=b"evil")
                self.assertEqual(bench.get().received, b"")


class PurgeTests(SynchronousTestCase):
    """What was purged stays purged."""

    def test_head_under_way(self) -> None:
        """The answer to a HEAD that was sent before a purge does not bring back what the purge removed."""
        bench = in_memory()
        bench.get()
        bench.answer(bench.date(), b"Cache-Control: max-age=60, must-revalidate", body=b"secret")
        bench.advance(61)
        bench.get(method=b"HEAD")
        self.assertEqual(bench.cache.purge_url(URI), 1)
        origin = bench.origin()
        origin.received = b""
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 6\r\n\r\n" % (bench.date(), FRESH))
        self.assertEqual(bench.get().received, b"")

    def test_who_waited(self) -> None:
        """Who waited when it was purged, and asks for himself later, does not have validated what was purged."""
        bench = stale(in_memory(), b"Cache-Control: max-age=60, must-revalidate", body=b"secret")
        bench.get()
        bench.get()
        self.assertEqual(bench.cache.purge_url(URI), 1)
        origin = bench.origin()
        origin.received = b""
        bench.reset(origin)  # the leader gets 502, and the other one asks
        self.assertNotIn(b"If-None-Match", bench.origin().received)

    def test_a_purge_that_fails(self) -> None:
        """A store that cannot remove is no reason to leave the operator without an answer."""
        token = "t" * 32
        bench = CacheBench(cache=CachePolicy(purge=PurgePolicy(token=token, sources=("192.0.2.0/24",))))
        failed: Deferred[int] = Deferred()
        bench.store.remove = lambda uri, soft: failed  # type: ignore[method-assign]
        client = bench.get(b"/", b"Authorization: Bearer " + token.encode("ascii"), method=b"PURGE")
        failed.errback(Failure(StoreError("no")))
        bench.run()
        self.flushLoggedErrors()
        self.assertTrue(client.received or client.closed != "open")


class EvictionTests(SynchronousTestCase):
    """Strangers do not take from others what is stored."""

    def test_an_answer_about_one_client(self) -> None:
        """Statuses about one client or one moment, which are not stored for that reason, remove nothing either."""
        for status, field in (
            (b"431 Too Large", b"X-Large: x"), (b"429 Slower", b"X: y"), (b"401 No", b"Authorization: x"),
        ):  # fmt: skip
            with self.subTest(status=status):
                bench = in_memory()
                bench.get()
                bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"page")
                bench.get(b"/", b"Cache-Control: no-cache", field)
                bench.answer(bench.date(), status=status)
                self.assertEqual(parts(bench.get())[2], b"page")

    def test_authorization_that_is_told_304(self) -> None:
        """That a 304 to Authorization may not be stored does not remove what was stored of others, nor is the origin
        asked a second time."""
        bench = in_memory()
        bench.get()
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"page")
        bench.get(b"/", b"Authorization: x", b"Cache-Control: no-cache")
        bench.answer(bench.date(), FRESH, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        self.assertEqual(bench.asked, 0)
        self.assertEqual(parts(bench.get())[2], b"page")

    def test_a_background_validation_that_fails_for_one_client(self) -> None:
        """What one client's fields make the origin say behind the scenes takes nothing from the others."""
        bench = in_memory()
        bench.get()
        bench.answer(bench.date(), b"Cache-Control: max-age=10, stale-while-revalidate=100", b'ETag: "a"', body=b"page")
        bench.advance(25)
        bench.get(b"/", b"X-Large: " + b"x" * 5000)
        bench.answer(bench.date(), status=b"431 Too Large")
        self.assertEqual(parts(bench.get())[2], b"page")

    def test_authorization_does_not_stop_collapsing(self) -> None:
        """That an answer to Authorization is not stored says nothing about others' answers: they wait for one."""
        bench = in_memory()
        bench.get(b"/", b"Authorization: x")
        bench.answer(bench.date(), FRESH, body=b"page")
        for _ in range(10):
            bench.get()
        self.assertEqual(bench.asked, 1)

    def test_an_error_does_not_stop_collapsing(self) -> None:
        """A 503 is no reason to send a hundred requests instead of one for two minutes."""
        bench = in_memory()
        bench.get()
        bench.answer(bench.date(), status=b"503 No")
        for _ in range(10):
            bench.get()
        self.assertEqual(bench.asked, 1)


class ExhaustionTests(SynchronousTestCase):
    """Descriptors, memory, time."""

    def test_readers_are_closed(self) -> None:
        """A client that lags behind and leaves before the body is complete leaves no reader of it open (a descriptor,
        with a store on a disk)."""
        bench = CacheBench()
        client = bench.get()
        client.transport.pauseProducing()
        origin = begin(bench, FRESH, length=900000)
        bench.send(origin, bytes(850000))
        fetch = next(iter(next(iter(bench.cache._fetches.values()))))
        arriving = fetch._arriving
        assert arriving is not None
        client.transport.resumeProducing()
        bench.run()
        self.assertIsNotNone(arriving._reader)
        bench.reset(client)
        bench.send(origin, bytes(50000))
        self.assertEqual(len(bench.store.kept), 1)
        self.assertIsNone(arriving._reader)

    def test_what_variants_leave_behind(self) -> None:
        """Which large nominated fields a request was compared with is not remembered for each head that was seen."""
        bench = in_memory(2**28)
        for number in range(32):
            bench.get(b"/", b"X-Lang: %d" % number + b"y" * 50000)
            bench.answer(bench.date(), FRESH, b"Vary: X-Lang", body=b"x")
        tracemalloc.start()
        try:
            for number in range(50):
                for _ in range(3):
                    fields = (b"User-Agent: %d" % number, b"Cache-Control: only-if-cached")
                    bench.reset(bench.get(b"/", *fields))
                bench.wires.clear()
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        self.assertLess(held, 16 * 2**20)

    def test_parts_take_no_memory_beside_the_store(self) -> None:
        """What is held of ranges under way is bounded, however many there are."""
        bench = in_memory(2**20)
        size = 2 * 2**20
        tracemalloc.start()
        try:
            for number in range(64):
                client = bench.get(b"/%d" % number, b"Range: bytes=0-%d" % (size - 1))
                origin = bench.origin()
                origin.received = b""
                head = b'HTTP/1.1 206 Partial Content\r\n%b\r\n%b\r\nETag: "a"\r\nContent-Length: %d\r\n'
                bench.send(
                    origin,
                    head % (bench.date(), FRESH, size) + b"Content-Range: bytes 0-%d/9999999\r\n\r\n" % (size - 1),
                )
                for _ in range(size // 65536 - 1):
                    bench.send(origin, bytes(65536))
                    client.received = b""
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        self.assertLess(held, 48 * 2**20)  # of 128

    def test_variants_that_come_at_one_time(self) -> None:
        """``max_variants`` holds however many are fetched at the same time."""
        bench = in_memory(cache=CachePolicy(max_variants=4))
        for number in range(40):
            bench.get(b"/", b"Accept-Language: l%d" % number)
        for _ in range(40):
            bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=b"x")
        self.assertLessEqual(len(bench.store.get(URI + b"\npages")), 4)

    def test_fetches_under_one_key_are_not_searched_one_by_one(self) -> None:
        """Many fetches of one URL that varies: one more costs about as much as the first."""
        bench = in_memory(2**26, max_connections=10000)
        bench.get(b"/", b"Accept-Language: x")
        bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=b"x")
        times = []
        for round_ in range(8):
            begun = process_time()
            for number in range(50):
                party = Party()
                wire = bench.wire(bench.factory.buildProtocol(None), party, "192.0.2.1").open()
                lines = b"Host: test\r\nAccept-Language: l%d-%d\r\n" % (round_, number)
                party.transport.write(b"GET / HTTP/1.1\r\n%b\r\n" % lines)
                wire.step()
                wire.step()
            times.append(process_time() - begun)
        self.assertLess(times[-1], 4 * times[0] + 0.05)

    def test_a_query_in_drops(self) -> None:
        """The content of a QUERY may come a byte at a time without being counted anew each time."""
        times = []
        for count in (2000, 16000):
            bench = in_memory()
            head = b"QUERY / HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            client = bench.client(head)
            wire = bench.wires[-1]
            begun = process_time()
            for _ in range(count):
                client.transport.write(b"1\r\nx\r\n")
                wire.step()
            times.append((process_time() - begun) / count)
        self.assertLess(times[1], 3 * times[0])

    def test_a_query_that_waits_to_be_told_to_go_on(self) -> None:
        """Expect: 100-continue of a QUERY, whose content is read here, is answered here."""
        bench = CacheBench()
        fields = (b"Content-Type: text/plain", b"Expect: 100-continue", b"Content-Length: 5")
        client = bench.get(b"/", *fields, method=b"QUERY")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 100 "))


class StoreTests(SynchronousTestCase):
    """A store in trouble costs what is stored, and no client's answer."""

    def test_a_store_that_never_takes_more(self) -> None:
        """Its disk hangs: those who wait get the body all the same, or are let go; the lease is given back."""
        bench = CacheBench()
        bench.store.full = True
        client = bench.get()
        origin = begin(bench, FRESH, length=10)
        bench.send(origin, b"hello")
        bench.send(origin, b"world")
        bench.advance(900)
        self.assertTrue(client.received.endswith(b"helloworld") or client.closed != "open")
        self.assertEqual(bench.upstream.active, 0)

    def test_a_store_that_does_not_answer(self) -> None:
        """A lookup that hangs does not keep a client waiting for ever while the origin is well."""
        bench = CacheBench()
        bench.store.get = lambda key: Deferred()  # type: ignore[assignment,method-assign,return-value]
        bench.get()
        bench.advance(11)
        self.assertEqual(bench.asked, 1)

    def test_a_lookup_that_fails(self) -> None:
        """As if nothing were stored."""
        bench = CacheBench()
        found: Deferred[Any] = Deferred()
        bench.store.get = lambda key: found  # type: ignore[assignment,method-assign,return-value]
        client = bench.get()
        found.errback(Failure(StoreError("no")))
        bench.run()
        self.flushLoggedErrors()
        self.assertTrue(bench.asked or client.received or client.closed != "open")

    def test_a_body_that_cannot_be_opened_at_its_end(self) -> None:
        """A writer's body that cannot be read back when the last byte came (the store was stopped, has no descriptors
        left, ...): who has all of it hears the end, who has not is reset, and nothing is raised into the backend."""
        bench = CacheBench()
        quick, slow = bench.get(), bench.get()
        slow.transport.pauseProducing()
        origin = begin(bench, FRESH, length=200000)
        for _ in range(3):
            bench.send(origin, bytes(50000))
        fetch = next(iter(next(iter(bench.cache._fetches.values()))))
        arriving: Any = fetch._arriving
        writer = arriving.writer

        def gone() -> None:
            raise StoreError("gone")

        body = type(writer.body)
        self.patch(body, "open", lambda _: gone())
        with contextlib.suppress(StoreError):  # the reactor would log it, and close the connection
            bench.send(origin, bytes(50000))
        bench.reset(origin)
        slow.transport.resumeProducing()
        bench.advance(300)
        self.assertTrue(len(parts(quick)[2]) == 200000 or quick.closed == "reset")
        self.assertNotEqual(slow.closed, "open")
