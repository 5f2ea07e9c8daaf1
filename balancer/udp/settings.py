"""What one UDP listener works with: frozen, built once per configuration. It never reads a file."""

from collections.abc import Callable
from dataclasses import dataclass, field

from balancer.core.datagrams import UdpPolicy
from balancer.core.record import ConnectionRecord

MAX_TRIES = 8
"""Backends tried for one session, as for a TCP connection."""

KEPT = 4096
"""Bytes of a session's first datagram that are kept until it is answered, so that another backend can have it when the
first refuses. Larger ones are not kept: ten thousand sessions hold 40 MiB of them at most."""


def drop(record: ConnectionRecord) -> None:
    """Where nobody wants records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpSettings:
    """How datagrams are taken and forwarded.

    :ivar name: the listener's, for records and messages.
    :ivar policy: of its sessions.
    :ivar max_sessions: sessions at one time, 0 for no limit; datagrams that would begin another are dropped.
    :ivar max_tries: backends tried for one session, which refusals alone decide.
    :ivar log: takes each session's record, once, when it has ended.
    """

    name: str = "udp"
    policy: UdpPolicy = field(default_factory=UdpPolicy)
    max_sessions: int = 10000
    max_tries: int = MAX_TRIES
    log: Callable[[ConnectionRecord], None] = drop
