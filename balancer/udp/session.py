"""One client and one backend, for as long as they exchange datagrams: placed, connected, relayed, ended, recorded.

A session has a socket of its own that is connected to its backend, so the kernel sorts the answers, and an ICMP error
(nobody listens there) is told to the session it belongs to. A backend that refuses the first datagram has done nothing
with it, so another one gets it. It never merges, splits or looks into datagrams, and holds none but the first.
"""

import socket
from errno import EAGAIN, ECONNREFUSED, EMFILE, EMSGSIZE, ENFILE, ENOBUFS, ENOMEM, ENOSPC
from typing import TYPE_CHECKING

from twisted.logger import Logger

from balancer.core.datagrams import LARGEST, Drop, Tally
from balancer.core.lease import Lease
from balancer.core.model import AdminState
from balancer.core.outcome import Outcome
from balancer.core.record import SessionRecord
from balancer.core.termination import Termination
from balancer.core.traits import ConnectionTraits
from balancer.core.upstream import Placement
from balancer.net.datagrams import Key
from balancer.net.timers import Timer
from balancer.udp.settings import KEPT

if TYPE_CHECKING:
    from balancer.udp.forwarder import UdpForwarder

READS = 16
"""Answers read of one session in one turn: the others have theirs, and what is left comes in the next."""

_OURS = frozenset((EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC))
"""Why there is no socket, where no backend is to blame: descriptors, memory, local ports (EAGAIN of connect(2)),
watches of epoll (ENOSPC, epoll_ctl(2))."""


class Session:
    """See the module. Made by the forwarder for a datagram without a session, with the settings of that moment.

    :ivar key: whom to answer, and what the forwarder finds it by.
    :ivar over: it has ended.
    :ivar record: what is known of it.
    """

    __slots__ = (
        "_first",
        "_forwarder",
        "_heard",
        "_lease",
        "_placement",
        "_settings",
        "_socket",
        "_started",
        "_tally",
        "_timer",
        "key",
        "over",
        "record",
    )

    def __init__(self, forwarder: "UdpForwarder", key: Key, client: tuple[str, int]) -> None:
        self._forwarder = forwarder
        self._settings = settings = forwarder.settings
        self._tally = Tally(settings.policy)
        self._socket: socket.socket | None = None
        self._lease: Lease | None = None
        self._first: bytes | None = None
        self.key = key
        self.over = False
        self.record = SessionRecord(forwarder.wall(), settings.name, *client)
        self.record.upstream = forwarder.upstream.name
        self._started = self._heard = now = forwarder.timers.seconds()
        self._placement: Placement = forwarder.upstream.place(ConnectionTraits(client[0]), now)
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<Session {self.record.client} to {self.record.backend or 'nobody yet'} {self._tally!r}>"

    @property
    def takes(self) -> bool:
        """Whether the client's next datagram is for it.

        It is not once the session has its number of them, nor when its backend is out (down, ejected, in maintenance)
        and others serve: no client is to talk to a dead server for as long as it talks. A backend that drains keeps
        its sessions.
        """
        lease = self._lease
        if lease is None or self._tally.full:
            return False
        if lease.member.usable:
            return True
        return lease.backend.available or lease.backend.admin is AdminState.DRAIN

    def begin(self, data: bytes) -> Drop | None:
        """Send the first datagram to a backend. Where none can have it: why; then the session is over, unrecorded."""
        if len(data) <= KEPT:
            self._first = data
        problem = self._deliver(data)
        if problem is not None:
            self.over = True
            return problem
        self._timer = self._forwarder.timers.schedule(self._settings.policy.idle, self._quiet)
        self._count(data)
        return None

    def forward(self, data: bytes) -> bool:
        """Send a further datagram to the backend. ``False`` where that has refused an earlier one: the session is over
        and this one was not sent."""
        assert self._socket is not None
        try:
            self._socket.send(data)
        except OSError as error:
            drop = blameless(error)
            if drop is None:
                self._failed(error)
                return not self.over and self.forward(data)
            self._forwarder.dropped(drop)
        self._first = None
        self._count(data)
        return True

    def stop(self, cause: Termination, reason: str) -> None:
        """End it, whatever its state."""
        if not self.over:
            self._end(cause, Outcome.SUCCESS if self._tally.answered else Outcome.UNUSED, reason)

    def _count(self, data: bytes) -> None:
        self._heard = self._forwarder.timers.seconds()
        self.record.bytes_in += len(data)
        self._tally.asked += 1
        if self._tally.full:
            self._forwarder.unbind(self)  # as :attr:`takes` says, but at once

    # -- finding a backend ---------------------------------------------------------------------------------------

    def _deliver(self, data: bytes) -> Drop | None:
        """Have the next candidate that can be reached get it; why not, where none does."""
        problem: Drop | None = None
        while problem is not Drop.NO_SOCKET and self._may_try:
            try:
                lease = self._placement.next(self._forwarder.timers.seconds())
            except Exception:  # selectors are plugins, and one client's datagram must not end the listener
                _log.failure("the selector of upstream {name} failed", name=self.record.upstream)
                return Drop.INTERNAL
            if lease is None:
                break
            problem = self._hand(lease, data)
            if problem is None:
                return None
        if problem is None:
            problem = Drop.BACKENDS_FULL if self._placement.full else Drop.NO_BACKEND
        return problem

    def _hand(self, lease: Lease, data: bytes) -> Drop | None:
        """Have this one get it."""
        backend, policy = lease.backend, self._settings.policy
        self.record.backend = backend.address
        self.record.attempts += 1
        try:
            buffers = policy.receive_buffer, policy.send_buffer
            self._socket = self._forwarder.connect(backend.host, backend.port, buffers)
            self._forwarder.watch.add(self)
        except OSError as error:
            self._close()
            self.record.note(f"{backend.address}: {error.strerror}")
            blame = not ours(error)
            lease.release(Outcome.CONNECT_FAILED if blame else Outcome.UNUSED, self._forwarder.timers.seconds())
            return Drop.UNREACHABLE if blame else Drop.NO_SOCKET
        self._lease = lease
        try:
            self._socket.send(data)
        except OSError as error:
            drop = blameless(error)
            if drop is None:
                self._let_go(Outcome.CONNECT_FAILED, error)
                return Drop.UNREACHABLE
            self._forwarder.dropped(drop)
        return None

    @property
    def _may_try(self) -> bool:
        """Whether a backend may be asked: the first always, others while the upstream's policy has it so."""
        if not self.record.attempts:
            return True
        retry = self._forwarder.upstream.policy.retry
        allowed = retry.attempts > 0 and "connect-failure" in retry.on
        return allowed and self.record.attempts < self._settings.max_tries

    # -- the backend ---------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Of the socket to the backend."""
        return -1 if self._socket is None else self._socket.fileno()

    def readable(self) -> None:
        """The backend has answered, or an ICMP message has."""
        for _ in range(READS):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            self._answer(data)

    def _answer(self, data: bytes) -> None:
        forwarder, tally, record = self._forwarder, self._tally, self.record
        self._heard = now = forwarder.timers.seconds()
        if not tally.answered:
            assert self._lease is not None
            self._first = None
            self._lease.first_byte(now)
            record.first_byte = now - self._started
        tally.answered += 1
        record.bytes_out += len(data)
        forwarder.reply(data, self.key)
        if tally.complete:
            self._end(Termination.DONE, Outcome.SUCCESS)

    def _failed(self, error: OSError) -> None:
        """What was sent was refused: another backend gets the first datagram where that is all there was; else it is
        over."""
        refused = error.errno == ECONNREFUSED
        first, answered = self._first, self._tally.answered
        self._let_go(Outcome.CONNECT_REFUSED if refused else Outcome.CONNECT_FAILED, error)
        if first is not None and self._deliver(first) is None:
            return
        words = f"{self.record.backend}: {error.strerror}"
        if answered:
            self._end(Termination.BACKEND_RESET, Outcome.RESET, words)
        else:
            self._end(Termination.CONNECT_REFUSED if refused else Termination.CONNECT_UNREACHABLE, Outcome.RESET, words)

    def _let_go(self, outcome: Outcome, error: OSError) -> None:
        """This backend is not to have it."""
        self.record.note(f"{self.record.backend}: {error.strerror}")
        self._close()
        lease, self._lease = self._lease, None
        assert lease is not None
        lease.release(outcome, self._forwarder.timers.seconds())

    # -- the end -------------------------------------------------------------------------------------------------

    def _quiet(self) -> None:
        """The time to be idle may be over."""
        assert self._timer is not None
        idle = self._settings.policy.idle
        # Not re-armed with each datagram: the session notes when it came, and the timer looks when it fires.
        if self._heard + idle > self._forwarder.timers.seconds():
            self._timer.until(self._heard + idle)
        elif self._tally.silent:
            self._end(Termination.FIRST_BYTE_TIMEOUT, Outcome.TIMEOUT, f"no answer within {idle:g} s")
        else:
            self.stop(Termination.SESSION_IDLE, f"no datagram in either direction for {idle:g} s")

    def _end(self, cause: Termination, outcome: Outcome, reason: str = "") -> None:
        self.over = True
        now = self._forwarder.timers.seconds()
        self._close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release(outcome, now)
        record, tally = self.record, self._tally
        record.datagrams_in, record.datagrams_out = tally.asked, tally.answered
        record.end(cause, now - self._started, reason)
        self._forwarder.ended(self)
        self._settings.log(record)

    def _close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            self._forwarder.watch.remove(sock.fileno())
            sock.close()


def blameless(error: OSError) -> Drop | None:
    """What an error of sending means, where it is no word on the backend: the datagram is dropped."""
    if error.errno in (EAGAIN, ENOBUFS):
        return Drop.TO_BACKEND
    return Drop.TOO_LARGE if error.errno == EMSGSIZE else None


def ours(error: OSError) -> bool:
    """Whether there is no socket for want of something here."""
    return error.errno in _OURS


_log = Logger()
