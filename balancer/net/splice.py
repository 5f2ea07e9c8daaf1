"""Bulk, moved by the kernel: from one plain socket through a pipe into another, never through this process.

``splice(2)`` (Linux) hands over pages instead of copying them. A transport is paused while its bytes go this way: the
splice watches duplicates of both sockets, waits until the target's transport has written what it holds, moves bytes,
and hands reading back when it meets the end, has moved what it was to move, or met what is not bulk. So an end is
always read by the transport itself, by the way every end takes. Only an error of a connection is told, because
reading it takes it from the socket. It never decides what an end or an error means, never holds more than it was
allowed to, and never loses a byte: what is in the pipe when it falls back is given to its owner.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from errno import EBADF, EINVAL, ENOBUFS, ENOMEM, ENOSYS, EOPNOTSUPP, EPERM
from fcntl import fcntl
from typing import Protocol as Structure

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.internet.tcp import Connection as StockConnection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

FULL = 32768
"""Bytes of one read that make it bulk: half of what a transport reads at one time. Requests and answers are smaller,
and what comes in smaller pieces gains nothing, for it costs two system calls a piece either way."""

SMALL = 16384
"""Bytes moved at one time below which it is not bulk at present."""

PATIENCE = 64
"""So many small moves in a row, and reading is handed back: the pipe is of more use to others. A burst of small
moves inside bulk (a pause of the sender, a full link) is shorter."""

ROUNDS = 4
"""Fills of the pipe in one turn of the reactor, so that one fast pair does not keep the others waiting."""

OURS = frozenset({EBADF, EINVAL, ENOBUFS, ENOMEM, ENOSYS, EOPNOTSUPP, EPERM})
"""Errors that say ``splice`` cannot be used here, and nothing of a connection; every other one is a connection's."""

_F_SETPIPE_SZ = 1031  # in fcntl since Python 3.10, on Linux only

DRAINING, READING, WRITING, OVER = range(4)
"""What is waited for: the target's transport to have written what it holds; the source; the target; nothing more."""
_NAMES = ("draining", "reading", "writing", "over")

Move = Callable[..., int]
"""``os.splice``: source, target, count, ``flags=``; how many bytes were moved, 0 at the end."""

KERNEL: Move | None = getattr(os, "splice", None)
"""The kernel's, where it has one."""


class DescriptorReactor(Structure):
    """What of the reactor is used: ``IReactorFDSet``."""

    addReader: Callable[..., object]
    addWriter: Callable[..., object]
    removeReader: Callable[..., object]
    removeWriter: Callable[..., object]


class Mover(Structure):
    """Who waits for a :class:`Watch`."""

    def ready(self) -> None:
        """What was waited for is there."""

    def hung_up(self) -> None:
        """The reactor found the socket hung up, and watches it no longer."""


class Owner(Structure):
    """Who has a direction spliced. None of these is called from :meth:`Splicer.begin` or :meth:`Splice.stop`.

    It begins blocked: the target's transport may hold something that its peer does not read.
    """

    def moved(self, size: int) -> None:
        """So many bytes were read from the source."""

    def blocked(self) -> None:
        """The target takes no more at present; told again for as often as it took only a part."""

    def unblocked(self) -> None:
        """The target has taken everything again, or, at the beginning, what its transport held."""

    def handed_back(self, rest: bytes) -> None:
        """It is over and nothing is wrong: ``rest`` was read and is to be written; then reading goes on as before."""

    def source_lost(self, words: str) -> None:
        """It is over: the source's connection is lost."""

    def target_lost(self, words: str) -> None:
        """It is over: the target's connection is lost."""


def unwritten(transport: object) -> Callable[[], int] | None:
    """What tells how many bytes a transport has taken and not yet given to its socket; ``None``: no plain socket.

    A plain socket is a stock TCP or UNIX transport without TLS, or a transport whose *class* has a method of this
    name (and ``fileno``). The class is asked because wrappers, TLS among them, pass unknown names on to what they
    wrap.
    """
    if getattr(transport, "TLS", False):
        return None
    if isinstance(transport, StockConnection):
        return _Unwritten(transport)
    if callable(getattr(type(transport), "unwritten", None)):
        told: Callable[[], int] = transport.unwritten  # type: ignore[attr-defined]  # asked for in the line above
        return told
    return None


class Splicer:
    """Begins splices, and bounds how many there are.

    :param limit: splices at one time, each with a pipe and four descriptors; 0 for none.
    :param move: ``os.splice``; ``None`` where there is none, and nothing is ever spliced.
    :ivar active: splices now.
    :ivar begun: splices so far.
    """

    def __init__(self, reactor: DescriptorReactor, limit: int, move: Move | None = KERNEL) -> None:
        self.reactor = reactor
        self.limit = limit
        self.active = 0
        self.begun = 0
        self.move = move if IReactorFDSet.providedBy(reactor) else None
        self._told = False

    def __repr__(self) -> str:
        return f"<Splicer active={self.active} limit={self.limit}{'' if self.move else ' without splice(2)'}>"

    def begin(
        self, source: object, target: object, owner: Owner, size: int, left: int | None = None
    ) -> "Splice | None":
        """Splice from one transport to another; ``None`` where that cannot be done: go on as before.

        The source is to be paused, for exactly as long as the splice lasts; nothing else may be written to the target.

        :param size: bytes held at most.
        :param left: bytes to move, more than 0; ``None`` for all until the end.
        """
        told = unwritten(target)
        if self.move is None or self.active >= self.limit or told is None or unwritten(source) is None:
            return None
        descriptors: list[int] = []
        try:
            descriptors.append(os.dup(source.fileno()))  # type: ignore[attr-defined]  # plain sockets have it
            descriptors.append(os.dup(target.fileno()))  # type: ignore[attr-defined]  # plain sockets have it
            descriptors.extend(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:  # closed just now, or no descriptor is left: it goes on as before
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        with suppress(OSError):  # too many pages in pipes: a smaller one does
            fcntl(descriptors[2], _F_SETPIPE_SZ, size)
        self.active += 1
        self.begun += 1
        return Splice(self, self.move, descriptors, told, owner, size, left)

    def over(self, error: OSError | None = None) -> None:
        """One is over (called by the splice); the first error of ours is logged."""
        self.active -= 1
        if error is not None and not self._told:
            self._told = True
            _log.warn("splice(2) failed, so bytes are copied: {error}", error=error)


class Splice:
    """One direction, moved by the kernel until it is over or stopped. :meth:`Splicer.begin` makes it.

    :ivar held: bytes in the pipe.
    :ivar left: bytes still to be read, ``None`` for all until the end.
    """

    __slots__ = ("_blocked", "_in", "_move", "_out", "_owner", "_size", "_small", "_source", "_splicer", "_state",
                 "_target", "_unwritten", "held", "left")  # fmt: skip

    def __init__(
        self,
        splicer: Splicer,
        move: Move,
        descriptors: list[int],
        told: Callable[[], int],
        owner: Owner,
        size: int,
        left: int | None,
    ) -> None:
        source, target, self._out, self._in = descriptors
        self._splicer = splicer
        self._move = move
        self._source = Watch(source, self)
        self._target = Watch(target, self)
        self._unwritten = told
        self._owner = owner
        self._size = size
        self._small = 0
        self._blocked = True
        self.held = 0
        self.left = left
        self._state = DRAINING
        splicer.reactor.addWriter(self._target)

    def __repr__(self) -> str:
        return f"<Splice {_NAMES[self._state]} held={self.held} left={self.left}>"

    def stop(self) -> None:
        """End it here; what is in the pipe is dropped, and the owner is not called. Twice is once."""
        if self._state != OVER:
            self._end()

    def give_back(self) -> None:
        """End it here in order, as if what comes next were no bulk: what is in the pipe is the owner's to write."""
        if self._state != OVER:
            self._hand_back()

    # -- what the reactor calls, through the watches -------------------------------------------------------------

    def ready(self) -> None:
        """What was waited for is there."""
        if self._state == DRAINING:
            if self._unwritten():
                return  # its transport writes on, in this same turn
            self._wait(READING)
            self._unblock()
            if self._state == OVER:
                return
        self._go()

    def hung_up(self) -> None:
        """The reactor found a socket hung up, and watches it no longer: moving tells why; else its transport does."""
        before = self._state
        if before in (READING, WRITING):
            self._go()
        if self._state == before and before != OVER:
            self._hand_back()

    # -- moving --------------------------------------------------------------------------------------------------

    def _go(self) -> None:
        if self.held and not self._empty():
            return
        for _ in range(ROUNDS):
            if not (self._fill() and self._empty()):
                return
        self._wait(READING)

    def _fill(self) -> bool:
        """From the source into the pipe, which is empty; whether something came."""
        count = self._size if self.left is None else min(self._size, self.left)
        try:
            size = self._move(self._source.descriptor, self._in, count, flags=_FLAGS)
        except BlockingIOError:
            self._wait(READING)
            return False
        except OSError as error:
            self._failed(error, self._owner.source_lost)
            return False
        if not size:
            self._hand_back()
            return False
        self.held = size
        if self.left is not None:
            self.left -= size
        self._small = self._small + 1 if size < SMALL else 0
        self._owner.moved(size)
        return self._state != OVER

    def _empty(self) -> bool:
        """From the pipe into the target; whether all of it went and more is to come."""
        try:
            size = self._move(self._out, self._target.descriptor, self.held, flags=_FLAGS)
        except BlockingIOError:
            size = 0
        except OSError as error:
            self._failed(error, self._owner.target_lost)
            return False
        self.held -= size
        if not self.held:
            self._unblock()
            if self.left == 0 or self._small >= PATIENCE:
                self._hand_back()
            return self._state != OVER
        self._wait(WRITING)
        if size or not self._blocked:
            self._blocked = True
            self._owner.blocked()
        return False

    # -- waiting, and the end ------------------------------------------------------------------------------------

    def _wait(self, state: int) -> None:
        before, self._state = self._state, state
        if state == before:
            return
        reactor = self._splicer.reactor
        if state == READING:
            reactor.removeWriter(self._target)
            reactor.addReader(self._source)
        else:
            reactor.removeReader(self._source)
            reactor.addWriter(self._target)

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._owner.unblocked()

    def _hand_back(self, error: OSError | None = None) -> None:
        """Not the splice's business any more."""
        rest = os.read(self._out, self.held) if self.held else b""
        self._end(error)
        self._unblock()
        self._owner.handed_back(rest)

    def _failed(self, error: OSError, lost: Callable[[str], None]) -> None:
        if error.errno in OURS:
            self._hand_back(error)
        else:
            self._end()
            lost(os.strerror(error.errno or 0))

    def _end(self, error: OSError | None = None) -> None:
        self._state = OVER
        self.held = 0
        reactor = self._splicer.reactor
        reactor.removeReader(self._source)
        reactor.removeWriter(self._target)
        self._source.close()
        self._target.close()
        os.close(self._out)
        os.close(self._in)
        self._splicer.over(error)


@implementer(IReadDescriptor, IWriteDescriptor)
class Watch:
    """A duplicate of a transport's descriptor, as a reactor watches it: a socket may be watched twice, a number not.

    :ivar descriptor: the duplicate; -1 once it is closed.
    """

    __slots__ = ("_mover", "descriptor")

    def __init__(self, descriptor: int, mover: Mover) -> None:
        self.descriptor = descriptor
        self._mover = mover

    def close(self) -> None:
        """Close the duplicate."""
        os.close(self.descriptor)
        self.descriptor = -1

    def fileno(self) -> int:
        """For the reactor."""
        return self.descriptor

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "splice"

    def doRead(self) -> None:
        """It can be read, or has an error."""
        self._mover.ready()

    def doWrite(self) -> None:
        """It can be written, or has an error."""
        self._mover.ready()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found it hung up."""
        self._mover.hung_up()


class _Unwritten:
    """How much a stock transport has still to write. (Stock transports do not tell; these are what it writes from.)"""

    __slots__ = ("_transport",)

    def __init__(self, transport: StockConnection) -> None:
        self._transport = transport

    def __call__(self) -> int:
        transport = self._transport
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


_FLAGS = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)

_log = Logger()
