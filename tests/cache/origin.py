"""An origin for the laws: resources that change, answer conditions and ranges, and misbehave when they are told to.

It never knows of a cache; it reads the bytes of the requests that it gets.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from balancer.cache.stored import Fields
from tests.cache.exchanges import Ask, Directives, ETag, Said

START = 1_800_000_000
"""The second at which everything begins."""

Template = Mapping[str, Any]
"""What an origin says at one time: values of :class:`Said`, and how it behaves. Seconds are relative to now."""

USUAL: Template = {"cc": (("max-age", 60),), "etag": "strong", "modified": True}


class Origin:
    """Two hosts' resources. Each has one representation per state and per value of what Vary names."""

    def __init__(self) -> None:
        self._serial = 0
        self._states: dict[tuple[str, str, str | None], int] = {}
        self._templates: dict[tuple[str, str, str | None], Template] = {}
        self.tags: list[ETag] = [ETag("bogus")]
        self.dates: list[int] = [START - 5000]

    def change(self, ask: Ask) -> None:
        """The resource has another representation from now on."""
        self._states[ask.target] = self._states.get(ask.target, 0) + 1

    def speak(self, ask: Ask, template: Template) -> None:
        """From now on the resource says this."""
        self._templates[ask.target] = template

    def answer(self, ask: Ask, fields: Fields, now: float) -> Said | None:
        """What it answers; None where it does not.

        :param ask: the client's request, for its target and what Vary names.
        :param fields: those of the request that came.
        """
        told = self._templates.get(ask.target, USUAL)
        behaviour = told.get("behaviour", "")
        if behaviour == "dead":
            return None
        self._serial += 1
        if ask.method in ("POST", "PUT", "FROB"):
            self.change(ask)
        said = self._whole(ask, told, now)
        if said.etag:
            self.tags.append(said.etag)
        if said.modified is not None:
            self.dates.append(said.modified)
        if said.status != 200 or ask.method not in ("GET", "HEAD", "QUERY"):
            return said
        asked = {name.lower(): value for name, value in fields}
        if behaviour != "deaf" and _unmodified(asked, said):
            return self._unmodified(said, told, behaviour)
        if behaviour != "deaf" and ask.method == "GET" and b"range" in asked:
            return _part(asked, said, behaviour)
        return said

    def _whole(self, ask: Ask, told: Template, now: float) -> Said:
        state = self._states.get(ask.target, 0)
        names = {name.lower() for name in told.get("vary", ())}
        chosen = [(name.lower(), sorted(values)) for name, values in ask.selecting if name.lower() in names]
        name = hashlib.sha256(repr((ask.target, ask.content, state, sorted(chosen))).encode()).hexdigest()
        kind = told.get("etag")
        tag = ETag(name[:6]) if kind == "strong" else ETag(f"w{state // 2}", weak=True) if kind == "weak" else None
        second, cc, cdn = int(now), told.get("cc"), told.get("cdn")
        skew = told.get("date", 0)
        expires = tuple(second + value if isinstance(value, int) else value for value in told.get("expires", ()))
        return Said(
            self._serial,
            status=told.get("status", 200),
            body=b"" if told.get("empty") else name[: 20 + state % 4 // 2].encode(),
            length=told.get("length", True),
            date=second + skew if isinstance(skew, int) else skew,
            age=told.get("age"),
            cc=cc,
            cdn=cdn,
            expires=expires,
            etag=tag,
            modified=START - 1000 + state // 2 if told.get("modified") else None,
            vary=told.get("vary", ()),
            set_cookie=told.get("set_cookie", False),
            extra=(("X-A", f"a{self._serial}"), ("X-B", f"b{self._serial}")) if told.get("extra") else (),
            tags=told.get("tags", ()),
            style=told.get("style", ""),
            form=told.get("form", ""),
            location=told.get("location"),
            content_location=told.get("content_location"),
        )

    def _unmodified(self, said: Said, told: Template, behaviour: str) -> Said:
        names = ("date", "age", "set_cookie", "extra", "style", "form")
        values: dict[str, Any] = {name: getattr(said, name) for name in names}
        if behaviour == "length":
            values["extra"] = (*said.extra, ("Content-Length", "5"))
        tag: ETag | None = said.etag
        modified = said.modified
        if behaviour == "other tag":
            tag = self.tags[self._serial % len(self.tags)]
        elif behaviour == "no validators":
            tag, modified = None, None
        if behaviour == "lean":
            return Said(self._serial, 304, length=False, date=said.date, etag=tag)
        directives: Directives | None = said.cc
        values |= {"expires": said.expires, "vary": said.vary, "cdn": said.cdn, "tags": said.tags}
        return Said(self._serial, 304, length=False, cc=directives, etag=tag, modified=modified, **values)


def _unmodified(asked: Mapping[bytes, bytes], said: Said) -> bool:
    tags = asked.get(b"if-none-match")
    if tags is not None:
        own = said.etag
        return tags == b"*" or (own is not None and b'"%s"' % own.text.encode() in tags)
    since = asked.get(b"if-modified-since")
    if since is None or said.modified is None:
        return False
    return dict(said.fields()).get(b"Last-Modified") == since


def _part(asked: Mapping[bytes, bytes], said: Said, behaviour: str) -> Said:
    """A 206 for one range; the whole for several, and where If-Range does not match."""
    condition = asked.get(b"if-range")
    lines = dict(said.fields())
    if condition is not None and condition not in (lines.get(b"ETag"), lines.get(b"Last-Modified")):
        return said
    found = re.fullmatch(rb"bytes=(\d*)-(\d*)", asked[b"range"])
    if not found:
        return said
    total = len(said.body)
    first = int(found[1]) if found[1] else max(0, total - int(found[2]))
    end = min(total, int(found[2]) + 1) if found[1] and found[2] else total
    if behaviour == "other range":
        first, end = 0, min(3, total)
    values: dict[str, Any] = {name: getattr(said, name) for name in Said.__slots__}
    if first >= end:
        values |= {"status": 416, "body": b"", "extra": (("Content-Range", f"bytes */{total}"),)}
        return Said(**values)
    return Said(**(values | {"status": 206, "part": (first, end)}))
