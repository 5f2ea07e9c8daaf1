"""The agents of all backends: one stream per backend and agent, whatever the number of upstreams.

Told by the monitor, it follows the registry. It never asks an agent by itself.
"""

from balancer.config.schema import UpstreamConfig
from balancer.core.agent_settings import AgentSettings
from balancer.core.model import Backend
from balancer.core.upstream import Upstream
from balancer.health.agent_stream import AgentStream
from balancer.health.asking import Surroundings
from balancer.registry import Registry


def agent_of(upstream: Upstream) -> AgentSettings | None:
    """The agent of an upstream's backends, ``None`` where there is none."""
    policy = upstream.policy
    return policy.agent if isinstance(policy, UpstreamConfig) else None


class Agents:
    """See the module.

    :ivar streams: by backend and settings.
    """

    def __init__(self, registry: Registry, surroundings: Surroundings) -> None:
        self.streams: dict[tuple[Backend, AgentSettings], AgentStream] = {}
        self._registry = registry
        self._surroundings = surroundings

    def __repr__(self) -> str:
        return f"<Agents streams={len(self.streams)}>"

    def refresh(self) -> None:
        """Bring the streams in line with the registry. Where only the settings changed, what was said stays."""
        wanted: dict[tuple[Backend, AgentSettings], None] = {}
        for upstream in self._registry.upstreams.values():
            settings = agent_of(upstream)
            if settings is not None:
                wanted.update(((member.backend, settings), None) for member in upstream.members)
        gone = {key: stream for key, stream in self.streams.items() if key not in wanted}
        before = {backend: stream for (backend, _), stream in gone.items()}
        came = [key for key in wanted if key not in self.streams]
        for key in gone:
            del self.streams[key]
        for backend, settings in came:
            stream = self.streams[backend, settings] = AgentStream(backend, settings, self._surroundings)
            stream.start(before.get(backend))
        for stream in gone.values():
            stream.stop()

    def obey(self, address: str) -> None:
        """Somebody said something of a backend."""
        for stream in tuple(self.streams.values()):
            if stream.backend.address == address:
                stream.obey()

    def stop(self) -> None:
        """Ask nobody any more; what was said stays."""
        for stream in self.streams.values():
            stream.halt()
        self.streams.clear()
