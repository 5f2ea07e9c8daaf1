"""The answers the balancer makes itself."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.answers import Answer, DateField, failed, refused


class Conditions:
    """A listener's date and Retry-After."""

    date = DateField(lambda: 784111777.9)
    retry_after = 7


class AnswerTests(SynchronousTestCase):
    """Status, words and fields."""

    def test_date_is_written_once_a_second(self) -> None:
        """The value changes with the second, and is the same object within it."""
        now = [784111777.0]
        date = DateField(lambda: now[0])
        first = date()
        self.assertEqual(first, b"Sun, 06 Nov 1994 08:49:37 GMT")
        now[0] += 0.9
        self.assertIs(date(), first)
        now[0] += 0.1
        self.assertEqual(date(), b"Sun, 06 Nov 1994 08:49:38 GMT")

    def test_every_termination_that_is_answered(self) -> None:
        """Each has a registered status and says what happened; 503 alone says when to come back."""
        for termination in Termination:
            if not termination.status:
                continue
            answer = failed(termination, Conditions())
            fields = dict(answer.fields)
            self.assertTrue(answer.reason, termination)
            self.assertIn(termination.explanation.encode(), answer.body)
            self.assertEqual(fields[b"Content-Length"], b"%d" % len(answer.body))
            self.assertEqual(fields.get(b"Retry-After"), b"7" if answer.status == 503 else None)

    def test_refusals_tell_what_was_found(self) -> None:
        """The client's own mistake is told in the refusal's words."""
        answer = refused(RequestRefused(431, "too many field lines"), Conditions())
        self.assertEqual(answer.body, b"431 Request Header Fields Too Large\ntoo many field lines\n")

    def test_words_beyond_ascii(self) -> None:
        """Words are UTF-8, whatever they hold."""
        self.assertIn("\u00fc\\ud800".encode(), Answer(400, "\u00fc\ud800", b"d").body)
