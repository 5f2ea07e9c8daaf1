"""The reader of message corpora: what a file may say, and which mistakes it names."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.corpus import load

GOOD = r"""
[[case]]
id = "one"
bytes = ["GET /", { text = "a", times = 3 }, "\u00ff\u0000"]
status = 400
section = "s"
why = "w"
messages = [{ method = "GET", trailers = [["X", "y"]], keep_alive = true }]
"""


class CorpusTests(SynchronousTestCase):
    def written(self, text: str) -> Path:
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        (directory / "requests-a.toml").write_text(text, "utf-8")
        return directory

    def test_reads_bytes(self) -> None:
        """Characters are bytes, repeated parts are written out, texts of messages are bytes."""
        (case,) = load(self.written(GOOD), "requests")
        self.assertEqual(case.data, b"GET /aaa\xff\x00")
        self.assertEqual(case.messages[0], {"method": b"GET", "trailers": [(b"X", b"y")], "keep_alive": True})
        self.assertTrue(case.refused)

    def test_kinds_are_apart(self) -> None:
        """Only the files of the kind that was asked for are read."""
        self.assertEqual(load(self.written(GOOD), "responses"), [])

    def test_mistakes_are_named(self) -> None:
        """A repeated id, an unknown key, a missing key, a character that is no byte: each error names the case."""
        for text in (
            GOOD + GOOD,
            GOOD + "stauts = 400\n",
            GOOD.replace('why = "w"', ""),
            GOOD.replace(r"\u00ff", r"\u0100"),
            GOOD.replace('["GET /", ', "").replace(r', "\u00ff\u0000"]', ""),
        ):
            error = self.assertRaises(ValueError, load, self.written(text), "requests")
            self.assertIn("'one'", str(error))
