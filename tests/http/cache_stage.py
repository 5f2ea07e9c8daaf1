"""The HTTP engine with a cache, an origin and the judge: what the laws of the cache are played on, on the wire.

Clients and origins are in memory, and the clock is moved by hand. Requests may be held at the origin, so that others
meet them there; a response may stop in its middle. It never judges, it tells the judge.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from balancer.cache.policy import CachePolicy
from balancer.cache.stored import Fields
from balancer.stores.disk import DISK, DiskSettings
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings, TieredSettings, UpperSettings
from balancer.stores.tiered import TIERED
from balancer.testing.caching import CacheBench
from balancer.testing.http import Party
from balancer.testing.threads import ThreadlessClock
from tests.cache.content import Sent
from tests.cache.exchanges import Ask, Said
from tests.cache.model import History
from tests.cache.origin import START, Origin, Template
from tests.cache.versions import Received, Violation

REASON = {304: b"Not Modified", 206: b"Partial Content"}


class Chance:
    """Random numbers that are all the same."""

    def __init__(self) -> None:
        self.value = 0.0

    def random(self) -> float:
        """The number."""
        return self.value

    def randbytes(self, size: int) -> bytes:
        """Bytes."""
        return bytes(size)


@dataclass
class Client:
    """A request that is not answered yet.

    :ivar sent: what it was sent so far, as the judge was told when the head came.
    """

    ask: Ask
    party: Party
    order: int
    received: list[Received] = field(default_factory=list)
    forwarded: bool = False
    sent: Sent | None = None


@dataclass
class Waiting:
    """A request at the origin."""

    party: Party
    client: Client
    ask: Ask
    fields: Fields
    asked: int
    asked_at: float


def parsed(data: bytes) -> tuple[bytes, Fields, bytes] | None:
    """First line, fields and what follows; None where the head is not complete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return first, [(name, value.strip()) for name, _, value in pairs], rest


def body_of(status: int, fields: Fields, rest: bytes, head_only: bool) -> tuple[bytes, bool]:
    """The body as far as it came, and whether it is complete."""
    named = {name.lower(): value for name, value in fields}
    if head_only or status in (204, 304):
        return rest, True
    if named.get(b"transfer-encoding") == b"chunked":
        body = b""
        while found := re.match(rb"([0-9a-fA-F]+)\r\n", rest):
            size = int(found[1], 16)
            if not size:
                return body, rest.endswith(b"0\r\n\r\n")
            body += rest[found.end() : found.end() + size]
            rest = rest[found.end() + size + 2 :]
        return body, False
    return rest, len(rest) >= int(named.get(b"content-length", b"0"))


class TurnedBench(CacheBench):
    """A bench whose store has threads that are turned by hand: they do what waits whenever anything else happens."""

    def __init__(self, policy: CachePolicy, store: Any, threads: ThreadlessClock) -> None:
        self._threads = threads
        super().__init__(cache=policy, store=store)

    def run(self) -> None:
        """Let everything happen that can."""
        super().run()
        while self._threads.waiting:
            self._threads.advance(0)
            super().run()


class HttpStage:
    """One listener with one cache.

    :param path: a directory for a store on a disk; ``""`` for one in memory.
    :param tiered: the disk is under a memory.
    :ivar holding: the origin does not answer until :meth:`release`.
    :ivar halves: it sends the second half of a body only after everybody has heard of the first.
    """

    def __init__(self, policy: CachePolicy, path: str = "", *, tiered: bool = False) -> None:
        self._policy = policy
        self._tiered = tiered
        self._path = path
        self._chance = Chance()
        self.origin = Origin()
        self.history = History(policy)
        self._open(START)
        self.holding = self.halves = False
        self.events: list[str] = []
        self._template: Template = {}
        self._clients: list[Client] = []
        self._waiting: list[Waiting] = []

    @property
    def now(self) -> float:
        """The wall clock."""
        return self.bench.wall()

    @now.setter
    def now(self, value: float) -> None:
        self.bench.set_clock(value - self.bench.wall())

    @property
    def chance(self) -> float:
        """What spreads validations in the background."""
        return self._chance.value

    @chance.setter
    def chance(self, value: float) -> None:
        self._chance.value = value

    def play(self, ask: Ask, template: Template) -> list[Violation]:
        """A client asks; what is forbidden of all that anybody got then."""
        self._template = template
        path = ask.path + ("" if ask.query is None else f"?{ask.query}")
        lines = [(b"Host", ask.host.encode()), (b"X-Ask", b"%d" % len(self._clients)), *ask.fields()]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.events.append(f"{self.now - START:+g}: {ask.method} {path} {lines}")
        order = self.history.tick()
        data = b"%b %b HTTP/1.1\r\n%b\r\n%b" % (ask.method.encode(), path.encode(), head, ask.content)
        client = Client(ask, Party(), order)
        self._clients.append(client)
        client.party = self.bench.client()
        self.bench.send(client.party, data)
        faults = self._look()
        return faults or ([] if self.holding else self._answer_all())

    def purge(self, kind: Any, what: str, *, soft: bool) -> None:
        """A purge, told to both."""
        cache = self.bench.cache
        text = what.encode()
        if kind == "url":
            cache.purge_url(text, soft)
        elif kind == "prefix":
            cache.purge_prefix(text, soft)
        elif kind == "host":
            cache.purge_host(text, soft)
        elif kind == "tag":
            cache.purge_tags(text, soft=soft)
        else:
            cache.purge_all(soft)
        self.history.purged(kind, what, soft=soft)
        self.events.append(f"purge {kind} {what} soft={soft}")

    def restart(self, *, killed: bool = False) -> None:
        """Everything ends, and begins anew with what is on the disk. In memory nothing would be left.

        :param killed: at once: what waits for a thread is never done.
        """
        if not self._path:
            return
        self.events.append("killed" if killed else "restart")
        for client in self._clients:
            if client.sent is None or client.sent.partial:
                client.sent = Sent(client.ask, 0, [], b"", self.now)
        self._waiting.clear()
        if killed:
            self._stores[0]._directory.close()  # the kernel gives the lock back, and nothing else happens
        else:
            self.close()
        self._open(self.now)

    def close(self) -> None:
        """End the store."""
        for store in reversed(self._stores):
            ended = store.stop()
            while self._threads.waiting:
                self._threads.advance(0)
            assert ended is None or ended.called

    def _open(self, now: float) -> None:
        self._threads = ThreadlessClock()
        if self._path:
            settings = DiskSettings(path=self._path, size=8 << 20, max_object=1 << 20)
            disk: Any = DISK.store(settings, self._threads, lambda name: None)
            self._stores: list[Any] = [disk]
            if self._tiered:
                above = TieredSettings(over="disk", memory=UpperSettings(size=2**20))
                self._stores.append(TIERED.store(above, self._threads, lambda name: disk))
        else:
            self._stores = [MemoryStore(MemorySettings(size=2**20), self._threads)]
        for store in self._stores:
            store.start()
        self.bench = TurnedBench(self._policy, self._stores[-1], self._threads)
        self.bench.run()
        self.bench.set_clock(now - self.bench.wall())
        cache: Any = self.bench.cache
        cache.random = self._chance

    def other(self, step: Sequence[Any]) -> list[Violation]:
        """("hold",), ("release", backwards), ("halves", whether), ("leave", which), ("time", seconds), ("kill",)."""
        self.events.append(str(step))
        if step[0] == "hold":
            self.holding = True
        elif step[0] == "halves":
            self.halves = step[1]
        elif step[0] == "leave":
            left = [client for client in self._clients if client.sent is None or client.sent.partial]
            if left:
                client = left[step[1] % len(left)]
                client.sent = Sent(client.ask, 0, [], b"", self.now)  # nothing more is looked at
                self.bench.reset(client.party)
        elif step[0] == "time" and not self._waiting:
            self.bench.advance(step[1])
        elif step[0] == "kill":
            self.restart(killed=True)
        elif step[0] == "release":
            self.holding = False
            return self._answer_all(step[1])
        return self._look()

    # -- the origin ---------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Requests that came to the origin."""
        while self.bench.asked:
            party = self.bench.origin()
            data, party.received = party.received, b""
            head = parsed(data)
            assert head is not None, data
            first, fields, _ = head
            named = {name.lower(): value for name, value in fields}
            client = self._clients[int(named[b"x-ask"])]
            client.forwarded = True
            ask = replace(client.ask, method=first.partition(b" ")[0].decode())
            self._waiting.append(Waiting(party, client, ask, fields, self.history.tick(), self.now))

    def _answer_all(self, backwards: bool = False) -> list[Violation]:
        for _ in range(100):
            self._collect()
            if not self._waiting:
                break
            faults = self._answer(self._waiting.pop(-1 if backwards else 0))
            if faults:
                return faults
        return []

    def _answer(self, waiting: Waiting) -> list[Violation]:
        """The origin answers one request, unless it was given up."""
        if waiting.party.closed != "open":
            return []
        ask, client = waiting.ask, waiting.client
        said = self.origin.answer(ask, waiting.fields, self.now)
        self.now += self._template.get("took", 0.0)
        for purge in self._template.get("purges", ()):
            self.purge(*purge, soft=False)
        got = self.history.received(ask, said, asked_at=waiting.asked_at, asked=waiting.asked, now=self.now)
        client.received.append(got)
        if said is None:
            self.events.append(f"    origin: nothing to {self._clients.index(client)}")
            self.bench.reset(waiting.party)
            return self._look()
        head, body = self._written(ask, said)
        self.events.append(f"    origin to {ask.method} {waiting.fields}\n        {head + body!r}")
        half = len(body) // 2 if self.halves else len(body)
        got.complete = half == len(body)
        self.bench.send(waiting.party, head + body[:half])
        faults = self._look()
        if half < len(body) and not faults:
            got.complete = True
            self.bench.send(waiting.party, body[half:])
            faults = self._look()
        return faults

    def _written(self, ask: Ask, said: Said) -> tuple[bytes, bytes]:
        head_only = ask.method == "HEAD"
        body = b"" if head_only else said.content()
        lines = said.fields(content=not head_only)
        if not said.length and said.status not in (204, 304) and not head_only:
            lines.append((b"Transfer-Encoding", b"chunked"))
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        fields = b"".join(b"%b: %b\r\n" % line for line in lines)
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (said.status, REASON.get(said.status, b"Said"), fields), body

    # -- the clients --------------------------------------------------------------------------------------------------

    def _look(self) -> list[Violation]:
        """Judge what came to clients since."""
        self._collect()
        for number, client in enumerate(self._clients):
            faults = self._judged(number, client)
            if faults:
                return faults
        return []

    def _judged(self, number: int, client: Client) -> list[Violation]:
        before = client.sent
        if before is not None and not before.partial:
            return []
        head = parsed(client.party.received)
        if head is None:
            return []
        first, fields, rest = head
        status = int(first.split(b" ")[1])
        body, complete = body_of(status, fields, rest, client.ask.method == "HEAD")
        if before is not None:
            before.body, before.partial = body, not complete
            return self.history.judge_body(before)
        fields = [line for line in fields if line[0].lower() != b"x-ask"]
        failures = [
            got
            for other in self._clients
            for got in other.received
            if got.failed and got.order > client.order and other.ask.target == client.ask.target
        ]
        hit = any(name == b"Cache-Status" and b"; hit" in value for name, value in fields)  # validated behind it
        client.sent = sent = Sent(
            client.ask, status, fields, body, self.now, tuple(client.received), client.forwarded and not hit,
            client.order, tuple(failures), not complete,
        )  # fmt: skip
        self.events.append(f"    to client {number}: {first!r} {fields} {body!r}")
        return self.history.judge(sent)
