"""Where log lines go: a file that may be rotated away, or standard output. It never blocks and never raises.

A pipe whose reader stalls (``twistd -n balancer | less``) must not stall traffic: it is written in pieces that
the kernel can take at once, and what it cannot take yet is given back to the caller.
"""

import os
import select
import stat
from typing import Protocol

from twisted.logger import Logger

_ATOMIC = 4096
"""PIPE_BUF on Linux: a pipe that poll calls writable takes this many bytes without blocking (pipe(7))."""

# Non-blocking for a FIFO, where opening would otherwise wait for its reader; it changes nothing for a file.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class Sink(Protocol):
    """Takes bytes of whole lines."""

    def open(self) -> None: ...

    def write(self, data: bytes) -> int:
        """Write what can be written now; return how many bytes that was."""

    def close(self) -> None: ...


class FileSink:
    """Appends to the file at a path, and follows the path when the file there becomes another one.

    Trouble is logged when it begins and when it is over, never per line.
    """

    log = Logger()

    def __init__(self, path: str, mode: int = 0o640) -> None:
        """:param mode: of a file that has to be created; lines name clients, so others cannot read it."""
        self._path = path
        self._mode = mode
        self._fd = -1
        self._identity = (0, 0)
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<FileSink {self._path} {self._trouble or ('open' if self._fd >= 0 else 'closed')}>"

    def open(self) -> None:
        """Open the file, or the new one if it was rotated.

        :raises OSError: it cannot be opened; an open one stays in use.
        """
        fd = os.open(self._path, _FLAGS, self._mode)
        found = os.fstat(fd)
        self.close()
        self._fd = fd
        self._identity = (found.st_dev, found.st_ino)

    def write(self, data: bytes) -> int:
        """Write to the file that is at the path now, or to the one in use if that cannot be opened.

        :return: bytes written; 0 also while there is trouble.
        """
        trouble = ""
        written = 0
        try:
            if self._moved():
                self.open()
        except OSError as error:
            trouble = str(error)
        if self._fd >= 0:
            try:
                written = _write_all(self._fd, data)
            except OSError as error:
                trouble = str(error)
        self._say(trouble)
        return written

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _moved(self) -> bool:
        if self._fd < 0:
            return True
        try:
            found = os.stat(self._path)
        except OSError:
            return True  # whatever it is, opening will say it
        return (found.st_dev, found.st_ino) != self._identity

    def _say(self, trouble: str) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self.log.error("access log {path} cannot be written: {trouble}", path=self._path, trouble=trouble)
        else:
            self.log.info("access log {path} is written again", path=self._path)


class StreamSink:
    """Writes to a descriptor it was given and leaves open, normally standard output."""

    log = Logger()

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._broken = False

    def __repr__(self) -> str:
        return f"<StreamSink {self._fd}{' broken' if self._broken else ''}>"

    def open(self) -> None:
        """Nothing: it is open."""

    def close(self) -> None:
        """Nothing: it is not ours to close."""

    def write(self, data: bytes) -> int:
        """Write what the reader takes now; see :meth:`FileSink.write`."""
        try:
            regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
            written = _write_all(self._fd, data) if regular else self._write_pieces(data)
        except OSError as error:
            if not self._broken:
                self._broken = True
                self.log.error("the access log's standard output cannot be written: {error}", error=str(error))
            return 0
        self._broken = False
        return written

    def _write_pieces(self, data: bytes) -> int:
        """Piece by piece: the descriptor is shared with other processes, so it cannot be made non-blocking."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        done = 0
        while done < len(data) and poll.poll(0):
            done += os.write(self._fd, data[done : done + _ATOMIC])
        return done


def _write_all(fd: int, data: bytes) -> int:
    """Write until done or, for a FIFO, until its reader has to read first.

    :raises OSError: nothing could be written; after a part was, the next call will tell.
    """
    done = 0
    view = memoryview(data)
    while done < len(data):
        try:
            done += os.write(fd, view[done:])
        except BlockingIOError:
            break
        except OSError:
            if done == 0:
                raise
            break
    return done
