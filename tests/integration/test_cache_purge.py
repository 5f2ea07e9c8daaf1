"""curl purges: a URL, a prefix, a host, tags, everything; hard and soft, from memory and from a disk. After each the
server is asked again for what it met, and for nothing else."""

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Origin, Reply, Told, ask, response, stores
from balancer.testing.peers import need
from balancer.testing.process import BalancerProcess

TOKEN = "a-token-that-nobody-guesses"

CONFIG = """
[store.ssd]
type = "disk"
path = "{path}"
[cache.pages]
store = "{store}"
[cache.pages.purge]
token = "{token}"
[cache.closed]
store = "{store}"
[cache.closed.purge]
token = "{token}"
sources = ["10.0.0.0/8"]
[cache.none]
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
[[listener.http.route]]
path_prefix = "/closed"
to = "web"
cache = "closed"
[[listener.http.route]]
path_prefix = "/none"
to = "web"
cache = "none"
"""

TAGS = {"/news/1": "article-1 front", "/news/2": "article-2 front", "/shop": "goods"}
PAGES = ("/news/1", "/news/2", "/newsletter", "/shop", "/shop?page=2")


def answer(told: Told) -> bytes:
    """A page that lasts, with its tags; 304 to whoever has it."""
    lines = ["Cache-Control: max-age=3600", f'ETag: "{told.target}"']
    if told.target in TAGS:
        lines.append(f"Surrogate-Key: {TAGS[told.target]}")
    if told.fields.get("if-none-match") == f'"{told.target}"':
        return response(b"", *lines, status="304 Not Modified").replace(b"Content-Length: 0\r\n", b"")
    if told.method == "PURGE":
        return response(b"the server was asked to purge", status="405 Method Not Allowed")
    return response(told.target.encode(), *lines)


class PurgeTests(SynchronousTestCase):
    """See the module."""

    def purge(self, target: str, *fields: str, token: str = TOKEN, host: str = "site.test") -> tuple[int, str]:
        """Have curl purge; status and body."""
        lines = [f"Host: {host}", *fields, *([f"Authorization: Bearer {token}"] if token else [])]
        words = [word for line in lines for word in ("-H", line)]
        address, port = self.http
        command = [self.curl, "-sS", "-X", "PURGE", "-w", "%{http_code}", *words, f"http://{address}:{port}{target}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return int(said[-3:]), said[:-3]

    def fill(self) -> None:
        """Have all pages in the cache."""
        for page in PAGES:
            ask(self.http, page)
            reply = ask(self.http, page)
            self.assertEqual(reply.body, page.encode())
            self.assertIn("; hit", reply.cache)

    def purged(self, pages: set[str], soft: bool = False) -> None:
        """The server is asked again for these, and for no others."""
        for page in PAGES:
            before = self.origin.asked(page)
            reply: Reply = ask(self.http, page)
            self.assertEqual((reply.status, reply.body), (200, page.encode()))
            self.assertEqual(self.origin.asked(page) - before, page in pages, f"{page}: {reply}")
            if page in pages:
                self.assertIn("fwd=stale; fwd-status=304" if soft else "fwd=uri-miss; fwd-status=200", reply.cache)
                self.assertIn("; hit", ask(self.http, page).cache)

    def look(self, store: str) -> None:
        """All kinds, with that store."""
        self.curl = need("curl", "curl")
        path = Path(self.mktemp()).absolute()
        with Origin(answer) as self.origin:
            config = CONFIG.format(address=self.origin.address, path=path, store=store, token=TOKEN)
            with BalancerProcess(config=config) as balancer:
                self.http = balancer.addresses["http"]
                stores(self.http, "/warm")
                self.fill()
                for soft in (False, True):
                    for target, fields, met, count in (
                        ("/news/1", (), {"/news/1"}, 1),
                        ("/shop", (), {"/shop"}, 1),
                        ("/shop?page=2", (), {"/shop?page=2"}, 1),
                        ("/never-seen", (), set(), 0),
                        ("/news/", ("Cache-Purge: prefix",), {"/news/1", "/news/2"}, None),
                        ("/news", ("Cache-Purge: prefix",), {"/news/1", "/news/2", "/newsletter"}, None),
                        ("/", ("Cache-Tag: front",), {"/news/1", "/news/2"}, None),
                        ("/", ("Cache-Tag: article-2, goods",), {"/news/2", "/shop"}, None),
                        ("/", ("Surrogate-Key: article-1 nothing",), {"/news/1"}, None),
                        ("/", ("Cache-Purge: host",), set(PAGES), None),
                        ("/", ("Cache-Purge: all",), set(PAGES), None),
                    ):
                        with self.subTest(store=store, soft=soft, target=target, fields=fields):
                            more = ("Cache-Purge: soft",) if soft else ()
                            status, body = self.purge(target, *fields, *more)
                            self.assertEqual(status, 200, body)
                            self.assertEqual(body, f'{{"purged": {"null" if count is None else count}}}\n')
                            self.purged(met, soft)
                self.assertEqual(self.purge("/", "Cache-Purge: host", host="other.test")[0], 200)
                self.purged(set())
                self.refused()
            self.assertEqual(self.origin.errors, [])
            self.assertEqual(sum(told.method == "PURGE" for told in self.origin.told), 1)

    def refused(self) -> None:
        """Who may not, and what is no purge, changes nothing."""
        for target, fields, token, status in (
            ("/news/1", (), "", 401),
            ("/news/1", (), TOKEN + "x", 401),
            ("/", ("Cache-Purge: all",), TOKEN[:-1], 401),
            ("/closed/1", (), TOKEN, 403),
            ("/", ("Cache-Purge: everything",), TOKEN, 400),
            ("/", ("Cache-Purge: host, all",), TOKEN, 400),
            ("/none/1", (), TOKEN, 405),  # no table purge: the server's matter
        ):
            self.assertEqual(self.purge(target, *fields, token=token)[0], status, (target, fields))
        self.purged(set())
        self.assertEqual(self.origin.asked("/none/1", "PURGE"), 1)

    def test_memory(self) -> None:
        """From memory."""
        self.look("memory")

    def test_disk(self) -> None:
        """From a disk."""
        self.look("ssd")
