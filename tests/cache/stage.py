"""A cache, an origin, a clock and the judge: what the laws are played on.

It never judges, it tells the judge.
"""

from typing import Any

from twisted.internet.task import Clock

from balancer.cache.asking import Asking, Reply
from balancer.cache.cached import HttpCache
from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.cache.policy import CachePolicy
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings
from tests.cache.content import Sent
from tests.cache.exchanges import Ask
from tests.cache.model import History
from tests.cache.origin import START, Origin, Template
from tests.cache.settled import SettledDisk
from tests.cache.versions import Received, Violation

ATTEMPTS = 3
"""Requests to the origin for one of a client, at most: validating, and anew."""


class Stage:
    """One cache from its beginning to its end.

    :param disk: a store on a disk; ``None`` for one in memory.
    :ivar chance: what spreads validations in the background.
    """

    def __init__(self, policy: CachePolicy, disk: SettledDisk | None = None) -> None:
        self.policy = policy
        self.disk = disk
        self.name = "default"
        self.now = float(START)
        self.chance = 0.0
        self.origin = Origin()
        self.history = History(policy)
        self.events: list[str] = []
        if disk is not None:
            disk.users += 1
            self.name = f"cache{disk.users}"
        self._open()

    def restart(self) -> None:
        """Everything ends and begins anew; what is kept in memory is gone, and what is on the disk is there."""
        self.events.append("restart")
        if self.disk is not None:
            self.disk.reopen()
        self._open()

    def _open(self) -> None:
        store: Any = self.disk or MemoryStore(MemorySettings(size=2**20), Clock())
        self.cache = HttpCache(self.policy, store, name=self.name)

    def play(self, ask: Ask, template: Template) -> list[Violation]:
        """A client asks; why it must not have got what it got."""
        request = PlainRequest(
            ask.method.encode(),
            ask.host.encode(),
            ask.path.encode(),
            None if ask.query is None else ask.query.encode(),
            ask.fields(),
        )
        since = self.history.tick()
        asking = self.cache.ask(request, self.now, self.chance, ask.content)
        reply = self.cache.answer(asking, self.now)
        received: list[Received] = []
        if reply is None:
            reply = self._forward(ask, asking, template, received)
        sent = Sent(ask, reply.status, reply.fields, reply.body, self.now, tuple(received), bool(received), since)
        faults = self.history.judge(sent)
        self._note(asking, reply, received)
        if asking.decision.background:
            self._forward(ask, asking, template, received)
        return faults

    def _forward(self, ask: Ask, asking: Asking, template: Template, received: list[Received]) -> Reply:
        for _ in range(ATTEMPTS):
            asked, asked_at = self.history.tick(), self.now
            said = self.origin.answer(ask, asking.fields, self.now)
            self.now += template.get("took", 0.0)
            for purge in template.get("purges", ()):
                self.purge(*purge, soft=False)
            got = self.history.received(ask, said, asked_at=asked_at, asked=asked, now=self.now)
            received.append(got)
            if said is None:
                return self.cache.failed(asking, self.now) or Reply(502, [], b"")
            head = ask.method == "HEAD"
            response = PlainResponse(said.status, said.fields(content=not head))
            body = b"" if head else said.content()
            reply = self.cache.received(asking, response, body, self.now)
            if reply is not None:
                return reply
        return Reply(502, [], b"")

    def purge(self, kind: Any, what: str, *, soft: bool) -> None:
        """A purge, told to both."""
        self.cache.purge(kind, what.encode(), soft)
        self.history.purged(kind, what, soft=soft)
        self.events.append(f"purge {kind} {what} soft={soft}")

    def other(self, step: Any) -> list[Violation]:
        """It has no steps of its own."""
        raise NotImplementedError(step)

    def _note(self, asking: Asking, reply: Reply, received: list[Received]) -> None:
        decision = asking.decision
        self.events.append(
            f"{self.now - START:+g}: {asking.request!r} {asking.request.fields}\n    {decision.kind} {decision.reason} "
            f"{decision.detail} background={decision.background}"
        )
        for got in received:
            said = got.said
            told = f"{said.status} {said.fields()}" if said else "nothing"
            self.events.append(f"    origin (asked {got.asked_at - START:+g}, {got.arrived - START:+g}): {told}")
        self.events.append(
            f"    sent {reply.status} {reply.fields} {reply.body!r} stored: {reply.stored} {reply.reason}"
        )
