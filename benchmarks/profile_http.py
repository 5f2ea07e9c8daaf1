"""What one HTTP exchange costs in Python alone: the engine between transports that do nothing.

    python benchmarks/profile_http.py [--requests 40000] [--case get] [--calls]

The real factory, registry, selector, pool, records and access log; the bytes wrk sends and nginx answers; no socket
and no event loop. Of a browser's head: in the case ``browser`` it comes again and again, in ``thousand`` with one
target of a thousand, in ``targets`` with a target of its own each time, in ``varied`` the responses have an ETag of
their own in each turn of all clients as well, and in ``strange`` each request has a Cookie of its own. It prints
microseconds of CPU per request (the best of five rounds), and with ``--calls`` who is called how often. The figures
say something only beside each other, on one machine.
"""

import argparse
import cProfile
import gc
import os
import pstats
import random
import time
from collections.abc import Callable
from time import monotonic  # noqa: TID251 - it is the reactor here
from typing import Any

from twisted.internet.address import IPv4Address

from balancer.admin.access_log import AccessLog
from balancer.admin.log_sink import FileSink
from balancer.config.schema import Configuration, UpstreamConfig
from balancer.core.access_log import AccessLogSettings
from balancer.core.forwarded import Forwarding, random_ids
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.model import BackendSpec
from balancer.core.routing import RouteTable
from balancer.http.factory import ChannelFactory
from balancer.http.settings import HttpSettings
from balancer.http.upstreams import HttpUpstream
from balancer.net.connector import Connector
from balancer.net.timers import TimerWheel
from balancer.registry import Registry
from balancer.tap import spare_collector

CLIENTS = 64
BODY = b"0123456789abcdef" * 64
ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 13:47:09 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
)
ANSWER = ANSWER_HEAD % len(BODY) + b"Cache-Control: public, max-age=3600\r\n\r\n" + BODY
TAGGED = ANSWER_HEAD % len(BODY) + b'ETag: "%(sent)012d"\r\n\r\n' + BODY
BROWSER = (
    b"GET /items/%b?page=1 HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\nAccept-Language: en-GB,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123%b\r\n\r\n"
)
POSTED = b"x" * 16384
CASES = {
    "get": (b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:19102\r\n\r\n", ANSWER),
    "browser": (BROWSER % (b"000000000001", b"000000000001"), ANSWER),
    "thousand": (BROWSER % (b"%(turn)012d", b"000000000001"), ANSWER),
    "targets": (BROWSER % (b"%(sent)012d", b"000000000001"), ANSWER),
    "varied": (BROWSER % (b"%(sent)012d", b"000000000001"), TAGGED),
    "strange": (BROWSER % (b"%(sent)012d", b"%(sent)012d"), TAGGED),
    "close": (b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:19102\r\nConnection: close\r\n\r\n", ANSWER),
    "post": (
        b"POST /post HTTP/1.1\r\nHost: 127.0.0.1:19102\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: 16384\r\n\r\n" + POSTED,
        ANSWER_HEAD % 2 + b"\r\nok",
    ),
}


class Transport:
    """Takes bytes and says yes to everything."""

    bufferSize = 65536
    protocol: Any

    def __init__(self, written: list["Transport"]) -> None:
        self._written = written
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.size:
            self._written.append(self)
        self.size += len(data)

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 40000)

    getHost = getPeer

    def loseConnection(self) -> None:
        self.closed = True

    loseWriteConnection = abortConnection = loseConnection

    def _nothing(self, *arguments: object) -> None:
        pass

    setTcpNoDelay = setTcpKeepAlive = registerProducer = _nothing
    unregisterProducer = pauseProducing = resumeProducing = _nothing


class Reactor:
    """Time that passes, calls that wait for :meth:`turn`, connects that succeed at the next turn."""

    seconds = staticmethod(monotonic)

    def __init__(self) -> None:
        self._calls: list[tuple[float, Call]] = []
        self.written: list[Transport] = []

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> "Call":
        call = Call(self, function, arguments)
        call.reset(delay)
        return call

    def add(self, call: "Call", at: float) -> None:
        self._calls.append((at, call))

    def connectTCP(self, host: str, port: int, factory: Any, **options: object) -> None:
        self.callLater(0, self._connect, factory)

    def _connect(self, factory: Any) -> None:
        transport = Transport(self.written)
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)

    def turn(self) -> None:
        calls, self._calls = self._calls, []
        now = monotonic()
        for at, call in calls:
            if call.at != at:
                continue
            if at <= now:
                call.at = -1.0
                call.function(*call.arguments)
            else:
                self._calls.append((at, call))


class Call:
    """A delayed call."""

    def __init__(self, reactor: Reactor, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self.reactor, self.function, self.arguments, self.at = reactor, function, arguments, -1.0

    def reset(self, delay: float) -> None:
        self.at = monotonic() + delay
        self.reactor.add(self, self.at)

    def cancel(self) -> None:
        self.at = -1.0


class Bench:
    """A listener with its upstream, and the clients."""

    def __init__(self, case: str) -> None:
        self.reactor = reactor = Reactor()
        chance = random.Random(1)
        registry = Registry(reactor.seconds, chance)
        registry.apply(Configuration(upstream={"default": UpstreamConfig(servers=())}))
        registry.publish("default", [BackendSpec(host="127.0.0.1", port=port) for port in (19001, 19002)])
        timers = TimerWheel(reactor)  # type: ignore[arg-type]  # of IReactorTime it has what is used
        upstream = HttpUpstream(registry.upstream("default"), Connector(reactor, timers), timers)  # type: ignore[arg-type]
        self.log = AccessLog(AccessLogSettings(path=os.devnull), reactor, FileSink(os.devnull))  # type: ignore[arg-type]
        self.log.start()
        settings = HttpSettings(
            name="http",
            routes=RouteTable(()),
            upstreams={"default": upstream},
            forwarding=Forwarding(ForwardedPolicy(), random_ids(chance)),
            timers=timers,
            wall=time.time,  # noqa: TID251
            random=chance,
            log=self.log.log,
            default="default",
        )
        self.factory = ChannelFactory(settings)
        self.request, self.answer = CASES[case]
        self.closing = case == "close"
        self.varied = b"%(" in self.request or b"%(" in self.answer
        self.sent = 0
        self.answered: list[Transport] = []
        self.clients = [self.client() for _ in range(CLIENTS)]

    def client(self) -> Transport:
        transport = Transport(self.answered)
        transport.protocol = self.factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def round(self, requests: int) -> None:
        """So many requests, one from each client at a time."""
        reactor, request, answer = self.reactor, self.request, self.answer
        for _ in range(requests // CLIENTS):
            if self.closing:
                self.clients = [self.client() for _ in range(CLIENTS)]
            for transport in self.clients:
                if self.varied:
                    self.sent += 1
                    numbers = {b"sent": self.sent, b"turn": self.sent % 1000}
                    request, answer = self.request % numbers, self.answer % numbers
                transport.protocol.dataReceived(request)
            reactor.turn()
            written, reactor.written[:] = list(reactor.written), []
            for transport in written:
                transport.size = 0
                transport.protocol.dataReceived(answer)
            assert len(self.answered) == CLIENTS, "a request was not answered"
            for transport in self.answered:
                assert transport.size > len(answer) - 64, transport.size
                transport.size = 0
                if transport.closed:
                    transport.protocol.connectionLost(_DONE)
                    del transport.protocol  # as Twisted does
            self.answered.clear()


class _Done:
    def check(self, *kinds: type) -> type:
        return kinds[0]


_DONE = _Done()


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=12800)
    parser.add_argument("--case", choices=CASES, default="get")
    parser.add_argument("--calls", action="store_true", help="who is called how often (cProfile)")
    arguments = parser.parse_args()
    bench = Bench(arguments.case)
    bench.round(1280)
    spare_collector()
    if arguments.calls:
        profile = cProfile.Profile()
        profile.runcall(bench.round, arguments.requests)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    costs = []
    for _ in range(5):
        began = time.process_time()
        bench.round(arguments.requests)
        costs.append((time.process_time() - began) / arguments.requests * 1e6)
    circles = gc.collect()
    every = ", ".join(f"{cost:.1f}" for cost in costs)
    print(f"{arguments.case}: {min(costs):.1f} us per request (of {every}; {circles} objects in circles)")


if __name__ == "__main__":
    main()
