"""Real peers for UDP on loopback: a server scripted by the test, and dnsmasq, a DNS server.

Each is ended by the context manager that started it. A port that was free is used again, so a server can go away and
come back at its place.
"""

import contextlib
import random
import socket
import subprocess
import threading
from collections.abc import Callable
from types import TracebackType

from balancer.testing.peers import PATIENCE, need

LOOK = 0.05
"""Seconds between looks whether the server is to end."""


OUT_OF_THE_WAY = (10000, 32000)
"""Ports that no system gives to whoever asks for any (Linux begins at 32768): one that is free stays free longer, also
while a server at it is started again."""


def free_udp_port() -> int:
    """A port of 127.0.0.1 that nobody has now, neither for datagrams nor for streams."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(*OUT_OF_THE_WAY)
        with contextlib.suppress(OSError), _bound("127.0.0.1", port), socket.create_server(("127.0.0.1", port)):
            return port


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    return sock


class DatagramServer:
    """Answers each datagram with what ``answers`` makes of it, in a thread.

    :param answers: the datagrams to send back.
    :ivar received: how many datagrams came.
    :ivar arrived: set from the first one on.
    """

    def __init__(self, answers: Callable[[bytes], list[bytes]], host: str = "127.0.0.1", port: int = 0) -> None:
        self.answers = answers
        self.host = host
        self.received = 0
        self.arrived = threading.Event()
        self._socket = _bound(host, port)
        self._socket.settimeout(LOOK)
        self.port = int(self._socket.getsockname()[1])
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "DatagramServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                data, client = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            self.received += 1
            self.arrived.set()
            for answer in self.answers(data):
                self._socket.sendto(answer, client)


class Dnsmasq:
    """A dnsmasq that knows every name under ``test``, with one address.

    :param address: what it answers.
    """

    def __init__(self, address: str, port: int = 0) -> None:
        self.program = need("dnsmasq", "dnsmasq-base")
        self.answer = address
        self.port = port or free_udp_port()
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> "Dnsmasq":
        words = [
            "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts", "--user=",
            f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces", f"--address=/test/{self.answer}",
        ]  # fmt: skip
        self._process = subprocess.Popen([self.program, *words], stderr=subprocess.PIPE, text=True)
        for _ in range(round(PATIENCE / LOOK)):
            if self._answers():
                return self
            if self._process.poll() is not None:
                break
            threading.Event().wait(LOOK)
        self._process.terminate()
        raise AssertionError(f"dnsmasq did not start: {self._process.communicate(timeout=PATIENCE)[1]}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def _answers(self) -> bool:
        """Whether it answers a query (RFC 1035 section 4.1; for the root's name servers)."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(LOOK)
            try:
                client.connect(("127.0.0.1", self.port))
                client.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1")
                return bool(client.recv(512))
            except OSError:
                return False
