"""The lease: one in-flight use of one backend, given back exactly once.

Layer 4 and layer 7 alike take a lease before they connect and give it back when the connection or the response
is *finished*; nothing else touches a backend's counters. This module never opens a connection.
"""

from typing import Protocol

from balancer.core.model import Member
from balancer.core.outcome import Outcome
from balancer.errors import LeaseError

__all__ = ["Lease", "Lender", "Outcome"]


class Lender(Protocol):
    """Who hears that a lease came back."""

    active: int

    def lease_returned(self, lease: "Lease", outcome: Outcome, now: float) -> None:
        """The counters are right again; learn from the outcome."""


class Lease:
    """One use of one backend; the upstream makes it, whoever uses it calls :meth:`release` once.

    :ivar latency: seconds to the first byte of the answer, set by :meth:`first_byte`.
    """

    __slots__ = ("backend", "latency", "lender", "member", "released", "started")

    def __init__(self, lender: Lender, member: Member, now: float) -> None:
        self.lender = lender
        self.member = member
        self.backend = backend = member.backend
        self.started = now
        self.latency: float | None = None
        self.released = False
        backend.active += 1
        backend.total += 1
        lender.active += 1

    def __repr__(self) -> str:
        return f"<Lease of {self.backend.address} {'released' if self.released else 'out'}>"

    def first_byte(self, now: float) -> None:
        """The backend began to answer."""
        if self.latency is None:
            self.latency = now - self.started

    def release(self, outcome: Outcome, now: float) -> None:
        """Give it back.

        :raises LeaseError: it was given back before; nothing changes.
        """
        if self.released:
            raise LeaseError(f"{self!r} was given back already")
        self.released = True
        backend = self.backend
        backend.active -= 1
        self.lender.active -= 1
        if outcome.failure:
            backend.failures += 1
        self.lender.lease_returned(self, outcome, now)
