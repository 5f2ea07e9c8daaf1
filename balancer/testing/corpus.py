"""Reads the corpus of HTTP/1.1 messages: data files of bytes, the outcome they must have, and the rule that says so.

A file (``*.toml``) is a list of ``[[case]]`` tables:

``id``
    unique in the corpus.
``bytes``
    the stream: a text in which each character is one byte (``"\\u0000"`` to ``"\\u00ff"``), or a list of such texts
    and of ``{ text = "a", times = 9000 }``.
``why``, ``section``
    what the case is about, and the source of its rule.
``messages``
    what comes out before the stream ends or is refused, in order: the messages that were complete. Of a request any of
    ``method target path query host body trailers keep_alive expect_continue upgrade framing``, of a response any of
    ``status reason body trailers keep_alive framing`` are compared. Absent means: none.
``status``
    requests only: the stream is refused with this status. Absent in a request file means: everything is accepted.
``bad``
    responses only: true if the stream is a bad response.
``stage``
    where the refusal comes: ``"head"`` (the default): no head of the refused message comes out, or ``"body"``: its
    head does, but never its end.
``left``
    the stream is accepted so far but ends inside a message that the parser waits for: ``"head"`` or ``"body"``.
``method``, ``eof``, ``rest``
    responses only: the request's method (GET), whether the stream ends after the bytes (false), and the bytes
    that a tunnel gets.
``limits``
    limits that differ from their defaults.

This module only reads; the suites compare. It is used on parsers fed in memory and on servers over sockets.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One stream and its outcome; the fields are those of the file."""

    id: str
    data: bytes
    why: str
    section: str
    status: int | None = None
    bad: bool = False
    stage: str = "head"
    left: str | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    method: bytes = b"GET"
    eof: bool = False
    rest: bytes = b""
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """True if the stream must not be forwarded to its end."""
        return self.bad or self.status is not None


def load(directory: Path, kind: str) -> list[Case]:
    """Every case of the files ``<kind>*.toml`` (``requests`` or ``responses``), in file and line order.

    :raises ValueError: two cases have one id, or a case has a key that is not known.
    """
    cases: dict[str, Case] = {}
    for path in sorted(directory.glob(f"{kind}*.toml")):
        for table in tomllib.loads(path.read_text("utf-8"))["case"]:
            case = _case(table, path.name)
            if case.id in cases:
                raise ValueError(f"{path.name}: the id {case.id!r} is there twice")
            cases[case.id] = case
    return list(cases.values())


def _case(table: dict[str, Any], file: str) -> Case:
    values = dict(table)
    try:
        values["data"] = as_bytes(values.pop("bytes"))
        values["messages"] = tuple(_message(message) for message in values.pop("messages", ()))
        for name in ("method", "rest"):
            if name in values:
                values[name] = as_bytes(values[name])
        return Case(**values)
    except (KeyError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"{file}: case {table.get('id')!r}: {error}") from error


def as_bytes(text: str | list[str | dict[str, Any]]) -> bytes:
    """The bytes a file's ``bytes`` stands for: each character is one."""
    if not isinstance(text, str | list):
        raise TypeError(f"a text or a list, not {text!r}")
    parts = [text] if isinstance(text, str) else text
    return b"".join(
        part.encode("latin-1") if isinstance(part, str) else part["text"].encode("latin-1") * part["times"]
        for part in parts
    )


def _message(table: dict[str, Any]) -> Mapping[str, Any]:
    message: dict[str, Any] = {}
    for name, value in table.items():
        if name == "trailers":
            message[name] = [(as_bytes(key), as_bytes(found)) for key, found in value]
        elif isinstance(value, str | list) and name != "framing":
            message[name] = as_bytes(value)
        else:
            message[name] = value
    return message
