"""The ways an exchange can end."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.termination import Termination


class TerminationTests(SynchronousTestCase):
    def test_every_way_is_named_explained_and_blamed(self) -> None:
        """Each has a word of its own, one line of explanation, a valid status or none, and who is to blame."""
        words = [way.value for way in Termination.__members__.values()]
        self.assertEqual(len(words), len(set(words)))
        for way in Termination:
            self.assertEqual(way.value, way.name.lower())
            self.assertTrue(way.explanation)
            self.assertNotIn("\n", way.explanation)
            self.assertIn(way.status, (0, 400, 404, 408, 413, 500, 502, 503, 504), way)
            self.assertIn(way.blame, ("", "client", "backend", "balancer"), way)

    def test_the_statuses_that_were_promised(self) -> None:
        """What happened decides the status, as the manual says it."""
        for way, status in (
            (Termination.CONNECT_REFUSED, 502), (Termination.CONNECT_TIMEOUT, 504), (Termination.NO_BACKEND, 503),
            (Termination.QUEUE_TIMEOUT, 503), (Termination.QUEUE_FULL, 503), (Termination.BACKEND_CLOSED_EARLY, 502),
            (Termination.FIRST_BYTE_TIMEOUT, 504), (Termination.CLIENT_HEAD_TIMEOUT, 408), (Termination.NO_ROUTE, 404),
            (Termination.CLIENT_LEFT, 0),
        ):  # fmt: skip
            self.assertEqual(way.status, status, way)

    def test_the_manual_lists_every_way(self) -> None:
        """docs/access-log.md has a row for each way, with its status and explanation."""
        manual = (Path(__file__).parents[2] / "docs" / "access-log.md").read_text("ascii")
        for way in Termination:
            self.assertIn(f"| `{way.value}` | {way.status or '-'} | {way.blame or '-'} | {way.explanation} |", manual)
