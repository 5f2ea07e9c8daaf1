"""Real sockets on a reactor that is turned by hand: for tests of what the kernel moves."""

import select
import socket
import struct
from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from balancer.net.splice import Watch


@implementer(IReactorFDSet)
class Turns:
    """The descriptors a reactor would watch; a turn calls those that are ready, as ``select`` tells."""

    def __init__(self) -> None:
        self.readers: list[Watch] = []
        self.writers: list[Watch] = []

    def addReader(self, reader: Watch) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def addWriter(self, writer: Watch) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Watch) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Watch) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        return []

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return list(self.writers)

    def turn(self) -> bool:
        """Call what is ready; whether anything was."""
        readable, writable, _ = select.select(self.readers, self.writers, [], 0)
        for watch in readable:
            if watch in self.readers:
                watch.doRead()
        for watch in writable:
            if watch in self.writers:
                watch.doWrite()
        return bool(readable or writable)


class Plain:
    """A transport in front of a socket."""

    def __init__(self, held: socket.socket) -> None:
        self.socket = held
        self.waiting = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def unwritten(self) -> int:
        return self.waiting


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    return left, right


def reset(end: socket.socket) -> None:
    """Close with a reset."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
