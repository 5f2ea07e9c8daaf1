"""What differs between two configurations, as values and in words: for a reload and its log line.

The registry makes its own difference of backends; this one is for people, and for whoever opens and closes
listeners. It never applies anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_args

from balancer.config.chosen import StoreConfig
from balancer.config.schema import Configuration
from balancer.config.wording import Path, dotted, shown

MAX_KEYS = 8
"""Changed keys that a sentence lists; a log line is read, not searched."""

Kind = Literal["added", "removed", "changed"]
Part = Literal["upstream", "listener", "cache", "store"]

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key with another value.

    :ivar key: dotted, from the upstream, listener, cache or store it is in.
    """

    key: str
    old: object
    new: object

    def __str__(self) -> str:
        if isinstance(self.old, Sequence) and isinstance(self.new, Sequence) and not isinstance(self.old, str):
            came = [_named(item) for item in self.new if item not in self.old]
            went = [_named(item) for item in self.old if item not in self.new]
            told = [f"added {_some(came)}"] * bool(came) + [f"removed {_some(went)}"] * bool(went)
            return f"{self.key} ({'; '.join(told) or 'another order'})"
        path = tuple(self.key.split("."))
        return f"{self.key} from {_worded(self.old, path)} to {_worded(self.new, path)}"


@dataclass(frozen=True, slots=True)
class Change:
    """One upstream, listener, cache, store or setting that differs. ``str`` is a sentence without its full stop.

    :ivar part: which of them.
    :ivar name: its name.
    :ivar kind: what happened to it.
    :ivar keys: what changed in it, where it is in both.
    """

    part: Literal[Part, "setting"]
    name: str
    kind: Kind
    keys: tuple[KeyChange, ...] = ()

    def __str__(self) -> str:
        if self.part == "setting":
            return f"setting {_some([str(key) for key in self.keys])}"
        told = f": {_some([str(key) for key in self.keys])}" if self.keys else ""
        return f'{self.part} "{self.name}" {self.kind}{told}'


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs, in the order of the new configuration; false where nothing does."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes)) or "nothing changed"

    def names(self, part: Part, kind: Kind) -> tuple[str, ...]:
        """The names of the upstreams, listeners, caches or stores that something happened to."""
        return tuple(change.name for change in self.changes if (change.part, change.kind) == (part, kind))


def difference(old: Configuration, new: Configuration) -> Difference:
    """What makes the new configuration another one."""
    changes = [change for part in PARTS for change in _parts(part, getattr(old, part), getattr(new, part))]
    for field in fields(Configuration):
        if field.name not in PARTS:
            keys = tuple(_keys(getattr(old, field.name), getattr(new, field.name), (field.name,)))
            changes += [Change("setting", field.name, "changed", keys)] if keys else []
    return Difference(tuple(changes))


def _parts(part: Part, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in new:
        if name not in old:
            yield Change(part, name, "added")
        elif keys := tuple(_keys(old[name], new[name], ())):
            yield Change(part, name, "changed", keys)
    yield from (Change(part, name, "removed") for name in old if name not in new)


def _keys(old: object, new: object, path: Path) -> Iterator[KeyChange]:
    """The innermost keys that differ: into tables of one kind, not into lists."""
    if old == new:
        return
    if isinstance(old, StoreConfig) and isinstance(new, StoreConfig):
        if old.type != new.type:
            yield KeyChange(dotted((*path, "type")), old.type, new.type)
            return
        old, new = old.settings, new.settings  # which a file writes beside the type
    if type(old) is type(new) and is_dataclass(old):
        for field in fields(old):
            yield from _keys(getattr(old, field.name), getattr(new, field.name), (*path, field.name))
    else:
        yield KeyChange(dotted(path), old, new)


def _named(item: object) -> str:
    for name in ("address", "name"):
        text = getattr(item, name, "")
        if text:
            return str(text)
    if isinstance(item, tuple) and item:  # a pair: its name, for the value may be a secret
        item = item[0]
    return str(item) if is_dataclass(item) else shown(item)


def _worded(value: object, path: Path) -> str:
    if is_dataclass(value):
        kind = getattr(value, "type", "")
        return f"{kind} settings" if kind else "settings"
    return shown(value, path)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_KEYS} more" if len(texts) > MAX_KEYS else ""
    return ", ".join(texts[:MAX_KEYS]) + more
