"""The keys that hash selectors take from a request: what each is called, how its arguments are read.

A key function answers bytes, or ``None`` (or nothing in them) where the request has no such key. Names in requests are
compared exactly, values are taken as sent: nothing is decoded, so two spellings are two keys. This module never hashes.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial

from balancer.core.selection.expression import calls
from balancer.core.selection.kinds import nothing, whole_number
from balancer.core.traits import Traits

Key = Callable[[Traits], bytes | None]

MAX_URI = 65536
"""The largest ``len`` or ``depth`` of ``uri``; a request line is shorter."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, also cookie names (RFC 6265)


def source(arguments: Sequence[str]) -> Key:
    """``source``: the client's address, without the port."""
    nothing(arguments)
    return _source


def _source(traits: Traits) -> bytes | None:
    address = traits.source()
    return address.encode("ascii", "replace") if address else None


def method(arguments: Sequence[str]) -> Key:
    """``method``: the request's method."""
    nothing(arguments)
    return lambda traits: traits.method()


def host(arguments: Sequence[str]) -> Key:
    """``host``: the authority in lower case, with its port if it has one."""
    nothing(arguments)
    return lambda traits: traits.host()


def path(arguments: Sequence[str]) -> Key:
    """``path``: the target's path."""
    nothing(arguments)
    return lambda traits: traits.path()


def query(arguments: Sequence[str]) -> Key:
    """``query``: the target's query, without the question mark."""
    nothing(arguments)
    return lambda traits: traits.query()


def uri(arguments: Sequence[str]) -> Key:
    """``uri(whole, len=N, depth=N)``, each optional, as HAProxy's: the path, cut after N directories and N bytes.

    ``whole`` adds the query (and the question mark).
    """
    whole, length, depth = False, 0, 0
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument == "whole":
            whole = True
        elif name.strip() == "len" and equals:
            length = whole_number(value.strip(), 1, MAX_URI)
        elif name.strip() == "depth" and equals:
            depth = whole_number(value.strip(), 1, MAX_URI)
        else:
            raise ValueError(f"{argument!r} is not one of whole, len=N, depth=N")
    return partial(_uri, whole, length, depth)


def _uri(whole: bool, length: int, depth: int, traits: Traits) -> bytes | None:
    key = traits.path()
    if not key:
        return None
    asked = traits.query() if whole else None
    if depth:
        key = b"/".join(key.split(b"/", depth + 1)[: depth + 1])
    if asked is not None:
        key = b"%b?%b" % (key, asked)
    return key[:length] if length else key


def header(arguments: Sequence[str]) -> Key:
    """``hdr(name)``: the first value of a request field."""
    name = _token(arguments, "a field name, for example x-tenant").lower()
    return lambda traits: traits.header(name)


def cookie(arguments: Sequence[str]) -> Key:
    """``cookie(name)``: the value of the first cookie of that name in the first Cookie field (RFC 6265 section 5.4
    allows one field)."""
    name = _token(arguments, "a cookie name, for example session")
    pattern = re.compile(rb"(?:^|;)[ \t]*%b[ \t]*=([^;]*)" % re.escape(name))
    return partial(_cookie, pattern)


def _cookie(pattern: re.Pattern[bytes], traits: Traits) -> bytes | None:
    field = traits.header(b"cookie")
    found = pattern.search(field) if field else None
    return found[1].strip(b' \t"') if found else None


def url_param(arguments: Sequence[str]) -> Key:
    """``url_param(name)``: the value of the first parameter of that name in the query."""
    if len(arguments) != 1:
        raise ValueError(f"takes one parameter name, for example userid, not {len(arguments)}")
    name = arguments[0].encode("utf-8")
    pattern = re.compile(rb"(?:^|&)%b=([^&]*)" % re.escape(name))
    return partial(_url_param, pattern)


def _url_param(pattern: re.Pattern[bytes], traits: Traits) -> bytes | None:
    asked = traits.query()
    found = pattern.search(asked) if asked else None
    return found[1] if found else None


def joined(arguments: Sequence[str]) -> Key:
    """``hash(part + part ...)``: several keys as one. A part that is missing counts as empty; there is no key only
    where all are."""
    if len(arguments) != 1:
        raise ValueError(f"takes one expression, for example host + path, not {len(arguments)}")
    parts = []
    for call in calls(arguments[0], "+"):
        read = PARTS.get(call.name)
        if read is None:
            near = get_close_matches(call.name, PARTS, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise call.wrong(f"{call.name!r} is not a part of a key{hint}; there are: {', '.join(sorted(PARTS))}")
        try:
            parts.append(read(call.arguments))
        except ValueError as problem:
            raise call.wrong(f"{call.name}: {problem}") from None
    return partial(_joined, tuple(parts))


def _joined(parts: Sequence[Key], traits: Traits) -> bytes | None:
    found = [part(traits) or b"" for part in parts]
    # No request field or target contains a NUL: "a" + "bc" and "ab" + "c" stay two keys
    return b"\0".join(found) if any(found) else None


def _token(arguments: Sequence[str], what: str) -> bytes:
    if len(arguments) != 1 or not _TOKEN.fullmatch(arguments[0]):
        raise ValueError(f"takes {what}, not {', '.join(arguments)!r}")
    return arguments[0].encode("ascii")


PARTS: dict[str, Callable[[Sequence[str]], Key]] = {
    "cookie": cookie,
    "hdr": header,
    "host": host,
    "method": method,
    "path": path,
    "query": query,
    "source": source,
    "uri": uri,
    "url_param": url_param,
}
"""What may stand in ``hash(...)``."""
