"""What a UDP session is, without a socket: its settings, when it is over, and what is told of dropped datagrams.

Source: nginx's stream module (``proxy_responses``, ``proxy_requests``, ``proxy_timeout``), whose meaning the keys keep.
It never reads a clock and never sends anything.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from typing_extensions import Doc

from balancer.core.units import CountOrZero, Seconds, SizeOrZero

LARGEST = 65535
"""Bytes one read has room for: no UDP datagram is larger (RFC 768: a length of 16 bits, 8 of them for the header)."""

QUIET = 10.0
"""Seconds between two log lines about one kind of dropped datagrams: a flood must not become a flood of lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpPolicy:
    """How the sessions of a listener work, for mode udp."""

    __pydantic_config__ = {"extra": "forbid"}

    idle: Annotated[
        Seconds,
        Doc(
            "Seconds without a datagram in either direction that end a session. Where `responses` is set and none "
            "came, that is a failure of the server."
        ),
    ] = 60.0
    responses: Annotated[
        CountOrZero,
        Doc("Answers expected to each datagram of a client; when all are there the session ends. 0: only `idle` does."),
    ] = 0
    requests: Annotated[
        CountOrZero,
        Doc("Datagrams of a client that go to one server; the next one begins another session. 0 for no limit."),
    ] = 0
    one_way: Annotated[
        bool,
        Doc(
            "Whether datagrams only go to the servers, as those of syslog, statsd and NetFlow do: each is placed by "
            'itself (with `balance = "source"` by its sender), no session is kept for a client, and what servers send '
            "back is dropped."
        ),
    ] = False
    receive_buffer: Annotated[
        SizeOrZero,
        Doc(
            "The kernel's buffer for what was not read yet, of the listener and of each session; 0 leaves the system's."
        ),
    ] = 0
    send_buffer: Annotated[SizeOrZero, Doc("The same for what was not sent yet; 0 leaves the system's.")] = 0


class Tally:
    """Datagrams and answers of one session, and what they say about it.

    :ivar asked: datagrams of the client.
    :ivar answered: datagrams of the backend.
    """

    __slots__ = ("_requests", "_responses", "answered", "asked")

    def __init__(self, policy: UdpPolicy) -> None:
        self._requests = policy.requests
        self._responses = policy.responses
        self.asked = 0
        self.answered = 0

    def __repr__(self) -> str:
        return f"<Tally asked={self.asked} answered={self.answered}>"

    @property
    def full(self) -> bool:
        """Whether the client's next datagram begins another session."""
        return 0 < self._requests <= self.asked

    @property
    def complete(self) -> bool:
        """Whether nothing is to come any more: every answer is there, and of a number of datagrams all are."""
        enough = self._responses > 0 and self._responses * self.asked <= self.answered
        return enough and (not self._requests or self.full)

    @property
    def silent(self) -> bool:
        """Whether answers are expected and none came."""
        return self._responses > 0 and not self.answered


class Drop(Enum):
    """Why a datagram goes nowhere. ``value`` is the word in metrics, ``words`` the sentence in logs."""

    words: str

    def __new__(cls, word: str, words: str) -> "Drop":
        member = object.__new__(cls)
        member._value_ = word
        member.words = words
        return member

    SESSION_LIMIT = ("session_limit", "as many sessions as max_connections allows are open")
    NO_BACKEND = ("no_backend", "the upstream has no backend that is available")
    BACKENDS_FULL = ("backends_full", "every backend is at its max_connections")
    UNREACHABLE = ("unreachable", "no backend that was tried can be reached")
    NO_SOCKET = ("no_socket", "the system gives no further socket (see the limits of descriptors and local ports)")
    NO_SOURCE_PORT = ("no_source_port", "the client's port is 0, where nobody can be answered")
    LOOP = ("loop", "the sender's address is the listener's own, or a backend's: forwarding it would go in circles")
    DRAINING = ("draining", "the listener is closing and takes no new sessions")
    NOT_ASKED = ("not_asked", "a backend sent something back, and the listener is one_way")
    TOO_LARGE = ("too_large", "the way to the receiver does not carry datagrams of that size")
    TO_BACKEND = ("to_backend", "the system did not take it for the backend: its buffers are full")
    TO_CLIENT = (
        "to_client",
        "the system did not take an answer for the client: its buffers are full, or no way leads there",
    )
    INTERNAL = ("internal", "the balancer failed; the log has the traceback")


class Drops:
    """Counts dropped datagrams by reason, and says when to tell of them.

    :ivar counts: dropped so far, by reason.
    """

    __slots__ = ("_next", "_told", "counts")

    def __init__(self) -> None:
        self.counts: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self._told: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self._next: dict[Drop, float] = {}

    def __repr__(self) -> str:
        found = " ".join(f"{drop.value}={count}" for drop, count in self.counts.items() if count)
        return f"<Drops {found or 'none'}>"

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def note(self, drop: Drop, now: float) -> int:
        """Count one. Returns how many to tell of now: those since the last telling, 0 while that is not long ago."""
        self.counts[drop] += 1
        if now < self._next.get(drop, now):
            return 0
        self._next[drop] = now + QUIET
        untold = self.counts[drop] - self._told[drop]
        self._told[drop] = self.counts[drop]
        return untold
