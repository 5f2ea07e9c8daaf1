"""SIGHUP while caches are in use: nothing is dropped, and what is stored stays where only its settings changed."""

import signal
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Client, Origin, Told, ask, known, response, stores
from balancer.testing.pattern import fits, piece
from balancer.testing.process import PATIENCE, BalancerProcess

HALF = 500_000

CONFIG = """
{tables}
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "{cache}"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""


class Answering:
    """Pages that last; ``/slow`` sends its second half when the test says so.

    :ivar rest: set by the test.
    """

    def __init__(self) -> None:
        self.rest = threading.Event()

    def __call__(self, told: Told) -> Iterator[bytes]:
        lasting = "Cache-Control: max-age=3600"
        if told.target == "/slow":
            yield response(b"", lasting).replace(b"Length: 0", b"Length: %d" % (2 * HALF)) + piece(0, HALF)
            assert self.rest.wait(PATIENCE)
            yield piece(HALF, HALF)
        else:
            yield response(told.target.encode(), lasting, 'ETag: "x"')


class ReloadTests(SynchronousTestCase):
    """See the module."""

    def text(self, tables: str, cache: str = "pages") -> str:
        """A configuration."""
        return CONFIG.format(address=self.origin.address, tables=tables, cache=cache)

    def reload(self, balancer: BalancerProcess, text: str, says: str = r"reload: ") -> None:
        """Change the file, send SIGHUP, and wait until the log tells of it."""
        (balancer.directory / "balancer.toml").write_text(text)
        seen = balancer.seen(says)
        balancer.process.send_signal(signal.SIGHUP)
        balancer.wait_for(says, seen + 1)

    def half(self, head: HTTPResponse, at: int) -> None:
        """The first half of the slow page, or all that follows it, is right."""
        data = head.read() if at else head.read(HALF)
        self.assertEqual(len(data), HALF)
        self.assertTrue(fits(at, data))

    def test_another_policy(self) -> None:
        """What is stored stays; the new settings count at once; a client that is being served gets all of it."""
        answering = Answering()
        with Origin(answering) as self.origin, BalancerProcess(config=self.text("[cache.pages]")) as balancer:
            http = balancer.addresses["http"]
            ask(http, "/a")
            leader, follower = Client(http), Client(http)
            heads = []
            for client in (leader, follower):
                client.send("/slow")
                head = client.head()
                self.half(head, 0)
                heads.append(head)
            self.reload(balancer, self.text('[cache.pages]\nname = "edge"\nmax_object = "1MB"'))
            self.assertIn("edge; hit", ask(http, "/a").cache)
            late = Client(http)
            late.send("/slow")
            answering.rest.set()
            for head in heads:
                self.half(head, HALF)
            self.assertTrue(fits(0, late.receive().body))
            for client in (leader, follower, late):
                client.close()
            stores(http, "/slow")
            self.assertLessEqual(self.origin.asked("/slow"), 3)
            self.assertEqual(self.origin.asked("/a"), 1)
            self.assertEqual(self.origin.errors, [])

    def test_off_and_on(self) -> None:
        """Without the cache the server is asked each time; with it again what was stored is gone or right."""
        with Origin(Answering()) as self.origin, BalancerProcess(config=self.text("[cache.pages]")) as balancer:
            http = balancer.addresses["http"]
            with Client(http) as kept:
                for _ in range(3):
                    ask(http, "/a")
                self.assertEqual(self.origin.asked("/a"), 1)
                for cache in ("", "pages"):
                    self.reload(balancer, self.text("[cache.pages]", cache))
                    before = self.origin.asked("/a")
                    for _ in range(3):
                        kept.send("/a")
                        reply = kept.receive()
                        self.assertEqual((reply.status, reply.body), (200, b"/a"))
                        self.assertEqual(bool(reply.cache), bool(cache))
                    self.assertIn(self.origin.asked("/a") - before, (0, 1) if cache else (3,))
                self.reload(balancer, self.text("", ""))
                kept.send("/a")
                self.assertEqual(kept.receive().cache, "")
                self.reload(balancer, self.text("[cache.pages]"))
                stores(http, "/a")
                kept.send("/a")
                self.assertIn("; hit", kept.receive().cache)

    def test_another_store(self) -> None:
        """From memory to a disk, to a larger disk in the same directory, and back: every request is answered right, one
        that is being served included; what the directory has stays."""
        path = Path(self.mktemp()).absolute()
        memory = "[cache.pages]"
        ssd = f'[store.ssd]\ntype = "disk"\npath = "{path}"\nsize = "100MB"\n[cache.pages]\nstore = "ssd"'
        answering = Answering()
        with Origin(answering) as self.origin, BalancerProcess(config=self.text(memory)) as balancer:
            http = balancer.addresses["http"]
            ask(http, "/a")
            serving = Client(http)
            serving.send("/slow")
            head = serving.head()
            self.half(head, 0)
            self.reload(balancer, self.text(ssd))
            stores(http, "/a")
            stores(http, "/b")
            with Client(http) as second:
                second.send("/slow")
                self.origin.wait_for("/slow", 2)
                begun = second.head()
                self.half(begun, 0)
                self.reload(balancer, self.text(ssd.replace("100MB", "200MB")))
                self.assertEqual(ask(http, "/b").body, b"/b")
                answering.rest.set()
                self.half(begun, HALF)
            self.half(head, HALF)
            serving.close()
            asked = self.origin.asked("/a")
            self.assertEqual(known(http, "/a").body, b"/a")
            self.assertEqual(self.origin.asked("/a"), asked)
            self.reload(balancer, self.text(memory))
            stores(http, "/a")
            self.assertIn("; hit", ask(http, "/a").cache)
            self.assertNotIn("Traceback", balancer.log)
            self.assertEqual(self.origin.errors, [])

    def test_a_mistake(self) -> None:
        """A file with a mistake changes nothing: what is stored is sent as before."""
        with Origin(Answering()) as self.origin, BalancerProcess(config=self.text("[cache.pages]")) as balancer:
            http = balancer.addresses["http"]
            ask(http, "/a")
            for tables in ('[cache.pages]\nstore = "nowhere"', "[cache.pages]\nttl = -1"):
                self.reload(balancer, self.text(tables), "not reloaded")
                self.assertIn("; hit", ask(http, "/a").cache)
