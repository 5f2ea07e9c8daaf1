"""What a key takes and what was found there, in words: one source for error messages and the reference.

The words come from the annotations of the settings dataclasses, so they cannot disagree with what is checked.
This module never validates anything.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import date, time
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BeforeValidator
from typing_extensions import Doc

from balancer.core.units import LONGEST, octets, seconds

MAX_SHOWN = 60
"""Characters of a text that a message shows: enough to recognise it, and the message stays a line."""

MAX_LISTED = 8
"""Keys of a table that a message lists."""

SECRET = re.compile(r"authori[sz]ation|\bcookie\b|passw|secret|token|api.?key|credential", re.IGNORECASE)
"""Keys whose values no message shows."""

Step = str | int
Path = tuple[Step, ...]
"""Where a value is: keys, and places in lists."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
Measure = Literal["", "seconds", "bytes"]
_UNITS: Mapping[Measure, Mapping[str, float]] = {
    "": {},
    "seconds": {"d": 86400, "h": 3600, "s": 1},
    "bytes": {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10},
}
_PLAIN = {bool: "true or false", int: "a whole number", float: "a number"}
_MEASURES: Mapping[Any, str] = {
    seconds: 'a duration{}: seconds, or a text like "250ms", "5s", "1h"',
    octets: 'a size{}: bytes, or a text like "64KiB", "2MB"',
}


@dataclass(frozen=True, slots=True)
class Written:
    """Beside an annotation: how it is written, where the type does not tell.

    :ivar words: what it takes.
    :ivar default: its default as TOML writes it; empty where the type tells.
    """

    words: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One documented key of a table.

    :ivar annotation: its type with all that is said beside it.
    :ivar doc: its manual entry.
    :ivar default: its default; ``MISSING`` where it has to be given.
    """

    name: str
    annotation: Any
    doc: str
    default: Any

    @property
    def brief(self) -> str:
        """What it takes, without how to write it."""
        return words(self.annotation).partition(": ")[0] if measure(self.annotation) else words(self.annotation)

    @property
    def written_default(self) -> str:
        """Its default as TOML writes it; empty where it has to be given, or is absent."""
        if self.default is MISSING or self.default is None:
            return ""
        written = [note.default for note in _split(self.annotation)[1] if isinstance(note, Written) and note.default]
        return written[0] if written else toml(self.default, measure(self.annotation))


@cache
def keys_of(table: type) -> Mapping[str, Key]:
    """The keys of a settings dataclass, in the order they are defined."""
    hints = get_type_hints(table, include_extras=True)
    found = {}
    for field in fields(table):
        doc = next((note.documentation for note in _split(hints[field.name])[1] if isinstance(note, Doc)), "")
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found[field.name] = Key(field.name, hints[field.name], doc, default)
    return found


def table_in(annotation: Any) -> type | None:
    """The settings dataclass that an annotation takes, or None."""
    base, _ = _split(annotation)
    if isinstance(base, type) and is_dataclass(base):
        return base
    if get_origin(base) in (Union, UnionType):
        return next((table for table in map(table_in, get_args(base)) if table is not None), None)
    return None


def inside(annotation: Any, step: Step) -> Any | None:
    """The annotation of a key, or of a place in a list, inside a value of this annotation; None if there is none."""
    table = table_in(annotation)
    if table is not None:
        key = keys_of(table).get(str(step))
        return None if key is None else key.annotation
    base, _ = _split(annotation)
    arguments = get_args(base)
    if _takes_list(base) and isinstance(step, int):
        return arguments[0]
    if _takes_pairs(base) and isinstance(step, str):
        return arguments[1]
    return None


def words(annotation: Any) -> str:
    """What an annotation takes: ``a whole number from 0 to 256``."""
    base, notes = _split(annotation)
    for note in notes:
        if isinstance(note, Written):
            return note.words
        if isinstance(note, BeforeValidator) and note.func in _MEASURES:
            return _MEASURES[note.func].format(_bounds(notes))
    if base is str:
        return "a text" + "".join(f" that matches {note.pattern}" for note in notes if hasattr(note, "pattern"))
    if base in _PLAIN:
        return _PLAIN[base] + _bounds(notes)
    if _takes_list(base) and any(isinstance(note, MinLen) and note.min_length for note in notes):
        return _composed(base).replace("a list", "a list that is not empty", 1)
    return _composed(base)


def measure(annotation: Any) -> Measure:
    """What its numbers count: ``seconds``, ``bytes``, or nothing."""
    base, notes = _split(annotation)
    for note in notes:
        if isinstance(note, BeforeValidator) and note.func in _MEASURES:
            return "seconds" if note.func is seconds else "bytes"
    if get_origin(base) in (Union, UnionType):  # a number that may be absent
        return next((counts for choice in get_args(base) if (counts := measure(choice))), "")
    return ""


def toml(value: object, counts: Measure = "") -> str:
    """A default as TOML writes it, with a unit where it counts something."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value, counts)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    raise TypeError(f"no key has a default like {value!r}")


def _number(value: float, counts: Measure) -> str:
    units = _UNITS[counts] if value else {}
    for unit, size in units.items():
        if value % size == 0:
            return f'"{int(value // size)}{unit}"'
    return str(int(value)) if value == int(value) else repr(value)


def _composed(base: Any) -> str:
    if get_origin(base) is Literal:
        return any_of([json.dumps(choice) for choice in get_args(base)])
    if get_origin(base) in (Union, UnionType):
        return any_of([words(choice) for choice in get_args(base) if choice is not NoneType])
    if _takes_list(base):
        return f"a list, each item {words(get_args(base)[0])}"
    if _takes_pairs(base):
        return f"a table, each value {words(get_args(base)[1])}"
    return "a table"


def choices(annotation: Any) -> tuple[str, ...]:
    """The texts that an annotation allows by name, for finding the nearest."""
    base, _ = _split(annotation)
    return tuple(str(choice) for choice in get_args(base)) if get_origin(base) is Literal else ()


def nearest(word: object, names: Iterable[str]) -> str:
    """The name that was probably meant; empty where none is near. (Nobody mistypes a name longer than a line.)"""
    if not isinstance(word, str) or len(word) > MAX_SHOWN:
        return ""
    return next(iter(get_close_matches(word, list(names), 1)), "")


def any_of(texts: Sequence[str]) -> str:
    """``a, b or c``."""
    *most, last = texts
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: object, path: Path = ()) -> str:
    """A value as a message shows it: short, on one line, and never a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of more than 64 bits"
    if isinstance(value, Mapping):
        listed = [json.dumps(_cut(str(key))) for key in list(value)[:MAX_LISTED]]
        more = ["..."] if len(value) > MAX_LISTED else []
        return f"a table with {', '.join(listed + more)}" if listed else "an empty table"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if any(isinstance(step, str) and SECRET.search(step) for step in path):
        return "a value that is not shown"
    if isinstance(value, str):
        return json.dumps(_cut(value))
    if isinstance(value, (date, time)):
        return f"the date or time {value}"
    return "nothing" if value is None else str(value)


def dotted(path: Path) -> str:
    """A path as TOML would write it: ``upstream.web.servers[0].weight``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.fullmatch(step) else json.dumps(_cut(step)))
    return text


def unannotated(annotation: Any) -> Any:
    """The type alone."""
    return _split(annotation)[0]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _split(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        base, *notes = get_args(annotation)
        # A pydantic Field keeps its constraints inside.
        return base, tuple(inner for note in notes for inner in (note, *getattr(note, "metadata", ())))
    return annotation, ()


def _takes_list(base: Any) -> bool:
    origin = get_origin(base)
    return isinstance(origin, type) and issubclass(origin, (Sequence, frozenset))


def _takes_pairs(base: Any) -> bool:
    origin = get_origin(base)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _bounds(notes: Sequence[Any]) -> str:
    least = [note.ge for note in notes if isinstance(note, Ge)]
    most = [note.le for note in notes if isinstance(note, Le) and note.le != LONGEST]  # naming a year is only noise
    if least and most:
        return f" from {least[0]} to {most[0]}"
    text = [f"of at least {low}" for low in least]
    text += [f"above {note.gt}" for note in notes if isinstance(note, Gt)]
    text += [f"of at most {high}" for high in most]
    text += [f"below {note.lt}" for note in notes if isinstance(note, Lt)]
    return f" {' and '.join(text)}" if text else ""
