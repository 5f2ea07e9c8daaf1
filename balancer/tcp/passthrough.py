"""A connection whose backend is chosen by the ClientHello it begins with: read, routed, and passed on as it came.

Until the ClientHello is whole nothing is asked of any upstream. Then it is a connection like any other: what was read
is the first that was held. It never answers a byte of its own but a TLS alert, and only before a backend was asked for.
"""

from random import Random
from typing import TYPE_CHECKING, Any, cast

from balancer.core.client_hello import ClientHello, ClientHelloReader, alert
from balancer.core.sni import SniTable
from balancer.core.termination import Termination
from balancer.core.traits import HelloTraits
from balancer.core.upstream import Upstream
from balancer.errors import ClientHelloRefused
from balancer.net.timers import nothing
from balancer.tcp.connection import Connection
from balancer.tcp.settings import TcpSettings
from balancer.tcp.side import Side

if TYPE_CHECKING:
    from balancer.tcp.passthrough_factory import PassthroughFactory


class Target:
    """One upstream that routes lead to.

    :ivar settings: how its backends are tried; the rest is the listener's.
    """

    __slots__ = ("settings", "upstream")

    def __init__(self, upstream: Upstream, settings: TcpSettings) -> None:
        self.upstream = upstream
        self.settings = settings


class Passthrough:
    """How the clients of one listener are routed; a new configuration makes a new one.

    :param table: the routes.
    :param targets: every upstream that is named, by name.
    :param default: the name of the one for clients that no route takes; empty: they get an alert.
    :param limit: bytes of a ClientHello.
    """

    __slots__ = ("default", "limit", "random", "table", "targets")

    def __init__(self, table: SniTable, targets: dict[str, Target], default: str, limit: int, random: Random) -> None:
        self.table = table
        self.targets = targets
        self.default = default
        self.limit = limit
        self.random = random


class PassthroughConnection(Connection):
    """See the module."""

    __slots__ = ("_owner", "_reader", "_routing")

    def __init__(self, factory: "PassthroughFactory", routing: Passthrough) -> None:
        super().__init__(cast(Any, factory))
        self._owner = factory
        self._routing = routing
        self._reader: ClientHelloReader | None = ClientHelloReader(routing.limit)

    # -- before the ClientHello is whole ---------------------------------------------------------------------------

    def _open(self) -> None:
        self._source()
        self.client.take = self._listen
        self._idle.callback = self._late
        self._idle.rearm(self._settings.timeouts.client_hello)

    def _listen(self, data: bytes) -> None:
        reader = self._reader
        assert reader is not None  # it takes what comes until it is done
        try:
            hello = reader.feed(data)
        except ClientHelloRefused as error:
            cause = Termination.NOT_TLS if error.alert is None else Termination.CLIENT_TLS_FAILED
            self._refuse(cause, str(error), error.alert)
            return
        if hello is not None:
            self._reader = None
            self._idle.rest()  # it is lent to the attempts next
            self._idle.callback = nothing
            self._route(hello, bytes(reader.raw))

    def _route(self, hello: ClientHello, raw: bytes) -> None:
        routing, record = self._routing, self.record
        record.sni = hello.name
        route = routing.table.match(hello)
        if route is not None:
            record.route = route.name
            target = routing.targets[route.choose(routing.random)]
        elif routing.default:
            target = routing.targets[routing.default]
        else:
            description, words = routing.table.refusal(hello)
            self._refuse(Termination.NO_ROUTE, words, description)
            return
        self._settings = target.settings
        self._hold(raw)
        self._seek(target.upstream, None, HelloTraits(record.client or None, hello.name))

    def _late(self) -> None:
        seconds = self._settings.timeouts.client_hello
        reader = self._reader
        came = len(reader.raw) if reader is not None else 0
        self._count(Termination.CLIENT_TLS_FAILED)
        self.stop(
            Termination.CLIENT_TLS_FAILED, f"the ClientHello was not whole within {seconds:g} s ({came} bytes came)"
        )

    def _refuse(self, cause: Termination, reason: str, description: int | None) -> None:
        """Close it in order, so that the alert arrives."""
        self._reader = None
        self._count(cause)
        self._relay.settle(cause, reason)
        self._relay.lost(False, True)  # there is no backend, and there will be none
        self._lasting = True  # so that the timer is for the lingering
        self._idle.callback = self._expired
        self._idle.rearm(self._settings.timeouts.linger)
        if description is not None:
            self.client.transport.write(alert(description))
        self.client.linger()

    def _count(self, cause: Termination) -> None:
        refused = self._owner.refused
        refused[cause] = refused.get(cause, 0) + 1

    # -- what the sides tell -----------------------------------------------------------------------------------------

    def ended(self, side: Side) -> None:
        """The end of what a side sends was read."""
        if self._reader is not None:
            self._left("it closed before its ClientHello was whole")
            side.close()
        else:
            super().ended(side)

    def lost(self, side: Side, clean: bool, words: str) -> None:
        """A side is gone."""
        if self._reader is not None:
            self._reader = None
            self._left(words)
        super().lost(side, clean, words)
