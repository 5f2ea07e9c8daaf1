"""One listener of mode nat: what the kernel is to do for it, and how a service opens, changes and closes it.

It has the face of a listener that has a port, and has none: no socket is open, and no byte comes here.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.config.nat_rules import entrance
from balancer.config.schema import ListenerConfig
from balancer.core.nat import MOST_TARGETS, Translation, canonical, draw_of, suited, translation
from balancer.core.traffic import Traffic
from balancer.core.upstream import Upstream
from balancer.errors import ListenError, NatError
from balancer.nat.ability import not_forwarding
from balancer.nat.table import NatTable, Place

log = Logger()


class HasUpstream(Protocol):
    """What the service knows of an upstream, as far as it matters here."""

    @property
    def upstream(self) -> Upstream:
        """The registry's group."""

    @property
    def config(self) -> Any:
        """Its configuration."""


class NatListener:
    """A listener whose connections the kernel forwards.

    :ivar name: as configured.
    :ivar config: what it serves by now.
    :ivar refused: attempts that met no available server, as the kernel counted them.
    """

    tls = None

    connections = 0
    """None of them is this process's: a drain has nothing to wait for, and nothing ends them."""

    def __init__(
        self, name: str, config: ListenerConfig, table: NatTable, upstreams: Mapping[str, HasUpstream]
    ) -> None:
        self.name = name
        self.refused = 0
        self._table = table
        self._open = False
        self._made_from: tuple[object, ...] = ()
        self._left_out = 0
        self._take(config, upstreams)

    def __repr__(self) -> str:
        return f"<NatListener {self.name} at {self._entrance} to {self._upstream.name}>"

    @property
    def address(self) -> str:
        """Where it is open: ``host:port``; empty while the kernel does not know of it."""
        return str(self._entrance) if self._open else ""

    def fits(self, config: ListenerConfig) -> bool:
        """Whether it can take that configuration: any of its mode, for another place is only another rule."""
        return config.mode == "nat"

    def configure(self, config: ListenerConfig, upstreams: Mapping[str, HasUpstream], tls: object = None) -> None:
        """Forward new connections by another configuration."""
        self._take(config, upstreams)
        self._table.changed()

    def open(self) -> Deferred[None]:
        """Have the kernel forward; fails with a :class:`~balancer.errors.ListenError`."""
        if problem := self._table.inability():
            return fail(self._explained(problem))
        for warning in not_forwarding([self._entrance.family]):
            log.warn("listener '{name}': {warning}", name=self.name, warning=warning)
        return self._table.enter(self).addCallbacks(self._opened, self._refuse)

    def stop(self) -> Deferred[Any]:
        """Forward no new connections."""
        self._open = False
        return self._table.leave(self).addErrback(lambda failure: failure.trap(NatError))  # told, and tried again

    def close(self) -> Deferred[Any]:
        """The same: those that are established are the kernel's."""
        return self.stop()

    def abort_all(self, reason: str) -> None:
        """Nothing is here to be reset."""

    # -- for the table -------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether its servers are known, and each was judged."""
        members = self._upstream.members
        return bool(members) and not any(member.backend.waits for member in members)

    def wanted(self) -> Translation:
        """What the kernel is to do, by the members and verdicts of now."""
        made_from = (self._upstream, self._upstream.revision, self.config, self._balance)
        if made_from != self._made_from:
            self._made_from = made_from
            members = self._upstream.members
            self._translation = translation(self._entrance, self.config.nat, draw_of(self._balance), members)
            self._tell_left_out(len(members) - len(self._translation.targets))
        return self._translation

    def counted(self, found: Mapping[Place, Traffic], refused: int) -> None:
        """Leave with each backend what the kernel forwarded to it."""
        self.refused = refused
        for member in self._upstream.members:
            backend = member.backend
            backend.translated = found.get((canonical(backend.host), backend.port), backend.translated)

    # -- inside --------------------------------------------------------------------------------------------------

    def _take(self, config: ListenerConfig, upstreams: Mapping[str, HasUpstream]) -> None:
        there, target = entrance(self.name, config.listen), upstreams[config.to]
        draw_of(target.config.balance)
        self.config, self._entrance = config, there
        self._upstream, self._balance = target.upstream, target.config.balance

    def _opened(self, _result: object) -> None:
        self._open = True
        log.info("listener '{name}' is open at {address} (nat)", name=self.name, address=self.address)

    def _refuse(self, failure: Failure) -> Deferred[None]:
        failure.trap(NatError)
        return fail(self._explained(failure.getErrorMessage()))

    def _explained(self, problem: str) -> ListenError:
        return ListenError(
            f'the kernel cannot forward for listener "{self.name}": {problem}; or let this process do it: '
            f'nat.fallback = "tcp" in listener.{self.name}'
        )

    def _tell_left_out(self, number: int) -> None:
        if number != self._left_out:
            self._left_out = number
            log.warn(
                "listener '{name}': {number} server(s) get nothing: they have no address of IPv{family}, or are beyond "
                "{most}; {unsuited} are of the other family",
                name=self.name,
                number=number,
                family=self._entrance.family,
                most=MOST_TARGETS,
                unsuited=len(self._upstream.members) - len(suited(self._entrance.family, self._upstream.members)),
            )
