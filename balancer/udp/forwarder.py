"""The UDP forwarder: finds the session of each datagram, or begins one, within the listener's limits.

It is to datagrams what the TCP forwarding factory is to connections; give :meth:`UdpForwarder.received` to a port. It
never looks into datagrams, and answers go only where the datagrams that began their session came from.
"""

from collections.abc import Callable
from errno import EMSGSIZE
from typing import Protocol, TypeVar

from twisted.logger import Logger

from balancer.core.datagrams import Drop, Drops
from balancer.core.model import Backend, Member
from balancer.core.termination import Termination
from balancer.core.upstream import Upstream
from balancer.net.datagrams import Connect, Key, connected
from balancer.net.timers import TimerWheel
from balancer.net.watch import Watch
from balancer.udp.flow import Flow, send_one_way
from balancer.udp.session import Session
from balancer.udp.settings import UdpSettings


class Port(Protocol):
    """Where datagrams arrive, and answers leave."""

    def reply(self, data: bytes, key: Key) -> None:
        """Send one answer. It may raise OSError."""

    def client(self, key: Key) -> tuple[str, int]:
        """The client's address and port."""

    def own(self, key: Key) -> bool:
        """Whether the sender is this port itself."""

    def set_buffers(self, receive: int, send: int) -> None:
        """The kernel's buffers."""

    def stopListening(self) -> object:
        """Close."""


Opened = TypeVar("Opened", bound=Port)


class UdpForwarder:
    """Forwards each client's datagrams to a backend of one upstream.

    :param timers: the wheel of the idle timeouts, and the clock of every duration.
    :param watch: reads the sockets of the sessions.
    :param wall: seconds since the epoch, for records; the reactor's clock where none is given.
    :param connect: makes a socket to a backend.
    :ivar settings: how; sessions keep those they began with (see :meth:`configure`).
    :ivar port: where the datagrams come from; ``None`` while none is open.
    :ivar drops: what went nowhere, by reason.
    :ivar total: sessions ever begun.
    """

    def __init__(
        self,
        upstream: Upstream,
        timers: TimerWheel,
        watch: Watch,
        settings: UdpSettings | None = None,
        *,
        wall: Callable[[], float] | None = None,
        connect: Connect = connected,
    ) -> None:
        self.upstream = upstream
        self.timers = timers
        self.watch = watch
        self.settings = settings or UdpSettings()
        self.wall = wall or timers.seconds
        self.connect = connect
        self.port: Port | None = None
        self.drops = Drops()
        self.total = 0
        self.draining = False
        self._bound: dict[Key, Session] = {}
        self._sessions: set[Session] = set()
        self._flows: dict[Backend, Flow] = {}
        self._members: tuple[Member, ...] = ()
        self._backends: frozenset[tuple[str, int]] = frozenset()

    def __repr__(self) -> str:
        return f"<UdpForwarder {self.settings.name} to {self.upstream.name} sessions={self.connections} {self.drops!r}>"

    @property
    def connections(self) -> int:
        """Sessions now, or backends that are sent datagrams one way."""
        return len(self._sessions) + len(self._flows)

    def configure(self, upstream: Upstream, settings: UdpSettings) -> None:
        """Take a new configuration, for the sessions that begin from now on."""
        old = self.settings.policy
        if upstream is not self.upstream or not settings.policy.one_way:
            for flow in tuple(self._flows.values()):
                flow.stop(Termination.DONE, "another configuration")
        self.upstream, self.settings = upstream, settings
        buffers = settings.policy.receive_buffer, settings.policy.send_buffer
        if self.port is not None and buffers != (old.receive_buffer, old.send_buffer):
            self.port.set_buffers(*buffers)

    def attach(self, port: Opened) -> Opened:
        """Take a port that is open; returns it."""
        self.port = port
        return port

    # -- datagrams -----------------------------------------------------------------------------------------------

    def received(self, data: bytes, key: Key) -> None:
        """A datagram of a client (called by the port)."""
        if self.settings.policy.one_way:
            self._send_one_way(data, key)
            return
        session = self._bound.get(key)
        if session is not None:
            if session.takes:
                if session.forward(data):
                    return
            else:
                self.unbind(session)
        problem = self._begin(data, key)
        if problem is not None:
            self.dropped(problem)

    def _send_one_way(self, data: bytes, key: Key) -> None:
        port = self.port
        if port is None or self.draining:
            problem: Drop | None = Drop.DRAINING
        else:
            problem = send_one_way(self, self._flows, data, port.client(key)[0])
        if problem is not None:
            self.dropped(problem)

    def _begin(self, data: bytes, key: Key) -> Drop | None:
        """A session for a datagram that has none; or why it is dropped."""
        port = self.port
        if port is None or self.draining:
            return Drop.DRAINING
        client = port.client(key)
        if not client[1]:
            return Drop.NO_SOURCE_PORT
        if port.own(key) or client in self._senders():
            return Drop.LOOP
        if 0 < self.settings.max_sessions <= len(self._sessions):
            return Drop.SESSION_LIMIT
        session = Session(self, key, client)
        problem = session.begin(data)
        if problem is None:
            self.total += 1
            self._sessions.add(session)
            if session.takes:
                self._bound[key] = session
        return problem

    def _senders(self) -> frozenset[tuple[str, int]]:
        """The backends, from whose own port no client speaks: whoever pretends to be one wants us to answer it."""
        if self._members is not self.upstream.members:
            self._members = members = self.upstream.members
            self._backends = frozenset((member.backend.host, member.backend.port) for member in members)
        return self._backends

    def reply(self, data: bytes, key: Key) -> None:
        """Send an answer to a client (called by its session)."""
        if self.port is None:
            return
        try:
            self.port.reply(data, key)
        except OSError as error:
            self.dropped(Drop.TOO_LARGE if error.errno == EMSGSIZE else Drop.TO_CLIENT)

    def dropped(self, drop: Drop) -> None:
        """Count a datagram that goes nowhere, and tell of it now and then."""
        count = self.drops.note(drop, self.timers.seconds())
        if count:
            _log.warn(
                "listener {name}: {count} datagram(s) dropped: {words}",
                name=self.settings.name,
                count=count,
                words=drop.words,
            )

    # -- sessions ------------------------------------------------------------------------------------------------

    def unbind(self, session: Session) -> None:
        """The client's next datagram begins another session; this one still hears its backend (called by it, too)."""
        if self._bound.get(session.key) is session:
            del self._bound[session.key]

    def ended(self, session: Session) -> None:
        """A session is over (called by it)."""
        self.unbind(session)
        self._sessions.discard(session)
        if self.draining and not self._sessions:
            self._close()

    def flow_ended(self, flow: Flow) -> None:
        """Nothing goes that way any more (called by it)."""
        if self._flows.get(flow.backend) is flow:
            del self._flows[flow.backend]

    # -- shutdown: drain, then abort what is left -----------------------------------------------------------------

    def drain(self) -> None:
        """Begin no more sessions. Those there are go on, and so does the port that carries their datagrams: it closes
        after the last."""
        self.draining = True
        for flow in tuple(self._flows.values()):
            flow.stop(Termination.DONE, "the listener was closed")  # nothing is to be waited for
        if not self._sessions:
            self._close()

    def abort_all(self, reason: str = "the balancer was stopped") -> None:
        """End every session that is left."""
        for session in tuple(self._sessions):
            session.stop(Termination.SHUTDOWN, reason)
        for flow in tuple(self._flows.values()):
            flow.stop(Termination.SHUTDOWN, reason)

    def close(self) -> None:
        """End every session, and close the port."""
        self.abort_all("its listener was closed")
        self._close()

    def _close(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            port.stopListening()
        self.watch.close()


_log = Logger()
