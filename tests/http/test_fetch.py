"""What a fetch brings: to who asked all of it, to those who wait what they may have, to the store nothing purged."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings
from balancer.testing.caching import CacheBench
from tests.http.test_cached import FRESH, parts


class OwnResponseTests(SynchronousTestCase):
    """What a response has for the client who asked, others do not get."""

    def test_what_is_not_stored_of_it(self) -> None:
        """The fields that a directive names, and cookies that are not stored, go to who asked and to nobody else."""
        named = b'Cache-Control: max-age=60, no-cache="X-A", private="X-B"'
        bench = CacheBench(cache=CachePolicy(set_cookie="strip"))
        clients = [bench.get(), bench.get()]
        bench.answer(bench.date(), named, b"X-A: 1", b"X-B: 2", b"Set-Cookie: c", body=b"hello")
        clients.append(bench.get())
        found = [[name for name in (b"x-a", b"x-b", b"set-cookie") if name in parts(client)[1]] for client in clients]
        self.assertEqual(found, [[b"x-a", b"x-b", b"set-cookie"], [], []])
        self.assertEqual([parts(client)[2] for client in clients], [b"hello"] * 3)

    def test_without_who_asked(self) -> None:
        """What may not be stored is for nobody where its client left: it was asked with what he is known by."""
        bench = CacheBench()
        first, second = bench.get(b"/", b"Cookie: first"), bench.get(b"/", b"Cookie: second")
        bench.reset(first)
        self.assertIn(b"Cookie: first", bench.answer(bench.date(), b"Cache-Control: private", body=b"his page"))
        self.assertEqual(second.received, b"")
        self.assertIn(b"Cookie: second", bench.answer(bench.date(), b"Cache-Control: private", body=b"her page"))
        self.assertEqual(parts(second)[2], b"her page")

    def test_head_that_asks_by_get(self) -> None:
        """A HEAD that has the stored response validated gets no body, may what comes instead be stored or not."""
        for said in (FRESH, b"Cache-Control: private"):
            bench = CacheBench()
            bench.get()
            bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
            client = bench.get(b"/", b"Cache-Control: no-cache", method=b"HEAD")
            request = bench.answer(bench.date(), said, b'ETag: "b"', body=b"another")
            self.assertEqual(request[:4], b"GET ")
            line, fields, body = parts(client)
            self.assertEqual((line, fields[b"content-length"], body), (b"HTTP/1.1 200 OK", b"7", b""))
            self.assertEqual(parts(bench.get(client=client))[2] if said is FRESH else b"another", b"another")

    def test_a_part_rescues_who_asked_for_it(self) -> None:
        """A client that wants the whole is not sent the part that another has validated, where the origin fails."""
        bench = CacheBench()
        bench.get(b"/", b"Range: bytes=0-1")
        part = (bench.date(), FRESH, b'ETag: "a"', b"Content-Range: bytes 0-1/5")
        bench.answer(*part, body=b"he", status=b"206 Partial Content")
        bench.advance(61)
        one, all_of_it = bench.get(b"/", b"Range: bytes=0-1"), bench.get()
        origin = bench.origin()
        origin.received = b""
        bench.reset(origin)
        self.assertEqual(parts(one)[2], b"he")
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        self.assertEqual(parts(all_of_it)[2], b"hello")

    def test_purged_while_it_was_waited_for(self) -> None:
        """Who waited in vain, and asks for himself after a purge, does not validate what was purged meanwhile."""
        bench = CacheBench(store=MemoryStore(MemorySettings(size=2**20), Clock()))
        always = b"Cache-Control: no-cache"
        bench.get()
        bench.answer(bench.date(), always, b'ETag: "a"', body=b"hello")
        bench.advance(bench.cache.policy.uncacheable + 1)
        first, second = bench.get(), bench.get()
        bench.cache.purge_url(b"http://test/")
        bench.answer(bench.date(), always, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        self.assertEqual(parts(first)[2], b"hello")
        self.assertNotIn(b"If-None-Match", bench.answer(bench.date(), always, b'ETag: "a"', body=b"again"))
        self.assertEqual(parts(second)[2], b"again")

    def test_another_part_is_confirmed(self) -> None:
        """A 304 that is about a part without what was asked for is no answer: that is fetched."""
        bench = CacheBench()
        for field, first in ((b"Vary: X-A", 0), (b"X-B: 1", 5)):
            bench.get(b"/", b"Range: bytes=%d-%d" % (first, first + 4))
            place = b"Content-Range: bytes %d-%d/20" % (first, first + 4)
            stored = (bench.date(), FRESH, b'ETag: "a"', field, place)
            bench.answer(*stored, body=b"01234", status=b"206 Partial Content")
            bench.advance(5)
        bench.advance(61)
        client = bench.get(b"/", b"Range: bytes=0-4")
        bench.answer(bench.date(), FRESH, b'ETag: "a"', status=b"304 Not Modified", sized=False)
        if not client.received:
            bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"01234567890123456789")
        self.assertEqual(parts(client)[2], b"01234")

    def test_purged_while_head_was_asked(self) -> None:
        """What was purged while the origin answered HEAD is not freshened by that."""
        bench = CacheBench(store=MemoryStore(MemorySettings(size=2**20), Clock()))
        bench.get()
        bench.answer(bench.date(), b"Cache-Control: max-age=60, must-revalidate", body=b"hello")
        bench.advance(61)
        bench.get(method=b"HEAD")
        bench.cache.purge_url(b"http://test/")
        bench.answer(bench.date(), FRESH, b"Content-Length: 5", sized=False)
        bench.get()
        self.assertEqual(bench.asked, 1)

    def test_an_error_after_a_rescue(self) -> None:
        """Who was sent what is stored in place of an error is not sent the error too, where others still wait."""
        bench = CacheBench()
        bench.get(b"/", b"Range: bytes=0-1")
        part = (bench.date(), FRESH, b'ETag: "a"', b"Content-Range: bytes 0-1/5")
        bench.answer(*part, body=b"he", status=b"206 Partial Content")
        bench.advance(61)
        one, all_of_it = bench.get(b"/", b"Range: bytes=0-1"), bench.get()
        bench.answer(bench.date(), body=b"sorry", status=b"500 Internal Server Error")
        self.assertEqual(parts(one)[2], b"he")
        bench.answer(bench.date(), FRESH, b'ETag: "a"', body=b"hello")
        self.assertEqual(parts(all_of_it)[2], b"hello")
