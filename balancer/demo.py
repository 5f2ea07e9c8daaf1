"""The demonstration behind ``twistd balancer --demo``: sample backends inside the process, and what to try.

Three backends answer with their name: ``green`` at once, ``slow`` after a while, ``blue`` can be switched off and on.
They listen on loopback ports of the system's choice, so the demonstration never needs a network or a file.
This module never listens where clients arrive: that is the balancer's own work, as everywhere.
"""

from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.core.health import CheckSettings
from balancer.core.route_spec import RouteSpec
from balancer.service import BalancerService

SLOWNESS = 0.5
"""Seconds the slow backend takes: long enough to see, short enough to wait for."""

LOOPBACK = "127.0.0.1"

GUIDE = """\
The demonstration is running. Three sample backends, one HTTP listener, one TCP listener:

    curl http://{http}/                  who answers? try it a few times
    curl -d 'some text' http://{http}/   a request body comes back
    curl http://{tcp}/                   the same backends by TCP forwarding (layer 4)

Switch a backend off and on, and watch this log say why it goes and comes back:

    curl http://{http}/switch/off
    curl http://{http}/switch/on

Other ports: --http PORT and --tcp PORT. Stop with Ctrl-C.
"""


class Sample(Resource):
    """Answers every path with its name; a body is sent back."""

    isLeaf = True

    def __init__(self, name: str, reactor: Any, delay: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.reactor = reactor
        self.delay = delay

    def render(self, request: Request) -> Any:
        """Answer at once, or after the delay."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        body = request.content.read()  # type: ignore[union-attr]  # present once the request is complete
        answer = f"hello from {self.name}\n".encode() + body
        if not self.delay:
            return answer
        later = self.reactor.callLater(self.delay, self._finish, request, answer)
        request.notifyFinish().addErrback(self._gone, later)
        return NOT_DONE_YET

    def _gone(self, failure: Failure, later: IDelayedCall) -> None:
        """The client left before the answer."""
        later.cancel()

    def _finish(self, request: Request, answer: bytes) -> None:
        request.setHeader(b"content-length", b"%d" % len(answer))
        request.write(answer)
        request.finish()


class Switch(Resource):
    """``/switch/off`` and ``/switch/on`` for one backend."""

    isLeaf = True

    def __init__(self, turn: Callable[[bool], None]) -> None:
        super().__init__()
        self.turn = turn

    def render_GET(self, request: Request) -> bytes:
        """Turn it, and say so."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        word = request.path.rpartition(b"/")[2]
        if word not in (b"on", b"off"):
            request.setResponseCode(404)
            return b"say /switch/on or /switch/off\n"
        self.turn(word == b"on")
        return b"blue is " + word + b"\n"


class Demonstration(MultiService):
    """The sample backends and a balancer in front of them.

    :param http: where the HTTP listener goes, ``HOST:PORT``.
    :param tcp: where the TCP listener goes, ``HOST:PORT``.
    :param say: told what to try, once the listeners are open.
    """

    def __init__(self, reactor: Any, http: tuple[str, int], tcp: tuple[str, int], say: Callable[[str], None]) -> None:
        super().__init__()
        self.reactor = reactor
        self.http, self.tcp = http, tcp
        self.say = say
        self.blue: IListeningPort | None = None
        self._ports: list[IListeningPort] = []
        self._blue_site = Site(Sample("blue", reactor))
        self._blue_port = 0

    def privilegedStartService(self) -> None:
        """Open the sample backends, then the balancer's listeners."""
        samples = [
            self._listen(Site(Sample("green", self.reactor))),
            self._listen(Site(Sample("slow", self.reactor, SLOWNESS))),
        ]
        self._turn(True)
        control = self._listen(Site(Switch(self._turn)))
        addresses = [f"{LOOPBACK}:{port}" for port in (*samples, self._blue_port)]
        configuration = configure(addresses, f"{LOOPBACK}:{control}", self.http, self.tcp)
        self.balancer = BalancerService(configuration, self.reactor)
        self.balancer.setServiceParent(self)
        super().privilegedStartService()
        places = {listener.name: listener.address for listener in self.balancer.listeners.values()}
        self.say(GUIDE.format(http=places["http"], tcp=places["tcp"]))

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        for port in (*self._ports, *([self.blue] if self.blue else [])):
            await maybeDeferred(port.stopListening)

    def stopService(self) -> Any:
        """Stop the balancer, then the backends it used."""
        return Deferred.fromCoroutine(self._stop())

    def _listen(self, site: Site, port: int = 0) -> int:
        listening = self.reactor.listenTCP(port, site, interface=LOOPBACK)
        self._ports.append(listening)
        return int(listening.getHost().port)

    def _turn(self, on: bool) -> None:
        if on and self.blue is None:
            self.blue = self.reactor.listenTCP(self._blue_port, self._blue_site, interface=LOOPBACK)
            host: Any = self.blue.getHost()
            self._blue_port = host.port
        elif not on and self.blue is not None:
            self.blue.stopListening()
            self.blue = None


def configure(samples: list[str], control: str, http: tuple[str, int], tcp: tuple[str, int]) -> Configuration:
    """The demonstration's configuration: what one would write in a file."""
    quick_check = CheckSettings(interval=1.0, fast_interval=0.5)
    return Configuration(
        upstream={
            "samples": UpstreamConfig(
                servers=tuple(ServerConfig(address=address) for address in samples),
                balance="roundrobin",
                check=quick_check,
            ),
            "switch": UpstreamConfig(servers=(ServerConfig(address=control),), check=None),
        },
        listener={
            "http": ListenerConfig(
                listen=f"tcp:{http[1]}:interface={http[0]}",
                to="samples",
                route=(RouteSpec(path_prefix="/switch", to="switch"),),
            ),
            "tcp": ListenerConfig(listen=f"tcp:{tcp[1]}:interface={tcp[0]}", mode="tcp", to="samples"),
        },
        drain=1.0,
    )
