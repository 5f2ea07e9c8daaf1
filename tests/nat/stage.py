"""A kernel in memory: takes transactions, and answers when the test says so."""

from typing import Any

from twisted.internet.defer import Deferred

from balancer.core.model import Backend, BackendSpec, Member
from balancer.core.nat import Draw, Entrance, Translation, translation
from balancer.core.nat_policy import NatSettings
from balancer.core.traffic import Traffic
from balancer.errors import NatError
from balancer.nat.table import Place


class FakeNft:
    """Stands in for :class:`~balancer.nat.nft.Nft`.

    :ivar asked: every run that was not answered yet: what was asked, and where the answer goes.
    """

    timeout = 5.0

    def __init__(self) -> None:
        self.asked: list[tuple[list[dict[str, Any]], Deferred[list[dict[str, Any]]]]] = []

    def run(self, commands: list[dict[str, Any]]) -> "Deferred[list[dict[str, Any]]]":
        """As the real one's."""
        answer: Deferred[list[dict[str, Any]]] = Deferred()
        self.asked.append((list(commands), answer))
        return answer

    def answer(self, *listed: dict[str, Any], problem: str = "") -> list[dict[str, Any]]:
        """Answer the oldest run; what it asked."""
        commands, answer = self.asked.pop(0)
        if problem:
            answer.errback(NatError(problem))
        else:
            answer.callback(list(listed))
        return commands


class FakeEntry:
    """A listener of the table.

    :ivar ready: whether it knows its servers.
    :ivar heard: what it was told of counters.
    """

    def __init__(self, name: str, *hosts: str, port: int = 80) -> None:
        self.name = name
        self.entrance = Entrance(name, "tcp", 4, "192.0.2.1", port)
        self.hosts = hosts
        self.ready = True
        self.heard: list[tuple[dict[Place, Traffic], int]] = []

    def wanted(self) -> Translation:
        """As a listener's."""
        return translation(self.entrance, NatSettings(), Draw.ROUNDROBIN, members(*self.hosts))

    def counted(self, found: Any, refused: int) -> None:
        """As a listener's."""
        self.heard.append((dict(found), refused))


def members(*hosts: str) -> list[Member]:
    """Usable members at port 8000."""
    made = []
    for host in hosts:
        spec = BackendSpec(host=host, port=8000)
        made.append(Member(Backend(spec.key), spec))
        made[-1].usable = True
    return made


def counter(name: str, packets: int, octets: int = 0) -> dict[str, Any]:
    """A line of a listing."""
    return {"counter": {"family": "inet", "table": "t", "name": name, "packets": packets, "bytes": octets}}
