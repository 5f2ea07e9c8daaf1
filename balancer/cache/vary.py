"""Which requests a response that varies is for (RFC 9111 section 4.1).

What the nominated fields said is kept in one form for all values that mean the same: repeated lines are joined; of
fields that content negotiation reads, case and white space do not count, nor, where no server heeds it, order. It never
looks at the response itself.
"""

from typing import Final

from balancer.cache.messages import Request

MAX_NAMES: Final = 32
"""Fields that a response may vary by. One that names more is as ``*``: hardly two requests would be alike."""

_MEMO_SIZE: Final = 1024
_MEMO_LONGEST: Final = 512
"""What of the nominated is remembered in its parts: 1024 values of at most 512 bytes."""

_TCHARS: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")

_LISTS: Final = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})
"""Comma-separated, and all of their values' case counts for nothing (RFC 9110 section 12.5)."""
_UNORDERED: Final = frozenset({b"accept-charset", b"accept-encoding"})
"""Where order counts for nothing either. Of Accept and Accept-Language servers take the first of equals (12.5.4)."""

_parts: dict[bytes, list[tuple[bytes, bytes]]] = {}


def nominate(values: list[bytes], request: Request) -> bytes | None:
    """What a request said of the fields that its response varies by.

    :param values: those of the response's Vary fields.
    :returns: ``b""`` where it does not vary; ``None`` where no other request is known to be alike: ``*``, something
        that names no field, or more than :data:`MAX_NAMES`.
    """
    if not values:
        return b""
    names = {name.strip(b" \t").lower() for value in values for name in value.split(b",")} - {b""}
    if b"*" in names or len(names) > MAX_NAMES or not all(_TCHARS.issuperset(name) for name in names):
        return None
    # "/" is in no name: an absent field differs from an empty one.
    return b"\n".join([name + b"/" + said(request, name) for name in sorted(names)])


def matches(nominated: bytes, request: Request) -> bool:
    """Whether a request says the same of the nominated fields."""
    if not nominated:
        return True
    for name, value in _split(nominated):  # noqa: SIM110 - this runs for each hit, and a generator costs a frame
        if said(request, name) != value:
            return False
    return True


def said(request: Request, name: bytes) -> bytes:
    """A field of a request in one form for all that mean the same: ``-`` for none, else ``=`` and its value."""
    values = request.get_all(name)
    if not values:
        return b"-"
    value = values[0] if len(values) == 1 else b", ".join(values)
    if b"\n" in value:  # the gate lets none through; a program's request may have one
        value = value.replace(b"\n", b" ")
    return b"=" + (_listed(name, value) if name in _LISTS else value)


def _listed(name: bytes, value: bytes) -> bytes:
    if b'"' in value:
        return value
    members = [_member(member) for member in value.lower().split(b",")]
    members = [member for member in members if member]
    return b",".join(sorted(set(members)) if name in _UNORDERED else members)


def _member(member: bytes) -> bytes:
    """One member without white space around its parts, and without a weight that is 1 (RFC 9110 section 12.4.2)."""
    if b";" not in member:
        return member.strip(b" \t")
    parts = [part.strip(b" \t") for part in member.split(b";")]
    return b";".join([part for part in parts if part not in (b"q=1", b"q=1.0", b"q=1.00", b"q=1.000")])


def _split(nominated: bytes) -> list[tuple[bytes, bytes]]:
    found = _parts.get(nominated)
    if found is not None:
        return found
    lines = [line.partition(b"/") for line in nominated.split(b"\n")]
    parts = [(name, value) for name, _, value in lines]
    if len(nominated) <= _MEMO_LONGEST:
        if len(_parts) >= _MEMO_SIZE:
            _parts.clear()
        _parts[nominated] = parts
    return parts
