"""Values with holes."""

import json
from datetime import date

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.document import MAX_DEPTH
from balancer.config.draft import MAX_TEXT, Draft, misfits


class DraftTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.draft = Draft({"a": {"b": 1}, "list": ["x", {"y": 2}, "z"]})

    def left(self) -> object:
        return json.loads(self.draft.json())

    def test_removed(self) -> None:
        """What is taken out is not left, and is still in the original."""
        self.assertTrue(self.draft.remove(("a", "b")))
        self.assertEqual(self.left(), {"a": {}, "list": ["x", {"y": 2}, "z"]})
        self.assertEqual(self.draft.at(("a", "b")), 1)

    def test_places(self) -> None:
        """After an item was taken out, paths of what is left lead to the places in the original."""
        self.assertEqual(self.draft.place(("list", 1, "y")), ("list", 1, "y"))
        self.draft.remove(("list", 0))
        self.assertEqual(self.left(), {"a": {"b": 1}, "list": [{"y": 2}, "z"]})
        self.assertEqual(self.draft.place(("list", 0, "y")), ("list", 1, "y"))
        self.assertEqual(self.draft.place(("list", 1)), ("list", 2))

    def test_missing(self) -> None:
        """Taking out what is not there takes out what should have it."""
        self.assertTrue(self.draft.remove(("list", 1, "address")))
        self.assertEqual(self.left(), {"a": {"b": 1}, "list": ["x", "z"]})

    def test_twice(self) -> None:
        """Taking out a value a second time takes out what it was in; inside of what is out nothing happens."""
        self.draft.remove(("a", "b"))
        self.assertTrue(self.draft.remove(("a", "b")))
        self.assertEqual(self.left(), {"list": ["x", {"y": 2}, "z"]})
        self.assertFalse(self.draft.remove(("a", "b")))
        self.assertFalse(self.draft.remove(("a", "other", "c")))

    def test_top(self) -> None:
        """The top cannot be taken out."""
        self.assertFalse(self.draft.remove(()))
        self.assertFalse(self.draft.remove(("no",)))

    def test_fill(self) -> None:
        """A stand-in is put into a table that is there, once."""
        self.assertTrue(self.draft.fill(("a", "c"), "text"))
        self.assertFalse(self.draft.fill(("a", "c"), "text"))
        self.assertFalse(self.draft.fill(("no", "c"), "text"))
        self.assertEqual(self.left(), {"a": {"b": 1, "c": "text"}, "list": ["x", {"y": 2}, "z"]})


class MisfitTests(SynchronousTestCase):
    def test_found(self) -> None:
        """Dates, infinities, long texts, big numbers and deep nesting fit no key, and all are found."""
        deep: object = 1
        for _ in range(MAX_DEPTH + 1):
            deep = [deep]
        values = {
            "date": date(2024, 1, 1), "inf": float("inf"), "nan": float("nan"), "text": "x" * (MAX_TEXT + 1),
            "big": 2**63, "deep": deep, "good": [1, -(2**63) + 1, 0.5, "x" * MAX_TEXT, True, {"a": []}],
        }  # fmt: skip
        found = dict(misfits(values))
        self.assertEqual({path[0] for path in found}, {"date", "inf", "nan", "text", "big", "deep"})
        self.assertEqual(found[("text",)], f"a text of at most {MAX_TEXT} characters")
        self.assertEqual(max(map(len, found)), MAX_DEPTH)
