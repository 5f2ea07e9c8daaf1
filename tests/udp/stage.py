"""A UDP forwarder with a port, sockets and a clock that a test moves by hand."""

from collections import deque
from errno import EAGAIN
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.datagrams import UdpPolicy
from balancer.core.record import SessionRecord
from balancer.core.upstream import Upstream
from balancer.net.timers import TimerWheel
from balancer.net.watch import Readable
from balancer.testing.fakes import make_upstream
from balancer.udp.forwarder import UdpForwarder
from balancer.udp.settings import UdpSettings

Client = tuple[str, int]
ALICE: Client = ("192.0.2.1", 40000)
BOB: Client = ("192.0.2.2", 40000)


class FakeSocket:
    """A connected socket.

    :ivar sent: datagrams, in order.
    :ivar arrived: what reads find: bytes, or an error to raise.
    :ivar refuses: raised by the next sends, one each.
    """

    def __init__(self, descriptor: int, host: str, port: int) -> None:
        self.descriptor = descriptor
        self.peer = (host, port)
        self.sent: list[bytes] = []
        self.arrived: deque[bytes | OSError] = deque()
        self.refuses: deque[OSError] = deque()

    def fileno(self) -> int:
        return self.descriptor

    def send(self, data: bytes) -> int:
        if self.refuses:
            raise self.refuses.popleft()
        self.sent.append(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.arrived:
            raise BlockingIOError(EAGAIN, "nothing")
        found = self.arrived.popleft()
        if isinstance(found, OSError):
            raise found
        return found[:size]

    def close(self) -> None:
        self.descriptor = -1


class FakeWatch:
    """Has what is watched read when the test says so."""

    def __init__(self) -> None:
        self.readers: dict[int, Readable] = {}
        self.closed = False
        self.trouble: deque[OSError] = deque()  # raised by the next additions, one each

    def add(self, reader: Readable) -> None:
        if self.trouble:
            raise self.trouble.popleft()
        self.readers[reader.fileno()] = reader

    def remove(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def close(self) -> None:
        self.closed = True


class FakePort:
    """Where datagrams would arrive; keys are clients.

    :ivar replies: what was answered to whom.
    :ivar trouble: raised by the next replies, one each.
    """

    address = ("192.0.2.99", 53)

    def __init__(self) -> None:
        self.replies: list[tuple[bytes, Client]] = []
        self.trouble: deque[OSError] = deque()
        self.buffers: list[tuple[int, int]] = []
        self.open = True

    def reply(self, data: bytes, key: Client) -> None:
        if self.trouble:
            raise self.trouble.popleft()
        self.replies.append((data, key))

    def client(self, key: Client) -> Client:
        return key

    def own(self, key: Client) -> bool:
        return key == self.address

    def set_buffers(self, receive: int, send: int) -> None:
        self.buffers.append((receive, send))

    def stopListening(self) -> None:
        self.open = False


class StageTestCase(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        self.stage()

    def stage(self, upstream: Upstream | None = None, max_sessions: int = 10000, **policy: Any) -> None:
        """Begin anew, with another upstream or other settings."""
        self.clock = Clock()
        self.timers = TimerWheel(self.clock)
        self.watch = FakeWatch()
        self.upstream = upstream or make_upstream(3)
        self.records: list[SessionRecord] = []
        self.settings = UdpSettings(
            policy=UdpPolicy(**policy),
            max_sessions=max_sessions,
            log=lambda record: self.records.append(cast(SessionRecord, record)),
        )
        self.sockets: list[FakeSocket] = []
        self.troubles: deque[OSError] = deque()  # of the next connects, one each
        self.refusals: deque[OSError] = deque()  # of the next sockets' first sends, one each
        self.forwarder = UdpForwarder(
            self.upstream, self.timers, self.watch, self.settings, connect=cast(Any, self._connect)
        )
        self.port = self.forwarder.attach(FakePort())

    def _connect(self, host: str, port: int, buffers: tuple[int, int]) -> FakeSocket:
        if self.troubles:
            raise self.troubles.popleft()
        sock = FakeSocket(100 + len(self.sockets), host, port)
        if self.refusals:
            sock.refuses.append(self.refusals.popleft())
        self.sockets.append(sock)
        return sock

    # -- moving --------------------------------------------------------------------------------------------------

    def ask(self, data: bytes = b"question", client: Client = ALICE) -> FakeSocket:
        """A client sends; the socket it went to."""
        self.forwarder.received(data, client)
        return self.sockets[-1]

    def answer(self, sock: FakeSocket, *found: bytes | OSError) -> None:
        """The backend of that socket answers, or an ICMP message comes."""
        sock.arrived.extend(found)
        self.watch.readers[sock.descriptor].readable()

    def wait(self, seconds: float) -> None:
        """Time passes, in the small steps that real time has."""
        for _ in range(round(seconds * 10) + 4):
            self.clock.advance(0.1)

    # -- looking -------------------------------------------------------------------------------------------------

    def over(self) -> SessionRecord:
        """The one record there is; nothing is left of its session."""
        (record,) = self.records
        self.assertEqual((self.forwarder.connections, self.upstream.active, len(self.timers)), (0, 0, 0))
        self.assertEqual(
            (self.watch.readers, [sock.descriptor for sock in self.sockets if sock.fileno() >= 0]), ({}, [])
        )
        return record
