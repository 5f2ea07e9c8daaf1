"""``splice(2)`` between in-memory transports, moved by hand: a :class:`~balancer.testing.http.Bench` with a kernel.

The splicer, its pipes and its owners are the real ones; only sockets and readiness are made up. So what the kernel
moves can be tested on the virtual clock.
"""

import errno
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from balancer.net.splice import Splicer, Watch
from balancer.testing.http import Bench
from balancer.testing.transports import MemoryTransport, Wire, flush


class PlainTransport(MemoryTransport):
    """One that has a descriptor, as plain sockets have.

    :ivar room: bytes its socket takes before the peer has read them, where a splice writes.
    """

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        super().__init__(host, peer)
        self.room = 65536
        self._descriptor = os.memfd_create("transport")
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """A descriptor nobody reads or writes."""
        return self._descriptor

    def unwritten(self) -> int:
        """What waits: there is no socket that could have it."""
        return len(self.waiting)


class PlainWire(Wire):
    """A wire between two of them."""

    transport = PlainTransport


@implementer(IReactorFDSet)
class HandKernel:
    """What a splicer needs of a reactor, and of the kernel.

    :param transports: all that may be spliced.
    :ivar fault: an ``errno``, by which moving into a transport fails.
    """

    def __init__(self, transports: Callable[[], Iterable[PlainTransport]]) -> None:
        self.fault = 0
        self._transports = transports
        self._readers: list[Watch] = []
        self._writers: list[Watch] = []
        self._moved = 0

    def addReader(self, reader: Any) -> None:
        """Watch for reading."""
        if reader not in self._readers:
            self._readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        """Watch for writing."""
        if writer not in self._writers:
            self._writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        """Do not."""
        if reader in self._readers:
            self._readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        """Do not."""
        if writer in self._writers:
            self._writers.remove(writer)

    def removeAll(self) -> list[Any]:
        """Never asked for."""
        raise NotImplementedError

    def getReaders(self) -> list[Any]:
        """What is watched."""
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        """The same."""
        return list(self._writers)

    def move(self, source: int, target: int, count: int, *, flags: int) -> int:
        """``os.splice``: from a transport into a pipe, or from a pipe into a transport."""
        sender = self._at(source)
        size = self._read(sender.other, target, count) if sender is not None else self._write(source, target, count)
        self._moved += 1
        return size

    def turn(self) -> bool:
        """Call what is ready; whether anything followed from it."""
        before = (self._moved, self.getReaders(), self.getWriters())
        for watch in before[1]:
            transport = self._at(watch.fileno())
            if transport is not None and (transport.other.waiting or _ended(transport.other)):
                watch.doRead()
        for watch in before[2]:
            transport = self._at(watch.fileno()) if watch in self._writers else None
            if transport is not None and len(transport.waiting) < transport.room:
                watch.doWrite()
        return before != (self._moved, self.getReaders(), self.getWriters())

    def _read(self, peer: MemoryTransport, pipe: int, count: int) -> int:
        if not peer.waiting and not _ended(peer):
            raise BlockingIOError
        size = os.write(pipe, peer.waiting[:count]) if peer.waiting else 0
        del peer.waiting[:size]
        return size

    def _write(self, pipe: int, target: int, count: int) -> int:
        transport = self._at(target)
        assert transport is not None
        if self.fault or transport.other.disconnected:
            raise OSError(self.fault or errno.ECONNRESET, "cannot")
        room = transport.room - len(transport.waiting)
        if room <= 0:
            raise BlockingIOError
        data = os.read(pipe, min(count, room))
        transport.waiting += data
        return len(data)

    def _at(self, descriptor: int) -> PlainTransport | None:
        inode = os.fstat(descriptor).st_ino if descriptor >= 0 else -1
        found = (each for each in self._transports() if os.fstat(each.fileno()).st_ino == inode)
        return next(found, None)


def _ended(peer: MemoryTransport) -> bool:
    return peer.half_closed or peer.disconnected


class BulkBench(Bench):
    """A bench whose connections may be spliced.

    :param limit: splices at one time.
    """

    wire = PlainWire

    def __init__(self, *arguments: Any, limit: int = 8, **settings: Any) -> None:
        self.kernel = HandKernel(self._plain)
        self.splicer = Splicer(self.kernel, limit, self.kernel.move)  # type: ignore[arg-type]  # methods, not attributes
        super().__init__(*arguments, splicer=self.splicer, **settings)

    def _plain(self) -> list[PlainTransport]:
        ends = [end for wire in self.wires for end in (wire.left, wire.right)]
        return [end for end in ends if isinstance(end, PlainTransport)]

    def run(self) -> None:
        """Let everything happen that can."""
        flush(*self.wires)
        while self.kernel.turn():
            flush(*self.wires)
