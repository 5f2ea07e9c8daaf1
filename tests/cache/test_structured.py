"""Dictionaries of structured fields."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.structured import Item, dictionary


class DictionaryTests(SynchronousTestCase):
    """RFC 8941 section 4.2.2."""

    def is_read(self, *values: bytes, **members: Item) -> None:
        """These values are a dictionary with these members (``_`` stands for ``-``)."""
        expected = {name.replace("_", "-").encode("ascii"): item for name, item in members.items()}
        self.assertEqual(dictionary(list(values)), expected)

    def test_members(self) -> None:
        """Members have integers, strings, tokens, booleans, or are true without a value."""
        self.is_read(b"max-age=600, no-store", max_age=600, no_store=True)
        self.is_read(b'a="x, y", b=token/1:2, c=?0,d=?1 ,\te=-5', a="x, y", b="token/1:2", c=False, d=True, e=-5)
        self.is_read(b'a="\\"\\\\"', a='"\\')

    def test_uninteresting(self) -> None:
        """Decimals and byte sequences are read and stand for nothing; an inner list is one whatever is in it."""
        self.is_read(b"a=1.5, b=:aGVsbG8=:, c=(), d=( 1  x;y=2 )", a=None, b=None, c=(), d=())

    def test_parameters(self) -> None:
        """Parameters are dropped."""
        self.is_read(b'max-age=600;x;y=1; z="q", no-store;a=?0', max_age=600, no_store=True)
        self.is_read(b"a=(1;b 2);c=3", a=())

    def test_last_wins(self) -> None:
        """Of several members with one key the last counts, on several lines too."""
        self.is_read(b"a=1, b, a=2", a=2, b=True)
        self.is_read(b"a=1", b"a=3", a=3)

    def test_empty(self) -> None:
        """Nothing is an empty dictionary."""
        self.assertEqual(dictionary([b""]), {})
        self.assertEqual(dictionary([b"  "]), {})

    def test_malformed(self) -> None:
        """What is no dictionary is refused whole."""
        for value in (
            b"max-age=10000, &&&&&", b"MaX-aGe=3600", b"max-age =100", b"max-age= 100", b"max-age=", b"a,", b"a,,b",
            b",a", b"a b", b"a=1x", b"a=1.", b"a=1.2345", b"a=1234567890123456", b"a=1.2.3", b'a="x', b'a="\\x"',
            b'a="\xe9"', b"a=?2", b"a=?", b"a=:!:", b"a=:x", b"a=(1", b"a=(1,2)", b"a=(1 2", b"a=(1)(2)", b"a;B", b"a;",
            b"1a", b"a=--1", b"a=-", b"a=@1", b'a=%"x"', b"a=\x00", b"\t a", b"a\n", b"a=(1)x",
        ):  # fmt: skip
            self.assertIsNone(dictionary([value]), value)

    @given(st.lists(st.binary(max_size=30), min_size=1, max_size=3))
    def test_never_raises(self, values: list[bytes]) -> None:
        """Whatever the octets, the answer is a dictionary or none."""
        found = dictionary(values)
        self.assertTrue(found is None or isinstance(found, dict))

    @given(
        st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9_\-.*]{0,8}", fullmatch=True),
            st.integers(-(10**15) + 1, 10**15 - 1) | st.booleans(),
            max_size=5,
        )
    )
    def test_written(self, members: dict[str, int | bool]) -> None:
        """What was written is read."""
        text = ", ".join(
            f"{key}=?{item:d}" if isinstance(item, bool) else f"{key}={item}" for key, item in members.items()
        )
        self.assertEqual(
            dictionary([text.encode("ascii")]), {key.encode("ascii"): item for key, item in members.items()}
        )
