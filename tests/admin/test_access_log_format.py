"""Records as lines."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.access_log_format import FORMATS, LONGEST_VALUE, as_json, combined, common, format_named
from balancer.core.record import ConnectionRecord, ExchangeRecord, SessionRecord
from balancer.core.termination import Termination
from balancer.errors import UnknownName


def exchange(**values: object) -> ExchangeRecord:
    """An exchange that went well, but for the values given."""
    defaults: dict[str, object] = {
        "started": 971211336.25, "listener": "web", "client": "203.0.113.7", "client_port": 4711, "route": "api",
        "upstream": "api", "backend": "10.0.0.1:80", "attempts": 1, "bytes_in": 5, "bytes_out": 2326, "queue": 0.0,
        "connect": 0.001, "first_byte": 0.0123456789, "total": 0.5, "termination": Termination.DONE, "method": b"GET",
        "target": b"/apache_pb.gif?x", "host": b"example.com", "minor": 0, "status": 200, "peer": "10.9.9.9",
        "request_id": b"abc", "referer": b"http://a/", "user_agent": b"Mozilla/4.08 [en]",
    }  # fmt: skip
    record = ExchangeRecord(0.0)
    for name, value in (defaults | values).items():
        setattr(record, name, value)
    return record


PAIRS = (
    b"end=done listener=web route=api upstream=api backend=10.0.0.1:80 attempts=1 queue=0.000000 connect=0.001000 "
    b"first_byte=0.012346 total=0.500000 in=5 host=example.com id=abc cache=- reason=-\n"
)
NCSA = b'203.0.113.7 - - [10/Oct/2000:20:55:36 +0000] "GET /apache_pb.gif?x HTTP/1.0" 200 2326 '
NCSA_LINE = re.compile(
    rb'[!-~]+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(?:[^"\\]|\\x[0-9A-F]{2})*" (?:\d{3}|-) (?:\d+|-)'
    rb'(?: "(?:[^"\\]|\\x[0-9A-F]{2})*" "(?:[^"\\]|\\x[0-9A-F]{2})*")?'
    rb'(?: [a-z_]+=(?:[!#-\[\]-~]+|"(?:[^"\\]|\\x[0-9A-F]{2})*"))+\n'
)


class TextTests(SynchronousTestCase):
    @given(st.floats(min_value=0, max_value=1e6) | st.floats(min_value=-10, max_value=10))
    def test_durations_have_six_digits(self, seconds: float) -> None:
        """As ``.6f`` writes them, but for the last digit of a half."""
        record = ConnectionRecord(0.0, "l")
        record.total = seconds
        text = re.search(rb" total=(-?[0-9]+\.[0-9]{6}) ", common(record))
        assert text is not None
        self.assertLess(abs(float(text[1]) - seconds), 0.51e-6 + 1e-9 * abs(seconds))

    def test_common_is_ncsa_with_pairs_behind(self) -> None:
        """The first seven fields are NCSA's, so its tools read them; ours follow."""
        self.assertEqual(common(exchange()), NCSA + PAIRS)

    def test_the_name_that_was_asked_for(self) -> None:
        """Where TLS passed through, the name stands in the place of a target, and in JSON under "sni"."""
        record = ConnectionRecord(0.0, "in", "192.0.2.1")
        self.assertIn(b'"TCP in -"', common(record))
        self.assertEqual(json.loads(as_json(record))["sni"], "")
        record.sni = b'a"b.example'
        self.assertIn(rb'"TCP in a\x22b.example"', common(record))
        self.assertEqual(json.loads(as_json(record))["sni"], 'a"b.example')
        self.assertNotIn("sni", json.loads(as_json(exchange())))

    def test_combined_has_referer_and_agent_between(self) -> None:
        """Referer and User-Agent stand where NCSA's combined format has them."""
        self.assertEqual(combined(exchange()), NCSA + b'"http://a/" "Mozilla/4.08 [en]" ' + PAIRS)

    def test_what_is_missing_is_a_hyphen(self) -> None:
        """A request that never had a line, a route or a response still makes a whole line."""
        record = ExchangeRecord(0.0, client="203.0.113.7", listener="web")
        record.end(Termination.CLIENT_HEAD_TIMEOUT, 10.0, "no head within 10 s")
        self.assertEqual(
            combined(record),
            b'203.0.113.7 - - [01/Jan/1970:00:00:00 +0000] "-" - - "-" "-" end=client_head_timeout listener=web '
            b"route=- upstream=- backend=- attempts=0 queue=- connect=- first_byte=- total=10.000000 in=0 host=- id=- "
            b'cache=- reason="no head within 10 s"\n',
        )

    def test_what_the_cache_decided(self) -> None:
        """The cache's word stands in the text formats, and in JSON beside why."""
        record = exchange(cache="revalidated", cache_detail="it was stale")
        self.assertIn(b" id=abc cache=revalidated reason=-\n", common(record))
        told = json.loads(as_json(record))
        self.assertEqual((told["cache"], told["cache_detail"]), ("revalidated", "it was stale"))

    def test_a_tcp_connection_has_the_same_line(self) -> None:
        """A TCP connection's request is its listener, and it has neither host nor id."""
        record = ConnectionRecord(0.0, listener="db", client="203.0.113.7")
        record.bytes_out, record.attempts = 7, 2
        record.end(Termination.TUNNEL_IDLE, 3600.0)
        self.assertEqual(
            common(record),
            b'203.0.113.7 - - [01/Jan/1970:00:00:00 +0000] "TCP db -" - 7 end=tunnel_idle listener=db route=- '
            b"upstream=- backend=- attempts=2 queue=- connect=- first_byte=- total=3600.000000 in=0 reason=-\n",
        )

    def test_a_udp_session_has_the_same_line(self) -> None:
        """A UDP session says how many datagrams went which way, in the text formats and in JSON."""
        record = SessionRecord(0.0, "dns", "203.0.113.7", 4711)
        record.bytes_in, record.bytes_out, record.datagrams_in, record.datagrams_out = 50, 120, 1, 2
        record.end(Termination.DONE, 0.25)
        self.assertEqual(
            common(record),
            b'203.0.113.7 - - [01/Jan/1970:00:00:00 +0000] "UDP dns -" - 120 end=done listener=dns route=- '
            b"upstream=- backend=- attempts=0 queue=- connect=- first_byte=- total=0.250000 in=50 datagrams_in=1 "
            b"datagrams_out=2 reason=-\n",
        )
        told = json.loads(as_json(record))
        self.assertEqual((told["kind"], told["datagrams_in"], told["datagrams_out"]), ("udp", 1, 2))

    def test_hostile_bytes_are_escaped(self) -> None:
        """Line ends, quotes, backslashes, controls and bytes beyond ASCII cannot leave their field."""
        agent = b'a"b\\c\r\n1.2.3.4 - - \x1b[2J\x00\x7f\xff'
        line = combined(exchange(user_agent=agent, target=b'/"'))
        self.assertIn(rb'"a\x22b\x5Cc\x0D\x0A1.2.3.4 - - \x1B[2J\x00\x7F\xFF"', line)
        self.assertIn(rb'"GET /\x22 HTTP/1.0"', line)

    def test_a_value_cannot_pretend_to_be_a_pair(self) -> None:
        """A value with a space or a quote is quoted, so ``end=`` inside it is no field."""
        line = common(exchange(host=b"a end=done", reason='x" end=done'))
        self.assertIn(b'host="a end=done" ', line)
        self.assertIn(rb'reason="x\x22 end=done"', line)
        self.assertIn(b'route="-"', common(exchange(route="-")))


class JsonTests(SynchronousTestCase):
    def test_an_exchange(self) -> None:
        """Every fact of the record is there, times in RFC 3339 and seconds, absent ones null."""
        record = exchange(connect=None, decisions=["route api", "backend 10.0.0.1:80 (first)"])
        self.assertEqual(json.loads(as_json(record)), {
            "time": "2000-10-10T20:55:36.250Z", "kind": "http", "listener": "web", "client": "203.0.113.7",
            "client_port": 4711, "end": "done", "reason": "", "route": "api", "upstream": "api",
            "backend": "10.0.0.1:80", "attempts": 1, "bytes_in": 5, "bytes_out": 2326, "queue": 0.0, "connect": None,
            "first_byte": 0.012346, "total": 0.5, "peer": "10.9.9.9", "scheme": "http", "method": "GET",
            "host": "example.com", "target": "/apache_pb.gif?x", "protocol": "HTTP/1.0", "status": 200,
            "reused": False, "request_id": "abc", "referer": "http://a/", "user_agent": "Mozilla/4.08 [en]",
            "cache": "", "cache_detail": "",
            "decisions": ["route api", "backend 10.0.0.1:80 (first)"],
        })  # fmt: skip

    def test_a_tcp_connection(self) -> None:
        """The keys of a TCP connection are the ones that are not HTTP's."""
        members = json.loads(as_json(ConnectionRecord(0.0, listener="db")))
        self.assertEqual((members["kind"], members["listener"], members["end"]), ("tcp", "db", None))
        self.assertNotIn("method", members)

    def test_bytes_that_are_no_utf8_stay_readable(self) -> None:
        """Text stays text, other bytes are written as what they are."""
        members = json.loads(as_json(exchange(user_agent="caf\u00e9\u2028".encode(), referer=b"\xff\n\x00")))
        self.assertEqual(members["user_agent"], "caf\u00e9\u2028")
        self.assertEqual(members["referer"], "\\xff\n\x00")

    def test_an_unknown_format_names_the_known_ones(self) -> None:
        """The message of a wrong name lists the right ones."""
        self.assertIs(format_named("json"), as_json)
        self.assertIn("common, combined, json", str(self.assertRaises(UnknownName, format_named, "xml")))


hostile = st.binary(max_size=40) | st.sampled_from([b'"\r\n', b"\\", b'\\"', b"\n" * 3, b"\xe2\x80\xa8", b"a" * 9000])
hostile_text = st.text(max_size=20) | st.sampled_from(["\ud800", "\n", '"', "-", " end=done"])


class LineLawTests(SynchronousTestCase):
    @settings(max_examples=250, deadline=None)
    @given(
        st.sampled_from(sorted(FORMATS)), st.tuples(hostile, hostile, hostile, hostile, hostile, hostile),
        st.tuples(hostile_text, hostile_text, hostile_text, hostile_text), st.sampled_from([None, *Termination]),
        st.booleans(),
    )  # fmt: skip
    def test_one_record_is_one_line(
        self, name: str, data: tuple[bytes, ...], text: tuple[str, ...], end: Termination | None, tcp: bool
    ) -> None:
        """Whatever peers sent, a line is ASCII without control characters, ends once, is bounded and can be parsed."""
        record: ConnectionRecord = ConnectionRecord(1.5) if tcp else exchange(
            method=data[0], target=data[1], host=data[2], request_id=data[3], referer=data[4], user_agent=data[5]
        )  # fmt: skip
        record.listener, record.client, record.reason, record.backend = text
        record.termination = end
        line = FORMATS[name](record)
        self.assertRegex(line, rb"\A[\x20-\x7e]+\n\Z")
        self.assertLess(len(line), 12 * 4 * (LONGEST_VALUE + 10))
        if name == "json":
            members = json.loads(line)
            self.assertEqual(members["end"], None if end is None else end.value)
        else:
            self.assertIsNotNone(NCSA_LINE.fullmatch(line), line)
            self.assertIn(b" end=%b " % (end.value if end else "-").encode(), line)
