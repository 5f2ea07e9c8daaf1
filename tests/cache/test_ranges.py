"""Range and Content-Range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.messages import PlainRequest
from balancer.cache.ranges import FAR, GAP, MAX_RANGES, Span, content_range, parse, satisfied, wanted


def request(*values: bytes, method: bytes = b"GET") -> PlainRequest:
    """One with these Range lines."""
    return PlainRequest(method, b"a", b"/", None, [(b"Range", value) for value in values])


def spans(value: bytes, total: int) -> list[Span] | None:
    """What a Range is of so many bytes."""
    specs = parse(value)
    return None if specs is None else satisfied(specs, total)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-499", [(0, 500)]),
        (b"bytes=500-999", [(500, 1000)]),
        (b"BYTES=0-0", [(0, 1)]),
        (b"bytes=9500-", [(9500, 10000)]),
        (b"bytes=-500", [(9500, 10000)]),
        (b"bytes=-1", [(9999, 10000)]),
        (b"bytes=-10000", [(0, 10000)]),
        (b"bytes=-99999", [(0, 10000)]),
        (b"bytes=0-", [(0, 10000)]),
        (b"bytes=9999-20000", [(9999, 10000)]),
        (b"bytes=0-0,-1", [(0, 1), (9999, 10000)]),
        (b"bytes=500-600,601-999", [(500, 1000)]),
        (b"bytes=500-700,601-999", [(500, 1000)]),
        (b"bytes= 0-0 ,\t-1 ,, ", [(0, 1), (9999, 10000)]),
        (b"bytes=9000-9001,0-1", [(9000, 9002), (0, 2)]),
        (b"bytes=9000-9001,0-1,9002-9010", [(9000, 9011), (0, 2)]),
        (b"bytes=0-1,20000-", [(0, 2)]),
        (b"bytes=00000000000000000000000000001-2", [(1, 3)]),
        (b"bytes=1-" + b"9" * 5000, [(1, 10000)]),
        (b"bytes=-" + b"9" * 5000, [(0, 10000)]),
        (b"bytes=10000-", []),
        (b"bytes=10000-10001", []),
        (b"bytes=-0", []),
        (b"bytes=" + b"9" * 5000 + b"-", []),
        (b"bytes=" + b"9" * 20 + b"-" + b"9" * 20, []),
        (b"bytes=5-4", None),
        (b"bytes=0-1,5-4", None),
        (b"bytes=", None),
        (b"bytes=,", None),
        (b"bytes=-", None),
        (b"bytes=--1", None),
        (b"bytes=1", None),
        (b"bytes=a-b", None),
        (b"bytes=0-1;", None),
        (b"bytes=0 - 1", None),
        (b"bytes=0-1 2-3", None),
        (b"bytes=+1-2", None),
        (b"bytes=0x1-2", None),
        (b"bytes 0-1", None),
        (b"bytes =0-1", None),
        (b" bytes=0-1", None),
        (b"items=0-1", None),
        (b"byte=0-1", None),
        (b"0-1", None),
        (b"", None),
        (b"bytes=0-1\x00", None),
        ("bytes=٠-١".encode(), None),
    ],
)
def test_range(value: bytes, expected: list[Span] | None) -> None:
    """RFC 9110 section 14.1.2, its examples among them: what it is of 10000 bytes, or nothing, or no range at all."""
    assert spans(value, 10000) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes 42-1233/1234", (42, 1234, 1234)),
        (b"bytes 42-1233/*", (42, 1234, -1)),
        (b"Bytes 0-0/1", (0, 1, 1)),
        (b"bytes */1234", None),
        (b"bytes 5-4/10", None),
        (b"bytes 0-10/10", None),
        (b"bytes 0-9/0", None),
        (b"bytes  0-9/10", None),
        (b"bytes=0-9/10", None),
        (b"bytes 0-9", None),
        (b"bytes -9/10", None),
        (b"items 0-9/10", None),
        (b"bytes 0-9/10, bytes 20-29/30", None),
        (b"bytes 0-" + b"9" * 5000 + b"/*", None),
        (b"", None),
    ],
)
def test_content_range(value: bytes, expected: tuple[int, int, int] | None) -> None:
    """RFC 9110 section 14.4, its examples among them; what is invalid says nothing."""
    assert content_range(value) == expected


class RequestTests(SynchronousTestCase):
    """Which requests are for ranges at all."""

    def test_get_alone(self) -> None:
        """Range is ignored but for GET (section 14.2)."""
        self.assertEqual(wanted(request(b"bytes=0-1")), [(0, 2)])
        self.assertEqual(wanted(request(b"bytes=5-")), [(5, FAR + 1)])
        for method in (b"HEAD", b"QUERY", b"POST"):
            self.assertIsNone(wanted(request(b"bytes=0-1", method=method)))

    def test_one_line(self) -> None:
        """It is no list: of two lines neither counts."""
        self.assertIsNone(wanted(request()))
        self.assertIsNone(wanted(request(b"bytes=0-1", b"bytes=2-3")))

    def test_too_many(self) -> None:
        """More than the limit is ignored, and so are more commas than such a list can need."""
        self.assertEqual(len(parse(b"bytes=" + b"0-1," * MAX_RANGES) or ()), MAX_RANGES)
        self.assertIsNone(parse(b"bytes=" + b"0-1," * MAX_RANGES + b"0-1"))
        self.assertIsNone(parse(b"bytes=0-1" + b"," * 60000))


class CoalescingTests(SynchronousTestCase):
    """Section 15.3.7.2."""

    def test_gap(self) -> None:
        """A gap that costs less than another part is sent; one byte more is not."""
        self.assertEqual(satisfied([(0, 10), (10 + GAP, 500)], 1000), [(0, 10), (10 + GAP, 500)])
        self.assertEqual(satisfied([(0, 10), (9 + GAP, 500)], 1000), [(0, 500)])

    def test_within(self) -> None:
        """A range within another is that other."""
        self.assertEqual(satisfied([(100, 110), (0, 900)], 1000), [(0, 900)])

    def test_empty(self) -> None:
        """Of nothing there is nothing."""
        self.assertEqual(satisfied([(0, 1), (-1, 5)], 0), [])


_bytes_or_like = st.one_of(
    st.binary(max_size=50),
    st.lists(st.sampled_from([b"bytes", b"=", b"-", b",", b" ", b"0", b"17", b"9" * 20, b"/", b"*"])).map(b"".join),
)
_specs = st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 300)), min_size=1, max_size=MAX_RANGES)


class Laws(SynchronousTestCase):
    """For all bytes and ranges."""

    @given(_bytes_or_like, st.integers(0, 30))
    def test_never_raises(self, value: bytes, total: int) -> None:
        """Whatever a value is, what comes out lies within the representation and none of it is empty."""
        for prefix in (b"", b"bytes="):
            for first, end in spans(prefix + value, total) or ():
                self.assertTrue(0 <= first < end <= total)
        part = content_range(value)
        self.assertTrue(part is None or 0 <= part[0] < part[1])

    @given(_specs, st.integers(0, 1000))
    def test_all_and_no_more(self, asked: list[tuple[int, int]], total: int) -> None:
        """Every byte asked for is in exactly one of the spans, and they have no other but those of small gaps."""
        value = b"bytes=" + b",".join(b"%d-%d" % (first, first + more) for first, more in asked)
        there = {at for first, more in asked for at in range(first, first + more + 1) if at < total}
        given_out = [at for first, end in spans(value, total) or () for at in range(first, end)]
        self.assertEqual(len(given_out), len(set(given_out)))
        self.assertLessEqual(there, set(given_out))
        extra = sorted(set(given_out) - there)
        for at in extra:
            before = max(one for one in there if one < at)
            after = min(one for one in there if one > at)
            self.assertLess(after - before - 1, GAP)
