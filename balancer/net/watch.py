"""Many sockets that are only ever read, seen by the reactor as one.

Where there is epoll, the sockets are in an epoll set of their own and the reactor watches that set. It costs less than
having the reactor watch each (a session of one datagram would pay for a handle of the loop's), it bounds what one turn
does for all of them together, and an error that waits on a socket (an ICMP message) is simply something to read: epoll
reactors take it for a connection's end, and uvloop stops watching. Elsewhere the reactor watches each.
It never reads by itself.
"""

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

READY = 64
"""Sockets that are read in one turn; the others keep their order and come in the next. A few milliseconds at most, so
that other listeners are heard."""


class Readable(Protocol):
    """What is watched."""

    def fileno(self) -> int:
        """Its socket's descriptor."""

    def readable(self) -> None:
        """There is something to read, or an error to be told of."""


class Watch(Protocol):
    """What whoever reads such sockets asks."""

    def add(self, reader: Readable) -> None:
        """Call it when there is something to read."""

    def remove(self, descriptor: int) -> None:
        """Call who reads that descriptor no more. It is open still, and to be closed next."""

    def close(self) -> None:
        """Nothing is watched any more."""


def make_watch(reactor: Any) -> Watch:
    """The best that this system has."""
    return EpollWatch(reactor) if hasattr(select, "epoll") else EachWatch(reactor)


@implementer(IReadDescriptor)
class EpollWatch:
    """One epoll set. It takes its descriptor when the first socket comes, which is after a daemon has forked."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._readers: dict[int, Readable] = {}

    def __repr__(self) -> str:
        return f"<EpollWatch of {len(self._readers)}>"

    def add(self, reader: Readable) -> None:
        """See :class:`Watch`."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        descriptor = reader.fileno()
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def remove(self, descriptor: int) -> None:
        """See :class:`Watch`."""
        self._readers.pop(descriptor, None)  # the set loses it when it is closed (epoll(7))

    def close(self) -> None:
        """See :class:`Watch`."""
        epoll, self._epoll = self._epoll, None
        self._readers.clear()
        if epoll is not None:
            self._reactor.removeReader(self)
            epoll.close()

    # -- what the reactor calls ----------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The set's descriptor."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def doRead(self) -> None:
        """Some can be read."""
        if self._epoll is None:
            return
        for descriptor, _ in self._epoll.poll(0, READY):
            reader = self._readers.get(descriptor)
            if reader is not None:  # else it was removed by one before it
                read(reader)

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "udp"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        self.close()


class EachWatch:
    """Every socket by itself."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._descriptors: dict[int, _Descriptor] = {}

    def add(self, reader: Readable) -> None:
        """See :class:`Watch`."""
        descriptor = self._descriptors[reader.fileno()] = _Descriptor(reader)
        self._reactor.addReader(descriptor)

    def remove(self, descriptor: int) -> None:
        """See :class:`Watch`."""
        watched = self._descriptors.pop(descriptor, None)
        if watched is not None:
            self._reactor.removeReader(watched)

    def close(self) -> None:
        """See :class:`Watch`."""
        descriptors, self._descriptors = self._descriptors, {}
        for descriptor in descriptors.values():
            self._reactor.removeReader(descriptor)


@implementer(IReadDescriptor)
class _Descriptor:
    """What a reactor watches."""

    def __init__(self, reader: Readable) -> None:
        self._reader = reader

    def fileno(self) -> int:
        return self._reader.fileno()

    def doRead(self) -> None:
        read(self._reader)

    def logPrefix(self) -> str:
        return "udp"

    def connectionLost(self, reason: Failure) -> None:
        read(self._reader)  # which finds the error that the reactor took for an end


def read(reader: Readable) -> None:
    """Have one read what is there; one that fails takes no other with it."""
    try:
        reader.readable()
    except Exception:
        _log.failure("reading {reader!r} failed", reader=reader)


_log = Logger()
