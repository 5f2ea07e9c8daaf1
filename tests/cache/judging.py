"""A history for tests of the judge: an origin, and a cache that makes no mistakes but those that a test adds."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from tests.cache.content import Sent
from tests.cache.exchanges import Ask, Directives, ETag, Said
from tests.cache.model import History
from tests.cache.versions import Received

NOON = 1_800_000_000
STRONG, OTHER, WEAK = ETag("e1"), ETag("e2"), ETag("w1", weak=True)
MINUTE: Directives = (("max-age", 60),)


class JudgeCase(SynchronousTestCase):
    """A cache and its origin at noon, and a cache that makes no mistakes but those that a test adds."""

    policy = CachePolicy()

    def setUp(self) -> None:
        self.history = History(self.policy)
        self.now = float(NOON)
        self.serial = 0

    def fetch(self, ask: Ask | None = None, *, took: float = 0.0, **said: Any) -> Received:
        """The origin is asked and answers, with a fresh 200 of ten bytes unless told otherwise."""
        asked, asked_at = self.history.tick(), self.now
        self.now += took
        self.serial += 1
        said.setdefault("date", int(self.now))
        said.setdefault("cc", MINUTE)
        said.setdefault("body", b"0123456789")
        answer = Said(self.serial, **said)
        return self.history.received(ask or Ask(), answer, asked_at=asked_at, asked=asked, now=self.now)

    def no_answer(self, ask: Ask | None = None) -> Received:
        """The origin is asked, and does not answer."""
        asked = self.history.tick()
        return self.history.received(ask or Ask(), None, asked_at=self.now, asked=asked, now=self.now)

    def reply(self, got: Received, ask: Ask | None = None, *, own: Received | None = None, **changes: Any) -> Sent:
        """What a right cache sends of a response at this time, with changes: ``status``, ``body``, ``age`` (None for
        none), ``drop`` (names) and ``add`` (lines)."""
        assert got.said
        ask = ask or Ask()
        drop = {b"age", b"set-cookie", *changes.get("drop", ())}
        fields = [line for line in got.said.fields() if line[0].lower() not in drop]
        age = changes.get("age", int(self.now - got.arrived))
        if age is not None:
            fields.append((b"Age", b"%d" % age))
        body = changes.get("body", b"" if ask.method == "HEAD" else got.said.content())
        status = changes.get("status", got.said.status)
        received = (own,) if own else ()
        return Sent(ask, status, fields + list(changes.get("add", ())), body, self.now, received, bool(own))

    def permitted(self, sent: Sent) -> None:
        self.assertEqual(self.history.judge(sent), [])

    def forbidden(self, reason: str, sent: Sent) -> None:
        """A part of the section or of the words."""
        found = self.history.judge(sent)
        self.assertTrue(any(reason in " ".join(fault) for fault in found), found)
