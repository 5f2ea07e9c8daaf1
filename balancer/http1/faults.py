"""What is wrong with a line that the grammar did not match, in words, with the rule's source.

Only the slow way out comes here: a message is already refused when these functions are asked why. They never
accept anything, and they look at one line at a time, in the order of arrival, so the verdict is the same however
the bytes were cut.
"""

import re
from typing import Final

from balancer.http1 import grammar

_SHOWN: Final = 40
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Malformed(Exception):
    """A message that is not forwarded; the parsers turn it into RequestRefused or BadResponse.

    :ivar status: what a client would be answered.
    :ivar reason: what was found and what is allowed.
    :ivar section: the rule's source.
    """

    def __init__(self, status: int, reason: str, section: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.section = section


def shown(found: bytes) -> str:
    """Foreign bytes for a sentence: escaped and cut, so that they can neither fake a log line nor flood one."""
    return repr(found[:_SHOWN])[1:] + ("..." if len(found) > _SHOWN else "")


def request_line(line: bytes) -> Malformed:
    """Why a request line (with its line end) is refused (RFC 9112 section 3)."""
    section = "RFC 9112 section 3"
    fault = _line_end(line)
    if fault is not None:
        return fault
    words = line[:-2].split(b" ")
    if len(words) != 3:
        return Malformed(400, f"the request line {shown(line[:-2])} is not method, target, version", section)
    method, target, version = words
    if grammar.TOKEN.fullmatch(method) is None:
        return Malformed(400, f"the method {shown(method)} is not a token", "RFC 9110 section 9.1")
    found = _VERSION.fullmatch(version)
    if found is None:
        return Malformed(400, f"{shown(version)} is not an HTTP version", "RFC 9112 section 2.3")
    if found[1] != b"1":
        return Malformed(505, f"{shown(version)} is not served, only HTTP/1.0 and HTTP/1.1", "RFC 9110 section 15.6.6")
    return bad_target(target)


def bad_target(target: bytes) -> Malformed:
    """Why a request target is refused (RFC 9112 section 3.2, RFC 3986 section 3)."""
    section = "RFC 9112 section 3.2"
    if b"#" in target:
        return Malformed(400, "the target holds a fragment, which is never sent", section)
    if _BAD_ESCAPE.search(target) is not None:
        return Malformed(400, f"the target {shown(target)} holds '%' without two hex digits", "RFC 3986 section 2.1")
    return Malformed(400, f"the target {shown(target)} is of no known form or holds a forbidden character", section)


def status_line(line: bytes) -> Malformed:
    """Why a status line (with its line end) is refused (RFC 9112 section 4)."""
    return _line_end(line) or Malformed(502, f"{shown(line[:-2])} is not an HTTP/1 status line", "RFC 9112 section 4")


def field_line(line: bytes) -> Malformed:
    """Why a field line (with its line end) is refused (RFC 9112 section 5)."""
    fault = _line_end(line)
    if fault is not None:
        return fault
    if line[:1] in b" \t":
        return Malformed(400, "a line starts with white space (obsolete line folding)", "RFC 9112 section 5.2")
    name, colon, _ = line[:-2].partition(b":")
    if not colon:
        return Malformed(400, f"the field line {shown(name)} has no colon", "RFC 9112 section 5")
    if not name:
        return Malformed(400, "a field has an empty name", "RFC 9110 section 5.1")
    if name[-1:] in b" \t":
        return Malformed(400, f"white space between {shown(name)} and its colon", "RFC 9112 section 5.1")
    if grammar.TOKEN.fullmatch(name) is None:
        return Malformed(400, f"the field name {shown(name)} is not a token", "RFC 9110 section 5.1")
    return Malformed(400, f"the value of {shown(name)} holds a control character", "RFC 9110 section 5.5")


def chunk_line(line: bytes) -> Malformed:
    """Why a chunk's size line (with its line end) is refused (RFC 9112 section 7.1)."""
    section = "RFC 9112 section 7.1"
    return _line_end(line) or Malformed(400, f"{shown(line[:-2])} is not a chunk size with extensions", section)


def _line_end(line: bytes) -> Malformed | None:
    if not line.endswith(b"\r\n"):
        return Malformed(400, "a line ends with a bare LF; lines end with CR LF", "RFC 9112 section 2.2")
    if b"\r" in line[:-2]:
        return Malformed(400, "a bare CR in a line", "RFC 9112 section 2.2")
    if b"\0" in line:
        return Malformed(400, "a NUL in a line", "RFC 9110 section 5.5")
    return None
