"""What a client was sent, and whether its content is what conditions and ranges ask for: RFC 9110 sections 13, 14 and
15.3.7, RFC 9111 sections 3.3, 3.4 and 4.3.2.

It never asks whether a stored response may be used.
"""

import re
import sys
from dataclasses import dataclass

from balancer.cache.stored import Fields
from tests.cache.exchanges import Ask, ETag
from tests.cache.versions import Received, Version, Violation


@dataclass(slots=True)
class Sent:
    """What a client was sent.

    :ivar received: what the origin answered to requests that were made for this one, before it was sent.
    :ivar forwarded: whether the origin was asked at all.
    :ivar since: the place of the request in the order of things: what was purged later it may have yet.
    :ivar failures: of requests for others, which this one waited for too, those that failed.
    :ivar partial: the body is still coming: it is a part of it.
    """

    ask: Ask
    status: int
    fields: Fields
    body: bytes
    now: float
    received: tuple[Received, ...] = ()
    forwarded: bool = False
    since: int = sys.maxsize
    failures: tuple[Received, ...] = ()
    partial: bool = False

    @property
    def failed(self) -> bool:
        """Whether the origin failed."""
        return any(got.failed for got in self.received + self.failures)

    def has(self, body: bytes) -> bool:
        """Whether this is the body, as far as it came."""
        return body.startswith(self.body) if self.partial else body == self.body

    def get(self, name: bytes) -> bytes | None:
        return next((value for found, value in self.fields if found.lower() == name), None)

    @property
    def serial(self) -> bytes | None:
        return self.get(b"x-serial")

    @property
    def base(self) -> bytes | None:
        return self.get(b"x-base")


def condition_met(ask: Ask, tag: ETag | None, modified: int | None, date: float) -> bool:
    """Whether a 304 is what a client's condition asks for (RFC 9110 13.1.2 and 13.1.3; RFC 9111 4.3.2)."""
    if ask.inm is not None:
        return ask.inm == "*" or (tag is not None and any(own.text == tag.text for own in ask.inm))
    if ask.ims is not None:
        return (date if modified is None else modified) <= ask.ims
    return False


def spans(ask: Ask, total: int) -> list[tuple[int, int]]:
    """The ranges that are asked for and can be satisfied, as first and end offset (RFC 9110 section 14.1.2)."""
    out = []
    for first, last in ask.ranges:
        if first is None:
            out.append((max(0, total - (last or 0)), total))
        else:
            out.append((first, total if last is None else min(last + 1, total)))
    return [(first, end) for first, end in out if first < end]


def faults_of_content(sent: Sent, version: Version, relatives: list[Version]) -> list[Violation]:
    """Why a status and a body must not have been made of a stored response.

    :param relatives: what has the same strong validator, itself among them.
    """
    ask, original = sent.ask, version.original
    whole = b"" if original.status in (204, 304) else original.body
    status = 200 if original.status == 206 else original.status
    if ask.method == "HEAD" and sent.body:
        return [Violation("9110 9.3.2", "a response to HEAD with a body")]
    if sent.status == 304:
        return _faults_of_304(sent, version)
    if sent.status == 416:
        return _faults_of_416(sent, version, len(whole))
    if sent.status == 206:
        return _faults_of_206(sent, version, relatives)
    out = []
    if sent.status != status:
        out.append(Violation("9111 4", f"status {sent.status} of a stored {status}"))
    if ask.method != "HEAD":
        if not sent.has(whole):
            out.append(Violation("9110 6.4", "another body than came with it"))
        out += _combined(version, [(0, len(whole))], relatives)
    length = sent.get(b"content-length")
    if length is not None and length != b"%d" % len(whole):
        out.append(Violation("9110 8.6", f"Content-Length {length!r} of {len(whole)} bytes"))
    return out


def _faults_of_304(sent: Sent, version: Version) -> list[Violation]:
    out = []
    if not 200 <= version.original.status < 300:
        out.append(Violation("9110 13.2.1", f"a 304 made of a stored {version.original.status}"))
    if not condition_met(sent.ask, version.said.etag, version.said.modified, version.last.date):
        out.append(Violation("9111 4.3.2", "a 304 to a client whose validator does not match"))
    if sent.body:
        out.append(Violation("9110 15.4.5", "a 304 with a body"))
    return out


def _range_counts(sent: Sent, version: Version) -> list[Violation]:
    """Whether Range may be heeded at all (RFC 9110 sections 13.1.5 and 14.2)."""
    ask, tag = sent.ask, version.said.etag
    if not ask.ranges or ask.method != "GET":
        return [Violation("9110 14.2", f"a {sent.status} to a request without a range that counts")]
    if version.original.status not in (200, 206):
        return [Violation("9110 14.2", f"a {sent.status} made of a stored {version.original.status}")]
    expected = ask.if_range
    strong = isinstance(expected, ETag) and expected == tag and not expected.weak
    if expected is not None and not strong and (isinstance(expected, ETag) or expected != version.said.modified):
        return [Violation("9110 13.1.5", f"a {sent.status} though If-Range does not match")]
    return []


def _faults_of_416(sent: Sent, version: Version, total: int) -> list[Violation]:
    out = _range_counts(sent, version)
    if sent.body[:1] == b"<":
        out.append(Violation("9110 15.5.17", "a 416 with a representation"))
    if spans(sent.ask, total):
        out.append(Violation("9110 15.5.17", "a 416 though a range can be satisfied"))
    if sent.get(b"content-range") != b"bytes */%d" % total:
        out.append(Violation("9110 14.4", f"a 416 of {total} bytes says {sent.get(b'content-range')!r}"))
    return out


def _faults_of_206(sent: Sent, version: Version, relatives: list[Version]) -> list[Violation]:
    out = _range_counts(sent, version)
    whole = version.original.body
    wanted = spans(sent.ask, len(whole))
    if sent.partial:
        return out
    parts = parts_of(sent)
    if parts is None:
        return [*out, Violation("9110 15.3.7", "a 206 that can not be read")]
    for first, end, total, data in parts:
        if total not in (b"*", b"%d" % len(whole)) or data != whole[first:end]:
            out.append(Violation("9110 15.3.7", f"other bytes than {first}-{end} of the representation"))
    if len(wanted) == 1 and [(part[0], part[1]) for part in parts] != wanted:
        out.append(Violation("9110 15.3.7", f"other ranges than {wanted}"))
    for first, end in wanted:
        if not any(part[0] <= first and end <= part[1] for part in parts):
            out.append(Violation("9110 15.3.7", f"{first}-{end} is missing"))
    return out + _combined(version, [(part[0], part[1]) for part in parts], relatives)


def _combined(version: Version, wanted: list[tuple[int, int]], relatives: list[Version]) -> list[Violation]:
    """Whether parts of several responses may have been joined (RFC 9111 section 3.4)."""
    part = version.original.part
    if part is None:
        return []
    outside = any(first < part[0] or end > part[1] for first, end in wanted if first < end)
    if outside and len({relative.base.order for relative in relatives}) < 2:
        return [Violation("9111 3.4", "joined from responses without the same strong validator")]
    return []


def parts_of(sent: Sent) -> list[tuple[int, int, bytes, bytes]] | None:
    """First and end offset, total and bytes of each part of a 206."""
    kind = sent.get(b"content-type") or b""
    if not kind.startswith(b"multipart/byteranges"):
        return _part(sent.get(b"content-range"), sent.body)
    found = re.search(rb'boundary="?([^";]+)', kind)
    if not found:
        return None
    out: list[tuple[int, int, bytes, bytes]] = []
    pieces = (b"\r\n" + sent.body).split(b"\r\n--" + found[1])
    if not pieces[-1].startswith(b"--"):
        return None
    for piece in pieces[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        range_line = re.search(rb"(?i)\r\ncontent-range:[ ]*([^\r\n]+)", head)
        part = _part(range_line[1] if range_line else None, data)
        if part is None:
            return None
        out += part
    return out


def _part(content_range: bytes | None, data: bytes) -> list[tuple[int, int, bytes, bytes]] | None:
    found = re.fullmatch(rb"bytes (\d+)-(\d+)/(\d+|\*)", content_range or b"")
    if not found or int(found[2]) + 1 - int(found[1]) != len(data):
        return None
    return [(int(found[1]), int(found[2]) + 1, found[3], data)]
