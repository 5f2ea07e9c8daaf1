"""Every interface a plugin provides, and nothing else.

A plugin is an object in a module of the ``twisted.plugins`` package that provides one of the ``I...Plugin``
interfaces and ``twisted.plugin.IPlugin``; :func:`balancer.plugins.named` finds it by its name. The balancer's own
selectors and probes come through the same door. This module never imports another of ours at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.defer import Deferred

    from balancer.cache.purges import Purge
    from balancer.cache.stored import Stored
    from balancer.core.agent import Report
    from balancer.core.model import BackendSpec, Member
    from balancer.core.traits import Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """What a selector is built with beside its members.

    :ivar random: the only source of chance a selector uses.
    :ivar seconds: the clock.
    :ivar hash_type: ``"ring"`` or ``"maglev"``, for selectors that hash.
    :ivar balance_factor: bounded load: no member gets more than this many percent of the mean load
        (HAProxy's hash-balance-factor); 0 for no bound.
    """

    random: Random
    seconds: Callable[[], float]
    hash_type: str = "ring"
    balance_factor: int = 0


class ISelector(Interface):
    """Picks among the members of one upstream. Built anew when membership or weights change."""

    def refresh() -> None:
        """Some member's ``usable`` flag changed. A selector that precomputes over usable members does so here.

        Called before the next candidates are asked for; with more than a thousand members a tenth of a second may
        pass, and what is no longer usable is passed over meanwhile.
        """

    def candidates(traits: Traits) -> Iterator[Member] | None:
        """The usable members, best first, each exactly once; whoever asks stops when served.

        :returns: ``None`` where this selector has no key for such a request (the next one in a chain is asked).
        """

    def observe(member: Member, latency: float, now: float) -> None:
        """A lease came back after ``latency`` seconds (to the first byte where there was one; else to its end).

        Only of the members it was built with, and not where the outcome says nothing of the backend. After a failure
        ``member.backend.failures_in_row`` is not 0: a refusal is quick, and must not pass for a quick answer.
        """


class ISelectorPlugin(Interface):
    """Makes selectors of one kind: ``balance = "name(arguments)"``."""

    name = Attribute("What the configuration calls it, for example ``leastconn`` or ``hdr``.")

    def check(arguments: Sequence[str]) -> None:
        """:raises ValueError: these arguments do not fit; the message says what does."""

    def selector(arguments: Sequence[str], members: Sequence[Member], options: SelectionOptions) -> ISelector:
        """A selector for these members (a stable tuple)."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe found: whether the backend passed, and a sentence that says why."""

    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AgentResult(ProbeResult):
    """What the probe ``agent`` found: as any other, and what the agent said where it passed."""

    report: Report | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """Where a probe goes.

    :ivar host: an IP address.
    :ivar port: the port to probe (the check may name another than the backend's).
    :ivar tls_name: the name TLS presents and verifies; ``None`` for plain TCP.
    :ivar name: what the operator called the backend, for the Host field.
    :ivar preface: bytes that the connection begins with, before TLS; empty for none.
    """

    host: str
    port: int
    tls_name: str | None
    name: str
    preface: bytes = b""


class IProbePlugin(Interface):
    """Makes probes of one kind: ``check = { type = "name", … }``."""

    name = Attribute("What the configuration calls it, for example ``tcp`` or ``http``.")
    settings = Attribute("A frozen dataclass: the probe's own keys, each documented with typing_extensions.Doc.")

    def probe(target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """Probe once. The result may be a failed one, or a failure that says why; cancelling it closes everything.

        The monitor cancels the probe when its timeout passes.
        """


class IDiscovery(Interface):
    """Keeps one upstream's set of backends current."""

    def start(publish: Callable[[tuple[BackendSpec, ...]], None]) -> None:
        """Begin; call ``publish`` with the *whole* set each time it may have changed, in the order as written
        (which is what the selector ``first`` goes by)."""

    def stop() -> None:
        """End; nothing is published afterwards."""


class ICacheStore(Interface):
    """Keeps responses. One store may serve several caches; their names are part of the keys.

    A key is ``uri + b"\\n" + rest`` (:mod:`balancer.cache.keys`): what is purged goes by the URI, whatever the rest.
    What was purged is not found any more, or is found with ``SOFT_PURGED``; that holds for what is being written too: a
    response whose ``serial`` is older than a purge that meets it is not kept.
    """

    serial = Attribute("How many purges there were: a response remembers that of when it was asked for.")
    counters = Attribute("A mapping of names to numbers: objects, bytes, evicted, refused, corrupt, errors, ...")

    def start() -> Deferred[None] | None:
        """Open it; fires when it can be used (until then nothing is found and nothing kept)."""

    def stop() -> Deferred[None] | None:
        """Close it, with everything that is worth keeping kept."""

    def get(key: bytes) -> Sequence[Stored] | Deferred[Sequence[Stored]]:
        """The responses stored under a key, the most recent first; empty for none. Never fails: what cannot be read
        is absent, and counted."""

    def begin(key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> ICacheWriter | None:
        """Begin to store a response whose body is to come; ``None`` where it is not wanted (too large, not admitted).

        :param stored: all but the body. It takes the place of the one with the same ``nominated``.
        :param size: bytes of the body, -1 where that is unknown.
        :param resume: called, never from within a call, when a writer that was full takes more.
        """

    def put(key: bytes, stored: Stored) -> None:
        """Store a whole response at one time, the body in memory; or, where the body is that of an entry of this key,
        replace its head (freshening)."""

    def drop(key: bytes, stored: Stored) -> None:
        """Remove this one response, if it is there."""

    def remove(uri: bytes, soft: bool) -> int | Deferred[int]:
        """Remove (or soft purge) everything under this URI, at once; how many responses there were."""

    def purge(purge: Purge) -> None:
        """Whatever it meets is not found from now on (or only as SOFT_PURGED). In constant time: the room is given
        back later. A store that survives a restart keeps it before this returns."""


class ICacheWriter(Interface):
    """One body on its way into a store."""

    body = Attribute("A StoredBody of what was written so far: its readers may read all bytes that were written.")

    def write(data: bytes) -> bool:
        """Append. False: enough for now, wait for ``resume`` (what was written is taken all the same).

        :raises balancer.errors.StoreError: it cannot be kept (full, failed): call :meth:`abort`; what was written
            before stays readable until then.
        """

    def commit() -> None:
        """The body is complete: the response is found from now on, unless a purge met it meanwhile.

        :raises balancer.errors.StoreError: it cannot be kept.
        """

    def abort() -> None:
        """It will not be complete: nothing of it is ever found. Readers that are open stay readable."""


class ICacheStorePlugin(Interface):
    """Makes stores of one kind: ``[store.NAME]`` with ``type = "name"``.

    It may have a method ``check(settings)`` besides, which raises :class:`~balancer.errors.StoreError` where this
    machine lacks what the store needs; it changes nothing, and is called by ``--check``, before a start and a reload.
    """

    name = Attribute("What the configuration calls it, for example ``memory``.")
    settings = Attribute("A frozen dataclass: the store's own keys, each documented with typing_extensions.Doc.")

    def store(settings: object, reactor: object, others: Callable[[str], ICacheStore]) -> ICacheStore:
        """A store.

        :param others: the stores of the configuration by name, for one that is made of others.
        """
