"""TOML text: values, places, and what is said of text that is not TOML."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.document import MAX_PARTS, Document, Places
from balancer.errors import ConfigurationError, Problem

TEXT = """\
# a comment
title = \"\"\"
two lines\"\"\"
"quoted.key".'other' = 1

[upstream.web]
servers = [
    "a:1",  # the first
    { address = "b:2", tags = { zone = "x" } },
]
retry.attempts = 2

[upstream.web.check]
type = "http"

[[route]]
to = "web"

[[route]]
to = "api"
[route.headers]
x = true
[[route.split]]
api = 1
"""


def problem(text: str) -> Problem:
    try:
        Document(text, "f.toml")
    except ConfigurationError as error:
        return error.problems[0]
    raise AssertionError("it was read")


class PlacesTests(SynchronousTestCase):
    def test_values(self) -> None:
        """The values are what tomllib says."""
        self.assertEqual(Document(TEXT, "f").values["upstream"]["web"]["retry"], {"attempts": 2})

    def test_lines(self) -> None:
        """Keys, dotted keys, inline tables, arrays, arrays of tables and what follows texts of several lines have
        the lines a person counts."""
        document = Document(TEXT, "f")
        expected = {
            ("title",): 2,
            ("quoted.key", "other"): 4,
            ("upstream",): 6,
            ("upstream", "web"): 6,
            ("upstream", "web", "servers"): 7,
            ("upstream", "web", "servers", 0): 8,
            ("upstream", "web", "servers", 1): 9,
            ("upstream", "web", "servers", 1, "tags", "zone"): 9,
            ("upstream", "web", "retry", "attempts"): 11,
            ("upstream", "web", "check", "type"): 14,
            ("route", 0): 16,
            ("route", 1): 19,
            ("route", 1, "to"): 20,
            ("route", 1, "headers", "x"): 22,
            ("route", 1, "split", 0, "api"): 24,
        }
        self.assertEqual({path: document.point(path)[0] for path in expected}, expected)

    def test_columns(self) -> None:
        """Two keys on one line are told apart by their columns."""
        document = Document("a = { b = 1, c = 2 }\n", "f")
        self.assertEqual(document.point(("a", "b")), (1, 7))
        self.assertEqual(document.point(("a", "c")), (1, 14))

    def test_nothing_there(self) -> None:
        """What is not in the text is placed at the nearest thing around it."""
        document = Document(TEXT, "f")
        self.assertEqual(document.point(("upstream", "web", "balance", "x"))[0], 6)
        self.assertEqual(document.point(("no", "such"))[0], 1)

    def test_windows_line_ends(self) -> None:
        """CR LF counts as one line end."""
        self.assertEqual(Document("a = 1\r\nb = 2\r\n", "f").point(("b",))[0], 2)

    def test_inner_table_first(self) -> None:
        """A table whose inner table comes first has the line of its own header."""
        self.assertEqual(Document("[a.b]\nx = 1\n[a]\ny = 1\n", "f").point(("a",))[0], 3)

    def test_long_dotted_key(self) -> None:
        """Placing stops at a depth that cannot matter."""
        places = Places(".".join("a" * (MAX_PARTS - 2)) + " = 1\n")
        self.assertLess(max(map(len, places.points)), MAX_PARTS - 2)


class SyntaxTests(SynchronousTestCase):
    def check(self, text: str, line: int, found: str, allowed: str) -> None:
        told = problem(text)
        self.assertEqual((told.file, told.line, told.key), ("f.toml", line, ""))
        self.assertIn(found, told.found)
        self.assertIn(allowed, told.allowed)

    def test_no_value(self) -> None:
        """A key without a value is told with line, column and what belongs there."""
        self.check("a = 1\nb = \n", 2, "the end of the line in column 5", "a value: a text in quotes")

    def test_bare_text(self) -> None:
        """A text without quotes is told with its place."""
        self.check("a = 1\nb = tcp\n", 2, "'t' in column 5", "a text in quotes")

    def test_no_equals(self) -> None:
        """A key without = is told."""
        self.check("upstream\n", 1, "column 9", '"=" after the key')

    def test_two_statements(self) -> None:
        """Two keys on one line are told."""
        self.check("a = 1 b = 2\n", 1, "'b' in column 7", "nothing more on this line")

    def test_open_list(self) -> None:
        """A list that does not end is told at the end of the file."""
        self.check("a = [1,\n2\n", 2, "the end of the file", '"]"')

    def test_open_text(self) -> None:
        """A text that ends with its line is told."""
        self.check('a = "x\nb = 1\n', 1, "column 7", "text of several lines")

    def test_bad_escape(self) -> None:
        """A backslash that escapes nothing is told."""
        self.check('path = "C:\\x"\n', 1, "column", "an escape like")

    def test_byte_order_mark(self) -> None:
        """A byte order mark is told by its code, for nobody sees it."""
        self.check("\ufeffa = 1\n", 1, "'\\ufeff' in column 1", "a key")

    def test_one_character(self) -> None:
        """Of a file that is no configuration one character is shown, not its content."""
        told = str(problem("root:$6$salt$hash:19000::\n"))
        self.assertNotIn("salt", told)
        self.assertIn("':' in column 5", told)

    def test_repeated_key(self) -> None:
        """A key a second time is told with its path and the line of the first."""
        told = problem("[a]\nb = 1\nc = 2\nb = 3\n")
        self.assertEqual((told.line, told.key), (4, "a.b"))
        self.assertEqual(told.found, "the same name a second time (first on line 2)")

    def test_repeated_table(self) -> None:
        """A table a second time is told, as is one over a key; both at once."""
        with self.assertRaises(ConfigurationError) as caught:
            Document("[upstream.web]\nx = 1\n[upstream.web]\n[upstream.web.x]\n", "f")
        problems = caught.exception.problems
        self.assertEqual([(told.line, told.key) for told in problems], [(3, "upstream.web"), (4, "upstream.web.x")])

    def test_list_and_table(self) -> None:
        """A table with the name of a list of tables is told, if only in tomllib's words."""
        self.check("[[a]]\n[a]\n", 2, "column", "Cannot declare ('a',) twice")

    def test_deep_nesting(self) -> None:
        """Nesting that would overflow the stack is a mistake like another."""
        self.assertIn("nested very deep", problem("a = " + "[" * 5000 + "]" * 5000).found)

    def test_digits(self) -> None:
        """A number of thousands of digits is a mistake like another."""
        self.assertIn("64 bits", problem("a = " + "9" * 5000).allowed)

    def test_long_keys(self) -> None:
        """A dotted key long enough to cost much memory is refused before it does, quoted or not."""
        for key in ("a.", '"a b" . ', "'a'."):
            told = problem("x = 1\n" + key * MAX_PARTS + "a = 1\n")
            self.assertEqual((told.line, told.found), (2, f"more than {MAX_PARTS} words joined by dots"))
        self.assertIsNotNone(Document("a." * (MAX_PARTS - 1) + "a = 1\n", "f"))
