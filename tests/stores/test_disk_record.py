"""The file of a stored response: what is written is read, and nothing else ever is."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.stored import Stored
from balancer.stores.disk_record import (
    BLOCK,
    FOOTER_SIZE,
    Corrupt,
    Sums,
    decode_head,
    encode_head,
    prove,
    read_footer,
    read_head,
    read_whole,
    sealed,
    table_size,
    tail,
    whole,
)

NAMES = (
    "age", "arrived", "body", "flags", "if_error", "lifetime", "lines", "nominated", "parts", "reason", "serial",
    "status", "tags", "total", "while_revalidate",
)  # fmt: skip
SECONDS = st.floats(allow_nan=False)
SIZES = st.integers(0, 2**63 - 1)
HEADS = st.builds(
    Stored,
    st.integers(100, 999), st.binary(max_size=9), st.binary(max_size=50), SECONDS, SECONDS, SECONDS, SECONDS, SECONDS,
    st.integers(0, 63), st.binary(max_size=9), st.lists(st.binary(max_size=9), max_size=3).map(tuple), SIZES,
    st.just(b""), st.none() | st.lists(st.tuples(SIZES, SIZES), max_size=3).map(tuple), st.integers(-1, 2**62),
)  # fmt: skip


def fields(stored: Stored) -> list[Any]:
    return [getattr(stored, name) for name in NAMES]


def read(data: bytes) -> tuple[bytes, list[Any]]:
    key, stored = read_whole(data, read_footer(data, len(data)))
    return key, fields(stored)


class RecordTests(SynchronousTestCase):
    """See the module."""

    @given(st.binary(max_size=30), HEADS, st.binary(max_size=300))
    def test_round_trip(self, key: bytes, stored: Stored, body: bytes) -> None:
        """Whatever a response is, it is read as it was written, with its key."""
        data = whole(encode_head(key, stored), body)
        self.assertEqual(read(data), (key, fields(stored.with_body(body))))
        self.assertEqual(decode_head(encode_head(key, stored))[0], key)

    @given(st.data())
    @settings(max_examples=300)
    def test_no_other_byte(self, data: Any) -> None:
        """A file with any byte changed, cut off anywhere, or with anything behind it, is corrupt."""
        key, stored = b"http://a.org/\nmain", Stored(200, b"OK", b"A: b\r\n", 1.0, 2.0, 3.0, tags=(b"t",))
        file = bytearray(whole(encode_head(key, stored), data.draw(st.binary(max_size=40))))
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(file) - 1))
            file[place] ^= data.draw(st.integers(1, 255))
        elif data.draw(st.booleans()):
            del file[data.draw(st.integers(0, len(file) - 1)) :]
        else:
            file += data.draw(st.binary(min_size=1, max_size=60))
        with self.assertRaises(Corrupt):
            read(bytes(file))

    @given(st.binary(max_size=200))
    def test_nothing_of_ours(self, data: bytes) -> None:
        """Any bytes are corrupt, as a file and as a head; nothing else is raised."""
        with self.assertRaises(Corrupt):
            read(data)
        with self.assertRaises(Corrupt):
            decode_head(data)

    def test_replaced_head(self) -> None:
        """The last head of a file counts; where that is torn the file is corrupt."""
        old, new = Stored(200, b"OK", b"", 1.0, 0.0, 1.0), Stored(200, b"OK", b"New: 1\r\n", 2.0, 0.0, 5.0)
        file = whole(encode_head(b"k", old), b"body")
        footer = read_footer(file, len(file))
        file += sealed(footer.body, footer.table_check, len(file), encode_head(b"k", new))
        self.assertEqual(read(file), (b"k", fields(new.with_body(b"body"))))
        for size in range(len(file) - 1, len(file) - 60, -1):
            with self.assertRaises(Corrupt):
                read(file[:size])

    def test_pieces(self) -> None:
        """A body that comes in pieces has the same table as one that comes at once, and each block is proven."""
        body = Random(1).randbytes(BLOCK * 5 // 2)
        at_once, pieces = Sums(), Sums()
        at_once.update(body)
        for start in range(0, len(body), 777):
            pieces.update(body[start : start + 777])
        table = pieces.table()
        self.assertEqual((table, len(table)), (at_once.table(), table_size(len(body))))
        head = encode_head(b"k", Stored(200, b"OK", b"", 1.0, 0.0, 1.0))
        file = body + tail(pieces, head)
        footer = read_footer(file[-FOOTER_SIZE:], len(file))
        self.assertEqual(read_head(file[-FOOTER_SIZE - len(head) :], footer)[0], b"k")
        for first in range(3):
            block = body[first * BLOCK : (first + 1) * BLOCK]
            prove(block, first, table, footer.table_check)
            prove(body[first * BLOCK :], first, table, footer.table_check)
            with self.assertRaises(Corrupt):
                prove(block[:-1] + b"x", first, table, footer.table_check)
            with self.assertRaises(Corrupt):
                prove(block, (first + 1) % 3, table, footer.table_check)
        with self.assertRaises(Corrupt):
            prove(body, 0, table[:-1] + b"x", footer.table_check)
