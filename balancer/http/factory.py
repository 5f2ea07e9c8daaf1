"""One HTTP listener: makes a channel for each client, within a limit, and knows which are open.

Its settings may be replaced at any time; each request is served with those it found. It never listens itself: give
it to any stream endpoint.
"""

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IProtocolNegotiationFactory
from zope.interface import implementer

from balancer.http.channel import HttpChannel
from balancer.http.settings import HttpSettings
from balancer.net.guard import Guard, Visit, enter, host_of
from balancer.net.listen import ClosedAtOnce, ConnectionLimit


@implementer(IProtocolFactory, IProtocolNegotiationFactory)
class ChannelFactory:
    """See the module.

    :param settings: for the requests to come; assign to replace them.
    :param max_connections: clients at one time, 0 for no limit; more are closed at once.
    :ivar limit: counts the clients.
    :ivar guard: which clients are let in at all; ``None``, as it begins, for no guard.
    :ivar draining: no new client is served, and each connection closes when it has nothing under way.
    """

    noisy = False
    keep_alive = True  # the uvloop reactor's ports set it for all connections
    bare = True  # and need no address and nothing assigned (balancer.net.uvloop_port)

    def __init__(self, settings: HttpSettings, *, max_connections: int = 10000) -> None:
        self.settings = settings
        self.limit = ConnectionLimit(settings.name, max_connections)
        self.draining = False
        self.guard: Guard | None = None
        self._channels: dict[HttpChannel, Visit | None] = {}

    def __repr__(self) -> str:
        state = " draining" if self.draining else ""
        return f"<ChannelFactory {self.settings.name} connections={self.connections}{state}>"

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._channels)

    def drain(self) -> None:
        """Close what is idle, and every other connection after its present response, which says so."""
        self.draining = True
        for channel in list(self._channels):
            channel.drain()

    def abort_all(self, reason: str = "the balancer was stopped") -> None:
        """Reset every connection; each exchange under way ends with SHUTDOWN."""
        for channel in list(self._channels):
            channel.cut(reason)

    def lost(self, channel: HttpChannel) -> None:
        """A channel's connection is gone (called by the channel)."""
        if channel in self._channels:
            visit = self._channels.pop(channel)
            if visit is not None:
                visit.end()
            self.limit.leave()

    # -- what Twisted calls -------------------------------------------------------------------------------------------

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def acceptableProtocols(self) -> list[bytes]:
        """What is agreed on with TLS clients that offer protocols (ALPN, RFC 7301), as nearly all of them do."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        """A channel; one that closes at once for a client that is one too many."""
        if self.guard is not None:
            return self.welcome(self.guard, host_of(addr))
        if self.draining or not self.limit.enter():
            return ClosedAtOnce()
        return self.admitted()

    def welcome(self, guard: Guard, host: str | None, _address: object = None) -> IProtocol:
        """A client is there, where there is a guard (the uvloop reactor's ports call it by themselves)."""
        if self.draining:
            return ClosedAtOnce()
        visit = enter(guard, self.limit, host)
        return ClosedAtOnce() if visit is None else self.admitted(visit)

    def admitted(self, visit: Visit | None = None) -> IProtocol:
        """A channel for a client that :attr:`limit` has let in (TLS asks for it after the handshake)."""
        channel = HttpChannel(self)
        self._channels[channel] = visit
        if visit is not None:
            visit.begin(lambda _: channel.drain())
        return channel
