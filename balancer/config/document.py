"""TOML text: its values, and the line of every key and list item.

``tomllib`` (the standard library) decides what is TOML and what it means; a tree-sitter parse of the same text, made
only when something is wrong, says where. It knows nothing of the schema.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import tree_sitter
import tree_sitter_toml

from balancer.config.wording import Path, dotted
from balancer.errors import ConfigurationError, Problem

Point = tuple[int, int]
"""Line and column (in bytes), both counted from 1."""

MAX_BYTES = 1024 * 1024
"""The largest configuration: ten thousand servers with all their keys, and read in about a second."""

MAX_DEPTH = 12
"""How deep tables and lists may nest; the schema needs 7 (``listener.NAME.route[0].headers.NAME.regex``)."""

MAX_PARTS = 32
"""Parts of a dotted key. ``tomllib`` takes time and memory with their square: a key of 100,000 costs it 40 GB."""

_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*\.[ \t]*){{{MAX_PARTS}}}""")
_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z")
_EXPECTED = {
    "Invalid value": "a value: a text in quotes, a number, true, false, a [list] or a {table}",
    "Invalid statement": "a key, a [table], a comment or an empty line",
    "Invalid initial character for a key": 'a key: letters, digits, "-" and "_", or anything in quotes',
    "Expected '=' after a key": '"=" after the key',
    "Expected newline or end of document": "nothing more on this line, or a comment",
    "Expected ']'": '"]" or "]]" at the end of the table name',
    "Unclosed array": '"," or "]" in the list',
    "Unclosed inline table": '"," or "}" in the table (which is written on one line)',
    "Unterminated string": "the quote that ends the text",
    "Illegal character": 'another character; a text of several lines stands between """ and """',
    "Exceeds the limit": "whole numbers of at most 64 bits",
    "Unescaped": """an escape like \\\\, or a text in single quotes, 'C:\\x', which has none""",
}
"""What the complaints of ``tomllib`` ask for, by their beginnings; any other is shown as it is."""
_REPEATS = re.compile(r"Cannot (?:overwrite|declare|mutate|redefine|define)|[Dd]uplicate")
_LANGUAGE = tree_sitter.Language(tree_sitter_toml.language())
_KEYS = frozenset({"bare_key", "quoted_key", "dotted_key"})


class Document:
    """One parsed text.

    :ivar name: the file, as it was named.
    :ivar values: what it says.
    """

    def __init__(self, text: str, name: str) -> None:
        """:raises ConfigurationError: it is not TOML; with the line, and the column in what was found."""
        self.name = name
        self._text = text
        self._points: dict[Path, Point] | None = None
        _refuse_long_keys(text, name)
        try:
            self.values: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise ConfigurationError(
                Problem(file=name, line=0, key="", found="tables or lists nested very deep", allowed=_depth())
            ) from None
        except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
            raise ConfigurationError(*_syntax_problems(text, name, str(error))) from None

    def __repr__(self) -> str:
        return f"<Document {self.name} {len(self._text)} characters>"

    def point(self, path: Path) -> Point:
        """Where that is; where nothing is at the path, the nearest thing around it."""
        if self._points is None:
            self._points = Places(self._text).points
        while path and path not in self._points:
            path = path[:-1]
        return self._points.get(path, (1, 1))


class Places:
    """Walks the syntax tree of a text.

    :ivar points: of every table, key and list item.
    :ivar repeats: keys and tables that are there a second time, and where both are.
    """

    def __init__(self, text: str) -> None:
        self.points: dict[Path, Point] = {}
        self.repeats: list[tuple[Path, Point, Point]] = []
        self._said: dict[Path, Point] = {}
        self._lengths: dict[Path, int] = {}
        for node in tree_sitter.Parser(_LANGUAGE).parse(text.encode("utf-8") + b"\n").root_node.children:
            if node.type == "pair":
                self._pair((), node)
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def _table(self, node: tree_sitter.Node) -> None:
        key = next((child for child in node.children if child.type in _KEYS), None)
        if key is None:
            return
        *outer, last = _parts(key)
        path: Path = ()
        for part in outer:
            path = self._latest((*path, part))
        path = (*path, last)
        if node.type == "table_array_element":
            self._lengths[path] = self._lengths.get(path, 0) + 1
            self.points.setdefault(path, _point(key))
            path = self._latest(path)
        else:
            self._say(path, _point(key))
        self._note(path, _point(key))
        self.points[path] = _point(key)  # its own header, where an inner table's may have come first
        for child in node.children:
            if child.type == "pair":
                self._pair(path, child)

    def _latest(self, path: Path) -> Path:
        """The last table of that name, where it is a list of them."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, base: Path, node: tree_sitter.Node) -> None:
        pending = [(base, node)]
        while pending:
            path, node = pending.pop()
            if len(path) > MAX_DEPTH:
                continue
            if node.type == "pair" and len(node.children) == 3:
                path = (*path, *_parts(node.children[0]))
                self._say(path, _point(node))
                self._note(path, _point(node))
                node = node.children[2]
            if node.type == "inline_table":
                pending += [(path, child) for child in reversed(node.named_children)]
            elif node.type == "array":
                items = [child for child in node.named_children if child.type != "comment"]
                for index, child in enumerate(items):
                    self._note((*path, index), _point(child))
                pending += [((*path, index), child) for index, child in reversed(list(enumerate(items)))]

    def _say(self, path: Path, point: Point) -> None:
        """A key or a table is defined here."""
        if path in self._said:
            self.repeats.append((path, point, self._said[path]))
        else:
            self._said[path] = point

    def _note(self, path: Path, point: Point) -> None:
        for length in range(1, len(path) + 1):
            self.points.setdefault(path[:length], point)


def _parts(node: tree_sitter.Node) -> list[str]:
    """The keys of a dotted key, no more than can matter."""
    return [part for part, _ in zip(_leaves(node), range(MAX_DEPTH + 1), strict=False)]


def _leaves(node: tree_sitter.Node) -> Iterator[str]:
    # Dotted keys lean left: the first two are innermost, so the tree is walked, not recursed into.
    pending = [node]
    while pending:
        node = pending.pop()
        if node.type == "dotted_key":
            pending += [child for child in reversed(node.children) if child.type in _KEYS]
        else:
            text = (node.text or b"").decode("utf-8")
            yield next(iter(tomllib.loads(f"{text} = 0"))) if node.type == "quoted_key" else text


def _point(node: tree_sitter.Node) -> Point:
    return node.start_point[0] + 1, node.start_point[1] + 1


def _refuse_long_keys(text: str, name: str) -> None:
    match = _LONG_KEY.search(text)
    if match is not None:
        line = text.count("\n", 0, match.start()) + 1
        found = f"more than {MAX_PARTS} words joined by dots"
        raise ConfigurationError(Problem(file=name, line=line, key="", found=found, allowed=_depth()))


def _depth() -> str:
    return f"a depth of at most {MAX_DEPTH}"


def _syntax_problems(text: str, name: str, message: str) -> list[Problem]:
    match = _PLACE.search(message)
    expected = message[: match.start()] if match else message
    if _REPEATS.search(expected) and (repeats := Places(text).repeats):
        found, allowed = "the same name a second time (first on line {})", "every key and every table once"
        return [
            Problem(file=name, line=point[0], key=dotted(path), found=found.format(first[0]), allowed=allowed)
            for path, point, first in repeats
        ]
    if match is None or match["line"] is None:
        last = text.removesuffix("\n").count("\n") + 1
        return [Problem(file=name, line=last, key="", found="the end of the file", allowed=_expected(expected))]
    line, column = int(match["line"]), int(match["column"])
    found = _character(text, line, column)
    return [Problem(file=name, line=line, key="", found=found, allowed=_expected(expected))]


def _expected(complaint: str) -> str:
    return next((words for start, words in _EXPECTED.items() if complaint.startswith(start)), f"TOML: {complaint}")


def _character(text: str, line: int, column: int) -> str:
    """What is at that place: one character, for it may be any file that was named by mistake."""
    lines = text.replace("\r\n", "\n").split("\n")
    rest = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    return f"{rest[0]!a} in column {column}" if rest else f"the end of the line in column {column}"
