"""The guard at a listener's door: it asks :mod:`balancer.core.guard`, counts and logs what is refused, and keeps time.

A port of the uvloop reactor asks it before there is a transport (``balancer.net.uvloop_port``); the factory asks it
again, on any reactor, and only then is a connection counted. It never closes a connection itself.
"""

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from balancer.core.guard import Networks, Refusal, Source, Sources, number
from balancer.core.guard_policy import GuardPolicy
from balancer.net.listen import ConnectionLimit
from balancer.net.timers import Timer, TimerWheel

LOG_EVERY = 10.0
"""Seconds between lines about one kind of refusal: often enough to watch, and a flood writes six lines a minute."""


class Visit:
    """One connection that was let in. Its factory calls :meth:`begin` and :meth:`end` once each.

    :ivar source: where it comes from, ``None`` where nothing is counted by source.
    """

    __slots__ = ("_guard", "_timer", "source")

    def __init__(self, guard: "Guard", source: Source | None) -> None:
        self._guard = guard
        self._timer: Timer | None = None
        self.source = source

    def begin(self, expired: Callable[[str], None]) -> None:
        """It is served from now on; ``expired`` is called, with a reason, at the end of its lifetime."""
        limit = self._guard.policy.max_lifetime
        if limit:
            words = f"it was open for {limit:g} s, its guard.max_lifetime"
            self._timer = self._guard.timers.schedule(limit, partial(expired, words))

    def end(self) -> None:
        """It is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        source, self.source = self.source, None
        if source is not None:
            self._guard.sources.leave(source, self._guard.timers.seconds())


class Guard:
    """See the module.

    :param name: the listener's, for the log.
    :param timers: clock, lifetimes, and when the log is to be written again.
    :ivar policy: what it goes by; see :meth:`configure`.
    :ivar sources: who is connected, and who was.
    :ivar refused: connections refused, by reason.
    """

    log = Logger()

    def __init__(self, name: str, policy: GuardPolicy, timers: TimerWheel) -> None:
        self.name = name
        self.policy = policy
        self.timers = timers
        self.sources = Sources(policy)
        self.refused = dict.fromkeys(Refusal, 0)
        self._networks = Networks(policy.allow, policy.deny)
        self._told: dict[Refusal, int] = {}  # how many were refused when the log was last told
        self._last: dict[Refusal, str] = {}
        self._telling: Timer | None = None

    def __repr__(self) -> str:
        return f"<Guard {self.name} {self.sources!r} refused={sum(self.refused.values())}>"

    def configure(self, name: str, policy: GuardPolicy) -> None:
        """Judge those who come from now on by another policy."""
        self.name = name
        if policy == self.policy:
            return
        self._networks = Networks(policy.allow, policy.deny)
        self.sources.configure(policy)
        self.policy = policy

    def refuses(self, host: str) -> bool:
        """Whether a client that was just accepted is refused, which is counted; one that is not is not counted yet."""
        address = number(host)
        if address is None:
            return False
        refusal = self._networks.judge(address)
        if refusal is None and self.policy.counts:
            refusal = self.sources.judge(self.sources.key(address), self.timers.seconds())
        if refusal is None:
            return False
        self._refuse(refusal, host)
        return True

    def admit(self, host: str | None) -> Visit | None:
        """Let a client in, ``None`` where it is refused. One without an IP address (UNIX) always is let in."""
        address = number(host) if host is not None else None
        if host is None or address is None:
            return Visit(self, None)
        found: Source | Refusal | None = self._networks.judge(address)
        if found is None and self.policy.counts:
            found = self.sources.enter(self.sources.key(address), self.timers.seconds())
        if isinstance(found, Refusal):
            self._refuse(found, host)
            return None
        return Visit(self, found)

    def stop(self) -> None:
        """The listener is closed, perhaps for a while: tell the log what it does not know yet, and wait for nothing."""
        self._tell()
        self._told.clear()
        if self._telling is not None:
            self._telling.cancel()

    # -- the log -------------------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal, host: str) -> None:
        self.refused[refusal] += 1
        if refusal in self._told:
            self._last[refusal] = host
            return
        self._told[refusal] = self.refused[refusal]
        words = _words(refusal, self.policy)
        self.log.warn("listener {name}: refused {host}: {words}", name=self.name, host=host, words=words)
        if self._telling is None:
            self._telling = self.timers.schedule(LOG_EVERY, self._tell)
        elif not self._telling.active:
            self._telling.rearm(LOG_EVERY)

    def _tell(self) -> None:
        """What was refused since the last line; and again later, while there is something to tell."""
        for refusal, told in list(self._told.items()):
            more = self.refused[refusal] - told
            if not more:
                del self._told[refusal]
                continue
            self._told[refusal] = self.refused[refusal]
            self.log.warn(
                "listener {name}: refused {more} more, the last {host}: {words}",
                name=self.name,
                more=more,
                host=self._last[refusal],
                words=_words(refusal, self.policy),
            )
        if self._told and self._telling is not None:
            self._telling.rearm(LOG_EVERY)


def enter(guard: Guard, limit: ConnectionLimit, host: str | None) -> Visit | None:
    """Let a client in by both; ``None`` where either refuses."""
    visit = guard.admit(host)
    if visit is not None and not limit.enter():
        visit.end()
        return None
    return visit


def host_of(address: IAddress | None) -> str | None:
    """The IP address in an address of Twisted's, ``None`` where there is none."""
    host: str | None = getattr(address, "host", None)
    return host


def _words(refusal: Refusal, policy: GuardPolicy) -> str:
    """Why, for a person."""
    return {
        Refusal.DENIED: "its network is in guard.deny",
        Refusal.NOT_ALLOWED: "its network is not in guard.allow",
        Refusal.CONNECTIONS: f"the source has guard.connections = {policy.connections} already",
        Refusal.RATE: f"the source connects more often than guard.rate = {policy.rate:g} per second",
    }[refusal]
