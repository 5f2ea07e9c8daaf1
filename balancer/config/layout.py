"""The tables of the configuration in the order they are documented: what the reference and the example share.

It only walks the schema; it never words or writes anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from balancer.config.chosen import StoreConfig
from balancer.config.schema import Configuration
from balancer.config.vocabulary import Vocabulary
from balancer.config.wording import Key, inside, keys_of, table_in, unannotated
from balancer.core.health import CheckSettings

NAME = "NAME"
"""Stands in a path for a name that the operator chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    :ivar path: its keys from the top, with :data:`NAME` where the operator chooses one.
    :ivar kind: the dataclass.
    :ivar doc: what it is.
    :ivar repeated: there may be several, each under ``[[path]]``.
    :ivar absent: without it something is off, so it does not stand there by default.
    :ivar chosen: the ``type`` of check or store it is about: only the keys that no other type has; empty for any other
        table.
    :ivar shared: the dataclass with the keys that all types have.
    """

    path: tuple[str, ...]
    kind: type
    doc: str
    repeated: bool = False
    absent: bool = False
    chosen: str = ""
    shared: type | None = None

    @property
    def header(self) -> str:
        """Its header as TOML has it, with brackets; empty for the top."""
        text = ".".join(self.path)
        return f"[[{text}]]" if self.repeated else f"[{text}]" if text else ""

    @property
    def values(self) -> list[Key]:
        """Its keys that are no tables."""
        return [key for key in self.keys if next(_inside(self.path, key), None) is None]

    @property
    def keys(self) -> list[Key]:
        """Its keys, tables or not."""
        keys = keys_of(self.kind).values()
        if self.kind is StoreConfig:  # its settings are what the tables of its types have
            return [key for key in keys if key.name == "type"]
        return [key for key in keys if self.shared is None or key.name not in keys_of(self.shared)]


def tables(vocabulary: Vocabulary) -> Iterator[Table]:
    """Every table, each before what is in it."""
    yield from _walk(Table(path=(), kind=Configuration, doc=_first(Configuration)), vocabulary)


def _walk(table: Table, vocabulary: Vocabulary) -> Iterator[Table]:
    yield table
    for key in table.keys:
        for inner in _inside(table.path, key):
            yield from _walk(inner, vocabulary)
            kinds = _kinds(inner.kind, vocabulary)
            chosen = [
                Table(path=inner.path, kind=kind, doc=_first(kind), chosen=name, shared=inner.kind, absent=True)
                for name, kind in sorted(kinds.items())
            ]
            for each in chosen:
                yield from (replace(part, absent=True) for part in _walk(each, vocabulary) if part.values)


def _kinds(kind: type, vocabulary: Vocabulary) -> Mapping[str, type]:
    """The tables among which its ``type`` chooses; none for a table that has no such key."""
    if kind is CheckSettings:
        return vocabulary.checks
    return vocabulary.stores if kind is StoreConfig else {}


def _inside(path: tuple[str, ...], key: Key) -> Iterator[Table]:
    """The table that a key is, or has by name or in a list."""
    here = (*path, key.name)
    if kind := _table(key.annotation):
        yield Table(path=here, kind=kind, doc=key.doc, absent=key.default is None)
    elif kind := _table(inside(key.annotation, 0)):
        yield Table(path=here, kind=kind, doc=_first(kind), repeated=True)
    elif kind := _table(inside(key.annotation, NAME)):
        yield Table(path=(*here, NAME), kind=kind, doc=_first(kind))


def _table(annotation: Any) -> type | None:
    """The dataclass, where the annotation takes nothing else (but may take nothing)."""
    base = unannotated(annotation)
    if get_origin(base) in (Union, UnionType) and len([kind for kind in get_args(base) if kind is not NoneType]) > 1:
        return None
    return table_in(annotation)


def _first(kind: type) -> str:
    text = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    return text.replace("``", "`")  # docstrings are reStructuredText, pages Markdown
