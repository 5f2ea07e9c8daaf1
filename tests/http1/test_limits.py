"""The limits as a configuration sets them."""

from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import Doc

from balancer.http1.limits import HttpLimits


class LimitsTests(SynchronousTestCase):
    def test_sizes_as_written(self) -> None:
        """Sizes may be written with units."""
        self.assertEqual(TypeAdapter(HttpLimits).validate_python({"head": "16KiB"}).head, 16384)

    def test_mistakes_are_refused(self) -> None:
        """Unknown keys, zero and negative sizes are refused."""
        for wrong in ({"heads": 1}, {"head": 0}, {"fields": -1}, {"head": "much"}):
            self.assertRaises(ValidationError, TypeAdapter(HttpLimits).validate_python, wrong)

    def test_every_key_is_documented(self) -> None:
        """Every key has its manual entry beside it."""
        hints = get_type_hints(HttpLimits, include_extras=True)
        for key in fields(HttpLimits):
            entries = [entry for entry in hints[key.name].__metadata__ if isinstance(entry, Doc)]
            self.assertEqual(len(entries), 1, key.name)

    def test_operators_page_names_every_key(self) -> None:
        """docs/http-gate.md, the operators' page, names every limit."""
        page = (Path(__file__).parents[2] / "docs" / "http-gate.md").read_text("ascii")
        for key in fields(HttpLimits):
            self.assertIn(f"`{key.name}`", page)
