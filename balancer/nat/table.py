"""Our table of nftables, kept as the listeners of mode nat want it.

Changes of one turn become one transaction; one is under way at a time, and what changes meanwhile is the next one. What
the kernel refuses is tried again. It never decides who serves, and it touches no other table.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from balancer.core.events import Event
from balancer.core.nat import Ruleset, Translation
from balancer.core.nat_policy import NatPolicy
from balancer.core.traffic import Traffic
from balancer.errors import NatError
from balancer.nat import ability
from balancer.nat.counts import counts, refused, traffic
from balancer.nat.nft import Nft
from balancer.nat.rendering import change, listing, removal, replacement

FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds until what the kernel refused is tried again; twice as long each time, up to the second."""

ADOPTION, LOOK = 5.0, 0.2
"""Seconds for which rules that were left behind serve on at a start, while servers are resolved and probed, at most;
and how often it is looked whether they are. Two probes at their default timeout are 4 s."""

Place = tuple[str, int]
"""Host and port of a server."""


class Entry(Protocol):
    """What a listener gives the table."""

    @property
    def name(self) -> str:
        """The listener's."""

    @property
    def ready(self) -> bool:
        """Whether it knows its servers."""

    def wanted(self) -> Translation:
        """What the kernel is to do for it now. Asked often: cheap where nothing changed."""

    def counted(self, found: Mapping[Place, Traffic], refused: int) -> None:
        """What the kernel counted, of all servers of the table; and the listener's refused connections."""


class NatTable:
    """The table.

    :param policy: its name, and what becomes of it.
    :param nft: the tool; one for the reactor where none is given.
    :param ask: why the kernel cannot do it, empty where it can; waits for the answer. It is asked where none is given.
    :ivar applied: what the kernel has; ``None`` where that is not known, before the first transaction.
    :ivar lag: seconds from the change to the end of the transaction that brought it to the kernel, of the last one.
    :ivar transactions: how many the kernel took.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        policy: NatPolicy,
        nft: Nft | None = None,
        ask: Callable[[NatPolicy], str] | None = None,
    ) -> None:
        self.policy = policy
        self.applied: Ruleset | None = None
        self.lag = 0.0
        self.transactions = 0
        self._reactor = reactor
        self._nft = nft or Nft(reactor, policy.timeout)
        self._ask = ask or ability.inability
        self._able = False
        self._entries: dict[str, Entry] = {}
        self._old_tables: set[str] = set()
        self._due: Any = None
        self._since: float | None = None
        self._busy = False
        self._stopped = False
        self._retry = FIRST_RETRY
        self._problem = ""
        self._adopted_until: float | None = None
        self._waiting: list[Deferred[None]] = []
        self._reading = LoopingCall(self._read)
        self._reading.clock = reactor

    def __repr__(self) -> str:
        return f"<NatTable {self.policy.table} listeners={sorted(self._entries)} transactions={self.transactions}>"

    def inability(self) -> str:
        """Why the kernel cannot do it; empty where it can. Asks, and waits, until it once could."""
        problem = "" if self._able else self._ask(self.policy)
        self._able = not problem
        return problem

    # -- the listeners -------------------------------------------------------------------------------------------

    def enter(self, entry: Entry) -> Deferred[None]:
        """Have that listener served. Fires when the kernel does it; fails (:class:`~balancer.errors.NatError`) where it
        refuses, and is tried again all the same."""
        self._entries[entry.name] = entry
        return self._wait()

    def leave(self, entry: Entry) -> Deferred[None]:
        """Have it served no more: its connections that are established are the kernel's and go on while any listener of
        the table is left. After :meth:`stop` the table stays what it is."""
        if self._entries.get(entry.name) is not entry:
            return succeed(None)
        del self._entries[entry.name]
        return succeed(None) if self._stopped else self._wait()

    def heed(self, _event: Event) -> None:
        """Something happened in the registry."""
        self.changed()

    def changed(self) -> None:
        """What the listeners want may be another thing: see at the end of this turn."""
        if self._entries:
            self._soon(0)

    def configure(self, policy: NatPolicy) -> None:
        """Take other settings. Under another name the old table goes in the same transaction in which the new comes."""
        before, self.policy = self.policy, policy
        self._nft.timeout = policy.timeout
        if policy.table != before.table and self.applied is not None:
            self._old_tables.add(self.applied.table)
            self.applied = None
            self._soon(0)
        if policy.counters != before.counters and self._reading.running:
            self._reading.stop()
            self._reading.start(policy.counters, now=False)

    async def stop(self) -> None:
        """Read the counters a last time, then take the table out or, where that is wanted, leave it. Once."""
        if self._stopped:
            return
        self._stopped = True
        if self._due is not None and self._due.active():
            self._due.cancel()
        if self._reading.running:
            self._reading.stop()
        while self._busy:
            pause: Deferred[None] = Deferred()
            self._waiting.append(pause)
            await pause.addErrback(lambda _failure: None)  # told where it happened
        if self.applied is None or not self.applied.translations:
            return
        await self._read()
        if self.policy.on_stop == "keep":
            self.log.info("the kernel goes on forwarding by table {table} (nat.on_stop)", table=self.applied.table)
            return
        try:
            await self._nft.run(removal(self.applied.table))
        except NatError as error:
            self.log.error("table {table} stays: {problem}", table=self.applied.table, problem=str(error))

    # -- transactions --------------------------------------------------------------------------------------------

    def _wait(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        self._soon(0)
        return waiter

    def _soon(self, delay: float) -> None:
        if self._stopped:
            return
        if self._since is None:
            self._since = self._reactor.seconds()
        if self._due is not None and self._due.active():
            if not delay:
                self._due.reset(0)
            return
        self._due = self._reactor.callLater(delay, self._settle)

    def _settle(self) -> None:
        if self._busy:
            return  # looks again when it is done
        self._busy = True
        working = Deferred.fromCoroutine(self._work())
        working.addErrback(lambda failure: self.log.failure("the rules of mode nat were not changed", failure))

    async def _work(self) -> None:
        """One transaction, if one is needed."""
        since, self._since = self._since, None
        waiting, self._waiting = self._waiting, []
        wanted = Ruleset(self.policy.table, tuple(entry.wanted() for _, entry in sorted(self._entries.items())))
        problem: NatError | None = None
        try:
            if await self._adopts():
                self._since, self._waiting = since, [*waiting, *self._waiting]
                self._soon(LOOK)
                return
            if wanted != self.applied:
                await self._apply(wanted)
                self._told(wanted, since)
        except NatError as error:
            problem = error
        finally:
            self._busy = False
        if problem is not None:
            self._failed(problem)
        for waiter in waiting:
            waiter.errback(problem) if problem is not None else waiter.callback(None)
        if problem is None and (self._since is not None or self._waiting):
            self._finish_or_go_on()

    async def _adopts(self) -> bool:
        """Whether rules that a stop or a crash left serve on: they know better than we do who is up, as yet."""
        if self.transactions or self._stopped or all(entry.ready for entry in self._entries.values()):
            return False
        now: float = self._reactor.seconds()
        if self._adopted_until is None:
            self._adopted_until = now + ADOPTION if await self._left() else now
        return now < self._adopted_until

    async def _left(self) -> dict[str, tuple[int, int]]:
        """The counters of a table that was left behind; none where there is no table, which is the usual case. What
        else is wrong the transaction will tell."""
        try:
            return counts(await self._nft.run(listing(self.policy.table)))
        except NatError:
            return {}

    def _finish_or_go_on(self) -> None:
        if not self._stopped:
            self._soon(0)
            return
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    async def _apply(self, wanted: Ruleset) -> None:
        before = self.applied
        if before is not None and before.translations and wanted.translations:
            try:
                await self._nft.run(change(before, wanted))
                self.applied = wanted
                return
            except NatError as error:
                self.log.warn("the table is not what it was left as, and is made anew: {why}", why=str(error))
        self.applied = None
        old = [command for table in sorted(self._old_tables) for command in removal(table)]
        # Counters of a table that was left behind, or that does not fit, go on.
        commands = replacement(wanted, await self._left()) if wanted.translations else removal(wanted.table)
        await self._nft.run([*old, *commands])
        self._old_tables.clear()
        self.applied = wanted

    def _told(self, wanted: Ruleset, since: float | None) -> None:
        self.transactions += 1
        self._retry, self._problem = FIRST_RETRY, ""
        self.lag = 0.0 if since is None else self._reactor.seconds() - since
        self.log.info(
            "table {table}: the kernel forwards by the new rules, {lag:.0f} ms after the change ({serving})",
            table=wanted.table,
            lag=self.lag * 1000,
            serving=", ".join(_summary(each) for each in wanted.translations) or "no listener is left",
        )
        if wanted.translations and not self._reading.running and not self._stopped:
            self._reading.start(self.policy.counters, now=False)
        elif not wanted.translations and self._reading.running:
            self._reading.stop()

    def _failed(self, error: NatError) -> None:
        """Told once while it is the same; tried again ever more seldom."""
        if str(error) != self._problem:
            self._problem = str(error)
            self.log.error("the kernel did not take the rules of table {table}: {problem}; it is tried again",
                           table=self.policy.table, problem=self._problem)  # fmt: skip
        self._soon(self._retry)
        self._retry = min(2 * self._retry, LAST_RETRY)
        if self._stopped:
            self._finish_or_go_on()

    # -- counters ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Hand on what the kernel counted. Where our table is gone (a firewall that was loaded anew) make it again."""
        applied = self.applied
        if applied is None or self._busy:
            return
        try:
            found = counts(await self._nft.run(listing(applied.table)))
        except NatError as error:
            if self.applied is applied and not self._stopped and not self._busy:
                self.log.warn("table {table} cannot be read and is made anew: {problem}",
                              table=applied.table, problem=str(error))  # fmt: skip
                self.applied = None
                self._soon(0)
            return
        places: dict[Place, Traffic] = {}
        for target, read in traffic(found, applied.targets).items():
            place = (target.host, target.port)
            places[place] = places.get(place, Traffic()) + read
        turned_away = refused(found)
        for name, entry in self._entries.items():
            entry.counted(places, turned_away.get(name, 0))


def _summary(each: Translation) -> str:
    return f"'{each.entrance.name}' to {len(set(each.slots))} of {len(each.targets)} server(s)"
