"""An origin behind a cache, and clients in front of it, with real sockets: for tests of the whole program.

The origin answers what a function of the test says, in a thread for each connection, and tells what it was asked. It
never decides what a cache should have done.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from http.client import HTTPResponse
from types import TracebackType
from typing import BinaryIO

from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE

PIECE = 1 << 16


class Told:
    """A request as it arrived.

    :ivar fields: by name in lower case; the values of one name joined with commas.
    :ivar size: bytes of its body.
    """

    def __init__(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.method, self.target, self.protocol = first.split(" ")
        self.fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            known = self.fields.get(name.lower())
            self.fields[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
        self.size = 0

    def __repr__(self) -> str:
        return f"<Told {self.method} {self.target} {self.fields} size={self.size}>"


Answer = Callable[[Told], bytes | Iterable[bytes]]
"""What is answered: the bytes of the response; those of a generator are sent one after the other as they come."""


def response(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """A response with a Content-Length and these field lines."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines))
    return head.encode("latin-1") + b"\r\n" + body


class Origin:
    """A server that can go away and come back on its port; used as a context manager.

    :ivar told: the requests so far; ``errors``: what its answering raised.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.told: list[Told] = []
        self.errors: list[BaseException] = []
        self._news = threading.Condition()
        self._server = SocketServer(self._serve)
        self.address = self._server.address

    def __enter__(self) -> "Origin":
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Close everything: connections are refused from now on."""
        self._server.__exit__(None, None, None)
        self.errors += self._server.errors

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self._server = SocketServer(self._serve, port=self._server.port)
        self._server.__enter__()

    def asked(self, target: str, method: str = "GET") -> int:
        """How often that was asked for by now."""
        with self._news:
            return sum(told.target == target and told.method == method for told in self.told)

    def wait_for(self, target: str, times: int = 1, method: str = "GET") -> None:
        """Wait until that was asked for so often.

        :raises AssertionError: it was not, in :data:`PATIENCE` seconds.
        """
        with self._news:
            if not self._news.wait_for(lambda: self.asked(target, method) >= times, PATIENCE):
                raise AssertionError(f"{method} {target} was asked {self.asked(target, method)} times, not {times}")

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while head := _head(stream):
                told = Told(head)
                for data in _body(stream, told.fields):
                    told.size += len(data)
                with self._news:
                    self.told.append(told)
                    self._news.notify_all()
                said = self.answer(told)
                for data in [said] if isinstance(said, bytes) else said:
                    connection.sendall(data)


class Reply:
    """What a client got: ``fields`` by name in lower case, values of one name joined."""

    def __init__(self, status: int, fields: Sequence[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.fields: dict[str, str] = {}
        for name, value in fields:
            known = self.fields.get(name.lower())
            self.fields[name.lower()] = value if known is None else f"{known}, {value}"
        self.body = body

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.fields} {self.body[:100]!r}>"

    @property
    def cache(self) -> str:
        """What Cache-Status says."""
        return self.fields.get("cache-status", "")


class Client:
    """One connection; used as a context manager."""

    def __init__(self, address: tuple[str, int], connection: socket.socket | None = None) -> None:
        self.socket = connection or socket.create_connection(address, PATIENCE)
        self.response: HTTPResponse | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self.response is not None:
            self.response.close()
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset, as the kernel does for a process that is killed with data unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, target: str, *lines: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> None:
        """Send a request, for the host site.test."""
        named = [f"{method} {target} HTTP/{version}", "Host: site.test", *lines]
        if body:
            named.append(f"Content-Length: {len(body)}")
        self.method = method
        self.socket.sendall("".join(f"{line}\r\n" for line in named).encode("latin-1") + b"\r\n" + body)

    def head(self) -> HTTPResponse:
        """Receive the head of the response; the body is read from it.

        :raises http.client.HTTPException: it is broken.
        """
        self.response = response = HTTPResponse(self.socket, method=self.method)
        response.begin()
        return response

    def receive(self) -> Reply:
        """Receive the whole response."""
        head = self.head()
        return Reply(head.status, head.getheaders(), head.read())


def ask(address: tuple[str, int], target: str, *lines: str, method: str = "GET", body: bytes = b"") -> Reply:
    """One request on a connection of its own."""
    with Client(address) as client:
        client.send(target, "Connection: close", *lines, method=method, body=body)
        return client.receive()


def known(address: tuple[str, int], target: str) -> Reply:
    """Wait until it is found in the cache, without asking the origin for it: a store that has just been started may not
    have looked through all of its directory.

    :raises AssertionError: it is not, in :data:`PATIENCE` seconds.
    """
    return _until(lambda: ask(address, target, "Cache-Control: only-if-cached"), lambda reply: reply.status != 504)


def stores(address: tuple[str, int], target: str) -> None:
    """Wait until the store keeps what it is given: ask for it until it is a hit.

    :raises AssertionError: it is not, in :data:`PATIENCE` seconds.
    """
    _until(lambda: ask(address, target), lambda reply: "; hit" in reply.cache)


def _until(get: Callable[[], Reply], good: Callable[[Reply], bool]) -> Reply:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        reply = get()
        if good(reply):
            return reply
        pause.wait(0.05)
    raise AssertionError(f"it stays {reply}")


def together(count: int, act: Callable[[int], None]) -> None:
    """Call ``act`` in so many threads at once and wait for all of them.

    :raises AssertionError: one of them raised, or did not end.
    """
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            act(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    if failed:
        raise AssertionError(f"{len(failed)} of {count} failed, for example: {failed[0]!r}") from failed[0]
    assert not any(thread.is_alive() for thread in threads)


def _head(stream: BinaryIO) -> str:
    lines = []
    while (line := stream.readline()) not in (b"", b"\r\n"):
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    return "\r\n".join(lines)


def _body(stream: BinaryIO, fields: dict[str, str]) -> Iterable[bytes]:
    if fields.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.readline() or b"0", 16):
            yield stream.read(size)
            stream.readline()
        while stream.readline() not in (b"", b"\r\n"):
            pass
        return
    left = int(fields.get("content-length", "0"))
    while left > 0:
        data = stream.read(min(left, PIECE))
        if not data:
            return
        left -= len(data)
        yield data
