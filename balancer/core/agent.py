"""What an agent answers: HAProxy's agent protocol, one line of words.

Source: HAProxy's configuration manual, ``agent-check``, and what HAProxy 2.6 makes of it: words are separated by
spaces, tabs or commas, their case says nothing, of two words about one thing the last counts, and a description follows
a ``#``.
Nothing here connects, and what a word changes is decided by who reads the report.
"""

import re
from dataclasses import dataclass

from balancer.core.advice import MAX_PERCENT
from balancer.core.states import AdminState, Health

HEALTHS = {
    b"up": Health.UP,
    b"down": Health.DOWN,
    b"fail": Health.DOWN,
    b"failed": Health.DOWN,
    b"stopped": Health.DOWN,
}
"""Words on whether it works. (``failed`` is no word of HAProxy's, but of people who know the manual by heart.)"""

ADMINS = {b"ready": AdminState.READY, b"drain": AdminState.DRAIN, b"maint": AdminState.MAINT}
"""Words on whether it is to work."""

_WORD = re.compile(rb"[^ \t,]+")
_PERCENT = re.compile(rb"([0-9]{1,9})%")
_LIMIT = re.compile(rb"maxconn:([0-9]{1,9})", re.IGNORECASE)
_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class Report:
    """What one answer says; ``None`` for what it says nothing of, which is then to stay as it is.

    :ivar said: the words as they came, for a reason.
    :ivar description: what stands behind the ``#``.
    :ivar unknown: the first word that is none; empty where all are known.
    """

    said: str = ""
    health: Health | None = None
    admin: AdminState | None = None
    percent: int | None = None
    max_connections: int | None = None
    description: str = ""
    unknown: str = ""

    @property
    def reason(self) -> str:
        """What the agent said, with its description."""
        return f"{self.said} ({self.description})" if self.description else self.said


def line_in(received: bytes) -> bytes | None:
    """The line, ``None`` while its end has not come: half a word may be another one."""
    end = _END.search(received)
    return None if end is None else received[: end.start()]


def report(line: bytes) -> Report:
    """Read an answer. No line is an error: words that are none are told, and the others count."""
    words, _, description = _split(line)
    health: Health | None = None
    admin: AdminState | None = None
    percent: int | None = None
    limit: int | None = None
    unknown = ""
    for word in words:
        low = word.lower()
        if low in HEALTHS:
            health = HEALTHS[low]
        elif low in ADMINS:
            admin = ADMINS[low]
        elif share := _PERCENT.fullmatch(word):
            percent = min(int(share[1]), MAX_PERCENT)
        elif most := _LIMIT.fullmatch(word):
            limit = int(most[1])
        else:
            unknown = unknown or _text(word)
    return Report(" ".join(map(_text, words)), health, admin, percent, limit, _text(description.strip()), unknown)


def _split(line: bytes) -> tuple[list[bytes], bytes, bytes]:
    """The words, and what follows a ``#`` that begins one. (Inside a word it is a character like others.)"""
    words: list[bytes] = []
    for match in _WORD.finditer(line):
        if match[0].startswith(b"#"):
            return words, b"#", line[match.start() + 1 :]
        words.append(match[0])
    return words, b"", b""


def _text(raw: bytes) -> str:
    """For people and log lines: what is not printable ASCII is escaped."""
    return raw.decode("ascii", "backslashreplace").translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
