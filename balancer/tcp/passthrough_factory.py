"""The factory of a listener that passes TLS through: its clients go where the name they ask for leads.

It never decrypts; see docs/tls-passthrough.md.
"""

from collections.abc import Callable

from balancer.core.termination import Termination
from balancer.net.connector import Connector
from balancer.net.timers import TimerWheel
from balancer.tcp.connection import Connection
from balancer.tcp.factory import ClientFactory
from balancer.tcp.passthrough import Passthrough, PassthroughConnection
from balancer.tcp.settings import TcpSettings


class PassthroughFactory(ClientFactory):
    """See the module.

    :ivar routing: where clients go; connections keep the one they began with (see :meth:`configure`).
    :ivar refused: clients that got no backend because of their first bytes, by cause: NOT_TLS, CLIENT_TLS_FAILED (a
        ClientHello that is malformed, too long or late) and NO_ROUTE.
    """

    def __init__(
        self,
        routing: Passthrough,
        connector: Connector,
        timers: TimerWheel,
        settings: TcpSettings | None = None,
        *,
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(connector, timers, settings, wall=wall)
        self.routing = routing
        self.refused: dict[Termination, int] = {}

    def __repr__(self) -> str:
        return f"<PassthroughFactory {self.settings.name} by {self.routing.table!r} connections={self.connections}>"

    def configure(self, routing: Passthrough, settings: TcpSettings) -> None:
        """Take a new configuration, for the clients that come from now on."""
        self.routing = routing
        self.take(settings)

    def connection(self) -> Connection:
        """A connection for the next client."""
        return PassthroughConnection(self, self.routing)
