"""The agent protocol, word by word."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.agent import Report, line_in, report
from balancer.core.states import AdminState, Health


class ReportTests(SynchronousTestCase):
    """One line."""

    def test_health(self) -> None:
        """up is up; down, fail, failed and stopped are down; the case says nothing."""
        words = {"up": Health.UP, "UP": Health.UP, "Down": Health.DOWN, "fail": Health.DOWN, "failed": Health.DOWN}
        for word, health in {**words, "stopped": Health.DOWN}.items():
            self.assertEqual(report(word.encode()), Report(said=word, health=health))

    def test_admin(self) -> None:
        """ready, drain and maint."""
        for state in AdminState:
            self.assertEqual(report(state.value.encode()).admin, state)

    def test_numbers(self) -> None:
        """A percentage from 0 on, up to where a weight of 1 is 256; a limit from 0 on."""
        for text, percent in ((b"0%", 0), (b"75%", 75), (b"007%", 7), (b"150%", 150), (b"99999999%", 25600)):
            self.assertEqual(report(text).percent, percent)
        self.assertEqual(report(b"maxconn:30").max_connections, 30)
        self.assertEqual(report(b"MAXCONN:0").max_connections, 0)

    def test_several(self) -> None:
        """Words stand between spaces, tabs and commas; of two about one thing the last counts; the rest describes."""
        self.assertEqual(
            report(b" ready,\tup 50% ,,maxconn:9 75%\t# all, is well"),
            Report("ready up 50% maxconn:9 75%", Health.UP, AdminState.READY, 75, 9, "all, is well"),
        )
        self.assertEqual(report(b"down#now # later").unknown, "down#now")

    def test_words_that_are_none(self) -> None:
        """The first is told, printable; the others count."""
        for text in (b"75", b"-5%", b"5%x", b"maxconn:", b"maxconn:x", b"maxconn: 5", b"drained", b"\x1b[2J"):
            told = report(text + b" up")
            self.assertEqual((told.health, told.percent, told.max_connections), (Health.UP, None, None), text)
            self.assertTrue(told.unknown, text)
            self.assertTrue(told.reason.isprintable())

    def test_the_reason(self) -> None:
        """It is what the agent said, with its description."""
        self.assertEqual(report(b"down #no disk").reason, "down (no disk)")
        self.assertEqual((report(b"").reason, report(b"#x").reason), ("", " (x)"))

    @given(st.binary(max_size=60))
    def test_any_bytes(self, line: bytes) -> None:
        """No bytes are an error, and none get into a log line as they are."""
        self.assertTrue(report(line).reason.isprintable())

    @given(
        st.lists(st.sampled_from([b"up", b"drain", b"5%", b"maxconn:3", b"?"])), st.sampled_from([b" ", b",", b"\t "])
    )
    def test_separators_are_alike(self, words: list[bytes], separator: bytes) -> None:
        """Whatever separates them, the words say the same."""
        self.assertEqual(report(separator.join(words)), report(b" ".join(words)))


class LineTests(SynchronousTestCase):
    """Where the answer ends."""

    def test_it_ends_with_a_line(self) -> None:
        """At the first CR or LF; while there is none nothing is known: "up" may become "updated"."""
        self.assertEqual(
            [line_in(text) for text in (b"up\r\n", b"up\nx", b"\n", b"up", b"")], [b"up", b"up", b"", None, None]
        )
