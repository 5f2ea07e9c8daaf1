"""docs/cache-library.md: its program runs, and what it says of the code is there."""

import re
from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

import balancer

PAGE = Path(__file__).parents[2] / "docs" / "cache-library.md"


class Counted(Resource):
    """Says how often it was asked, fresh for a minute."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def render_GET(self, request: Request) -> bytes | int:
        """Its ETag is the one it always had."""
        self.count += 1
        request.setHeader(b"Cache-Control", b"max-age=60")
        if request.setETag(b'"a"') is CACHED:
            request.finish()
            return NOT_DONE_YET
        return b"asked %d times" % self.count


class Broken:
    """A client that reaches nobody."""

    def get(self, url: str, **more: object) -> Deferred[None]:
        """It fails."""
        failed: Deferred[None] = Deferred()
        failed.errback(ConnectionRefusedError())
        return failed


class PageTests(SynchronousTestCase):
    """The program of the page."""

    def setUp(self) -> None:
        """Run it with a server in memory."""
        (program,) = re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text("ascii"))
        names: dict[str, Any] = {}
        exec(compile(program, str(PAGE), "exec"), names)
        self.site = Counted()
        self.stub = StubTreq(self.site)
        self.now = 1795521600.0
        self.client = names["CachingClient"](Clock(), lambda: self.now, self.stub)

    def get(self, *fields: tuple[bytes, bytes]) -> Any:
        """What a request gets."""
        reply = Deferred.fromCoroutine(self.client.get("https://example.org/a?b=c", fields))
        self.stub.flush()
        return self.successResultOf(reply)

    def test_miss_hit_validated(self) -> None:
        """The first is fetched, the second answered from memory, one after a minute validated."""
        for now, count in ((0, 1), (30, 1), (70, 2), (100, 2)):
            self.now = 1795521600.0 + now
            self.assertEqual((self.get().body, self.site.count), (b"asked 1 times", count))

    def test_conditional(self) -> None:
        """A client's own condition is answered."""
        self.get()
        self.assertEqual((self.get((b"If-None-Match", b'"a"')).status, self.site.count), (304, 1))

    def test_failed(self) -> None:
        """A stale response covers a server that is away; without one the failure is the caller's."""
        self.get()
        self.now += 70
        self.client.client = Broken()
        self.assertEqual(self.get().status, 200)
        other = Deferred.fromCoroutine(self.client.get("https://example.org/other"))
        self.failureResultOf(other, ConnectionRefusedError)

    def test_names(self) -> None:
        """Each file and name the page speaks of is there."""
        roots = {"balancer": Path(balancer.__file__ or "").parents[1], "tests": PAGE.parents[1]}  # a wheel is elsewhere
        for file, name in re.findall(r"`((?:balancer|tests)/[\w./]+\.py)(?:: (\w+))?`", PAGE.read_text("ascii")):
            path = roots[file.partition("/")[0]] / file
            self.assertTrue(path.exists(), file)
            self.assertTrue(not name or f"class {name}" in path.read_text(), file)
