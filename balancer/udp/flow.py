"""Datagrams that go one way, from any client to one backend: no session, one socket for all of them.

Each datagram takes a lease and gives it back at once, for nothing more will be known of it. An ICMP message is a
failure of the backend all the same. A flow never answers a client, and knows none.
"""

import socket
from errno import ECONNREFUSED
from typing import TYPE_CHECKING

from twisted.logger import Logger

from balancer.core.datagrams import LARGEST, Drop
from balancer.core.lease import Lease
from balancer.core.model import Backend, Member
from balancer.core.outcome import Outcome
from balancer.core.record import SessionRecord
from balancer.core.termination import Termination
from balancer.core.traits import ConnectionTraits
from balancer.net.timers import Timer
from balancer.udp.session import READS, blameless, ours

if TYPE_CHECKING:
    from balancer.udp.forwarder import UdpForwarder


class Flow:
    """The way to one backend. It ends when nothing was sent for the idle time, or when the backend refuses.

    :ivar record: what went there; of no client.
    """

    __slots__ = ("_forwarder", "_heard", "_member", "_settings", "_socket", "_started", "_timer", "record")

    def __init__(self, forwarder: "UdpForwarder", member: Member, sock: socket.socket) -> None:
        self._forwarder = forwarder
        self._settings = settings = forwarder.settings
        self._member = member
        self._socket: socket.socket | None = sock
        self._started = self._heard = forwarder.timers.seconds()
        forwarder.watch.add(self)
        self._timer: Timer = forwarder.timers.schedule(settings.policy.idle, self._quiet)
        self.record = SessionRecord(forwarder.wall(), settings.name)
        self.record.upstream = forwarder.upstream.name
        self.record.backend = member.backend.address
        self.record.attempts = 1

    def __repr__(self) -> str:
        return f"<Flow to {self.record.backend} datagrams={self.record.datagrams_in}>"

    @property
    def backend(self) -> Backend:
        """Where it goes."""
        return self._member.backend

    def send(self, data: bytes) -> Outcome | None:
        """Send one. What that says of the backend, or of an earlier datagram; ``None`` where it was dropped here."""
        assert self._socket is not None
        self._heard = self._forwarder.timers.seconds()
        try:
            self._socket.send(data)
        except OSError as error:
            drop = blameless(error)
            if drop is not None:
                self._forwarder.dropped(drop)
                return None
            self._end(_cause(error), f"{self.record.backend}: {error.strerror}")
            return _outcome(error)
        self.record.datagrams_in += 1
        self.record.bytes_in += len(data)
        return Outcome.UNUSED

    def fileno(self) -> int:
        """Of the socket to the backend."""
        return -1 if self._socket is None else self._socket.fileno()

    def readable(self) -> None:
        """An ICMP message came, or something that nobody asked for."""
        for _ in range(READS):
            if self._socket is None:
                return
            try:
                self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                now = self._forwarder.timers.seconds()
                self._end(_cause(error), f"{self.record.backend}: {error.strerror}")
                Lease(self._forwarder.upstream, self._member, now).release(_outcome(error), now)
                return
            self._forwarder.dropped(Drop.NOT_ASKED)

    def stop(self, cause: Termination, reason: str) -> None:
        """End it."""
        if self._socket is not None:
            self._end(cause, reason)

    def _quiet(self) -> None:
        idle = self._settings.policy.idle
        if self._heard + idle > self._forwarder.timers.seconds():
            self._timer.until(self._heard + idle)
        else:
            self._end(Termination.SESSION_IDLE, f"no datagram for {idle:g} s")

    def _end(self, cause: Termination, reason: str) -> None:
        sock, self._socket = self._socket, None
        assert sock is not None
        self._timer.cancel()
        self._forwarder.watch.remove(sock.fileno())
        sock.close()
        self.record.end(cause, self._forwarder.timers.seconds() - self._started, reason)
        self._forwarder.flow_ended(self)
        self._settings.log(self.record)


def send_one_way(forwarder: "UdpForwarder", flows: dict[Backend, Flow], data: bytes, client: str) -> Drop | None:
    """Have one of the upstream's backends get it; why not, where none does.

    :param flows: those there are; one that is begun is put there.
    """
    placement = forwarder.upstream.place(ConnectionTraits(client), forwarder.timers.seconds())
    problem: Drop | None = None
    for _ in range(forwarder.settings.max_tries):
        now = forwarder.timers.seconds()
        try:
            lease = placement.next(now)
        except Exception:  # selectors are plugins, and one client's datagram must not end the listener
            _log.failure("the selector of upstream {name} failed", name=forwarder.upstream.name)
            return Drop.INTERNAL
        if lease is None:
            return problem or (Drop.BACKENDS_FULL if placement.full else Drop.NO_BACKEND)
        flow = flows.get(lease.backend)
        if flow is None:
            made = _begin(forwarder, lease)
            if isinstance(made, Drop):
                problem = made
                if made is Drop.NO_SOCKET:
                    return made
                continue
            flow = flows[lease.backend] = made
        outcome = flow.send(data)
        lease.release(outcome or Outcome.UNUSED, now)
        if outcome is None or outcome is Outcome.UNUSED:
            return None
        problem = Drop.UNREACHABLE
    return problem


def _begin(forwarder: "UdpForwarder", lease: Lease) -> Flow | Drop:
    policy, backend = forwarder.settings.policy, lease.backend
    sock: socket.socket | None = None
    try:
        sock = forwarder.connect(backend.host, backend.port, (policy.receive_buffer, policy.send_buffer))
        return Flow(forwarder, lease.member, sock)
    except OSError as error:
        if sock is not None:
            sock.close()
        blame = not ours(error)
        lease.release(Outcome.CONNECT_FAILED if blame else Outcome.UNUSED, forwarder.timers.seconds())
        return Drop.UNREACHABLE if blame else Drop.NO_SOCKET


def _outcome(error: OSError) -> Outcome:
    return Outcome.CONNECT_REFUSED if error.errno == ECONNREFUSED else Outcome.CONNECT_FAILED


def _cause(error: OSError) -> Termination:
    return Termination.CONNECT_REFUSED if error.errno == ECONNREFUSED else Termination.CONNECT_UNREACHABLE


_log = Logger()
