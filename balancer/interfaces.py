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
