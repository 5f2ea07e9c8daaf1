"""Laws of the codec: what is written is read back, cuts never matter, rubbish never breaks out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.errors import BadResponse, RequestRefused
from balancer.http1 import serialize
from balancer.http1.heads import EndOfMessage, Fields, RequestHead, ResponseHead
from balancer.http1.limits import HttpLimits
from balancer.http1.parser import NEED_DATA, PAUSED, RequestParser, ResponseParser

LIMITS = HttpLimits()
TOKENS = st.text("!#$%&'*+-.^_`|~019AZaz", min_size=1, max_size=12).map(str.encode)
VALUES = st.text([chr(n) for n in (*range(0x21, 0x7F), *range(0x80, 0x100))], max_size=20).map(
    lambda text: text.encode("latin-1")
)
FIELDS = st.lists(st.tuples(TOKENS.map(lambda name: b"X" + name), VALUES), max_size=6)
PATHS = st.text("/abz09-._~!$&'()*+,;=:@", max_size=20).map(lambda text: b"/" + text.encode())
QUERIES = st.none() | st.text("?/abz09=&", max_size=20).map(str.encode)
BODIES = st.binary(max_size=60)
SAMPLES = [
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST http://a:80/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\nX: y\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
]
CUTS = st.lists(st.integers(0, 400), max_size=8)


def cut(data: bytes, marks: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(mark, len(data)) for mark in marks), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def requests(pieces: list[bytes], limits: HttpLimits = LIMITS) -> tuple[list[object], tuple[int, str] | None]:
    """Heads (as tuples), body bytes joined, trailers; and the refusal. A refused body is left out."""
    out: list[object] = []
    body = b""
    parser = RequestParser(limits)
    try:
        for piece in pieces:
            parser.feed(piece)
            while (event := parser.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    out.append((event.method, event.target, event.fields, event.host, event.framing))
                elif isinstance(event, EndOfMessage):
                    out.append((body, event.trailers))
                    body = b""
                elif isinstance(event, bytes):
                    assert event, "an empty body event would be written as the last chunk"
                    body += event
                else:
                    parser.start_next()
    except RequestRefused as refused:
        return out, (refused.status, refused.reason)
    return out, None


def responses(pieces: list[bytes], ended: bool) -> tuple[list[object], str | None]:
    out: list[object] = []
    body = b""
    parser = ResponseParser(LIMITS)
    parser.expect(b"GET")
    try:
        for piece in [*pieces, b""]:
            if piece:
                parser.feed(piece)
            elif ended:
                parser.eof()
            while (event := parser.next_event()) not in (NEED_DATA, PAUSED):
                if isinstance(event, ResponseHead):
                    out.append((event.status, event.reason, event.fields, event.framing))
                elif isinstance(event, EndOfMessage):
                    out.append((body, event.trailers))
                else:
                    assert isinstance(event, bytes)
                    assert event
                    body += event
    except BadResponse as bad:
        return out, bad.reason
    return out, None


@settings(max_examples=60, deadline=None)
@given(method=TOKENS, path=PATHS, query=QUERIES, fields=FIELDS, body=BODIES, chunks=st.booleans(), marks=CUTS)
def test_request_round_trip(
    method: bytes, path: bytes, query: bytes | None, fields: Fields, body: bytes, chunks: bool, marks: list[int]
) -> None:
    """A request that was serialized is parsed back to the same parts, whatever its framing and however cut."""
    method = b"X" + method
    target = path if query is None else path + b"?" + query
    framed = (b"Transfer-Encoding", b"chunked") if chunks else (b"Content-Length", b"%d" % len(body))
    sent = [(b"Host", b"a"), *fields, framed]
    data = serialize.request_head(method, target, sent)
    if chunks:
        data += b"".join(serialize.chunk(piece) for piece in cut(body, marks)) + serialize.last_chunk([(b"X-T", b"1")])
    else:
        data += body
    out, refusal = requests(cut(data, marks))
    assert refusal is None
    (found_method, found_target, found_fields, _, _), (found_body, trailers) = out  # type: ignore[misc]  # two tuples
    assert (found_method, found_target, found_fields, found_body) == (method, target, sent, body)
    assert trailers == ([(b"X-T", b"1")] if chunks else [])


@settings(max_examples=60, deadline=None)
@given(status=st.integers(200, 599), minor=st.integers(0, 1), reason=VALUES, fields=FIELDS, body=BODIES, marks=CUTS)
def test_response_round_trip(
    status: int, minor: int, reason: bytes, fields: Fields, body: bytes, marks: list[int]
) -> None:
    """A response that was serialized is parsed back to the same parts."""
    if status in (204, 304):
        body = b""
    sent = [*fields, (b"Content-Length", b"%d" % len(body))]
    out, problem = responses(cut(serialize.response_head(status, reason, sent, minor) + body, marks), ended=False)
    assert problem is None
    (found_status, found_reason, found_fields, _), (found_body, _) = out  # type: ignore[misc]  # two tuples
    assert (found_status, found_reason, found_fields, found_body) == (status, reason, sent, body)


def mutations(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """One or two samples, with up to four bytes replaced, removed or inserted, hostile ones first."""
    hostile = st.sampled_from(b"\r\n\0 \t:,;\x0b\x7f\xff/0")
    change = st.tuples(st.integers(0, 400), st.sampled_from("rdi"), hostile | st.integers(0, 255))

    def mutated(parts: list[bytes], changes: list[tuple[int, str, int]]) -> bytes:
        data = bytearray(b"".join(parts))
        for at, what, byte in changes:
            at %= len(data) + 1
            data[at : at + (what != "i")] = b"" if what == "d" else bytes([byte])
        return bytes(data)

    return st.builds(
        mutated, st.lists(st.sampled_from(samples), min_size=1, max_size=2), st.lists(change, min_size=0, max_size=4)
    )


@settings(max_examples=300, deadline=None)
@given(data=mutations(SAMPLES), marks=CUTS)
def test_request_rubbish(data: bytes, marks: list[int]) -> None:
    """Whatever arrives: only RequestRefused is raised, and whole, cut and dripped streams come out the same."""
    whole = requests([data])
    assert requests(cut(data, marks)) == whole
    assert requests([bytes([byte]) for byte in data]) == whole


@settings(max_examples=300, deadline=None)
@given(data=mutations(SAMPLES[3:]), marks=CUTS, ended=st.booleans())
def test_response_rubbish(data: bytes, marks: list[int], ended: bool) -> None:
    """Whatever arrives: only BadResponse is raised, and whole, cut and dripped streams come out the same."""
    whole = responses([data], ended)
    assert responses([piece for piece in cut(data, marks) if piece], ended) == whole
    assert responses([bytes([byte]) for byte in data], ended) == whole


@settings(max_examples=150, deadline=None)
@given(
    data=mutations(SAMPLES[:3]),
    marks=CUTS,
    head=st.integers(20, 90),
    line=st.integers(5, 40),
    fields=st.integers(1, 3),
    body=st.integers(0, 6),
)
def test_limits_and_cuts(data: bytes, marks: list[int], head: int, line: int, fields: int, body: int) -> None:
    """Limits are passed at the same byte however a stream is cut."""
    limits = HttpLimits(head=head, request_line=line, fields=fields, body=body, chunk_line=4, chunk_extensions=3)
    whole = requests([data], limits)
    assert requests(cut(data, marks), limits) == whole
    assert requests([bytes([byte]) for byte in data], limits) == whole


@settings(max_examples=40, deadline=None)
@given(prefix=st.sampled_from(SAMPLES[:3]), filler=st.sampled_from(b'aA0 \t:;,\r\n="%/'), size=st.integers(1, 9))
def test_memory_is_bounded(prefix: bytes, filler: int, size: int) -> None:
    """A parser that was asked for everything holds no more than one head, however much of one byte is sent."""
    limits = HttpLimits(head=300, request_line=100, chunk_line=50, trailers=200)
    parser = RequestParser(limits)
    try:
        for piece in [prefix[: -size or None]] + [bytes([filler]) * size] * 100:
            parser.feed(piece)
            while (event := parser.next_event()) is not NEED_DATA:
                if event is PAUSED:
                    parser.start_next()
            assert parser.unread <= limits.head
    except RequestRefused:
        parser.feed(b"x" * 1000)
        assert parser.unread == 0
