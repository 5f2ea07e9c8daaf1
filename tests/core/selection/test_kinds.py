"""Reading arguments."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection.kinds import at_most_one, nothing, whole_number


class ArgumentTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Whole numbers are plain ASCII digits within their limits; anything else is refused with the limits."""
        self.assertEqual(whole_number("7", 1, 9), 7)
        for bad in ("0", "10", "", "+7", "7.0", " 7", "\u0667", "9" * 5000):
            with self.assertRaisesRegex(ValueError, "from 1 to 9"):
                whole_number(bad, 1, 9)

    def test_how_many(self) -> None:
        """Too many arguments are refused, and the message repeats them."""
        nothing(())
        self.assertIsNone(at_most_one(()))
        self.assertEqual(at_most_one(("a",)), "a")
        with self.assertRaisesRegex(ValueError, "no arguments, not 'a, b'"):
            nothing(("a", "b"))
        with self.assertRaisesRegex(ValueError, "one argument, not 2: 'a, b'"):
            at_most_one(("a", "b"))
