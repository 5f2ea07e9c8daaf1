"""The language of `balance` and `hash(...)`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.expression import calls

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(lambda name: name != "or")
ARGUMENTS = st.lists(st.from_regex(r"[a-zA-Z0-9=._-]{1,8}(\([a-z,]{0,4}\))?", fullmatch=True), max_size=3)
SPACES = st.text(" \t", max_size=2)


class ExpressionTests(SynchronousTestCase):
    def read(self, text: str, joint: str = "or") -> list[tuple[str, tuple[str, ...]]]:
        return [(call.name, call.arguments) for call in calls(text, joint)]

    def test_examples(self) -> None:
        """Names, arguments and joints are found, with or without spaces and empty parentheses."""
        self.assertEqual(self.read("leastconn"), [("leastconn", ())])
        self.assertEqual(self.read(" first() "), [("first", ())])
        self.assertEqual(self.read("hdr(x-tenant) or leastconn"), [("hdr", ("x-tenant",)), ("leastconn", ())])
        self.assertEqual(self.read("hdr(a)or first"), [("hdr", ("a",)), ("first", ())])
        self.assertEqual(self.read("uri( whole , len=3 )"), [("uri", ("whole", "len=3"))])
        self.assertEqual(self.read("hash(hdr(a) + uri(whole, len=3))"), [("hash", ("hdr(a) + uri(whole, len=3)",))])
        self.assertEqual(self.read("host+path", "+"), [("host", ()), ("path", ())])
        self.assertEqual(self.read("orange or orb"), [("orange", ()), ("orb", ())])

    @given(st.lists(st.tuples(NAMES, ARGUMENTS, SPACES), min_size=1, max_size=4), st.sampled_from(["or", "+"]))
    @settings(max_examples=80, deadline=None)
    def test_what_is_written_is_read(self, parts: list[tuple[str, list[str], str]], joint: str) -> None:
        """Any calls, written down and read again, are the same calls."""
        written = f" {joint} ".join(
            f"{gap}{name}{gap}({gap}{f'{gap},{gap}'.join(arguments)}{gap})" for name, arguments, gap in parts
        )
        self.assertEqual(self.read(written, joint), [(name, tuple(arguments)) for name, arguments, _ in parts])

    @given(st.text("ab(),+ or", max_size=12))
    @settings(max_examples=200, deadline=None)
    def test_anything_else_is_a_value_error(self, text: str) -> None:
        """Any text is read or refused with a position in it; nothing else happens."""
        try:
            found = calls(text, "or")
        except ValueError as problem:
            self.assertRegex(str(problem), r"\(at character \d+ of ")
        else:
            self.assertTrue(found)

    def test_errors_say_where_and_what(self) -> None:
        """Each mistake is reported with its place, what was found and what is allowed."""
        for text, place, words in (
            ("", 1, "expected a name like 'leastconn'.*found the end"),
            ("first or ", 10, "expected a name.*found the end"),
            ("first, leastconn", 6, "expected 'or' or the end, found ', leastconn'"),
            ("first leastconn", 7, "expected 'or' or the end, found 'leastconn'"),
            ("first orleastconn", 7, "expected 'or' or the end, found 'orleastconn'"),
            ("hdr(x", 4, "never closed"),
            ("hash(hdr(x)", 5, "never closed"),
            ("hdr(x))", 7, r"expected 'or' or the end, found '\)'"),
            ("uri(whole,,len=1)", 11, "expected an argument, found nothing"),
            ("uri(whole,)", 11, "expected an argument, found nothing"),
            ("(x)", 1, "expected a name"),
            ("2random", 1, "expected a name"),
        ):
            with self.assertRaises(ValueError) as caught:
                calls(text, "or")
            self.assertRegex(str(caught.exception), words)
            self.assertIn(f"(at character {place} of ", str(caught.exception), text)
