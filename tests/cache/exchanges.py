"""Requests and responses as data: what the model judges by is what was meant, and the subject gets the bytes of it.

So the model never parses a field that was generated, and an error of a parser can not hide in both. It never decides
anything about caching.
"""

import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Literal, TypeAlias

from balancer.cache.stored import Fields

Directives: TypeAlias = tuple[tuple[str, int | str | tuple[str, ...] | None], ...]
"""Name and argument: a number, field names (quoted), anything as it is, or nothing."""
Ranges: TypeAlias = tuple[tuple[int | None, int | None], ...]
"""First and last byte; (3, None) is from there on, (None, 3) the last three."""


def rendered(directives: Directives) -> bytes:
    """A Cache-Control value; it is a dictionary of RFC 8941 too where no argument is quoted wrongly."""
    return ", ".join(
        name if value is None else f'{name}="{", ".join(value)}"' if isinstance(value, tuple) else f"{name}={value}"
        for name, value in directives
    ).encode()


def control(directives: Directives, style: str) -> Fields:
    """Cache-Control, written in one of several ways that mean the same.

    :param style: "split" for lines; "upper" for names in upper case; "quoted" for quoted numbers; "" for none of that.
    """
    name = b"Cache-Control"
    if style == "split":
        return [(name, rendered((directive,)) + b" ,") for directive in directives] or [(name, b"")]
    if style == "upper":
        directives = tuple((directive.upper(), value) for directive, value in directives)
    elif style == "quoted":
        directives = tuple((name, f'"{value}"' if isinstance(value, int) else value) for name, value in directives)
    return [(name, rendered(directives))]


def http_date(second: int | str, form: str = "") -> bytes:
    """An HTTP-date; what is no number is not one, and goes as it is.

    :param form: "rfc850" or "asctime" for the obsolete forms (RFC 9110 section 5.6.7).
    """
    if isinstance(second, str):
        return second.encode()
    if form:
        pattern = "%A, %d-%b-%y %H:%M:%S GMT" if form == "rfc850" else "%a %b %e %H:%M:%S %Y"
        return time.strftime(pattern, time.gmtime(second)).encode()
    return formatdate(second, usegmt=True).encode()


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity-tag."""

    text: str
    weak: bool = False

    @property
    def value(self) -> bytes:
        return b'%s"%s"' % (b"W/" if self.weak else b"", self.text.encode())


@dataclass(frozen=True, slots=True)
class Ask:
    """A client's request.

    :ivar selecting: fields that Vary may name, with the members of their values.
    :ivar style: how Cache-Control is written (:func:`control`).
    :ivar spaced: white space and case are written otherwise, where that has no meaning.
    """

    method: str = "GET"
    host: str = "a.example"
    path: str = "/1"
    query: str | None = None
    selecting: tuple[tuple[str, tuple[str, ...]], ...] = ()
    spaced: bool = False
    style: str = ""
    cc: Directives | None = None
    authorization: bool = False
    inm: tuple[ETag, ...] | Literal["*"] | None = None
    ims: int | None = None
    match: tuple[ETag, ...] | None = None
    ranges: Ranges = ()
    if_range: ETag | int | None = None
    content: bytes = b""

    @property
    def target(self) -> tuple[str, str, str | None]:
        return self.host, self.path, self.query

    def has(self, directive: str) -> bool:
        return any(name == directive for name, _ in self.cc or ())

    def number(self, directive: str) -> int | None:
        """The first argument of a directive that is there with a number."""
        return next((value for name, value in self.cc or () if name == directive and isinstance(value, int)), None)

    def fields(self) -> Fields:
        """The field lines, without Host."""
        lines: Fields = []
        for name, members in self.selecting:
            if self.spaced and name.lower() in ("accept-encoding", "accept-language"):
                lines += [(name.lower().encode(), member.upper().encode()) for member in reversed(members)]
            else:
                lines.append((name.encode(), ", ".join(members).encode()))
        if self.cc is not None:
            lines += control(self.cc, self.style)
        if self.authorization:
            lines.append((b"Authorization", b"Basic eDp5"))
        if self.inm is not None:
            lines.append((b"If-None-Match", b"*" if self.inm == "*" else b", ".join(tag.value for tag in self.inm)))
        if self.ims is not None:
            lines.append((b"If-Modified-Since", http_date(self.ims)))
        if self.match is not None:
            lines.append((b"If-Match", b", ".join(tag.value for tag in self.match)))
        if self.ranges:
            specs = ("-".join("" if end is None else str(end) for end in ends) for ends in self.ranges)
            lines.append((b"Range", b"bytes=" + ",".join(specs).encode()))
        if isinstance(self.if_range, ETag):
            lines.append((b"If-Range", self.if_range.value))
        elif self.if_range is not None:
            lines.append((b"If-Range", http_date(self.if_range)))
        if self.content:
            lines += [(b"Content-Type", b"text/q"), (b"Content-Length", b"%d" % len(self.content))]
        return lines


@dataclass(frozen=True, slots=True)
class Said:
    """An origin's response. Every one is marked by a field of its own, X-Serial, and those with content by X-Base too:
    what a cache sends tells by them of which response it was made, and which was the last to update it.

    :ivar body: the complete representation, whatever part of it is sent.
    :ivar part: first and end offset of what is sent of it, in a 206.
    :ivar length: whether Content-Length is sent.
    :ivar style: how Cache-Control and Vary are written; ``form``: dates.
    :ivar cdn: CDN-Cache-Control; a string is a value that is no dictionary.
    :ivar expires: the field's lines.
    """

    serial: int
    status: int = 200
    body: bytes = b""
    part: tuple[int, int] | None = None
    length: bool = True
    date: int | str | None = None
    age: str | None = None
    cc: Directives | None = None
    cdn: Directives | str | None = None
    expires: tuple[int | str, ...] = ()
    etag: ETag | None = None
    modified: int | None = None
    vary: tuple[str, ...] = ()
    set_cookie: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    style: str = ""
    form: str = ""
    location: str | None = None
    content_location: str | None = None

    def content(self) -> bytes:
        """The bytes that are sent after the head, to a request that is not HEAD."""
        if self.status in (204, 304):
            return b""
        return self.body[slice(*self.part)] if self.part else self.body

    def fields(self, *, content: bool = True) -> Fields:
        """The field lines.

        :param content: false for the response to HEAD.
        """
        lines: Fields = [(b"X-Serial", b"%d" % self.serial)]
        if self.status not in (204, 304) and content:
            lines += [(b"X-Base", b"%d" % self.serial), (b"Content-Type", b"text/plain")]
        if self.status not in (204, 304) and self.length:
            lines.append((b"Content-Length", b"%d" % len(self.content())))
        if self.part:
            lines.append((b"Content-Range", b"bytes %d-%d/%d" % (self.part[0], self.part[1] - 1, len(self.body))))
        if self.date is not None:
            lines.append((b"Date", http_date(self.date, self.form)))
        if self.age is not None:
            lines.append((b"Age", self.age.encode()))
        if self.cc is not None:
            lines += control(self.cc, self.style)
        if self.cdn is not None:
            lines.append((b"CDN-Cache-Control", self.cdn.encode() if isinstance(self.cdn, str) else rendered(self.cdn)))
        lines += [(b"Expires", http_date(value, self.form)) for value in self.expires]
        if self.etag:
            lines.append((b"ETag", self.etag.value))
        if self.modified is not None:
            lines.append((b"Last-Modified", http_date(self.modified, self.form)))
        if self.vary:
            values = self.vary if self.style == "split" else (", ".join(self.vary),)
            lines += [(b"Vary", value.encode()) for value in values]
        if self.set_cookie:
            lines.append((b"Set-Cookie", b"id=%d" % self.serial))
        lines += [(name.encode(), value.encode()) for name, value in self.extra]
        if self.tags:
            lines.append((b"Surrogate-Key", " ".join(self.tags).encode()))
        if self.location:
            lines.append((b"Location", self.location.encode()))
        if self.content_location:
            lines.append((b"Content-Location", self.content_location.encode()))
        return lines

    def updated(self, by: "Said") -> "Said":
        """What it says after an update by another (RFC 9111 section 3.2); Date and Age are the other's."""
        return replace(
            self,
            serial=by.serial,
            date=by.date,
            age=by.age,
            cc=self.cc if by.cc is None else by.cc,
            cdn=self.cdn if by.cdn is None else by.cdn,
            expires=by.expires or self.expires,
            etag=by.etag or self.etag,
            modified=self.modified if by.modified is None else by.modified,
            vary=by.vary or self.vary,
            set_cookie=self.set_cookie or by.set_cookie,
            tags=by.tags or self.tags,
        )
