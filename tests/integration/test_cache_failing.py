"""Servers that are refused, hang, cut connections, answer 503 or are killed: what is stored is served all the same,
except what its application forbids, and it is validated when they are back."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Origin, Told, ask, response, together
from balancer.testing.peers import Nginx
from balancer.testing.process import PATIENCE, BalancerProcess

CONFIG = """
[cache.pages]
[upstream.web]
servers = ["{address}"]
check = {check}
cache = "pages"
panic_threshold = 0
outlier = {{ failures = 0 }}
timeouts = {{ first_byte = "1s" }}
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""

LIFETIMES = {
    "/fresh": "max-age=3600",
    "/fresh-must": "max-age=3600, must-revalidate",
    "/stale": "max-age=10",
    "/stale-error": "max-age=10, stale-if-error=600",
    "/short-error": "max-age=10, stale-if-error=5",
    "/must": "max-age=10, must-revalidate",
    "/proxy": "max-age=10, proxy-revalidate",
    "/shared": "s-maxage=10",
    "/no-cache": "no-cache",
}
"""What the origin says; it says that all are a hundred seconds old."""

SERVED = ("/stale", "/stale-error")
ERRORS = ("/short-error", "/must", "/proxy", "/shared", "/no-cache", "/never-seen")


class Failing:
    """The origin.

    :ivar how: what it does instead of answering; empty for nothing.
    """

    def __init__(self) -> None:
        self.how = ""
        self.over = threading.Event()

    def __call__(self, told: Told) -> Iterator[bytes]:
        if self.how == "hang":
            self.over.wait(PATIENCE)
            return
        if self.how == "cut":
            raise OSError("closed without an answer")
        if self.how == "503":
            yield response(b"not now", status="503 Service Unavailable")
            return
        tag = f'ETag: "{told.target}"'
        said = (f"Cache-Control: {LIFETIMES.get(told.target, 'no-store')}", "Age: 100", tag)
        if told.fields.get("if-none-match") == f'"{told.target}"':
            yield response(b"", *said, status="304 Not Modified").replace(b"Content-Length: 0\r\n", b"")
        else:
            yield response(told.target.encode(), *said)


class FailingTests(SynchronousTestCase):
    """See the module."""

    def look(self, http: tuple[str, int], status: int) -> None:
        """Ask for all while nobody is there."""
        for target in ("/fresh", "/fresh-must"):
            reply = ask(http, target)
            self.assertEqual((reply.status, reply.body), (200, target.encode()))
            self.assertIn("; hit", reply.cache)
        for target in SERVED:
            reply = ask(http, target)
            self.assertEqual((reply.status, reply.body), (200, target.encode()), reply)
            self.assertIn("fwd=stale", reply.cache)
            self.assertGreaterEqual(int(reply.fields["age"]), 100)
        for target in ERRORS:
            reply = ask(http, target)
            self.assertEqual(reply.status, status, f"{target}: {reply}")
            self.assertNotIn("hit", reply.cache)

    def back(self, http: tuple[str, int]) -> None:
        """All can be had again."""
        for target in (*LIFETIMES, "/never-seen"):
            reply = ask(http, target)
            self.assertEqual((reply.status, reply.body), (200, target.encode()), reply)
        for target in (*SERVED, *ERRORS[:-1]):
            self.assertIn("fwd-status=304", ask(http, target).cache, target)

    def test_ways_to_fail(self) -> None:
        """Refused, cut, hanging and 503: each time the fresh and the allowed stale are served, at once for many; the
        rest is the error; back again all is validated."""
        failing = Failing()
        text = CONFIG.format(address="{address}", check='{ type = "none" }')
        with Origin(failing) as origin, BalancerProcess(config=text.replace("{address}", origin.address)) as balancer:
            http = balancer.addresses["http"]
            for target in LIFETIMES:
                self.assertEqual(ask(http, target).status, 200)
            for how, status in (("refuse", 502), ("cut", 502), ("hang", 504), ("503", 503)):
                with self.subTest(how=how):
                    failing.how = how
                    if how == "refuse":
                        origin.leave()
                    self.look(http, status)
                    together(30, lambda number: self.assertEqual(ask(http, "/stale").status, 200))
                    failing.how = ""
                    failing.over.set()
                    if how == "refuse":
                        origin.come_back()
                    self.back(http)
            self.assertEqual(origin.errors, [])

    def test_killed(self) -> None:
        """A server that is stopped, killed and started again, and checked all the while: the same."""
        locations = "".join(
            f"location = {target} {{ default_type text/plain; add_header Cache-Control '{said}'; add_header Age 100;"
            f" add_header ETag '\"{target}\"'; if ($http_if_none_match = '\"{target}\"') {{ return 304; }}"
            f" return 200 '{target}'; }}\n"
            for target, said in LIFETIMES.items()
        )
        locations += "location = /never-seen { add_header Cache-Control no-store; return 200 '/never-seen'; }"
        check = '{ type = "http", path = "/", interval = "250ms", fast_interval = "100ms", timeout = "2s" }'
        with (
            Nginx("one", locations) as server,
            BalancerProcess(config=CONFIG.format(address=server.address, check=check)) as balancer,
        ):
            balancer.wait_for(rf"{server.address} is up")
            http = balancer.addresses["http"]
            for target in LIFETIMES:
                self.assertEqual(ask(http, target).status, 200)
            os.killpg(server.process.pid, signal.SIGSTOP)
            with contextlib.ExitStack() as stack:
                stack.callback(os.killpg, server.process.pid, signal.SIGCONT)
                balancer.wait_for(rf"{server.address} is down")
                self.look(http, 503)
            balancer.wait_for(rf"{server.address} is up", 2)
            self.back(http)
            server.kill()
            balancer.wait_for(rf"{server.address} is down", 2)
            self.look(http, 503)
            server.start()
            balancer.wait_for(rf"{server.address} is up", 3)
            self.back(http)
