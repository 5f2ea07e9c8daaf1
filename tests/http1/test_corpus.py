"""The corpus of tests/http1/corpus: the parsers' verdict is that of the data, and the same however a stream is cut."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from balancer.errors import BadResponse, RequestRefused
from balancer.http1.heads import EndOfMessage, RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.parser import NEED_DATA, PAUSED, RequestParser, ResponseParser
from balancer.testing.corpus import Case, load

CORPUS = Path(__file__).with_name("corpus")
REQUESTS = load(CORPUS, "requests")
RESPONSES = load(CORPUS, "responses")


@dataclass
class Transcript:
    """What came out of a parser; two cuts of one stream must give equal ones."""

    complete: list[dict[str, Any]] = field(default_factory=list)
    open_head: object = None
    refusal: tuple[object, ...] | None = None
    rest: bytes = b""

    def head(self, head: RequestHead | ResponseHead) -> None:
        # Not by __slots__, which a compiled class does not have.
        found = {name: getattr(head, name) for name in dir(head) if not name.startswith("_")}
        self.open_head = {
            name: value for name, value in found.items() if not callable(value) and name not in ("raw", "told", "whole")
        }
        self.body = b""

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        assert isinstance(self.open_head, dict)
        framing = self.open_head.pop("framing")
        self.complete.append({**self.open_head, "framing": framing.kind.value, "body": self.body, "trailers": trailers})
        self.open_head = None


def read_requests(case: Case, pieces: list[bytes]) -> Transcript:
    transcript = Transcript()
    parser = RequestParser(HttpLimits(**case.limits))
    try:
        for piece in pieces:
            parser.feed(piece)
            while (event := parser.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    transcript.head(event)
                elif isinstance(event, EndOfMessage):
                    transcript.end(event.trailers)
                elif isinstance(event, bytes):
                    transcript.body += event
                else:
                    assert event is PAUSED
                    parser.start_next()
    except RequestRefused as refused:
        transcript.refusal = (refused.status, refused.reason, refused.section)
        with pytest.raises(RequestRefused):
            parser.next_event()
    return transcript


def read_responses(case: Case, pieces: list[bytes]) -> Transcript:
    transcript = Transcript()
    parser = ResponseParser(HttpLimits(**case.limits))
    parser.expect(case.method)
    tunnel = False
    try:
        for piece in [*pieces, None] if case.eof else pieces:
            if piece is None:
                parser.eof()
            else:
                parser.feed(piece)
            while (event := parser.next_event()) not in (NEED_DATA, PAUSED):
                if isinstance(event, ResponseHead):
                    transcript.head(event)
                    tunnel = event.status == 101 or (case.method == b"CONNECT" and event.status < 300)
                    if tunnel or event.interim:
                        transcript.end([])
                elif isinstance(event, EndOfMessage):
                    transcript.end(event.trailers)
                else:
                    transcript.body += event
    except BadResponse as bad:
        transcript.refusal = (bad.reason, bad.section, bad.nothing_received)
        with pytest.raises(BadResponse):
            parser.next_event()
    if tunnel:
        transcript.rest = parser.take_unread()
    return transcript


def cuts(case: Case) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and five random cuts, the same in every run."""
    data = case.data
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(case.id)
    for _ in range(5):
        marks = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        yield [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def check(case: Case, transcript: Transcript) -> None:
    assert len(transcript.complete) == len(case.messages), transcript
    for expected, found in zip(case.messages, transcript.complete, strict=True):
        for name, value in expected.items():
            assert found[name] == value, (name, transcript)
    if case.refused:
        assert transcript.refusal is not None, transcript
        if case.status is not None:
            assert transcript.refusal[0] == case.status, transcript
        assert (transcript.open_head is not None) is (case.stage == "body"), transcript
    else:
        assert transcript.refusal is None, transcript
        assert (transcript.open_head is not None) is (case.left == "body"), transcript
    assert transcript.rest == case.rest


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.id)
def test_request(case: Case) -> None:
    """Each request stream has the outcome of the data, and the same transcript however it is cut."""
    whole, *others = (read_requests(case, pieces) for pieces in cuts(case))
    check(case, whole)
    for other in others:
        assert other == whole


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.id)
def test_response(case: Case) -> None:
    """Each response stream has the outcome of the data, and the same transcript however it is cut."""
    whole, *others = (read_responses(case, pieces) for pieces in cuts(case))
    check(case, whole)
    for other in others:
        assert other == whole


def test_size() -> None:
    """The corpus holds at least 200 malformed requests and 60 malformed responses, each with its source."""
    assert sum(case.refused for case in REQUESTS) >= 200
    assert sum(case.refused for case in RESPONSES) >= 60
    assert all(case.section and case.why for case in [*REQUESTS, *RESPONSES])
