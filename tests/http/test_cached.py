"""Requests on a route with a cache: hits, fetches that several wait for, what goes past it, and what clients see."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.termination import Termination
from balancer.testing.caching import CacheBench
from balancer.testing.http import Party

FRESH = b"Cache-Control: max-age=60"


def parts(client: Party) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, fields by lower-case name (the last of each) and body of the one answer a client got."""
    head, _, body = client.received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in lines}, body


class HitTests(SynchronousTestCase):
    """What is stored is sent without a backend."""

    def test_a_fresh_response_is_sent_again(self) -> None:
        """The second request gets the same body with its Age, and no backend is asked."""
        bench = CacheBench()
        first = bench.get()
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        self.assertEqual(parts(first)[2], b"hello")
        self.assertEqual(parts(first)[1][b"cache-status"], b"balancer; fwd=uri-miss; fwd-status=200; stored")
        self.assertNotIn(b"age", parts(first)[1])
        bench.advance(5)
        second = bench.get()
        line, fields, body = parts(second)
        self.assertEqual((line, body), (b"HTTP/1.1 200 OK", b"hello"))
        self.assertEqual(fields[b"age"], b"5")
        self.assertEqual(fields[b"cache-status"], b"balancer; hit; ttl=55")
        self.assertEqual(bench.asked, 0)
        self.assertEqual([record.cache for record in bench.records], ["miss", "hit"])
        self.assertEqual(bench.cache.counters.hits, 1)
        self.assertEqual(bench.cache.counters.bytes_saved, 5)

    def test_the_age_that_another_cache_gave_it(self) -> None:
        """What an origin behind another cache answers keeps its Age, and grows older here."""
        bench = CacheBench()
        first = bench.get()
        bench.answer(bench.date(20), FRESH, b"Age: 20", body=b"hello")
        self.assertEqual(parts(first)[1][b"age"], b"20")
        bench.advance(5)
        self.assertEqual(parts(bench.get())[1][b"age"], b"25")

    def test_a_kept_connection_is_served_on(self) -> None:
        """Hits and misses follow each other on one connection, pipelined too."""
        bench = CacheBench()
        client = bench.get()
        bench.answer(bench.date(), FRESH, body=b"one")
        bench.get(client=client)
        self.assertEqual(parts(client)[2], b"one")
        client.received = b""
        bench.send(client, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 3)
        self.assertEqual(client.received.count(b"HTTP/1.1 200 OK"), 3)

    def test_head_of_what_get_stored(self) -> None:
        """HEAD gets the head alone."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, body=b"hello")
        line, fields, body = parts(bench.get(method=b"HEAD"))
        self.assertEqual((line, fields[b"content-length"], body), (b"HTTP/1.1 200 OK", b"5", b""))

    def test_a_condition_is_answered(self) -> None:
        """A client that has it gets 304."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        line, _, body = parts(bench.get(b"/", b'If-None-Match: "a"'))
        self.assertEqual((line, body), (b"HTTP/1.1 304 Not Modified", b""))
        self.assertEqual(bench.asked, 0)

    def test_a_range_is_answered(self) -> None:
        """A part of what is stored whole."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        line, fields, body = parts(bench.get(b"/", b"Range: bytes=1-3"))
        self.assertEqual(
            (line, fields[b"content-range"], body), (b"HTTP/1.1 206 Partial Content", b"bytes 1-3/5", b"ell")
        )

    def test_a_large_response(self) -> None:
        """What is stored of a large one, which comes in pieces and with an unknown length, is sent whole, with its
        length."""
        bench = CacheBench()
        body = b"0123456789" * 50000
        first = bench.get()
        origin = bench.origin()
        origin.received = b""
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n" % (bench.date(), FRESH))
        for at in range(0, len(body), 10000):
            bench.send(origin, b"%x\r\n%b\r\n" % (10000, body[at : at + 10000]))
        self.assertNotIn(b"0\r\n\r\n", first.received[-5:])
        bench.send(origin, b"0\r\n\r\n")
        self.assertTrue(first.received.endswith(b"0\r\n\r\n"))
        line, fields, got = parts(bench.get())
        self.assertEqual(line, b"HTTP/1.1 200 OK")
        self.assertEqual(fields[b"content-length"], b"%d" % len(body))
        self.assertEqual(got, body)
        self.assertEqual(bench.asked, 0)

    def test_what_came_is_sent_before_more_comes(self) -> None:
        """The head, and each part of a body, go on when they come, whether its length is known or not."""
        for sized in (True, False):
            with self.subTest(sized=sized):
                bench = CacheBench()
                clients = [bench.get(), bench.get()]
                origin = bench.origin()
                framing = b"Content-Length: 6" if sized else b"Transfer-Encoding: chunked"
                bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n%b\r\n\r\n" % (bench.date(), FRESH, framing))
                self.assertEqual([client.received[-4:] for client in clients], [b"\r\n\r\n"] * 2)
                for part in (b"one", b"two"):
                    bench.send(origin, part if sized else b"3\r\n%b\r\n" % part)
                    self.assertEqual([part in client.received for client in clients], [True] * 2)

    def test_only_if_cached(self) -> None:
        """A client that wants a stored response only gets 504 where there is none."""
        bench = CacheBench()
        line, _, _ = parts(bench.get(b"/", b"Cache-Control: only-if-cached"))
        self.assertEqual(line, b"HTTP/1.1 504 Gateway Timeout")
        self.assertEqual(bench.records[0].termination, Termination.NOT_CACHED)
        self.assertEqual(bench.asked, 0)

    def test_only_if_cached_with_a_condition_for_the_origin(self) -> None:
        """Nor is it forwarded where the origin would have to look at its condition."""
        bench = CacheBench()
        line, fields, _ = parts(bench.get(b"/", b"Cache-Control: only-if-cached", b'If-Match: "a"'))
        self.assertEqual(line, b"HTTP/1.1 504 Gateway Timeout")
        self.assertEqual(fields[b"cache-status"], b"balancer; detail=only-if-cached")
        self.assertEqual(bench.asked, 0)


class ValidationTests(SynchronousTestCase):
    """What is stale is validated, or sent where that may be."""

    def stored(self, *fields: bytes) -> CacheBench:
        """A bench on which ``/`` is stored, and has become stale."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), b'ETag: "a"', *fields, body=b"hello")
        bench.advance(61)
        return bench

    def test_a_304_freshens(self) -> None:
        """The origin is asked with our condition; its 304 makes the stored one fresh, and the client gets that."""
        bench = self.stored(FRESH)
        client = bench.get()
        request = bench.answer(bench.date(), FRESH, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        self.assertIn(b'\r\nIf-None-Match: "a"\r\n', request)
        line, fields, body = parts(client)
        self.assertEqual((line, body), (b"HTTP/1.1 200 OK", b"hello"))
        self.assertNotIn(b"age", fields)
        self.assertEqual(fields[b"cache-status"], b"balancer; fwd=stale; fwd-status=304; stored")
        self.assertEqual(parts(bench.get())[1][b"cache-status"], b"balancer; hit; ttl=60")
        self.assertEqual([record.cache for record in bench.records], ["miss", "revalidated", "hit"])

    def test_a_304_for_several(self) -> None:
        """Who waits for the validation of another is told by Cache-Status that it was one."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        bench.advance(70)
        clients = [bench.get(), bench.get()]
        bench.answer(bench.date(), FRESH, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        said = [parts(client)[1][b"cache-status"] for client in clients]
        self.assertEqual([parts(client)[2] for client in clients], [b"hello"] * 2)
        one = b"balancer; fwd=stale; fwd-status=304; stored"
        self.assertEqual(said, [one, one + b"; collapsed"])

    def test_the_cookie_of_a_304(self) -> None:
        """What a 304 sets is for the client who asked, and for nobody else."""
        bench = self.stored(FRESH)
        client = bench.get()
        bench.answer(bench.date(), FRESH, b"Set-Cookie: a=1", b'ETag: "a"', status=b"304 Not Modified", sized=False)
        self.assertEqual(parts(client)[1][b"set-cookie"], b"a=1")
        self.assertNotIn(b"set-cookie", parts(bench.get())[1])

    def test_a_304_that_forbids_to_store(self) -> None:
        """A 304 with no-store is asked for again, and what it was about is not used any more."""
        bench = self.stored(FRESH)
        bench.get()
        bench.answer(bench.date(), b"Cache-Control: no-store", b'ETag: "a"', status=b"304 Not Modified", sized=False)
        bench.answer(bench.date(), b"Cache-Control: no-store", b'ETag: "a"', body=b"hello")
        bench.get()
        self.assertEqual(bench.asked, 1)

    def test_a_304_to_nothing_is_asked_again(self) -> None:
        """An origin that confirms another response than ours is asked for all of it."""
        bench = self.stored(FRESH)
        client = bench.get()
        bench.answer(bench.date(), b'ETag: "b"', status=b"304 Not Modified", sized=False)
        self.assertEqual(client.received, b"")
        request = bench.answer(bench.date(), FRESH, b'ETag: "b"', body=b"other")
        self.assertNotIn(b"If-None-Match", request)
        self.assertEqual(parts(client)[2], b"other")

    def test_stale_if_error(self) -> None:
        """A server that cannot answer does not keep clients from what is stored."""
        bench = self.stored(FRESH)
        client = bench.get()
        bench.answer(bench.date(), body=b"sorry", status=b"503 Service Unavailable")
        line, fields, body = parts(client)
        self.assertEqual((line, body), (b"HTTP/1.1 200 OK", b"hello"))
        self.assertIn(b"fwd-status=503", fields[b"cache-status"])
        self.assertEqual(bench.records[-1].cache, "error")

    def test_stale_if_nobody_is_there(self) -> None:
        """Nor does one that refuses the connection."""
        bench = self.stored(FRESH)
        bench.close(bench._idle[0])
        client = bench.get()
        while len(bench.connects) > bench._accepted:
            bench._accepted = len(bench.connects)
            bench.refuse()
        self.assertEqual(parts(client)[2], b"hello")
        self.assertEqual(bench.records[-1].cache, "error")

    def test_must_revalidate_is_never_stale(self) -> None:
        """What must be validated is not sent where that fails."""
        bench = self.stored(b"Cache-Control: max-age=60, must-revalidate")
        client = bench.get()
        bench.answer(bench.date(), body=b"sorry", status=b"503 Service Unavailable")
        self.assertEqual(parts(client)[2], b"sorry")

    def test_stale_while_revalidate(self) -> None:
        """A stale response is sent at once, and validated behind it; only one asks."""
        bench = self.stored(b"Cache-Control: max-age=60, stale-while-revalidate=30")
        bench.advance(10)
        self.assertEqual(parts(bench.get())[2], b"hello")
        self.assertEqual(parts(bench.get())[2], b"hello")
        self.assertEqual(bench.asked, 1)
        bench.answer(bench.date(), FRESH, b'ETag: "b"', body=b"newer")
        line, fields, body = parts(bench.get())
        self.assertEqual((fields[b"cache-status"], body), (b"balancer; hit; ttl=60", b"newer"))
        self.assertEqual([record.cache for record in bench.records], ["miss", "stale", "stale", "hit"])
        self.assertEqual(bench.upstream.budget.active, 0)

    def test_a_validation_of_our_own(self) -> None:
        """What is asked behind the client's back does not repeat what the client wants of caches."""
        bench = self.stored(b"Cache-Control: max-age=60, stale-while-revalidate=30")
        self.assertEqual(parts(bench.get(b"/", b"Cache-Control: only-if-cached"))[2], b"hello")
        request = bench.answer(bench.date(), FRESH, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        self.assertNotIn(b"only-if-cached", request)


class CollapsingTests(SynchronousTestCase):
    """Several clients, one fetch."""

    def test_a_hundred_misses_are_one_request(self) -> None:
        """All get the one response."""
        bench = CacheBench()
        clients = [bench.get() for _ in range(100)]
        self.assertEqual(bench.asked, 1)
        bench.answer(bench.date(), FRESH, body=b"hello")
        self.assertEqual({parts(client)[2] for client in clients}, {b"hello"})
        self.assertEqual(bench.asked, 0)
        self.assertEqual(bench.cache.counters.others["collapsed"], 99)
        self.assertEqual(bench.cache.fetching, 0)
        self.assertEqual(len(bench.records), 100)

    def test_followers_stream_as_it_arrives(self) -> None:
        """Who joins late gets what came, and the rest as it comes."""
        bench = CacheBench()
        first = bench.get()
        origin = bench.origin()
        origin.received = b""
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        second = bench.get()
        self.assertEqual([parts(client)[2] for client in (first, second)], [b"hello", b"hello"])
        bench.send(origin, b"world")
        self.assertEqual([parts(client)[2] for client in (first, second)], [b"helloworld", b"helloworld"])
        self.assertEqual(bench.asked, 0)
        self.assertIn(b"collapsed", parts(second)[1][b"cache-status"])

    def test_private_releases_all_at_once(self) -> None:
        """A response that may not be stored is the first one's; the others ask for themselves, all at the same time."""
        bench = CacheBench()
        clients = [bench.get() for _ in range(5)]
        self.assertEqual(bench.asked, 1)
        bench.answer(bench.date(), b"Cache-Control: private", body=b"yours")
        self.assertEqual([parts(client)[2] for client in clients], [b"yours", b"", b"", b"", b""])
        self.assertEqual(bench.asked, 4)
        for number in range(4):
            bench.answer(bench.date(), b"Cache-Control: private", body=b"%d" % number)
        self.assertEqual(sorted(parts(client)[2] for client in clients), [b"0", b"1", b"2", b"3", b"yours"])

    def test_what_is_private_is_not_waited_for_again(self) -> None:
        """For a while after such a response nobody waits for another's."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), b"Cache-Control: private", body=b"yours")
        bench.get()
        bench.get()
        self.assertEqual(bench.asked, 2)

    def test_a_leader_that_leaves(self) -> None:
        """The others get the response all the same."""
        bench = CacheBench()
        first, second = bench.get(), bench.get()
        bench.reset(first)
        bench.answer(bench.date(), FRESH, body=b"hello")
        self.assertEqual(parts(second)[2], b"hello")
        self.assertEqual([record.termination for record in bench.records], [Termination.CLIENT_LEFT, Termination.DONE])

    def test_a_leader_that_leaves_in_the_middle(self) -> None:
        """What is being stored goes on to be, and to the others."""
        bench = CacheBench()
        first, second = bench.get(), bench.get()
        origin = bench.origin()
        origin.received = b""
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        bench.reset(first)
        bench.send(origin, b"world")
        self.assertEqual(parts(second)[2], b"helloworld")
        self.assertEqual(parts(bench.get())[1][b"cache-status"], b"balancer; hit; ttl=60")

    def test_nobody_is_left(self) -> None:
        """A fetch that nobody waits for any more, and of which nothing came, is given up."""
        bench = CacheBench()
        first = bench.get()
        origin = bench.origin()
        bench.reset(first)
        self.assertEqual(origin.closed, "reset")
        self.assertEqual(bench.cache.fetching, 0)
        self.assertEqual(bench.upstream.active, 0)

    def test_a_truncated_response_is_nobodys(self) -> None:
        """A response that ends too early resets everyone who got a part of it, and is not stored."""
        bench = CacheBench()
        first, second = bench.get(), bench.get()
        origin = bench.origin()
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        bench.close(origin)
        self.assertEqual([first.closed, second.closed], ["reset", "reset"])
        self.assertEqual(bench.store.kept, {})
        self.assertEqual({record.termination for record in bench.records}, {Termination.TRUNCATED_RESPONSE})

    def test_the_origin_fails_for_the_leader(self) -> None:
        """Who asked first hears of the failure; those who waited for it try for themselves."""
        bench = CacheBench()
        first, second, third = bench.get(), bench.get(), bench.get()
        origin = bench.origin()
        origin.received = b""
        bench.reset(origin)
        self.assertEqual(parts(first)[0], b"HTTP/1.1 502 Bad Gateway")
        self.assertEqual(bench.asked, 2)
        bench.answer(bench.date(), FRESH, body=b"hello")
        bench.answer(bench.date(), FRESH, body=b"hello")
        self.assertEqual([parts(client)[2] for client in (second, third)], [b"hello", b"hello"])

    def test_a_slow_client_keeps_nobody_waiting(self) -> None:
        """A client that reads nothing gets its response later; the others, and the store, have it at once."""
        bench = CacheBench()
        slow, quick = bench.get(), bench.get()
        slow.transport.pauseProducing()
        body = b"0123456789" * 100000
        origin = bench.origin()
        origin.received = b""
        bench.send(
            origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: %d\r\n\r\n" % (bench.date(), FRESH, len(body))
        )
        for at in range(0, len(body), 50000):
            bench.send(origin, body[at : at + 50000])
        self.assertEqual(parts(quick)[2], body)
        self.assertEqual(len(bench.store.kept), 1)
        slow.transport.resumeProducing()
        bench.run()
        self.assertEqual(parts(slow)[2], body)

    def test_not_admitted(self) -> None:
        """What the store does not want goes to all who wait, with no more held than a buffer."""
        bench = CacheBench()
        bench.store.refusing = True
        first, second = bench.get(), bench.get()
        origin = bench.origin()
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        bench.send(origin, b"world")
        self.assertEqual([parts(client)[2] for client in (first, second)], [b"helloworld"] * 2)
        self.assertEqual(bench.store.kept, {})

    def test_not_admitted_and_large(self) -> None:
        """What the store does not want, and is more than a buffer or may be, goes to the one who asked; the others ask
        for themselves: one who does not read keeps nobody waiting. The answer says why it is not stored."""
        for framing, data in (
            (b"Content-Length: 300000", b"x" * 300000),
            (b"Transfer-Encoding: chunked", b"493e0\r\n" + b"x" * 300000 + b"\r\n0\r\n\r\n"),
        ):
            with self.subTest(framing=framing):
                bench = CacheBench()
                bench.store.refusing = True
                slow, quick = bench.get(), bench.get()
                slow.transport.pauseProducing()
                self.assertEqual(bench.asked, 1)
                for _ in (slow, quick):
                    origin = bench.origin()
                    origin.received = b""
                    said = b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n%b\r\n\r\n" % (bench.date(), FRESH, framing)
                    bench.send(origin, said + data)
                slow.transport.resumeProducing()
                bench.run()
                for client in (quick, slow):
                    _, fields, body = parts(client)
                    self.assertEqual(body.count(b"x"), 300000)
                    self.assertEqual(
                        fields[b"cache-status"],
                        b'balancer; fwd=uri-miss; fwd-status=200; detail="not kept by the store"',
                    )
                self.assertEqual(bench.cache.counters.others["not stored: not kept by the store"], 2)

    def test_purged_before_it_comes(self) -> None:
        """Who waits for what is purged meanwhile gets it as it arrives; it says that it is not stored, and is not."""
        bench = CacheBench()
        first, second = bench.get(), bench.get()
        bench.cache.purge_url(b"http://test/")
        origin = bench.origin()
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 300000\r\n\r\n" % (bench.date(), FRESH))
        bench.send(origin, b"x" * 300000)
        for client in (first, second):
            _, fields, body = parts(client)
            self.assertEqual(len(body), 300000)
            self.assertNotIn(b"stored", fields[b"cache-status"])
        self.assertEqual(bench.store.kept, {})

    def test_a_store_that_stops_in_the_middle(self) -> None:
        """A store that is replaced while it takes a body costs nobody the rest of it, with one who reads nothing."""
        for sized in (True, False):
            with self.subTest(sized=sized):
                bench = CacheBench()
                slow, quick = bench.get(), bench.get()
                slow.transport.pauseProducing()
                origin = bench.origin()
                framing = b"Content-Length: 200000" if sized else b"Transfer-Encoding: chunked"
                bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n%b\r\n\r\n" % (bench.date(), FRESH, framing))
                for _ in range(2):
                    data = b"x" * 100000
                    bench.send(origin, data if sized else b"%x\r\n%b\r\n" % (len(data), data))
                    bench.store.stopped = True
                if not sized:
                    bench.send(origin, b"0\r\n\r\n")
                slow.transport.resumeProducing()
                bench.run()
                for client in (quick, slow):
                    self.assertEqual(parts(client)[2].count(b"x"), 200000)
                self.assertEqual(bench.store.readers, 0)
                self.assertEqual([record.termination for record in bench.records], [Termination.DONE] * 2)

    def test_too_large_in_the_middle(self) -> None:
        """A response that grows beyond what is stored goes to its clients whole; the next ones have one each."""
        bench = CacheBench(cache=CachePolicy(max_object=8))
        first, second = bench.get(), bench.get()
        origin = bench.origin()
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n" % (bench.date(), FRESH))
        bench.send(origin, b"5\r\nhello\r\n")
        bench.send(origin, b"5\r\nworld\r\n0\r\n\r\n")
        for client in (first, second):
            self.assertEqual(parts(client)[2], b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
        self.assertEqual(bench.store.kept, {})
        later = [bench.get(), bench.get()]
        self.assertEqual(bench.asked, 2)  # who reads slowly keeps nobody waiting again
        self.assertEqual([client.received for client in later], [b""] * 2)


class VaryTests(SynchronousTestCase):
    """Responses that differ by what the request says."""

    def test_variants(self) -> None:
        """Each is stored, and each request gets its own."""
        bench = CacheBench()
        for language in (b"de", b"en"):
            bench.get(b"/", b"Accept-Language: " + language)
            bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=language)
        for language in (b"de", b"en"):
            client = bench.get(b"/", b"Accept-Language: " + language)
            self.assertEqual(parts(client)[2], language)
        self.assertEqual(bench.asked, 0)

    def test_followers_of_another_variant(self) -> None:
        """Who waited for what turns out to be another's gets his own."""
        bench = CacheBench()
        german, english = (bench.get(b"/", b"Accept-Language: " + language) for language in (b"de", b"en"))
        bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=b"de")
        self.assertEqual([parts(client)[2] for client in (german, english)], [b"de", b""])
        bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=b"en")
        self.assertEqual(parts(english)[2], b"en")

    def test_max_variants(self) -> None:
        """Of more variants than are kept the oldest leaves."""
        bench = CacheBench(cache=CachePolicy(max_variants=2))
        for language in (b"de", b"en", b"fr"):
            bench.get(b"/", b"Accept-Language: " + language)
            bench.answer(bench.date(), FRESH, b"Vary: Accept-Language", body=language)
        kept = [stored.body for variants in bench.store.kept.values() for stored in variants]
        self.assertEqual(kept, [b"fr", b"en"])


class TrustedTests(SynchronousTestCase):
    """Behind a proxy that ends TLS."""

    def test_scheme_and_host_of_the_client(self) -> None:
        """What servers are told of scheme and host tells requests apart: a redirect to https is not for https."""
        bench = CacheBench(forwarded=ForwardedPolicy(trusted_proxies=("192.0.2.0/24",)))
        bench.get(b"/", b"X-Forwarded-Proto: http", b"X-Forwarded-For: 198.51.100.1")
        bench.answer(bench.date(), FRESH, b"Location: https://test/", status=b"301 Moved Permanently")
        bench.get(b"/", b"X-Forwarded-Proto: https", b"X-Forwarded-For: 198.51.100.1")
        bench.answer(bench.date(), FRESH, body=b"page")
        for proto, status in ((b"http", b"301 Moved Permanently"), (b"https", b"200 OK")):
            client = bench.get(b"/", b"X-Forwarded-Proto: " + proto, b"X-Forwarded-For: 198.51.100.2")
            self.assertEqual(parts(client)[0], b"HTTP/1.1 " + status)
        self.assertEqual(bench.asked, 0)
        self.assertEqual(bench.records[-1].client, "198.51.100.2")

    def test_an_unsafe_method_through_it(self) -> None:
        """A POST by https invalidates what is there by https, and a purge names it so."""
        bench = CacheBench(forwarded=ForwardedPolicy(trusted_proxies=("192.0.2.0/24",)))
        told = (b"X-Forwarded-Proto: https", b"X-Forwarded-For: 198.51.100.1")
        bench.get(b"/", *told)
        bench.answer(bench.date(), FRESH, body=b"page")
        bench.get(b"/", *told, b"Content-Length: 0", method=b"POST")
        bench.answer(bench.date(), body=b"done")
        bench.get(b"/", *told)
        self.assertTrue(bench.answer(bench.date(), FRESH, body=b"page").startswith(b"GET "))
        self.assertEqual(bench.cache.purge_url(b"https://test/"), 1)

    def test_what_strangers_say(self) -> None:
        """Of others the same fields mean nothing, to servers and to the cache."""
        bench = CacheBench()
        bench.get(b"/", b"X-Forwarded-Host: evil")
        request = bench.answer(bench.date(), FRESH, body=b"page")
        self.assertNotIn(b"evil", request)
        self.assertEqual(parts(bench.get())[2], b"page")


class PastTests(SynchronousTestCase):
    """What goes past the cache, and what that means for what is stored."""

    def test_an_unsafe_method_invalidates(self) -> None:
        """After a POST that went well the URL is fetched anew."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, body=b"old")
        post = bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        bench.answer(bench.date(), body=b"done")
        self.assertEqual(parts(post)[1][b"cache-status"], b"balancer; fwd=method; fwd-status=200")
        bench.get()
        self.assertEqual(bench.asked, 1)

    def test_a_failed_post_does_not(self) -> None:
        """One that was refused does not."""
        bench = CacheBench()
        bench.get()
        bench.answer(bench.date(), FRESH, body=b"old")
        bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        bench.answer(bench.date(), body=b"no", status=b"403 Forbidden")
        self.assertEqual(parts(bench.get())[2], b"old")

    def test_a_post_spoils_what_is_being_fetched(self) -> None:
        """What was asked for before the POST and comes after it is not stored."""
        bench = CacheBench(2)
        reader = bench.get()
        slow = bench.origin()
        held, slow.received = slow.received, b""
        self.assertTrue(held)
        bench.client(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        bench.answer(bench.date(), body=b"done")
        bench.send(slow, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 3\r\n\r\nold" % (bench.date(), FRESH))
        self.assertEqual(parts(reader)[2], b"old")
        bench.get()
        self.assertEqual(bench.asked, 1)

    def test_no_store_of_a_request(self) -> None:
        """What such a request brings is not stored."""
        bench = CacheBench()
        bench.get(b"/", b"Cache-Control: no-store")
        bench.answer(bench.date(), FRESH, body=b"hello")
        self.assertEqual(bench.store.kept, {})

    def test_query(self) -> None:
        """QUERY is stored under its content, however that arrives."""
        bench = CacheBench()
        start = b"QUERY / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n"
        first = bench.client(start)
        bench.send(first, b"abc")
        request = bench.answer(bench.date(), FRESH, body=b"found")
        self.assertTrue(request.endswith(b"abc"))
        self.assertEqual(parts(first)[2], b"found")
        self.assertEqual(parts(bench.client(start + b"abc"))[2], b"found")
        self.assertEqual(bench.asked, 0)
        bench.client(start + b"xyz")
        self.assertEqual(bench.asked, 1)

    def test_parts_are_combined(self) -> None:
        """Two ranges of one representation become the whole."""
        bench = CacheBench()
        for first, last, body in ((0, 4, b"hello"), (5, 9, b"world")):
            client = bench.get(b"/", b"Range: bytes=%d-%d" % (first, last))
            request = bench.answer(
                bench.date(), FRESH, b'ETag: "a"', b"Content-Range: bytes %d-%d/10" % (first, last), body=body,
                status=b"206 Partial Content",
            )  # fmt: skip
            self.assertIn(b"Range: bytes=%d-%d" % (first, last), request)
            self.assertEqual(parts(client)[2], body)
        line, _, body = parts(bench.get())
        self.assertEqual((line, body), (b"HTTP/1.1 200 OK", b"helloworld"))
        self.assertEqual(bench.asked, 0)

    def test_the_store_fails_in_the_middle(self) -> None:
        """A store that can not go on keeps nobody from the response."""
        bench = CacheBench()
        client = bench.get()
        origin = bench.origin()
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        bench.store.failing = True
        bench.send(origin, b"world")
        self.assertEqual(parts(client)[2], b"helloworld")
        self.assertEqual(bench.store.kept, {})

    def test_the_store_is_slow(self) -> None:
        """A store that takes no more for now has the backend paused."""
        bench = CacheBench()
        client = bench.get()
        origin = bench.origin()
        bench.store.full = True
        bench.send(origin, b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\nContent-Length: 10\r\n\r\nhello" % (bench.date(), FRESH))
        bench.send(origin, b"world")
        self.assertEqual(parts(client)[2], b"hello")
        bench.store.full = False
        bench.store.resumes[0]()
        bench.run()
        self.assertEqual(parts(client)[2], b"helloworld")
