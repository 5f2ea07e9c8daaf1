"""PURGE: who may, what it says, and what is gone afterwards."""

import json

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy, PurgePolicy
from balancer.cache.purges import Purge
from balancer.testing.caching import CacheBench
from balancer.testing.http import Party

TOKEN = "a-token-of-some-length"
POLICY = CachePolicy(purge=PurgePolicy(token=TOKEN, sources=("192.0.2.0/24",)))
AUTHORIZED = b"Authorization: Bearer a-token-of-some-length"


def status(client: Party) -> int:
    """Of its answer."""
    return int(client.received.split(b" ", 2)[1])


def said(client: Party) -> object:
    """The JSON of its answer."""
    return json.loads(client.received.partition(b"\r\n\r\n")[2])


class PurgeTests(SynchronousTestCase):
    """On a cache that may be purged from 192.0.2.0/24, where clients of the bench are."""

    def bench(self) -> CacheBench:
        """With ``/a`` stored."""
        bench = CacheBench(cache=POLICY)
        bench.get(b"/a")
        bench.answer(bench.date(), b"Cache-Control: max-age=60", body=b"old")
        return bench

    def purge(self, bench: CacheBench, *fields: bytes, path: bytes = b"/a", host: str = "192.0.2.1") -> Party:
        """A request of the method."""
        lines = b"".join(b"%b\r\n" % field for field in (b"Host: test", *fields))
        return bench.client(b"PURGE %b HTTP/1.1\r\n%b\r\n" % (path, lines), host)

    def test_a_url(self) -> None:
        """What was stored under it is gone, the number is told, and no backend hears of it."""
        bench = self.bench()
        client = self.purge(bench, AUTHORIZED)
        self.assertEqual((status(client), said(client)), (200, {"purged": 1}))
        self.assertEqual(said(self.purge(bench, AUTHORIZED)), {"purged": 0})
        self.assertEqual(bench.asked, 0)
        bench.get(b"/a")
        self.assertEqual(bench.asked, 1)
        self.assertEqual(bench.records[1].cache, "purge")

    def test_more_at_one_time(self) -> None:
        """Prefix, host, everything, tags; soft or hard."""
        for fields, wanted in (
            ((b"Cache-Purge: prefix",), Purge(kind="prefix", what=b"http://test/a")),
            ((b"Cache-Purge: soft, HOST",), Purge(kind="host", what=b"test", soft=True)),
            ((b"Cache-Purge: all",), Purge(kind="all")),
            ((b"Cache-Tag: news",), Purge(kind="tag", what=b"news")),
            ((b"Surrogate-Key: news", b"Cache-Purge: soft"), Purge(kind="tag", what=b"news", soft=True)),
        ):
            bench = self.bench()
            client = self.purge(bench, AUTHORIZED, *fields)
            self.assertEqual((status(client), said(client)), (200, {"purged": None}))
            self.assertEqual(bench.store.purges, [wanted])
        bench = self.bench()
        self.purge(bench, AUTHORIZED, b"Cache-Tag: news, sports")
        self.assertEqual([purge.what for purge in bench.store.purges], [b"news", b"sports"])

    def test_who_may_not(self) -> None:
        """401 without the token or with another, 403 from elsewhere even with it; nothing is purged."""
        bench = self.bench()
        for fields, host, wanted in (
            ((), "192.0.2.1", 401),
            ((b"Authorization: Bearer wrong",), "192.0.2.1", 401),
            ((b"Authorization: Basic a-token-of-some-length",), "192.0.2.1", 401),
            ((AUTHORIZED,), "198.51.100.1", 403),
        ):
            with self.subTest(fields=fields, host=host):
                self.assertEqual(status(self.purge(bench, *fields, host=host)), wanted)
        self.assertEqual(len(bench.store.kept), 1)
        self.assertEqual(bench.store.purges, [])

    def test_what_means_nothing(self) -> None:
        """400 for words that are none, two scopes, and tags with a scope."""
        bench = self.bench()
        for fields in (
            (b"Cache-Purge: everything",),
            (b"Cache-Purge: prefix, host",),
            (b"Cache-Purge: all", b"Cache-Tag: a"),
        ):
            with self.subTest(fields=fields):
                self.assertEqual(status(self.purge(bench, AUTHORIZED, *fields)), 400)
        self.assertEqual(bench.store.purges, [])

    def test_not_configured(self) -> None:
        """Where nobody may purge, the method is a backend's, as any other that is unknown."""
        bench = CacheBench()
        bench.client(b"PURGE /a HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertTrue(bench.origin().received.startswith(b"PURGE /a "))

    def test_what_is_being_fetched(self) -> None:
        """Who asks after the purge does not get what was asked for before it."""
        bench = CacheBench(2, cache=POLICY)
        before = bench.get(b"/a")
        slow = bench.origin()
        slow.received = b""
        self.purge(bench, AUTHORIZED)
        after = bench.get(b"/a")
        bench.answer(bench.date(), b"Cache-Control: max-age=60", body=b"new")
        bench.send(
            slow, b"HTTP/1.1 200 OK\r\n%b\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nold" % bench.date()
        )
        self.assertTrue(before.received.endswith(b"old"))
        self.assertTrue(after.received.endswith(b"new"))
        self.assertTrue(bench.get(b"/a").received.endswith(b"new"))
