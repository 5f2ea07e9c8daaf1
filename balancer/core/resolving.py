"""What is known of one host name: a machine that turns answers into addresses and the wait before the next question.

It decides what an answer means: which addresses hold, when to ask again, what keeps the last good set. It never asks
and never reads a clock.

The last good set holds through everything but better knowledge. A resolver that fails, times out, answers NXDOMAIN or
answers without one address says nothing about servers that serve: a name that is gone by mistake must not take a
service with it. (HAProxy's ``hold`` works alike, with times; nginx keeps what it has as well.)
"""

from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Annotated

from typing_extensions import Doc

from balancer.core.units import Count, Seconds, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvePolicy:
    """How often host names are resolved, and how long an answer is waited for."""

    __pydantic_config__ = {"extra": "forbid"}

    min_ttl: Annotated[Seconds, Doc("A name is not asked for more often than this, even if its TTL is shorter.")] = 1.0
    max_ttl: Annotated[
        Seconds, Doc("A name is asked for again after this, even if its TTL is longer (an entry in /etc/hosts too).")
    ] = 300.0
    timeout: Annotated[Seconds, Doc("Seconds an answer may take, every try at every name server included.")] = 10.0
    retry: Annotated[Seconds, Doc("Seconds before the next question after a first failure; doubled each time.")] = 1.0
    max_retry: Annotated[Seconds, Doc("Seconds between questions at most while they fail.")] = 60.0
    jitter: Annotated[
        Share, Doc("Each wait grows by up to this share, at random, so that questions do not march in step.")
    ] = 0.1
    max_addresses: Annotated[Count, Doc("Addresses taken from one name; a DNS message has room for thousands.")] = 256
    concurrent: Annotated[Count, Doc("Names asked for at one time; each takes two sockets meanwhile.")] = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What the resolver said of one address family.

    :ivar addresses: IP addresses; none where the name has none of this family.
    :ivar ttl: seconds the answer holds.
    """

    addresses: tuple[str, ...]
    ttl: float


Reply = Answer | str
"""An answer, or why there is none, in words."""


class NameMachine:
    """What is known of one name. ``repr`` tells it whole.

    :ivar addresses: the addresses that hold: IPv4 first, in the order of numbers, so that the rotation of answers
        is no change.
    :ivar trouble: what is wrong, in words; empty while all is well.
    :ivar failures: questions in a row that brought no address.
    :ivar settled: whether there was a result, good or bad.
    """

    __slots__ = ("_families", "_ttl", "addresses", "failures", "policy", "settled", "trouble")

    def __init__(self, policy: ResolvePolicy) -> None:
        self.policy = policy
        self.addresses: tuple[str, ...] = ()
        self.trouble = ""
        self.failures = 0
        self.settled = False
        self._families: list[tuple[str, ...]] = [(), ()]
        self._ttl = policy.min_ttl

    def __repr__(self) -> str:
        return f"<NameMachine {list(self.addresses)} failures={self.failures} trouble={self.trouble!r}>"

    def result(self, four: Reply, six: Reply) -> bool:
        """Take the replies for IPv4 and IPv6. Returns whether :attr:`addresses` changed.

        Where one family fails and the other has addresses, the last good ones of the family that failed stay.
        """
        self.settled = True
        before = self.addresses
        found = [reply for reply in (four, six) if isinstance(reply, Answer) and reply.addresses]
        troubles = dict.fromkeys(reply for reply in (four, six) if isinstance(reply, str))
        if not found:
            self.failures += 1
            self.trouble = "; ".join(troubles) or "the name has no address"
            return False
        for family, reply in enumerate((four, six)):
            if isinstance(reply, Answer):
                self._families[family] = tuple(sorted(set(reply.addresses), key=ip_address))
        self.failures = 0
        self._ttl = min(reply.ttl for reply in found)
        self._take(troubles)
        return self.addresses != before

    def _take(self, troubles: dict[str, None]) -> None:
        every = self._families[0] + self._families[1]
        most = self.policy.max_addresses
        self.addresses = every[:most]
        if len(every) > most:
            troubles[f"it has {len(every)} addresses, {most} are used"] = None
        self.trouble = "; ".join(troubles)

    def wait(self, random: Random) -> float:
        """Seconds before the next question."""
        policy = self.policy
        if self.failures:
            # Beyond 2**16 times the first wait only the bound counts; the exponent must not grow for ever.
            base = min(policy.retry * 2.0 ** min(self.failures - 1, 16), policy.max_retry)
        else:
            base = min(max(self._ttl, policy.min_ttl), policy.max_ttl)
        return base * (1 + policy.jitter * random.random())
