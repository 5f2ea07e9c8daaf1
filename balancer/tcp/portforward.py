"""Instead of ``twisted.protocols.portforward``: the same names, of which only the import changes.

A :class:`ProxyFactory` as it is, towards IP addresses, is :func:`balancer.tcp.factory.forward` with another face. One
whose protocols are subclassed, or that has a host name, works by the classes below, which a program may change as it
could Twisted's. Either way an end is passed on as an end, a reset as a reset, and a server that cannot be had is not
the last word where there are more. See docs/migrating-from-portforward.md.

Source: ``twisted.protocols.portforward``, for names and order of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHalfCloseableProtocol,
    ITransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.model import is_literal, join_address, split_address
from balancer.core.relay import Relay, Step
from balancer.core.timeouts import BackendTimeouts, ClientTimeouts
from balancer.net.flow import CONSUMER, ENDED, HOLD, Flow, IConnection, can_half_close
from balancer.tcp.factory import ForwardingFactory, forward
from balancer.tcp.settings import TcpSettings


@implementer(IHalfCloseableProtocol)
class Proxy(Protocol):
    """One of two connections that are joined.

    :ivar peer: the other, once there is one, and until either is gone.
    """

    noisy = True
    peer: Proxy | None = None
    transport: IConnection
    _client: ClassVar[bool] = True
    _gone = False
    _relay: Relay | None = None
    _lingering: IDelayedCall | None = None

    def setPeer(self, peer: Proxy | None) -> None:
        """Be joined to another."""
        self.peer = peer

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected."""
        self._flow = Flow(cast(Any, transport))
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted's has no types

    def dataReceived(self, data: bytes) -> None:
        """Pass on; what nobody takes any more is dropped. (Subclasses change what is passed on.)"""
        if self.peer is not None:
            self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        """It sends no more; the other direction goes on."""
        self._flow.pause(ENDED)
        if self._relay is not None and self.peer is not None:
            self._perform(self._relay.ended(self._client, can_half_close(self.peer.transport)), self.peer)

    def writeConnectionLost(self) -> None:
        """Our end is written."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone: the other closes after all that came before, or is reset as this one was."""
        self._gone = True
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        peer, self.peer = self.peer, None
        if peer is not None and self._relay is not None:
            peer.peer = None
            clean = reason.check(ConnectionDone) is not None
            self._perform(self._relay.lost(self._client, clean), peer)

    def _perform(self, step: Step, peer: Proxy) -> None:
        if step is Step.END_OTHER:
            peer._end()
        elif step is Step.CLOSE_BOTH:
            for side in (self, peer):
                side.transport.unregisterProducer()  # with one, Twisted waits for it to finish
                side.transport.loseConnection()
        elif step is Step.CLOSE_OTHER:
            peer._linger()
        elif step is Step.ABORT_OTHER:
            peer._abort()

    def _end(self) -> None:
        """End our sending once what waits is written."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def _linger(self) -> None:
        """Close once all is written and had time to be read: closing with bytes unread would reset it."""
        if self._flow.ended or not can_half_close(self.transport):
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            return
        self._flow.resume(CONSUMER | HOLD)
        self._end()
        self._lingering = _reactor_of(self).callLater(ClientTimeouts().linger, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        self.transport.loseConnection()

    def _abort(self) -> None:
        getattr(self.transport, "abortConnection", self.transport.loseConnection)()


class ProxyClient(Proxy):
    """The connection to a server."""

    _client = False

    def connectionMade(self) -> None:
        """Join both, each pausing the other while its bytes wait."""
        server = self.peer
        if server is None or server._gone:
            self._abort()
            return
        server.setPeer(self)
        self._relay = server._relay = Relay()
        self.transport.registerProducer(server._flow, True)
        server.transport.registerProducer(self._flow, True)
        server._flow.resume(HOLD)


class ProxyClientFactory(ClientFactory):
    """Makes the connection to a server for one client."""

    noisy = False
    protocol: Callable[[], ProxyClient] = ProxyClient
    server: ProxyServer

    def setServer(self, server: ProxyServer) -> None:
        """For that client."""
        self.server = server

    def buildProtocol(self, addr: IAddress | None) -> ProxyClient:
        """It is connected."""
        client = self.protocol()
        client.factory = self
        client.setPeer(self.server)
        return client

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """It cannot be connected."""
        self.server.unconnected()


class ProxyServer(Proxy):
    """The connection of a client.

    :cvar clientProtocolFactory: makes what connects to the server.
    :cvar reactor: connects; the one the client came by where none is given.
    :cvar timeout: seconds a connect may take before the next server is tried.
    """

    clientProtocolFactory: Callable[[], ProxyClientFactory] = ProxyClientFactory
    reactor: Any = None
    timeout: float = BackendTimeouts().connect
    factory: ProxyFactory
    _connector: IConnector | None = None

    def connectionMade(self) -> None:
        """Nothing is read from the client until there is somebody to send it to."""
        self._flow.pause(HOLD)
        self._left = [(self.factory.host, self.factory.port), *self.factory.more]
        self._connect()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone; nobody needs the server it waits for."""
        waiting = self.peer is None and self._relay is None
        super().connectionLost(reason)
        if waiting and self._connector is not None:
            self._connector.disconnect()

    def unconnected(self) -> None:
        """A server cannot be had: the next one's turn. Without any the client is reset, so that it does not take
        nothing for an empty answer."""
        if self._gone:
            return
        if self._left:
            self._connect()
        else:
            self._abort()

    def _connect(self) -> None:
        host, port = self._left.pop(0)
        client = self.clientProtocolFactory()
        client.setServer(self)
        self._connector = _reactor_of(self).connectTCP(host, port, client, self.timeout)


@implementer(IHalfCloseableProtocol)
class _Forwarded(Protocol):
    """A client of a factory that nobody changed: the engine's protocol, made when it is known by which reactor."""

    def __init__(self, factory: ProxyFactory) -> None:
        self._factory = factory

    def makeConnection(self, transport: ITransport) -> None:
        """It is connected."""
        reactor = self._factory.reactor or getattr(transport, "reactor", None)
        if reactor is None:
            raise ValueError(f"{transport!r} does not say its reactor: set the factory's")
        inner: Any = self._factory.forwarding(reactor).buildProtocol(None)
        self._inner = inner
        self.dataReceived = inner.dataReceived  # type: ignore[method-assign]  # called for each chunk
        self.connectionLost = inner.connectionLost  # type: ignore[method-assign]
        self.readConnectionLost = getattr(inner, "readConnectionLost", nothing)
        self.writeConnectionLost = getattr(inner, "writeConnectionLost", nothing)
        inner.makeConnection(transport)


def nothing() -> None:
    """What a client that was refused has to say about its end."""


class ProxyFactory(Factory):
    """Forwards each client to ``host`` and ``port``.

    :param servers: more of them, ``"host:port"``, tried in order where those before cannot be had; Twisted's has none.
    :ivar reactor: connects; the one a client came by where none is given.
    """

    noisy = False
    protocol: Callable[[], ProxyServer] = ProxyServer  # type: ignore[assignment]
    reactor: Any = None

    def __init__(self, host: str, port: int, *servers: str) -> None:
        self.host = host
        self.port = port
        self.more = [split_address(server) for server in servers]
        self._forwarding: ForwardingFactory | None = None
        self._target: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<ProxyFactory to {', '.join(self.targets)}>"

    @property
    def targets(self) -> tuple[str, ...]:
        """The servers, in the order in which they are tried."""
        return tuple(join_address(host, port) for host, port in [(self.host, self.port), *self.more])

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A client is there."""
        if self.as_it_is:
            return _Forwarded(self)
        server = self.protocol()
        server.factory = self
        return server

    @property
    def as_it_is(self) -> bool:
        """Whether nobody changed what is made, and every server is an IP address: then the engine forwards."""
        classes = (
            type(self).buildProtocol,
            self.protocol,
            ProxyServer.clientProtocolFactory,
            ProxyClientFactory.protocol,
        )
        known = (ProxyFactory.buildProtocol, ProxyServer, ProxyClientFactory, ProxyClient)
        return classes == known and all(is_literal(host) for host in (self.host, *(host for host, _ in self.more)))

    def forwarding(self, reactor: Any) -> ForwardingFactory:
        """The engine's factory; another one after ``host`` or ``port`` were changed."""
        if self._forwarding is None or self._target != self.targets:
            self._target = self.targets
            settings = TcpSettings(name="portforward", max_connections=0)
            self._forwarding = forward(reactor, *self._target, balance="first", settings=settings)
        return self._forwarding


def _reactor_of(proxy: Proxy) -> Any:
    """Its own, its factory's, or the one it came by."""
    own = getattr(proxy, "reactor", None) or getattr(proxy.factory, "reactor", None)
    return own or cast(Any, proxy.transport).reactor
