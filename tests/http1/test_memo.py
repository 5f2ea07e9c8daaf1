"""A head that came before is read as it was the first time, and a memo never grows beyond its bound."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.errors import BadResponse, RequestRefused
from balancer.http1.heads import RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.memo import LONGEST, REQUESTS, RESPONSES, ROOM, Memo, RequestMemo
from balancer.http1.parser import NEED_DATA, PAUSED, RequestParser, ResponseParser
from balancer.testing.corpus import Case, load

CORPUS = Path(__file__).with_name("corpus")
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def said(head: RequestHead | ResponseHead) -> tuple[object, ...]:
    """All that a head says, beside what its ``repr`` does."""
    usual = (head.fields, head.connection, head.keep_alive, head.minor, head.framing)
    if isinstance(head, ResponseHead):
        return usual
    return (*usual, head.path, head.query, head.expect_continue, head.upgrade, head.get(b"host"))


def told(parser: RequestParser | ResponseParser) -> list[object]:
    """Every event as text, in order, up to the end or the refusal."""
    out: list[object] = []
    try:
        while (event := parser.next_event()) is not NEED_DATA:
            out.append(repr(event))
            if isinstance(event, RequestHead | ResponseHead):
                out.append(said(event))
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
    memo = RequestMemo()
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
    memo: Memo[ResponseHead] = Memo(RESPONSES)
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


def test_whole_takes_nothing_but_one_whole_request() -> None:
    """A body that is not all here, bytes that follow and what is refused are left to ``feed``."""
    parser = RequestParser(HttpLimits())
    for _ in range(2):  # new, and known
        for data in (b"", GET[:-1], GET + b"G", POST, POST + b"a", POST + b"abc", b"\r\n" + GET, GET[:16] + b"\r\n"):
            assert parser.whole(data) is None, data
        for data, body in ((GET, b""), (POST + b"ab", b"ab"), (GET, b"")):
            taken = parser.whole(data)
            assert taken is not None
            assert taken[1] == body
            parser.start_next()
    parser.feed(GET + POST + b"ab")
    assert len(told(parser)) > 3


def test_whole_waits_for_what_is_under_way() -> None:
    """In the middle of a head or of a body nothing is taken whole, whatever it looks like."""
    memo = RequestMemo()
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
    memo: Memo[ResponseHead] = Memo(RESPONSES)
    for method, framing in ((b"GET", "length=2"), (b"HEAD", "none"), (b"GET", "length=2")):
        parser = ResponseParser(HttpLimits(), memo)
        parser.expect(method)
        if method == b"HEAD":
            assert parser.whole(OK) is None
        parser.feed(OK)
        assert framing in str(parser.next_event())


LINES = st.sampled_from([
    b"GET / HTTP/1.1", b"GET /a?b HTTP/1.1", b"GET /%41 HTTP/1.0", b"HEAD / HTTP/1.7", b"POST / HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"OPTIONS http://b HTTP/1.1", b"GET http://b:80/x HTTP/1.1",
    b"GET http://b:0/ HTTP/1.0", b"GET ftp://b/ HTTP/1.1", b"GET * HTTP/1.1", b"GET /%4 HTTP/1.1", b"GET / HTTP/2.0",
    b"GET /" + b"a" * 60 + b" HTTP/1.1", b"LONGESTMETHOD / HTTP/1.1", b"G T / HTTP/1.1", b"GET /\r HTTP/1.1", b"",
])  # fmt: skip
SECTIONS = st.lists(
    st.sampled_from([
        b"Host: a", b"Host: b:8080", b"Host: a,b", b"host:a", b"Content-Length: 2", b"Content-Length: 0",
        b"Content-Length: 99", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
        b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Connection: host", b"Upgrade: ws",
        b"Expect: 100-continue", b"Content_Length: 2", b"X: y ", b" X: y", b"X : y", b"X:\0", b"X: " + b"x" * 90,
    ]),
    max_size=5,
).map(lambda lines: b"".join([line + b"\r\n" for line in lines]))  # fmt: skip
HEADS = st.tuples(LINES, SECTIONS | st.just(b"Host: a\r\n"))
TIGHT = HttpLimits(request_line=60, head=150, fields=3, method=9, body=50)


def fed(data: bytes, memo: RequestMemo, marks: list[int]) -> list[object]:
    """What a stream tells that comes in pieces, each of them taken whole where it can be."""
    parser = RequestParser(TIGHT, memo)
    out: list[object] = []
    edges = [0, *sorted({mark for mark in marks if 0 < mark < len(data)}), len(data)]
    for start, end in zip(edges, edges[1:], strict=False):
        whole = parser.whole(data[start:end])
        if whole is None:
            parser.feed(data[start:end])
        else:
            head, body = whole
            out += [repr(head), said(head), *([body] if body else []), "EndOfMessage([])", repr(PAUSED)]
            parser.start_next()
        out += told(parser)
        if out and isinstance(out[-1], tuple) and len(out[-1]) == 2:
            break  # refused
    joined: list[object] = []
    for event in out:  # a body's bytes may come in more pieces
        event = bytes_of(event) if isinstance(event, str) and event.startswith(("b'", 'b"')) else event
        if isinstance(event, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += event
        else:
            joined.append(event)
    return joined


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(HEADS, st.lists(st.integers(0, 250), max_size=3)), max_size=8))
def test_what_was_remembered_is_what_would_be_read(
    streams: list[tuple[tuple[bytes, bytes], list[int]]],
) -> None:
    """Whatever came before, and wherever it is cut: a head tells what it tells to a parser that remembers nothing, and
    so does the same request line with the field lines of any other."""
    memo = RequestMemo()
    lines = [line for (line, _), _ in streams]
    sections = [section for (_, section), _ in streams]
    for (line, section), marks in [*streams, *zip(zip(lines[::-1], sections, strict=True), [[]] * 8, strict=False)]:
        data = line + b"\r\n" + section + b"\r\n" + b"ab" + GET
        assert fed(data, memo, marks) == fed(data, RequestMemo(), [])
        whole = data[: -len(GET)]
        assert fed(whole, memo, []) == fed(whole, RequestMemo(), [len(line) + 1])


@given(st.integers(0, len(GET) - 1), st.sampled_from([b"\0", b"\r", b"\n", b" ", b":", b"a"]))
def test_one_byte_is_another_head(place: int, byte: bytes) -> None:
    """A head that differs in one byte from one that is known is judged by itself."""
    memo = RequestMemo()
    fed(GET, memo, [])
    data = GET[:place] + byte + GET[place + 1 :]
    assert fed(data, memo, []) == fed(data, RequestMemo(), [])


def test_bounds() -> None:
    """However many heads come, no more are kept than the bound, and none that is longer than the longest."""
    memo = RequestMemo()
    parser = RequestParser(HttpLimits(), memo)
    for number in range(2 * REQUESTS + 100):
        parser.feed(
            GET.replace(b"/ ", b"/%d " % number)
            + GET.replace(b"a\r", b"a%d\r" % number)
            + GET.replace(b"a\r", b"a" * 200 + b"\r\nX: " + b"x" * LONGEST + b"\r")
        )
        told(parser)
        for kept in (memo.heads, memo.fields):
            assert len(kept) <= 2 * REQUESTS
    assert min(len(memo.heads), len(memo.fields)) > REQUESTS
    assert memo.heads.get(GET.replace(b"a\r", b"a" * 200 + b"\r\nX: " + b"x" * LONGEST + b"\r")) is None


def test_what_is_counted_is_what_is_taken() -> None:
    """Heads of as many fields as fit take no more memory than the memo's room, however small the fields are."""
    memo = RequestMemo()
    parser = RequestParser(HttpLimits(), memo)
    room = 4 * ROOM * REQUESTS  # two memos of two halves
    tracemalloc.start()
    try:
        for number in range(1500):
            parser.feed(GET[:-2] + b"".join([b"%d%d:\r\n" % (field + 1000, number) for field in range(98)]) + b"\r\n")
            told(parser)
        assert room / 8 < tracemalloc.get_traced_memory()[0] < room
    finally:
        tracemalloc.stop()


def test_what_is_used_outlives_what_is_not() -> None:
    """Strangers who fill a memo cannot make it forget what comes again meanwhile."""
    memo: Memo[int] = Memo(8)
    memo.keep(b"known", 1)
    for number in range(100):
        memo.keep(b"%d" % number, 2)
        if number % 4 == 0:
            assert memo.get(b"known") == 1
    assert memo.get(b"0") is None
