"""Reads ``balance`` texts and the expressions in ``hash(...)``: calls with a joint between them.

    calls    = call *( joint call )              joint is "or" between selectors, "+" between parts of a key
    call     = name [ "(" [ argument *( "," argument ) ] ")" ]
    name     = letter *( letter / digit / "_" / "-" )
    argument = any text whose parentheses match, trimmed; a comma inside parentheses belongs to it

What a name means and which arguments it takes is not known here. Every error is a ValueError that says at which
character, what was found and what is allowed.
"""

import re
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SPACES = re.compile(r"[ \t]*")


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    :ivar name: for example ``hdr``.
    :ivar arguments: the texts between the parentheses; none with or without parentheses.
    :ivar text: the whole text it stands in.
    :ivar position: where in it, from 0.
    """

    name: str
    arguments: tuple[str, ...]
    text: str
    position: int

    def wrong(self, problem: str) -> ValueError:
        """An error that points at this call."""
        return _wrong(self.text, self.position, problem)


def calls(text: str, joint: str) -> tuple[Call, ...]:
    """All the calls of a text, in order; at least one.

    :raises ValueError: the text is something else.
    """
    found = []
    position = 0
    while True:
        call, position = _call(text, position)
        found.append(call)
        if position == len(text):
            return tuple(found)
        word = _NAME.match(text, position)
        if (word[0] if word else text[position]) != joint:
            raise _wrong(text, position, f"expected {joint!r} or the end, found {text[position:]!r}")
        position += len(joint)


def _call(text: str, position: int) -> tuple[Call, int]:
    """The call at a position, and where the next thing after it begins."""
    start = _after_spaces(text, position)
    name = _NAME.match(text, start)
    if name is None:
        rest = repr(text[start:]) if text[start:] else "the end"
        raise _wrong(text, start, f"expected a name like 'leastconn' or 'hdr(x-tenant)', found {rest}")
    position = _after_spaces(text, name.end())
    arguments: tuple[str, ...] = ()
    if text.startswith("(", position):
        arguments, position = _arguments(text, position)
        position = _after_spaces(text, position)
    return Call(name[0], arguments, text, start), position


def _arguments(text: str, opened: int) -> tuple[tuple[str, ...], int]:
    """The arguments in the parentheses that open at a position, and what follows them."""
    found = []
    depth, start = 0, opened + 1
    for position in range(opened, len(text)):
        character = text[position]
        depth += (character == "(") - (character == ")")
        if depth == 0 or (depth == 1 and character == ","):
            found.append(text[start:position].strip())
            if not found[-1] and (character == "," or len(found) > 1):
                raise _wrong(text, position, "expected an argument, found nothing")
            start = position + 1
        if depth == 0:
            return tuple(filter(None, found)), start
    raise _wrong(text, opened, "this parenthesis is never closed")


def _after_spaces(text: str, position: int) -> int:
    match = _SPACES.match(text, position)
    return match.end() if match else position


def _wrong(text: str, position: int, problem: str) -> ValueError:
    return ValueError(f"{problem} (at character {position + 1} of {text!r})")
