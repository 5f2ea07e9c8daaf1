"""The settings of an upstream: its pool, its queue, its retries, its ejections. Frozen values, documented key by key.

Who acts on them stands elsewhere (``pool``, ``admission``, ``retry``, ``outlier``, ``upstream``). Pydantic reads these
classes, so they are never compiled (docs/compiled.md), and nothing that each request runs through belongs here.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from typing_extensions import Doc

from balancer.core.units import Count, CountOrZero, Seconds, SecondsOrZero, Share

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"})
"""RFC 9110 section 9.2.2, and QUERY (safe by its definition)."""

RetryCondition = Literal["connect-failure", "reused-closed", "empty-response", "first-byte-timeout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPolicy:
    """How connections to backends are kept."""

    __pydantic_config__ = {"extra": "forbid"}

    idle: Annotated[
        CountOrZero,
        Doc("Idle connections kept per backend for longer than a second; 0 closes each after its response."),
    ] = 32
    idle_timeout: Annotated[
        Seconds, Doc("Seconds an idle connection is kept; below the backend's own keep-alive timeout.")
    ] = 55.0
    requests: Annotated[CountOrZero, Doc("Requests on one connection before it is closed; 0 for no limit.")] = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How long a line may be."""

    __pydantic_config__ = {"extra": "forbid"}

    limit: Annotated[
        CountOrZero, Doc("Requests or connections that may wait for a backend at its `max_connections`; 0 for none.")
    ] = 1024
    timeout: Annotated[Seconds, Doc("Seconds one may wait before it is answered 503 (or closed, in mode tcp).")] = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What may be tried again."""

    __pydantic_config__ = {"extra": "forbid"}

    attempts: Annotated[
        CountOrZero, Doc("Further attempts after the first, each on another backend; 0 turns retries off.")
    ] = 1
    connects: Annotated[
        Count,
        Doc(
            "Servers tried for one TCP connection (mode tcp) at most, which failed connects alone decide: eight at 3 s "
            "each are as long as people wait, and bound the SYNs one client can cause."
        ),
    ] = 8
    on: Annotated[
        tuple[RetryCondition, ...],
        Doc(
            "Failures that are tried again: `connect-failure` (nothing was sent, any method), `reused-closed` (a kept "
            "connection closed before any byte), `empty-response` (a new one did), `first-byte-timeout`; the last "
            "three only for idempotent methods whose body, if any, has not begun to be sent."
        ),
    ] = ("connect-failure", "reused-closed", "empty-response")
    budget: Annotated[
        Share,
        Doc(
            "Retries in flight at most, as a share of the upstream's requests in flight. Failed connects, which gave "
            "no server any work, do not count."
        ),
    ] = 0.2
    budget_minimum: Annotated[CountOrZero, Doc("Retries in flight that are always allowed.")] = 3

    def allows(self, condition: RetryCondition, method: bytes, body_sent: bool) -> bool:
        """Whether this kind of failure may be tried again at all."""
        if condition not in self.on:
            return False
        return condition == "connect-failure" or (method in IDEMPOTENT and not body_sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierPolicy:
    """When traffic takes a backend out."""

    __pydantic_config__ = {"extra": "forbid"}

    failures: Annotated[
        CountOrZero,
        Doc(
            "Failures in a row that eject a backend: failed connects, resets, timeouts, malformed answers and "
            "502/503/504; 0 turns ejection off."
        ),
    ] = 5
    base_time: Annotated[Seconds, Doc("Seconds a first ejection lasts; the n-th in close succession n times that.")] = (
        10.0
    )
    max_time: Annotated[Seconds, Doc("Seconds an ejection lasts at most.")] = 300.0
    max_share: Annotated[
        Share,
        Doc(
            "The part of an upstream's backends that may be ejected at one time, rounded down; the last one that is "
            "available never is. A backend is ejected for all upstreams that list it, so each of them has to allow it."
        ),
    ] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamPolicy:
    """How an upstream behaves."""

    slow_start: Annotated[
        SecondsOrZero, Doc("Seconds over which a server that was out grows back to its full weight; 0 for at once.")
    ] = 0.0
    panic_threshold: Annotated[
        Share,
        Doc(
            "Below this share of available primary servers the backups help, and where there are none all primaries "
            "are used, loudly; with 0 backups help only where no primary is available, and the dead are never used."
        ),
    ] = 0.5
    queue: Annotated[QueuePolicy, Doc("The line in front of backends at their `max_connections`.")] = field(
        default_factory=QueuePolicy
    )
    retry: Annotated[RetryPolicy, Doc("Which failures are tried again on another backend.")] = field(
        default_factory=RetryPolicy
    )
    outlier: Annotated[OutlierPolicy, Doc("When traffic itself takes a backend out.")] = field(
        default_factory=OutlierPolicy
    )
