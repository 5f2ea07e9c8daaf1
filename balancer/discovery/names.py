"""Host names, each resolved in one stream of questions whoever wants it. It never decides what an answer means
(see :mod:`balancer.core.resolving`) and knows nothing of servers."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IResolver
from twisted.logger import Logger
from twisted.names import dns

from balancer.core.resolving import NameMachine, Reply, ResolvePolicy
from balancer.discovery.answers import answer, words

Hearer = Callable[[tuple[str, ...]], None]
"""Told all addresses of a name: once it has answered or failed a first time, and at each change after that."""


class Names:
    """All names that are watched, and what is known of them.

    A name is resolved again at its TTL while anyone watches it, and forgotten with the last watcher: so whoever
    replaces one watcher by another starts the new one first, and what is known lives on.

    :param resolver: see :func:`balancer.discovery.resolver.make_resolver`.
    :param random: for the jitter of the waits.
    """

    def __init__(
        self, resolver: IResolver, reactor: IReactorTime, random: Random, policy: ResolvePolicy | None = None
    ) -> None:
        self.resolver = resolver
        self.reactor = reactor
        self.random = random
        self.policy = policy or ResolvePolicy()
        self.vacancies = DeferredSemaphore(self.policy.concurrent)
        self._watched: dict[str, NameStream] = {}

    def __repr__(self) -> str:
        return f"<Names {list(self._watched.values())}>"

    @property
    def watched(self) -> tuple[str, ...]:
        """The names that are watched now."""
        return tuple(self._watched)

    def configure(self, policy: ResolvePolicy) -> None:
        """Take another policy. A wait that has begun runs to its end; what was asked is judged by the new one."""
        self.policy = policy
        self.vacancies = DeferredSemaphore(policy.concurrent)
        for stream in self._watched.values():
            stream.machine.policy = policy

    def watch(self, host: str, hear: Hearer) -> Callable[[], None]:
        """Hear of the addresses of a name, at once where they are known. The answer ends it."""
        stream = self._watched.get(host)
        if stream is None:
            stream = self._watched[host] = NameStream(host, self)
        hearer = partial(hear)  # an object of its own, even where one callable watches twice
        stream.hearers.append(hearer)
        if stream.machine.settled:
            hearer(stream.machine.addresses)
        return partial(self._leave, stream, hearer)

    def stop(self) -> None:
        """Ask nothing more; nobody hears anything afterwards."""
        for stream in self._watched.values():
            stream.stop()
        self._watched.clear()

    def _leave(self, stream: "NameStream", hearer: Hearer) -> None:
        if hearer in stream.hearers:
            stream.hearers.remove(hearer)
        if not stream.hearers and self._watched.get(stream.host) is stream:
            stream.stop()
            del self._watched[stream.host]


class NameStream:
    """The questions after one name.

    :ivar machine: what is known.
    :ivar hearers: who wants to know.
    :ivar asked: how many times it was asked for.
    """

    log = Logger()

    def __init__(self, host: str, names: Names) -> None:
        self.host = host
        self.machine = NameMachine(names.policy)
        self.hearers: list[Hearer] = []
        self.asked = 0
        self._names = names
        self._timer: IDelayedCall | None = None
        self._question: Deferred[None] | None = None
        self._stopped = False
        self._ask()

    def __repr__(self) -> str:
        return f"<NameStream {self.host} {self.machine!r} asked={self.asked}>"

    def stop(self) -> None:
        """Take the question back, if one is out, and ask nothing more."""
        self._stopped = True
        self.hearers.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._question is not None:
            self._question.cancel()

    def _ask(self) -> None:
        self._timer = None
        # The question may be answered before fromCoroutine returns (a hosts file): _question is then left as it is.
        question = Deferred.fromCoroutine(self._question_and_answer())
        self._question = None if question.called else question
        question.addErrback(self._broken)

    async def _question_and_answer(self) -> None:
        async with self._names.vacancies:
            self.asked += 1
            resolver = self._names.resolver
            four, six = await gatherResults(
                [self._reply(resolver.lookupAddress, dns.A), self._reply(resolver.lookupIPV6Address, dns.AAAA)]
            )
        self._question = None
        if not self._stopped:
            self._take(four, six)

    def _reply(self, lookup: Callable[..., "Deferred[Any]"], kind: int) -> "Deferred[Reply]":
        replied = maybeDeferred(lookup, self.host)
        replied.addTimeout(self._names.policy.timeout, self._names.reactor)
        return replied.addCallback(answer, kind).addErrback(words)

    def _take(self, four: Reply, six: Reply) -> None:
        machine = self.machine
        trouble, first = machine.trouble, not machine.settled
        changed = machine.result(four, six)
        self._timer = self._names.reactor.callLater(machine.wait(self._names.random), self._ask)
        self._tell_log(trouble)
        if changed or first:
            for hearer in tuple(self.hearers):
                hearer(machine.addresses)

    def _tell_log(self, before: str) -> None:
        """Once per change of what is wrong."""
        machine = self.machine
        if machine.trouble == before:
            return
        if machine.trouble:
            kept = ", ".join(machine.addresses) or "none"
            self.log.warn(
                "{host}: {trouble}; addresses in use: {kept}", host=self.host, trouble=machine.trouble, kept=kept
            )
        else:
            self.log.info("{host} resolves again: {kept}", host=self.host, kept=", ".join(machine.addresses))

    def _broken(self, failure: Any) -> None:
        """A hearer raised, or the question was taken back while it waited for its turn."""
        self._question = None
        if not self._stopped:
            self.log.failure("telling the addresses of {host}", failure=failure, host=self.host)
