"""A head that came before is read as it was the first time, and a memo never grows beyond its bound."""

from pathlib import Path

import pytest

from balancer.errors import BadResponse, RequestRefused
from balancer.http1.heads import RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.memo import ENTRIES, LONGEST, HeadMemo
from balancer.http1.parser import NEED_DATA, PAUSED, RequestParser, ResponseParser
from balancer.testing.corpus import Case, load

CORPUS = Path(__file__).with_name("corpus")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def told(parser: RequestParser | ResponseParser) -> list[object]:
    """Every event as text, in order, up to the end or the refusal."""
    out: list[object] = []
    try:
        while (event := parser.next_event()) is not NEED_DATA:
            out.append(repr(event))
            if isinstance(event, RequestHead | ResponseHead):
                out.append((event.fields, event.connection, event.keep_alive))
            if event is PAUSED:
                if not isinstance(parser, RequestParser):
                    break
                parser.start_next()
    except (RequestRefused, BadResponse) as refusal:
        out.append((refusal.reason, refusal.section))
    return out


@pytest.mark.parametrize("case", load(CORPUS, "requests"), ids=lambda case: case.id)
def test_a_request_read_again(case: Case) -> None:
    """Every request stream of the corpus tells the same with a memo that has seen it, and taken whole."""
    limits = HttpLimits(**case.limits)
    memo: HeadMemo[RequestHead] = HeadMemo()
    streams = []
    for _ in range(2):
        parser = RequestParser(limits, memo)
        parser.feed(case.data)
        streams.append(told(parser))
    assert streams[0] == streams[1]
    parser = RequestParser(limits, memo)
    whole = parser.whole(case.data)
    if whole is None:
        parser.feed(case.data)
        assert told(parser) == streams[0]
    else:
        head, body = whole
        assert (repr(head), body or None) == (streams[0][0], eval_body(streams[0]))
        assert parser.next_event() is PAUSED


def eval_body(stream: list[object]) -> bytes | None:
    """The body's bytes in a stream of texts, if it has any."""
    found = [text for text in stream if isinstance(text, str) and text.startswith(("b'", 'b"'))]
    return b"".join(map(bytes_of, found)) or None


def bytes_of(text: str) -> bytes:
    """The bytes whose ``repr`` this is."""
    return text[2:-1].encode("latin-1").decode("unicode_escape").encode("latin-1")


@pytest.mark.parametrize("case", load(CORPUS, "responses"), ids=lambda case: case.id)
def test_a_response_read_again(case: Case) -> None:
    """Every response stream of the corpus tells the same with a memo that has seen it, and taken whole."""
    limits = HttpLimits(**case.limits)
    memo: HeadMemo[ResponseHead] = HeadMemo()
    warm = ResponseParser(limits, memo)
    warm.expect(b"GET")  # heads are remembered from GET and asked for by the case's method
    warm.feed(case.data)
    told(warm)
    streams = []
    for using in (None, memo):
        parser = ResponseParser(limits, using)
        parser.expect(case.method)
        parser.feed(case.data)
        streams.append(told(parser))
    assert streams[0] == streams[1]
    parser = ResponseParser(limits, memo)
    parser.expect(case.method)
    whole = parser.whole(case.data)
    if whole is not None:
        assert (repr(whole[0]), whole[1] or None) == (streams[0][0], eval_body(streams[0]))
        assert parser.idle


def test_whole_takes_nothing_it_does_not_know() -> None:
    """A new head, a body that is not all here, and bytes that follow are left to ``feed``."""
    parser = RequestParser(HttpLimits())
    assert parser.whole(GET) is None
    parser.feed(GET + POST + b"ab")
    assert len(told(parser)) > 3
    for data in (GET[:-1], GET + b"G", POST, POST + b"a", POST + b"abc", b"\r\n" + GET):
        assert parser.whole(data) is None, data
    for data, body in ((GET, b""), (POST + b"ab", b"ab"), (GET, b"")):
        taken = parser.whole(data)
        assert taken is not None
        assert taken[1] == body
        parser.start_next()


def test_whole_waits_for_what_is_under_way() -> None:
    """In the middle of a head or of a body nothing is taken whole, whatever it looks like."""
    memo: HeadMemo[RequestHead] = HeadMemo()
    first = RequestParser(HttpLimits(), memo)
    first.feed(GET + POST + b"ab")
    told(first)
    for begun in (GET[:5], POST, POST + b"a", b"\x00"):
        parser = RequestParser(HttpLimits(), memo)
        parser.feed(begun)
        told(parser)
        assert parser.whole(GET) is None, begun


def test_a_head_tells_nothing_of_another_method() -> None:
    """The head of a response to GET does not say how the same head ends in answer to HEAD."""
    memo: HeadMemo[ResponseHead] = HeadMemo()
    for method, framing in ((b"GET", "length=2"), (b"HEAD", "none"), (b"GET", "length=2")):
        parser = ResponseParser(HttpLimits(), memo)
        parser.expect(method)
        if method == b"HEAD":
            assert parser.whole(OK) is None
        parser.feed(OK)
        assert framing in str(parser.next_event())


def test_bounds() -> None:
    """However many heads come, no more are kept than the bound, and none that is longer than the longest."""
    memo: HeadMemo[RequestHead] = HeadMemo()
    parser = RequestParser(HttpLimits(), memo)
    for number in range(3 * ENTRIES):
        parser.feed(
            GET.replace(b"/ ", b"/%d " % number) + GET.replace(b"a\r", b"a" * 200 + b"\r\nX: " + b"x" * LONGEST + b"\r")
        )
        told(parser)
        assert 0 < len(memo) <= ENTRIES
        assert max(map(len, memo)) <= LONGEST
