"""Field lines of a stored response."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.lines import name_of, names_in, only, value_of, without

LINES = b'ETag: "a"\r\nX-A:1\r\nDate: \tthen \r\nx-a: 2: 3\r\n'


class LineTests(SynchronousTestCase):
    """What is found, left out and kept."""

    def test_one_line(self) -> None:
        """A line's name in lower case, and its value with what colons it has."""
        self.assertEqual((name_of(b"X-A:1"), value_of(b"X-A:1")), (b"x-a", b"1"))
        self.assertEqual((name_of(b"x-a: 2: 3"), value_of(b"x-a: 2: 3 \t")), (b"x-a", b"2: 3"))
        self.assertEqual((name_of(b""), value_of(b"")), (b"", b""))

    def test_without(self) -> None:
        """Every line of the names goes, whatever their case, and the others stay as they are."""
        self.assertEqual(without(LINES, frozenset({b"x-a"})), b'ETag: "a"\r\nDate: \tthen \r\n')
        self.assertEqual(without(LINES, frozenset({b"date", b"x-a"})), b'ETag: "a"\r\n')
        self.assertEqual(without(LINES, names_in(LINES)), b"")
        self.assertEqual(without(LINES, frozenset()), LINES)
        self.assertEqual(without(b"", frozenset({b"x-a"})), b"")

    def test_only(self) -> None:
        """Every line of the names stays."""
        self.assertEqual(only(LINES, frozenset({b"x-a"})), b"X-A:1\r\nx-a: 2: 3\r\n")
        self.assertEqual(only(LINES, frozenset({b"age"})), b"")

    def test_names(self) -> None:
        """Each name once."""
        self.assertEqual(names_in(LINES), {b"etag", b"x-a", b"date"})
        self.assertEqual(names_in(b""), frozenset())
