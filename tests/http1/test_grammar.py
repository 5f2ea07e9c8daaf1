"""The expressions' own rule: nothing in them can be slow, and nothing in them meets CPython issue 106052."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.http1 import grammar

PATTERNS = {name: value for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}
SINGLE = {"IN", "LITERAL", "NOT_LITERAL", "ANY"}


def repeats(tree: Any) -> Iterator[tuple[str, int, list[str]]]:
    """Each repeat of a parsed expression: its kind, its upper bound, and the kinds of node it repeats."""
    for operation, argument in tree:
        kind = str(operation)
        if kind.endswith("REPEAT"):
            low, high, body = argument
            if low != high:
                yield kind, int(high), [str(inner) for inner, _ in body]
            yield from repeats(body)
        elif kind == "SUBPATTERN":
            yield from repeats(argument[-1])
        elif kind == "BRANCH":
            for branch in argument[1]:
                yield from repeats(branch)
        elif kind.startswith("ASSERT"):
            yield from repeats(argument[1])


@pytest.mark.parametrize("name", PATTERNS)
def test_linear(name: str) -> None:
    """Classes are repeated possessively, so no byte is tried twice; groups are not, for Python before 3.11.5."""
    tree = re._parser.parse(PATTERNS[name].pattern)  # type: ignore[attr-defined]  # undocumented, stable since 3.11
    found = list(repeats(tree))
    for kind, high, body in found:
        single = len(body) == 1 and body[0] in SINGLE
        assert kind == ("POSSESSIVE_REPEAT" if single else "MAX_REPEAT"), (kind, high, body)
    assert found


@pytest.mark.parametrize(
    ("pattern", "start", "unit", "end"),
    [
        (grammar.REQUEST_HEAD, b"GET / HTTP/1.1\r\n", b"a:b\r\n", b"a\r\n"),
        (grammar.TIGHT_FIELDS, b"", b"a:b\r\n", b"a: \r\n"),
        (grammar.REQUEST_HEAD, b"GET /", b"%41a", b"%4 HTTP/1.1\r\n\r\n"),
        (grammar.REQUEST_HEAD, b"GET /?", b"?%41", b"\x00"),
        (grammar.RESPONSE_HEAD, b"HTTP/1.1 200 OK\r\n", b":\r\n", b""),
        (grammar.TOKENS, b"a", b" , a", b";"),
        (grammar.TOKENS, b"", b" ,", b";"),
        (grammar.TOKENS, b"a", b" ", b";"),
        (grammar.CHUNK_LINE, b"5", b" ; a = b", b"="),
        (grammar.CHUNK_LINE, b'5;a="', b"\\\\", b"\r\n"),
    ],
    ids=range(10),
)
def test_near_misses_fail(pattern: re.Pattern[bytes], start: bytes, unit: bytes, end: bytes) -> None:
    """Long inputs that fail at their last byte fail within a second; quadratic ones would take minutes."""
    data = start + unit * 100_000 + end
    began = time.process_time()
    assert pattern.fullmatch(data) is None
    assert time.process_time() - began < 1
