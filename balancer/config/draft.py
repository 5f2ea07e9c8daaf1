"""The values of a document, with holes where they are wrong.

So that *all* mistakes are told at once, what is wrong is taken out and the rest is looked at again. Holes keep their
place: positions in lists stay those of the file. It never judges a value, except by size.
"""

import json
import math
from collections.abc import Iterator
from datetime import date, time
from typing import Any

from balancer.config.document import MAX_DEPTH
from balancer.config.wording import Path, Step

MAX_TEXT = 4096
"""Characters of one text. The longest that make sense are regular expressions and paths of files."""

MAX_INTEGER = 2**63 - 1
"""TOML's own limit (TOML 1.0, Integer): 64 bits with a sign."""


class Hole:
    """Where a wrong value was."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<Hole>"


HOLE = Hole()


class Draft:
    """A copy of a document's values that can lose some.

    :ivar original: the values as they were.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.original = values
        self._left: dict[str, Any] = _copied(values, 0)
        self._kept: dict[int, list[int]] = {}  # by the identity of a list: which of its items are left

    def __repr__(self) -> str:
        return f"<Draft {_packed(self._left)!r}>"

    def remove(self, path: Path) -> bool:
        """Take a value out; where it is missing, or out already, what it should be in.

        :returns: ``False`` where that is out already, too.
        """
        for length in range(len(path), 0, -1):
            around, last = self._at(path[: length - 1]), path[length - 1]
            if around is HOLE:
                return False
            if has(around, last) and around[last] is not HOLE:
                around[last] = HOLE
                self._kept.pop(id(around), None)
                return True
        return False

    def fill(self, path: Path, value: str) -> bool:
        """Put a stand-in where a value is wrong or missing; ``False`` where there is no table around it, or it is
        there already."""
        around = self._at(path[:-1])
        if not isinstance(around, dict) or around.get(path[-1]) == value:
            return False
        around[path[-1]] = value
        return True

    def at(self, path: Path) -> Any:
        """The value in the original; None where there is none."""
        value: Any = self.original
        for step in path:
            if not has(value, step):
                return None
            value = value[step]
        return value

    def json(self) -> str:
        """What is left, as JSON (which tells texts, numbers and truth values apart as TOML does)."""
        return json.dumps(_packed(self._left))

    def place(self, packed: Path) -> Path:
        """From a path in what is left to the path in the original."""
        path: Path = ()
        value: Any = self._left
        for step in packed:
            if isinstance(value, list) and isinstance(step, int):
                kept = self._kept.get(id(value))
                if kept is None:
                    kept = self._kept[id(value)] = [index for index, item in enumerate(value) if item is not HOLE]
                step = kept[step] if step < len(kept) else step
            value = value[step] if has(value, step) else None
            path = (*path, step)
        return path

    def _at(self, path: Path) -> Any:
        """The value in what is left: HOLE where it, or something around it, was taken out."""
        value: Any = self._left
        for step in path:
            if value is HOLE:
                return HOLE
            value = value[step] if has(value, step) else None
        return value


def misfits(values: Any) -> Iterator[tuple[Path, str]]:
    """The values that no key takes, whatever the schema says: path and what they are beyond."""
    pending: list[tuple[Path, Any]] = [((), values)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, (dict, list)):
            if len(path) >= MAX_DEPTH:
                yield path, f"a depth of at most {MAX_DEPTH}"
            else:
                items = value.items() if isinstance(value, dict) else enumerate(value)
                pending += [((*path, step), item) for step, item in items]
        elif isinstance(value, str) and len(value) > MAX_TEXT:
            yield path, f"a text of at most {MAX_TEXT} characters"
        elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
            yield path, "whole numbers of at most 64 bits"
        elif (isinstance(value, float) and not math.isfinite(value)) or isinstance(value, (date, time)):
            yield path, ""


def has(value: Any, step: Step) -> bool:
    """Whether that is a key or a place in the value."""
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)


def _copied(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return HOLE
    if isinstance(value, dict):
        return {key: _copied(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, depth + 1) for item in value]
    return value


def _packed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _packed(item) for key, item in value.items() if item is not HOLE}
    if isinstance(value, list):
        return [_packed(item) for item in value if item is not HOLE]
    return value
