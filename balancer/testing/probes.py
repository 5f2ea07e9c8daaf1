"""Both ends of a probe, for tests: a plugin whose results the test decides, and a backend that the test plays.

Neither opens a socket.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.core.health import CheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget

PASSED = ProbeResult(True, "all is well")
FAILED = ProbeResult(False, "nobody is there")


@implementer(IProbePlugin)
class ScriptedProbe:
    """Answers with :attr:`answer`, or, where that is ``None``, leaves each probe :attr:`pending`.

    :ivar answer: the result of each probe, or what makes one (it may raise).
    :ivar targets: where it was sent, in order.
    :ivar pending: probes that are not answered; cancelled ones leave.
    :ivar cancelled: how many were cancelled.
    """

    name = "scripted"
    settings = CheckSettings

    def __init__(self, answer: ProbeResult | Callable[[ProbeTarget], Any] | None = PASSED) -> None:
        self.answer = answer
        self.targets: list[ProbeTarget] = []
        self.pending: list[Deferred[ProbeResult]] = []
        self.cancelled = 0

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        self.targets.append(target)
        if isinstance(self.answer, ProbeResult):
            return succeed(self.answer)
        if self.answer is not None:
            made: Deferred[ProbeResult] = self.answer(target)
            return made
        probe: Deferred[ProbeResult] = Deferred(self._cancel)
        self.pending.append(probe)
        return probe

    def _cancel(self, probe: "Deferred[ProbeResult]") -> None:
        self.pending.remove(probe)
        self.cancelled += 1


class PlayedBackend:
    """Plays the backend of one probe, in memory and on a virtual clock: the reactor is :attr:`reactor`.

    :ivar transport: the probe's side of the connection; what it wrote is ``transport.value()``.
    """

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.transport = StringTransport()
        self._protocol: Any = None

    @property
    def address(self) -> tuple[str, int]:
        """Where the probe connects to."""
        return self.reactor.tcpClients[-1][0], self.reactor.tcpClients[-1][1]

    @property
    def closed(self) -> bool:
        """Whether the probe has ended the connection (or the attempt to connect)."""
        if self._protocol is None:
            return bool(self.reactor.connectors[-1].stoppedConnecting)
        return bool(self.transport.disconnecting)

    def accept(self) -> None:
        """The connection is established."""
        self._protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        self._protocol.makeConnection(self.transport)

    def refuse(self, error: Exception) -> None:
        """It is not."""
        self.reactor.tcpClients[-1][2].clientConnectionFailed(self.reactor.connectors[-1], Failure(error))

    def send(self, *pieces: bytes) -> None:
        """The backend sends; a probe that has closed hears nothing."""
        for piece in pieces:
            if not self.closed:
                self._protocol.dataReceived(piece)

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self._protocol.connectionLost(Failure(error or ConnectionDone()))
