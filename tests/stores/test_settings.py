"""The keys of the stores."""

from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.stores.settings import MemorySettings, TieredSettings, UpperSettings


class SettingsTests(SynchronousTestCase):
    """As a configuration has them."""

    def test_read(self) -> None:
        """Sizes are written with their units; what is not written has its default, also inside of a table."""
        read = TypeAdapter(MemorySettings).validate_python({"type": "memory", "size": "64MiB"})
        self.assertEqual(read, MemorySettings(size=64 * 2**20))
        tiered = TypeAdapter(TieredSettings).validate_python({"over": "disk", "memory": {"size": "64MiB"}})
        self.assertEqual(tiered, TieredSettings(over="disk", memory=UpperSettings(size=64 * 2**20, max_object=2**16)))

    def test_refused(self) -> None:
        """Keys that are none, no room, and a tier over nothing are refused."""
        for settings, wrong in (
            (MemorySettings, {"siz": 1}),
            (MemorySettings, {"size": 0}),
            (MemorySettings, {"max_object": "much"}),
            (TieredSettings, {}),
            (TieredSettings, {"over": "disk", "memory": {"type": "memory"}}),
        ):
            with self.assertRaises(ValidationError):
                TypeAdapter(settings).validate_python(wrong)
