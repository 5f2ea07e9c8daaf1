"""A cache with an origin that answers as a test says, for tests of what an RFC requires.

Fields are written as they stand in messages: ``"Cache-Control: max-age=60"``. It never tests anything itself.
"""

from collections.abc import Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING

from balancer.cache.asking import Asking, Reply
from balancer.cache.cached import HttpCache
from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.cache.policy import CachePolicy
from balancer.cache.stored import Fields
from balancer.testing.plain_store import PlainStore

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # a mixin: pytest must not collect it

NOON = 1795521600.0
"""Tue, 24 Nov 2026 12:00:00 GMT."""

BODY = b"0123456789" * 100
"""What the origin has, where a test says nothing else."""


def date(seconds: float = 0.0) -> str:
    """So many seconds after noon, as an HTTP-date."""
    return formatdate(NOON + seconds, usegmt=True)


def fields(lines: Sequence[str]) -> Fields:
    """Field lines as pairs."""
    pairs = [line.partition(":") for line in lines]
    return [(name.encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]


class CacheCase(TestCase):
    """Time starts at noon and stands still but for :meth:`wait`.

    :ivar policy: the cache's settings.
    :ivar conditions: whether the origin heeds conditions.
    :ivar sent: the fields of each request that reached the origin in the last exchange.
    """

    policy = CachePolicy()

    def setUp(self) -> None:
        """An empty cache; an origin whose answers are fresh for a minute."""
        super().setUp()
        self.now = NOON
        self.store = PlainStore()
        self.cache = HttpCache(self.policy, self.store)
        self.sent: list[Fields] = []
        self.conditions = True
        self.origin("Cache-Control: max-age=60")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def origin(
        self, *lines: str, status: int = 200, body: bytes = BODY, dated: bool = True, delay: float = 0.0
    ) -> None:
        """What the origin answers from now on: these fields, and a Date. To a condition that names its ETag, or no
        earlier date than its Last-Modified, it answers 304.

        :param delay: seconds that an answer takes.
        """
        self._lines = fields(lines)
        self._status = status
        self._body = body
        self._dated = dated
        self._delay = delay

    def ask(
        self,
        *lines: str,
        method: bytes = b"GET",
        path: bytes = b"/",
        host: bytes = b"example.org",
        query: bytes | None = None,
        content: bytes = b"",
        chance: float = 0.0,
    ) -> Reply:
        """The whole of one exchange."""
        self.sent = []
        request = PlainRequest(method, host, path, query, fields(lines))
        asking = self.cache.ask(request, self.now, chance, content)
        self.asking: Asking = asking
        reply = self.cache.answer(asking, self.now)
        while reply is None:
            response, body = self._answered(asking.fields, method)
            reply = self.cache.received(asking, response, body, self.now)
            self.assertLess(len(self.sent), 3, "it asks for ever")
        return reply

    def hit(self, *lines: str, method: bytes = b"GET", path: bytes = b"/", query: bytes | None = None) -> bool:
        """Whether such a request is answered without the origin."""
        self.ask(*lines, method=method, path=path, query=query)
        return not self.sent

    def stored(self, *lines: str, status: int = 200, request: Sequence[str] = (), method: bytes = b"GET") -> bool:
        """Whether such a response to such a request answers the same as a GET a second later."""
        self.setUp()
        self.origin(*lines, status=status)
        self.ask(*request, method=method)
        self.wait(1)
        return self.hit(*request)

    def broken(self, *lines: str) -> Reply | None:
        """What is sent if the origin cannot be reached: from the store before asking it, or after."""
        asking = self.cache.ask(PlainRequest(b"GET", b"example.org", b"/", None, fields(lines)), self.now)
        return self.cache.answer(asking, self.now) or self.cache.failed(asking, self.now)

    def _answered(self, sent: Fields, method: bytes) -> tuple[PlainResponse, bytes]:
        self.sent.append(sent)
        self.now += self._delay
        given = [*self._lines]
        if self._dated and not any(name.lower() == b"date" for name, _ in given):
            given.append((b"Date", date(self.now - NOON).encode("ascii")))
        has = {name.lower(): value for name, value in given}
        asked = {name.lower(): value for name, value in sent}
        if b"if-none-match" in asked:
            same = b"etag" in has and has[b"etag"] in asked[b"if-none-match"].split(b", ")
        else:
            same = b"last-modified" in has and asked.get(b"if-modified-since") == has[b"last-modified"]
        if same and self._status == 200 and self.conditions:
            return PlainResponse(304, given), b""
        return PlainResponse(self._status, given), b"" if method == b"HEAD" else self._body
