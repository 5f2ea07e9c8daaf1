"""Durations, sizes and shares: what people may write, and what they may not."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core import units


@dataclass(frozen=True)
class Settings:
    """One key of each kind."""

    wait: units.Seconds = 1.0
    grace: units.SecondsOrZero = 0.0
    size: units.Size = 1
    weight: units.Weight = 1
    share: units.Share = 0.5
    port: units.Port = 80


SETTINGS = TypeAdapter(Settings)


class Durations(SynchronousTestCase):
    """Texts become seconds."""

    def test_units(self) -> None:
        """Each unit is worth what it says."""
        texts = {"250ms": 0.25, "5s": 5.0, "10m": 600.0, "1h": 3600.0, "1d": 86400.0, "1.5 s": 1.5, " 7us ": 7e-6}
        for text, value in texts.items():
            self.assertAlmostEqual(units.seconds(text), value, msg=text)

    def test_numbers_pass(self) -> None:
        """A number is a number of seconds."""
        self.assertEqual([units.seconds(5), units.seconds(0.25)], [5, 0.25])

    def test_refused(self) -> None:
        """Whatever is not a number with a unit is refused, with what is allowed."""
        for text in ("", "5", "s", "-1s", "5 sec", "1e3s", "1h30m", "\u0665s", "9" * 400 + "s", "nans", True, False):
            with self.assertRaises(ValueError, msg=repr(text)) as caught:
                units.seconds(text)
            self.assertIn('"250ms"', str(caught.exception))

    def test_limits(self) -> None:
        """A wait is more than zero and finite; zero is for keys that give it a meaning."""
        for value in (0, -1, "0s", float("nan"), float("inf")):
            with self.assertRaises(ValidationError, msg=repr(value)):
                SETTINGS.validate_python({"wait": value})
        self.assertEqual(SETTINGS.validate_python({"grace": "0s"}).grace, 0)


class Sizes(SynchronousTestCase):
    """Texts become bytes."""

    def test_units(self) -> None:
        """Decimal and binary units are told apart."""
        texts = {"64KiB": 65536, "64KB": 64000, "2MiB": 2**21, "2MB": 2 * 10**6, "1GiB": 2**30, "1GB": 10**9, "7B": 7}
        self.assertEqual({text: units.octets(text) for text in texts}, texts)

    def test_numbers_pass(self) -> None:
        """A number is a number of bytes."""
        self.assertEqual(units.octets(65536), 65536)

    def test_refused(self) -> None:
        """Whatever is not a number with a unit is refused, with what is allowed."""
        for text in ("", "5", "KiB", "-1KiB", "5 kb", "5KIB", "9" * 400 + "GiB", True):
            with self.assertRaises(ValueError, msg=repr(text)) as caught:
                units.octets(text)
            self.assertIn('"64KiB"', str(caught.exception))

    @given(st.integers(1, 10**9), st.sampled_from(["KB", "KiB", "MB", "MiB"]))
    def test_thousandths(self, thousandths: int, unit: str) -> None:
        """A fraction means the nearest whole number of bytes, not one less for how floats are stored."""
        text = f"{thousandths // 1000}.{thousandths % 1000:03}{unit}"
        worth = {"KB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20}[unit]
        self.assertLessEqual(abs(units.octets(text) * 1000 - thousandths * worth), 500)


class Bounds(SynchronousTestCase):
    """Numbers with a range."""

    def test_bounds(self) -> None:
        """The ends of each range are allowed, what is beyond is not."""
        ranges = {"weight": (0, 256), "share": (0.0, 1.0), "port": (1, 65535)}
        for key, (least, most) in ranges.items():
            for good in (least, most):
                self.assertEqual(getattr(SETTINGS.validate_python({key: good}), key), good)
            for bad in (least - 1, most + 1):
                with self.assertRaises(ValidationError, msg=f"{key}={bad}"):
                    SETTINGS.validate_python({key: bad})
