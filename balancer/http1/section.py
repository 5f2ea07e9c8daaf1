"""Reads a head or trailer section line by line as it arrives: each byte is looked at once, each line judged once.

The parsers come here when a section did not arrive whole or did not match whole. The first bad line decides,
wherever the stream was cut. This module never gives a field a meaning.
"""

import re
from collections.abc import Callable

from balancer.http1 import faults, grammar
from balancer.http1.faults import Malformed
from balancer.http1.heads import Fields


class StartLine:
    """How a section's first line is judged.

    :ivar pattern: what it must match, line end included.
    :ivar explain: what is wrong with one that does not.
    :ivar size: the most bytes it may have, line end included.
    :ivar overlong: raised (as a new exception) for a longer one: status, reason, source.
    """

    __slots__ = ("explain", "overlong", "pattern", "size")

    def __init__(
        self,
        pattern: re.Pattern[bytes],
        explain: Callable[[bytes], Malformed],
        size: int,
        overlong: tuple[int, str, str],
    ) -> None:
        self.pattern = pattern
        self.explain = explain
        self.size = size
        self.overlong = overlong


class Section:
    """Finds the end of one section: a start line (unless None), field lines, the empty line.

    :param size: the most bytes the whole section may have.
    :param fields: the most field lines it may have.
    :param name: the key's name of each of the two limits, for the sentence that refuses.
    """

    __slots__ = ("_checked", "_fields", "_first", "_lines", "_names", "_searched", "_size")

    def __init__(self, first: StartLine | None, size: int, fields: int, names: tuple[str, str]) -> None:
        self._first = first
        self._size = size
        self._fields = fields
        self._names = names
        self.restart()

    def restart(self) -> None:
        """Forget the section: the next :meth:`end` starts at a new one."""
        self._checked = 0  # relative to the section's first byte: all before belongs to lines already judged
        self._searched = 0  # likewise: no LF lies between _checked and here
        self._lines = 0

    @property
    def begun(self) -> bool:
        """True if the present section was looked at before and had not ended."""
        return self._searched > 0

    def end(self, data: bytes | bytearray, start: int) -> int | None:
        """Where the section that starts at ``start`` ends, its empty line included; None if more is to come.

        :raises Malformed: a line that arrived whole is bad, or a limit is passed.
        """
        while True:
            newline = data.find(b"\n", start + self._searched)
            if newline < 0:
                self._searched = len(data) - start
                self._check_size(self._searched + 1)
                return None
            begin = start + self._checked
            self._searched = newline + 1 - start
            self._check_size(self._searched)
            self._checked = self._searched
            if newline == begin + 1 and data[begin] == 13 and (self._lines or self._first is None):
                return newline + 1
            self._check_line(bytes(data[begin : newline + 1]))

    def _check_size(self, reached: int) -> None:
        """``reached`` is how many bytes the section has at least."""
        if self._first is not None and not self._lines and reached > self._first.size:
            raise Malformed(*self._first.overlong)
        if reached > self._size:
            key = self._names[0]
            raise Malformed(431, f"more than {self._size} bytes of field lines ({key})", "RFC 6585 section 5")

    def _check_line(self, line: bytes) -> None:
        first = self._first
        self._lines += 1
        if first is not None and self._lines == 1:
            if first.pattern.fullmatch(line) is None:
                raise first.explain(line)
            return
        if self._lines - (first is not None) > self._fields:
            key = self._names[1]
            raise Malformed(431, f"more than {self._fields} field lines ({key})", "RFC 6585 section 5")
        if grammar.FIELD_LINE.fullmatch(line) is None:
            raise faults.field_line(line)


def split_fields(lines: bytes | bytearray, start: int, end: int) -> Fields:
    """The fields of lines that were judged before, values stripped at both ends (RFC 9112 section 5.1)."""
    return [(name, value.rstrip(b" \t")) for name, value in grammar.FIELDS.findall(lines, start, end)]
