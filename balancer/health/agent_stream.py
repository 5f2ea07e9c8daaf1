"""One agent of one backend: asked again and again, and what it says carried over to the backend.

What an answer does not speak of stays as an earlier one said, and where no answer comes all stays: whether the server
works is the check's question. It never overrules the operator (:mod:`balancer.core.advice`).
"""

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.core.advice import Advice
from balancer.core.agent import Report
from balancer.core.agent_settings import AgentSettings
from balancer.core.model import AdminState, Backend, Health
from balancer.health.asking import Asking, Surroundings
from balancer.interfaces import AgentResult, ProbeResult, ProbeTarget

PLUGIN = "agent"
"""The probe that asks; a site may bring another of that name."""

_log = Logger()


class AgentStream:
    """See the module. Nothing runs before :meth:`start`.

    :ivar advice: what it says by now.
    :ivar health: what it says of the server's health; ``None`` where it says nothing.
    :ivar last: the last answer; ``None`` before the first.
    """

    __slots__ = (
        "_asking", "_logged", "_surroundings", "_target", "advice", "backend", "health", "last", "settings",
    )  # fmt: skip

    def __init__(self, backend: Backend, settings: AgentSettings, surroundings: Surroundings) -> None:
        self.backend = backend
        self.settings = settings
        self.advice = Advice()
        self.health: Health | None = None
        self.last: ProbeResult | None = None
        host = settings.address or backend.host
        self._target = ProbeTarget(host=host, port=settings.port, tls_name=None, name=backend.host)
        self._surroundings = surroundings
        self._asking = Asking(surroundings, self._ask, settings.timeout, self._take)
        self._logged = ""

    def __repr__(self) -> str:
        return f"<AgentStream of {self.backend.address} {self.advice!r} health={self.health and self.health.value}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, replaced: "AgentStream | None" = None) -> None:
        """Begin to ask (in the operator's maintenance not yet).

        :param replaced: the agent of other settings that this one replaces: its words hold until this one speaks.
        """
        if replaced is not None:
            self.advice, self.health = replaced.advice, replaced.health
            self._tell("as the agent of the configuration before said", Report(health=self.health))
        self.obey()

    def obey(self) -> None:
        """The operator spoke: in their maintenance nothing is asked, in the agent's own it goes on."""
        if self.backend.operator[0] is AdminState.MAINT:
            self.halt()
        elif not self._asking.active:
            self._asking.start()

    def halt(self) -> None:
        """Ask no more; what it said stays."""
        self._asking.halt()

    def stop(self) -> None:
        """Ask no more, and take back what it said."""
        self.halt()
        now = self._surroundings.reactor.seconds()
        self.backend.advise(self, None, "its agent is not asked any more", now)
        self.backend.forget_check(self, now)

    # -- one question -------------------------------------------------------------------------------------------

    def _ask(self) -> "Deferred[ProbeResult]":
        return self._surroundings.lookup(PLUGIN).probe(self._target, self.settings, self._surroundings.reactor)

    def _take(self, result: ProbeResult, unexpected: Failure | None) -> None:
        self.last = result
        jitter = 1 + self.settings.jitter * (2 * self._surroundings.random.random() - 1)
        self._asking.again(self.settings.interval * jitter)
        said = result.report if isinstance(result, AgentResult) else None
        self._log(result, said, unexpected)
        if said is not None:
            self._merge(said, result.reason)
            self._tell(result.reason, said)

    def _merge(self, said: Report, reason: str) -> None:
        """What is not said stays; a state that is said again keeps the reason it was first said with."""
        if said.admin is not None and said.admin is not self.advice.admin:
            self.advice = replace(self.advice, admin=said.admin, admin_reason=reason)
        if said.percent is not None:
            self.advice = replace(self.advice, percent=said.percent)
        if said.max_connections is not None:
            self.advice = replace(self.advice, max_connections=said.max_connections)
        self.health = said.health or self.health

    def _tell(self, reason: str, said: Report) -> None:
        """The last thing any method does: whoever hears of it may stop the stream. First whether it is to work, then
        whether it does, as HAProxy has it."""
        now = self._surroundings.reactor.seconds()
        advice = self.advice
        self.backend.advise(self, advice, reason, now)
        if self.advice is advice and said.health is not None:
            self.backend.judge(self, said.health, reason, now)

    def _log(self, result: ProbeResult, said: Report | None, unexpected: Failure | None) -> None:
        """What the operator should look at, once until it changes: no answer, words that are none, a plugin's fault."""
        trouble = "" if said is not None and not said.unknown else result.reason
        if trouble and trouble != self._logged:
            if unexpected is not None:
                _log.failure("the agent probe of {backend}", failure=unexpected, backend=self.backend.address)
            elif said is not None:
                words = f"{result.reason}; {said.unknown!r} is no word of the protocol"
                _log.warn("{backend}: {words}", backend=self.backend.address, words=words)
            else:
                _log.warn(
                    "{backend}: its agent does not answer, what it said last stays: {words}",
                    backend=self.backend.address,
                    words=trouble,
                )
        self._logged = trouble
