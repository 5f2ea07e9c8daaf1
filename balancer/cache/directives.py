"""What requests and responses direct caches to do: Cache-Control, Pragma, and the fields aimed at caches like us.

Names are compared without case, arguments may be quoted, and unknown directives count for nothing (RFC 9111 section
5.2). What is malformed is read the way that stores less and reuses less: a number that is none is 0, of several the
smallest counts, a field list that is none stands for the whole response. It never decides what follows from them.
"""

import re
from typing import Final

from balancer.cache.dates import OVERFLOW, delta_seconds
from balancer.cache.messages import Request, Response
from balancer.cache.structured import Item, dictionary

ABSENT: Final = -1
"""Seconds of a directive that is not there."""

Directives = list[tuple[bytes, bytes | None]]
"""Names in lower case and their arguments, unquoted; ``None`` for no argument."""

_ELEMENT: Final = re.compile(rb'[^",]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*"[^",]*+)*', re.DOTALL)
_NOTHING_ALLOWED: Final[Directives] = [(b"no-store", None), (b"no-cache", None), (b"private", None)]
_NUMBERS: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
_PERMISSIONS: Final = frozenset({b"public", b"must-understand", b"immutable"})
_TCHARS: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def directives(values: list[bytes]) -> Directives:
    """Every directive of a field, in order. An element that begins with a token and goes on as no directive does is
    that directive, with an argument that is no number and no field name. Of a field in which a quoted string does not
    end nobody knows what it said: it ends with all that keeps a cache from acting."""
    found: Directives = []
    for value in values:
        elements, whole = _elements(value)
        found += [_directive(element) for element in elements]
        if not whole:
            found += _NOTHING_ALLOWED
    return found


def _elements(value: bytes) -> tuple[list[bytes], bool]:
    """What the commas outside of quoted strings separate, without the empty ones; and whether all strings end."""
    if b'"' not in value:
        return [element for part in value.split(b",") if (element := part.strip(b" \t"))], True
    elements = []
    place = 0
    while place <= len(value):
        found = _ELEMENT.match(value, place)
        assert found is not None  # it may be empty
        element = found[0].strip(b" \t")
        if element:
            elements.append(element)
        if value.startswith(b'"', found.end()):
            return elements, False
        place = found.end() + 1
    return elements, True


def _directive(element: bytes) -> tuple[bytes, bytes | None]:
    name, equals, argument = element.partition(b"=")
    name = name.lower()
    end = next((place for place, octet in enumerate(name) if octet not in _TCHARS), len(name))
    if end < len(name):
        return name[:end], b"?"
    return (name, _unquoted(argument)) if equals else (name, None)


def _unquoted(argument: bytes) -> bytes:
    """A token or the text of a quoted string; what is neither is an argument that nothing understands."""
    if not argument.startswith(b'"'):
        return argument if b'"' not in argument else b"?"
    text = argument[1:-1]
    if len(argument) < 2 or not argument.endswith(b'"'):
        return b"?"
    if b"\\" not in text:
        return text if b'"' not in text else b"?"
    return text.replace(b"\\\\", b"\x00").replace(b"\\", b"").replace(b"\x00", b"\\")


def _seconds(argument: bytes | None) -> int:
    return 0 if argument is None else delta_seconds(argument) or 0


def _least(present: int, seconds: int) -> int:
    return seconds if present == ABSENT else min(present, seconds)


class ResponseControl:
    """What a response directs us to do.

    Seconds are :data:`ABSENT` where a directive is not there, and 0 where its argument is no number.

    :ivar no_cache_fields: what ``no-cache="..."`` names, in lower case; without names ``no_cache`` is set instead.
    :ivar private_fields: likewise for ``private``.
    :ivar targeted: it was said by a field for caches like us: Cache-Control and Expires do not count (RFC 9213).
    """

    __slots__ = (
        "immutable", "max_age", "must_revalidate", "must_understand", "no_cache", "no_cache_fields", "no_store",
        "private", "private_fields", "proxy_revalidate", "public", "s_maxage", "stale_if_error",
        "stale_while_revalidate", "targeted",
    )  # fmt: skip

    def __init__(self, found: Directives, targeted: bool = False) -> None:
        self.targeted = targeted
        self.no_store = self.must_understand = self.public = self.immutable = False
        self.must_revalidate = self.proxy_revalidate = self.no_cache = self.private = False
        self.no_cache_fields: frozenset[bytes] = frozenset()
        self.private_fields: frozenset[bytes] = frozenset()
        self.max_age = self.s_maxage = self.stale_while_revalidate = self.stale_if_error = ABSENT
        for name, argument in found:
            self._take(name, argument)

    def _take(self, name: bytes, argument: bytes | None) -> None:
        if name == b"max-age":
            self.max_age = _least(self.max_age, _seconds(argument))
        elif name == b"s-maxage":
            self.s_maxage = _least(self.s_maxage, _seconds(argument))
        elif name == b"stale-while-revalidate":
            self.stale_while_revalidate = _least(self.stale_while_revalidate, _seconds(argument))
        elif name == b"stale-if-error":
            self.stale_if_error = _least(self.stale_if_error, _seconds(argument))
        elif name == b"no-cache":
            names = _field_names(argument)
            self.no_cache_fields |= names
            self.no_cache = self.no_cache or not names
        elif name == b"private":
            names = _field_names(argument)
            self.private_fields |= names
            self.private = self.private or not names
        else:
            self._take_flag(name)

    def _take_flag(self, name: bytes) -> None:
        if name == b"no-store":
            self.no_store = True
        elif name == b"must-revalidate":
            self.must_revalidate = True
        elif name == b"proxy-revalidate":
            self.proxy_revalidate = True
        elif name == b"public":
            self.public = True
        elif name == b"must-understand":
            self.must_understand = True
        elif name == b"immutable":
            self.immutable = True


def _field_names(argument: bytes | None) -> frozenset[bytes]:
    """The fields that an argument names, in lower case; none where it is no list of names."""
    names = frozenset(name.strip(b" \t").lower() for name in (argument or b"").split(b",")) - {b""}
    return names if all(_TCHARS.issuperset(name) for name in names) and b"?" not in names else frozenset()


def response_control(response: Response, targets: tuple[str, ...] = ()) -> ResponseControl:
    """What a response directs us to do.

    :param targets: the fields for caches like us, in lower case: the first that is there, valid and not empty is the
        only one that counts, else Cache-Control (RFC 9213 section 2.2).
    """
    for target in targets:
        values = response.get_all(target.encode("ascii"))
        found = _targeted(dictionary(values)) if values else []
        if found:
            return ResponseControl(found, True)
    return ResponseControl(directives(response.get_all(b"cache-control")))


def _targeted(members: dict[bytes, Item] | None) -> Directives:
    """A dictionary's members as directives; none where one has a value of a type that allows more than it may (RFC 9213
    section 2.1: such values are not to be consumed)."""
    found: Directives = []
    for name, item in (members or {}).items():
        if name in _NUMBERS and (isinstance(item, bool) or not isinstance(item, int)):
            return []
        if name in _PERMISSIONS and not isinstance(item, bool):
            return []
        if item is not False:
            found.append((name, _argument(item)))
    return found


def _argument(item: Item) -> bytes | None:
    """A structured field's value as an argument; of a type that no directive has, one that nothing understands."""
    if item is True:
        return None
    if isinstance(item, int):
        return b"%d" % item
    return item.encode("ascii") if isinstance(item, str) else b"?"


class RequestControl:
    """What a request directs us to do; seconds as in :class:`ResponseControl`.

    :ivar max_stale: 2**31 where any staleness will do.
    :ivar min_fresh: 2**31 where its argument is no number.
    :ivar given: the request has directives at all, of Cache-Control or Pragma.
    """

    __slots__ = (
        "given",
        "max_age",
        "max_stale",
        "min_fresh",
        "no_cache",
        "no_store",
        "only_if_cached",
        "stale_if_error",
    )

    def __init__(self, found: Directives) -> None:
        self.given = bool(found)
        self.no_cache = self.no_store = self.only_if_cached = False
        self.max_age = self.max_stale = self.min_fresh = self.stale_if_error = ABSENT
        for name, argument in found:
            self._take(name, argument)

    def _take(self, name: bytes, argument: bytes | None) -> None:
        if name == b"max-age":
            self.max_age = _least(self.max_age, _seconds(argument))
        elif name == b"max-stale":
            self.max_stale = _least(self.max_stale, OVERFLOW if argument is None else _seconds(argument))
        elif name == b"min-fresh":
            seconds = None if argument is None else delta_seconds(argument)
            self.min_fresh = max(self.min_fresh, OVERFLOW if seconds is None else seconds)
        elif name == b"stale-if-error":
            self.stale_if_error = _least(self.stale_if_error, _seconds(argument))
        elif name == b"no-cache":
            self.no_cache = True
        elif name == b"no-store":
            self.no_store = True
        elif name == b"only-if-cached":
            self.only_if_cached = True


def request_control(request: Request) -> RequestControl:
    """What a request directs us to do; ``Pragma: no-cache`` counts where there is no Cache-Control (RFC 9111 5.4)."""
    values = request.get_all(b"cache-control")
    if not values:
        values = [b"no-cache" for name, _ in directives(request.get_all(b"pragma")) if name == b"no-cache"]
    return RequestControl(directives(values))
