"""A part of a file, sent by the kernel into one plain socket, never through this process.

``sendfile(2)`` (Linux) hands pages of the page cache to a socket. A sending works on duplicates of both descriptors,
waits until the transport has written what it holds, and tells its owner of every step, as
:mod:`balancer.net.splice` does. It never decides what a lost connection or a file that is too short means, never
touches the transport, and never sends a byte outside the range it was given.

The kernel reads from the disk what the page cache lacks, and this process waits for it. So the next :data:`AHEAD`
bytes are asked for before they are sent, which the kernel does meanwhile; what is left to wait for is a disk that is
slower than the client.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from errno import EBADF, EINVAL, EIO, ENOMEM, ENOSYS, EOVERFLOW
from typing import Protocol as Structure

from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from balancer.net.splice import DescriptorReactor, Watch, unwritten

CHUNK = 262144
"""Bytes of one call at most: what a connection may have under way (the buffers of a socket are about as large)."""

ROUNDS = 4
"""Calls in one turn of the reactor, so that one fast client does not keep the others waiting."""

AHEAD = 2 << 20
"""Bytes that are read ahead into the page cache: at a gigabit a second, 16 ms, the seek of a slow disk."""

OURS = frozenset({EBADF, EINVAL, EIO, ENOMEM, ENOSYS, EOVERFLOW})
"""Errors that say something of the file or of ``sendfile`` itself; every other one is the connection's."""

DRAINING, SENDING, OVER = range(3)
"""What is waited for: the transport to have written what it holds; the socket; nothing more."""
_NAMES = ("draining", "sending", "over")

Send = Callable[[int, int, int, int], int]
"""``os.sendfile``: target, file, offset, count; how many bytes were sent, 0 at the end of the file."""

KERNEL: Send | None = getattr(os, "sendfile", None)
"""The kernel's, where it has one."""


class Owner(Structure):
    """Who has a file sent. None of these is called from :meth:`FileSender.begin` or :meth:`Sending.stop`.

    It begins blocked: the transport may hold something that its peer does not read.
    """

    def moved(self, size: int) -> None:
        """So many bytes more were given to the socket."""

    def blocked(self) -> None:
        """The socket takes no more at present; told again for as often as it took only a part."""

    def unblocked(self) -> None:
        """The socket takes bytes again, or, at the beginning, has what its transport held."""

    def done(self) -> None:
        """It is over, and not blocked: the socket has all, and the transport may be written to again."""

    def lost(self, words: str) -> None:
        """It is over: the connection is lost."""

    def short(self) -> None:
        """It is over: the file ends before the range does, or cannot be read. What was promised cannot be kept: the
        connection is to be cut."""


class FileSender:
    """Begins sendings, and bounds how many there are.

    :param limit: sendings at one time, each with two descriptors; 0 for none.
    :param send: ``os.sendfile``; ``None`` where there is none, and nothing is ever sent this way.
    :ivar active: sendings now.
    :ivar begun: sendings so far.
    """

    def __init__(self, reactor: DescriptorReactor, limit: int, send: Send | None = KERNEL) -> None:
        self.reactor = reactor
        self.limit = limit
        self.active = 0
        self.begun = 0
        self.send = send if IReactorFDSet.providedBy(reactor) else None

    def __repr__(self) -> str:
        return f"<FileSender active={self.active} limit={self.limit}{'' if self.send else ' without sendfile(2)'}>"

    def begin(self, transport: object, file: int, offset: int, size: int, owner: Owner) -> "Sending | None":
        """Send ``size`` bytes (at least one) of an open file, from ``offset`` on; ``None`` where that cannot be done:
        read and write instead.

        Until it is over nothing else may be written to the transport. The file may be closed: it has its own
        descriptor.
        """
        told = unwritten(transport)
        if self.send is None or self.active >= self.limit or told is None:
            return None
        try:
            source = os.dup(file)
        except OSError:  # no descriptor is left: it is read and written
            return None
        try:
            target = os.dup(transport.fileno())  # type: ignore[attr-defined]  # plain sockets have it
        except OSError:  # closed just now
            os.close(source)
            return None
        self.active += 1
        self.begun += 1
        return Sending(self, self.send, source, target, told, offset, size, owner)

    def over(self, error: OSError | None = None) -> None:
        """One is over (called by the sending). What cannot be sent this way at all is not tried again."""
        self.active -= 1
        if error is not None:
            _log.warn("sendfile(2) failed, and a response was cut off: {error}", error=error)
            if error.errno in (EINVAL, ENOSYS):
                self.send = None


class Sending:
    """One range of a file on its way. :meth:`FileSender.begin` makes it.

    :ivar left: bytes still to be sent.
    """

    __slots__ = ("_ahead", "_blocked", "_file", "_offset", "_owner", "_send", "_sender", "_state", "_target",
                 "_unwritten", "left")  # fmt: skip

    def __init__(
        self,
        sender: FileSender,
        send: Send,
        source: int,
        target: int,
        told: Callable[[], int],
        offset: int,
        size: int,
        owner: Owner,
    ) -> None:
        self._sender = sender
        self._send = send
        self._file = source
        self._target = Watch(target, self)
        self._unwritten = told
        self._offset = offset
        self._ahead = offset
        self._owner = owner
        self._blocked = True
        self._state = DRAINING
        self.left = size
        sender.reactor.addWriter(self._target)

    def __repr__(self) -> str:
        return f"<Sending {_NAMES[self._state]} left={self.left}>"

    def stop(self) -> None:
        """End it here; the owner is not called. Twice is once."""
        if self._state != OVER:
            self._end()

    # -- what the reactor calls, through the watch ---------------------------------------------------------------

    def ready(self) -> None:
        """The socket takes bytes, or has an error."""
        if self._state == DRAINING:
            if self._unwritten():
                return  # its transport writes on, in this same turn
            self._state = SENDING
            self._unblock()
        for _ in range(ROUNDS):
            if self._state == OVER or not self._go():
                return
        self._block(told_once=False)  # who knows whether it takes more: the next turn tells

    def hung_up(self) -> None:
        """The reactor found the socket hung up, and watches it no longer: sending tells why."""
        if self._state == SENDING:
            self._go()
        if self._state != OVER:
            self._end()
            self._owner.lost("hung up")

    # -- sending -------------------------------------------------------------------------------------------------

    def _go(self) -> bool:
        """One call; whether another one may follow."""
        count = min(self.left, CHUNK)
        self._read_ahead()
        try:
            size = self._send(self._target.descriptor, self._file, self._offset, count)
        except BlockingIOError:
            self._block(told_once=True)
            return False
        except OSError as error:
            self._failed(error)
            return False
        if not size:
            self._end()
            self._owner.short()
            return False
        self._offset += size
        self.left -= size
        self._owner.moved(size)
        if self._state == OVER:
            return False
        if not self.left:
            self._unblock()
            if self._state != OVER:
                self._end()
                self._owner.done()
            return False
        if size < count:
            self._block(told_once=False)
            return False
        self._unblock()
        return self._state != OVER

    def _read_ahead(self) -> None:
        """Have the kernel read what comes next, half a window at a time."""
        end = self._offset + self.left
        if self._ahead < end and self._ahead - self._offset < AHEAD // 2:
            begin, self._ahead = self._ahead, min(self._offset + AHEAD, end)
            with suppress(OSError):  # advice only: where it cannot be given, the kernel reads when it must
                os.posix_fadvise(self._file, begin, self._ahead - begin, os.POSIX_FADV_WILLNEED)

    def _block(self, told_once: bool) -> None:
        if not (told_once and self._blocked):
            self._blocked = True
            self._owner.blocked()

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._owner.unblocked()

    # -- the end -------------------------------------------------------------------------------------------------

    def _failed(self, error: OSError) -> None:
        if error.errno in OURS:
            self._end(error)
            self._owner.short()
        else:
            self._end()
            self._owner.lost(os.strerror(error.errno or 0))

    def _end(self, error: OSError | None = None) -> None:
        self._state = OVER
        self._sender.reactor.removeWriter(self._target)
        self._target.close()
        os.close(self._file)
        self._sender.over(error)


_log = Logger()
