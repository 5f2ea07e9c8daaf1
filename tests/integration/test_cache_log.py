"""What the cache did is in the access log and in Cache-Status, each word of it; nginx in front of it passes it on."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Client, Origin, Told, ask, response
from balancer.testing.peers import Nginx
from balancer.testing.process import PATIENCE, BalancerProcess

TOKEN = "a-token-that-nobody-guesses"

CONFIG = """
[access_log]
path = "{log}"
format = "json"
[cache.pages]
[cache.pages.bypass]
headers = {{ x-preview = true }}
[cache.pages.purge]
token = "{token}"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
[[listener.http.route]]
path = "/uncached"
to = "web"
cache = ""
"""

LIFETIMES = {
    "/stale": "max-age=10, stale-while-revalidate=0",
    "/changing": "max-age=10, stale-while-revalidate=0",
    "/behind": "max-age=10, stale-while-revalidate=600",
    "/private": "private",
}


class Answering:
    """What it says is a hundred seconds old, where :data:`LIFETIMES` has it; ``/held`` waits for the test.

    :ivar go: set by the test.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.count = 0

    def __call__(self, told: Told) -> Iterator[bytes]:
        self.count += 1
        tag = f'"{self.count}"' if told.target == "/changing" else f'"{told.target}"'
        lasting = [f"ETag: {tag}", f"Cache-Control: {LIFETIMES.get(told.target, 'max-age=3600')}"]
        if told.target in LIFETIMES:
            lasting.append("Age: 100")
        if told.target == "/held":
            assert self.go.wait(PATIENCE)
        if told.fields.get("if-none-match") == tag:
            yield response(b"", *lasting, status="304 Not Modified").replace(b"Content-Length: 0\r\n", b"")
        else:
            yield response(told.target.encode(), *lasting)


class LogTests(SynchronousTestCase):
    """See the module."""

    maxDiff = None

    def test_each_word(self) -> None:
        """Hit, stale, revalidated, collapsed, miss, updated, bypass, error, purge and -: in the log as in the field."""
        said = []

        def see(word: str, detail: str, target: str, *lines: str, method: str = "GET", field: str = "") -> None:
            reply = ask(http, target, f"X-Request-ID: {len(said)}", *lines, method=method)
            shown = re.sub(r"ttl=-?\d+", "ttl=", reply.cache)
            self.assertEqual(shown, field, f"{word} {target}")
            said.append((word, detail, target, reply.status, len(reply.body)))

        log = Path(self.mktemp()).absolute()
        answering = Answering()
        with Origin(answering) as origin:
            config = CONFIG.format(address=origin.address, log=log, token=TOKEN)
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                new, stale = "balancer; fwd=uri-miss; fwd-status=200; stored", "balancer; fwd=stale; fwd-status="
                see("miss", "uri-miss", "/a", field=new)
                see("hit", "", "/a", field="balancer; hit; ttl=")
                see("hit", "", "/a", method="HEAD", field="balancer; hit; ttl=")
                see("hit", "", "/a", "Range: bytes=1-1", field="balancer; hit; ttl=")
                see("revalidated", "no-cache", "/a", "Cache-Control: no-cache",
                    field="balancer; fwd=request; fwd-status=304; stored")  # fmt: skip
                see("miss", "uri-miss", "/stale", field=new)
                see("revalidated", "stale", "/stale", field=f"{stale}304; stored")
                see("miss", "uri-miss", "/changing", field=new)
                see("updated", "stale", "/changing", field=f"{stale}200; stored")
                see("miss", "uri-miss", "/behind", field=new)
                see("stale", "stale-while-revalidate", "/behind",
                    field="balancer; hit; ttl=; detail=stale-while-revalidate")  # fmt: skip
                see("miss", "private", "/private", field="balancer; fwd=uri-miss; fwd-status=200; detail=private")
                see("bypass", "method", "/x", method="POST", field="balancer; fwd=method; fwd-status=200")
                see("bypass", "header x-preview", "/a", "X-Preview: 1",
                    field='balancer; fwd=bypass; fwd-status=200; detail="header x-preview"')  # fmt: skip
                see("-", "", "/uncached", field="")
                see("miss", "only-if-cached", "/never", "Cache-Control: only-if-cached",
                    field="balancer; detail=only-if-cached")  # fmt: skip
                see("purge", "url", "/a", f"Authorization: Bearer {TOKEN}", method="PURGE", field="")
                see("purge", "", "/a", method="PURGE", field="")
                with Client(http) as leader, Client(http) as follower:
                    leader.send("/held")
                    origin.wait_for("/held")
                    follower.send("/held")
                    ask(http, "/probe")  # by then the follower waits
                    answering.go.set()
                    for client, field in ((leader, new), (follower, f"{new}; collapsed")):
                        self.assertEqual(client.receive().cache, field)
                origin.leave()
                see("error", "the origin does not answer", "/stale",
                    field='balancer; fwd=stale; detail="the origin does not answer"')  # fmt: skip
            self.assertEqual(origin.errors, [])
        records = [json.loads(line) for line in log.read_text().splitlines()]
        got = [
            (record["cache"] or "-", record["cache_detail"], record["target"], record["status"], record["bytes_out"])
            for record in records
        ]
        held = [line for line in got if line[2] == "/held"]
        self.assertEqual(sorted(line[0] for line in held), ["collapsed", "miss"])
        shown = [line for line in got if line[2] not in ("/held", "/probe")]
        self.assertEqual(shown, said)
        for record in records:
            asked = record["cache"] not in ("hit", "stale", "purge", "collapsed") and record["status"] != 504
            self.assertEqual(bool(record["backend"]), asked, record)

    def test_behind_nginx(self) -> None:
        """nginx as the proxy in front hands on what the cache says, validators, parts and conditions included."""
        with Origin(Answering()) as origin:
            log = Path(self.mktemp()).absolute()
            with BalancerProcess(config=CONFIG.format(address=origin.address, log=log, token=TOKEN)) as balancer:
                host, port = balancer.addresses["http"]
                passing = f"location /pages/ {{ proxy_pass http://{host}:{port}/; proxy_http_version 1.1; }}"
                with Nginx("front", passing) as nginx:
                    front = ("127.0.0.1", nginx.port)
                    self.assertIn("fwd=uri-miss", ask(front, "/pages/a").cache)
                    reply = ask(front, "/pages/a")
                    self.assertEqual((reply.status, reply.body), (200, b"/a"))
                    self.assertIn("; hit", reply.cache)
                    self.assertEqual(ask(front, "/pages/a", f"If-None-Match: {reply.fields['etag']}").status, 304)
                    part = ask(front, "/pages/a", "Range: bytes=1-")
                    self.assertEqual((part.status, part.fields["content-range"], part.body), (206, "bytes 1-1/2", b"a"))
                    head = ask(front, "/pages/a", method="HEAD")
                    self.assertEqual((head.status, head.fields["content-length"]), (200, "2"))
            self.assertEqual(origin.asked("/a"), 1)
