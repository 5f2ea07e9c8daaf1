"""What threads do with the files of responses: write one, append a head to one, read one. It knows of no index.

Nothing is found under its name before it is whole: a file is written under another name and then renamed. It is not
synced: what a power failure leaves of it is seen by its checksums.
"""

import os
from typing import Final, NamedTuple

from balancer.cache.stored import Stored
from balancer.stores.disk_body import read_exactly, read_now
from balancer.stores.disk_directory import create, unlink_all, write_all
from balancer.stores.disk_record import (
    BLOCK,
    FOOTER_SIZE,
    Corrupt,
    Footer,
    Sums,
    prove,
    read_footer,
    read_head,
    read_whole,
    sealed,
    table_size,
    tail,
    whole,
)

SMALL: Final = 65536
"""Bytes of a body up to which it is read, and proven, whole with its head."""

_WHOLE: Final = SMALL + 32768
"""Bytes of a file that is read whole: such a body and what heads mostly take."""

_END: Final = 8192
"""Bytes at the end of a larger file that are read first: more than most heads have."""


_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC


class Read(NamedTuple):
    """A file that was read.

    :ivar stored: the response; its body is there only where ``whole`` says so.
    :ivar first: the first block of a body that is not there was proven.
    """

    key: bytes
    stored: Stored
    footer: Footer
    whole: bool
    first: bool


class Temporary:
    """A file that is written piece by piece, one call at a time.

    :ivar file: its descriptor, -1 before the first piece. Who has it closes it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = -1
        self._sums = Sums()

    def append(self, data: bytes) -> None:
        """The next bytes of the body.

        :raises OSError: they cannot be written.
        """
        if self.file < 0:
            self.file = create(self.path)
        write_all(self.file, data)
        self._sums.update(data)

    def finish(self, data: bytes, head: bytes, path: str) -> None:
        """The last bytes of the body, the head, and the name.

        :raises OSError: they cannot be written.
        """
        self.append(data)
        write_all(self.file, tail(self._sums, head))
        os.rename(self.path, path)


def write_whole(temporary: str, path: str, head: bytes, body: bytes) -> None:
    """Write a file at one time.

    :raises OSError: it cannot be; nothing is left of it.
    """
    file = create(temporary)
    try:
        write_all(file, whole(head, body))
        os.rename(temporary, path)
    except OSError:
        unlink_all([temporary])
        raise
    finally:
        os.close(file)


def append_head(path: str, head: bytes) -> None:
    """Replace the head of a file.

    :raises OSError: it cannot be done; the file may be spoiled.
    :raises Corrupt: it is not what was written.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        if size < FOOTER_SIZE:
            raise Corrupt("a file that is cut off")
        footer = read_footer(read_exactly(file, FOOTER_SIZE, size - FOOTER_SIZE), size)
        write_all(file, sealed(footer.body, footer.table_check, size, head))
    finally:
        os.close(file)


def read_file(path: str, size: int, wait: bool, first: bool = False) -> Read | None:
    """Read a response: a small one whole, of a larger one the head.

    :param size: bytes of the file, as far as they count.
    :param first: whether the first block of a larger one is read too, and proven.
    :param wait: whether the disk may be waited for. Else ``None`` says that the page cache has not all of it.
    :raises OSError: it cannot be read.
    :raises Corrupt: it is not what was written.
    """
    file = os.open(path, _FLAGS)
    try:
        wanted = size if size <= _WHOLE else _END
        end = _last(file, wanted, size, wait)
        if end is None:
            return None
        footer = read_footer(end, size)
        if wanted == size and footer.body <= SMALL:
            return Read(*read_whole(end, footer), footer, True, False)
        if footer.head + FOOTER_SIZE > wanted:
            end = _last(file, footer.head + FOOTER_SIZE, size, wait)
            if end is None:
                return None
        if first and not _prove_first(file, footer, wait):
            return None
        return Read(*read_head(end, footer), footer, False, first)
    finally:
        os.close(file)


def read_files(files: list[tuple[str, int, bool]]) -> list[Read | Exception]:
    """Read several by paths and sizes, of some the first block too, each by itself. (For a thread.)"""
    found: list[Read | Exception] = []
    for path, size, first in files:
        try:
            read = read_file(path, size, wait=True, first=first)
        except (OSError, Corrupt) as error:
            found.append(error)
        else:
            assert read is not None
            found.append(read)
    return found


def _prove_first(file: int, footer: Footer, wait: bool) -> bool:
    """Prove the first block of a body; whether the page cache has it, where that counts."""
    read = read_exactly if wait else read_now
    block = read(file, min(footer.body, BLOCK), 0)
    table = read(file, table_size(footer.body), footer.body)
    if block is None or table is None:
        return False
    prove(block, 0, table, footer.table_check)
    return True


def _last(file: int, wanted: int, size: int, wait: bool) -> bytes | None:
    if wait:
        return read_exactly(file, wanted, size - wanted)
    return read_now(file, wanted, size - wanted)
