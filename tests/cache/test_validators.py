"""Validators."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.messages import PlainResponse
from balancer.cache.validators import entity_tag, is_strong, last_modified, opaque

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


class EntityTagTests(SynchronousTestCase):
    """RFC 9110 section 8.8.3."""

    def test_tags(self) -> None:
        """Strong and weak ones are told apart, and compared weakly by what is in them."""
        for value in (b'"x"', b'""', b'"a,b"', b'"\xe9"', b'W/"x"'):
            self.assertEqual(entity_tag([value]), value)
        self.assertEqual([is_strong(tag) for tag in (b'"x"', b'W/"x"', b"")], [True, False, False])
        self.assertEqual(opaque(b'W/"x"'), opaque(b'"x"'))

    def test_malformed(self) -> None:
        """What is malformed is none, so that it never matches."""
        for value in (
            b"",
            b"x",
            b'"x',
            b'x"',
            b'w/"x"',
            b'"a b"',
            b'"a"b"',
            b'"x" ',
            b"'x'",
            b'"x\x7f"',
            b'"x"\n',
            b"*",
        ):
            self.assertEqual(entity_tag([value]), b"", value)

    def test_repeated(self) -> None:
        """Several are one where they are the same, else none."""
        self.assertEqual(entity_tag([]), b"")
        self.assertEqual(entity_tag([b'"x"', b'"x"']), b'"x"')
        self.assertEqual(entity_tag([b'"x"', b'"y"']), b"")

    @given(st.lists(st.binary(max_size=8) | st.just(b'"x"'), max_size=3))
    def test_never_raises(self, values: list[bytes]) -> None:
        """Whatever the octets, it is the first value or none."""
        self.assertIn(entity_tag(values), [b"", *values[:1]])


class LastModifiedTests(SynchronousTestCase):
    """RFC 9110 section 8.8.2."""

    def test_dates(self) -> None:
        """One date is a validator; what is no date, or several that differ, are none."""
        for values, expected in (
            ([DATE], DATE), ([DATE, DATE], DATE), ([], b""), ([b"0"], b""), ([DATE, b"0"], b""),
            ([DATE, b"Sun, 06 Nov 1994 08:49:38 GMT"], b""),
        ):  # fmt: skip
            response = PlainResponse(200, [(b"Last-Modified", value) for value in values])
            self.assertEqual(last_modified(response, 1.8e9), expected)
