"""Dates, ages and numbers of seconds."""

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.dates import OVERFLOW, age_value, delta_seconds, http_date, valid_dates

NOW = 1_800_000_000.0  # in 2027
EXAMPLE = 784111777.0  # that of RFC 9110 section 5.6.7
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
LONG = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class HttpDateTests(SynchronousTestCase):
    """HTTP-date (RFC 9110 section 5.6.7)."""

    def test_forms(self) -> None:
        """The three forms name the same second."""
        for value in (
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
        ):
            self.assertEqual(http_date(value, NOW), EXAMPLE)

    def test_case(self) -> None:
        """Case does not count (RFC 9111 section 4.2)."""
        for value in (b"SUN, 06 NOV 1994 08:49:37 gmt", b"sunday, 06-nov-94 08:49:37 Gmt", b"sUN nOV  6 08:49:37 1994"):
            self.assertEqual(http_date(value, NOW), EXAMPLE)

    def test_two_digits(self) -> None:
        """Two digits of a year name the latest one that is at most 50 years ahead."""
        self.assertEqual(http_date(b"Monday, 01-Jan-77 00:00:00 GMT", NOW), 3376684800.0)  # 2077
        self.assertEqual(http_date(b"Sunday, 01-Jan-78 00:00:00 GMT", NOW), 252460800.0)  # 1978
        self.assertEqual(http_date(b"Friday, 01-Jan-27 00:00:00 GMT", NOW), 1798761600.0)  # 2027

    def test_leap(self) -> None:
        """A leap day is a date in leap years, and a leap second is a second."""
        self.assertEqual(http_date(b"Thu, 29 Feb 2024 00:00:00 GMT", NOW), 1709164800.0)
        self.assertEqual(http_date(b"Tue, 29 Feb 2000 00:00:00 GMT", NOW), 951782400.0)
        self.assertEqual(http_date(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW), 1483228800.0)
        for value in (b"Wed, 29 Feb 2023 00:00:00 GMT", b"Mon, 29 Feb 1900 00:00:00 GMT"):
            self.assertIsNone(http_date(value, NOW))

    def test_invalid(self) -> None:
        """Anything else is no date: another zone, other separators, days and hours that are none."""
        for value in (
            b"", b"0", b"-1", b"now", b"784111777",
            b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37", b"Sun, 06 Nov 1994 08:49:37 +0000",
            b"Sun, 06 Nov 1994 08:49:37 GMT ", b" Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMTx",
            b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun, 06  Nov  1994 08:49:37 GMT", b"Sun, 06-Nov-1994 08:49:37 GMT",
            b"Sun, 06 Nov 94 08:49:37 GMT", b"Sun, 06 Nov 1994 08.49.37 GMT", b"Sun, 06 Nov 1994 8:49:37 GMT",
            b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sun, 31 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 24:00:00 GMT",
            b"Sun, 06 Nov 1994 08:60:37 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT", b"Sun, 06 Nov 0000 08:49:37 GMT",
            b"Xyz, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Xyz 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        ):  # fmt: skip
            self.assertIsNone(http_date(value, NOW), value)

    @given(st.integers(-62_135_596_800, 253_402_300_799))
    def test_every_second(self, second: int) -> None:
        """Every second of the years 1 to 9999 is read as it is written."""
        self.assertEqual(http_date(formatdate(second, usegmt=True).encode("ascii"), NOW), float(second))

    @given(st.binary(max_size=40))
    def test_never_raises(self, value: bytes) -> None:
        """Whatever the octets, the answer is a number or none."""
        found = http_date(value, NOW)
        self.assertTrue(found is None or isinstance(found, float))

    @given(
        st.integers(0, 99), st.sampled_from(MONTHS), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99),
        st.sampled_from(LONG), st.floats(0, 4e9),
    )  # fmt: skip
    def test_two_digits_near_now(
        self, year: int, month: str, day: int, hour: int, minute: int, weekday: str, now: float
    ) -> None:
        """A date whose year has two digits is never more than about 51 years ahead of now."""
        value = f"{weekday}, {day:02}-{month}-{year:02} {hour:02}:{minute:02}:00 GMT"
        found = http_date(value.encode("ascii"), now)
        self.assertTrue(found is None or found <= now + 52 * 31556952)


class DeltaSecondsTests(SynchronousTestCase):
    """delta-seconds (RFC 9111 section 1.2.2)."""

    def test_numbers(self) -> None:
        """Digits are a number, leading zeros or not; what is greater than 2**31 counts as that."""
        for value, seconds in (
            (b"0", 0), (b"10", 10), (b"0010", 10), (b"000", 0), (b"2147483648", OVERFLOW), (b"2147483647", 2**31 - 1),
            (b"2147483649", OVERFLOW), (b"99999999999", OVERFLOW), (b"9" * 5000, OVERFLOW), (b"0" * 5000 + b"7", 7),
        ):  # fmt: skip
            self.assertEqual(delta_seconds(value), seconds)

    def test_invalid(self) -> None:
        """Anything else is none."""
        for value in (
            b"",
            b"-1",
            b"+1",
            b"1.0",
            b"1e3",
            b" 1",
            b"1 ",
            b"0x10",
            b"1_0",
            b"'1'",
            b'"1"',
            "\u0661".encode(),
        ):
            self.assertIsNone(delta_seconds(value), value)

    @given(st.binary(max_size=30))
    def test_bounds(self, value: bytes) -> None:
        """Whatever the octets, it is none or between 0 and 2**31."""
        seconds = delta_seconds(value)
        self.assertTrue(seconds is None or 0 <= seconds <= OVERFLOW)


class AgeTests(SynchronousTestCase):
    """The Age field (RFC 9111 section 5.1)."""

    def test_first_member(self) -> None:
        """The first member of the first field counts."""
        for values, age in (
            ([], 0), ([b"7200"], 7200), ([b"7200,0"], 7200), ([b"0, 7200"], 0), ([b"7200", b"0"], 7200),
            ([b"99999999999999999999"], OVERFLOW),
        ):  # fmt: skip
            self.assertEqual(age_value(values), age)

    def test_invalid(self) -> None:
        """One that is no number is as none."""
        for value in (b"abc", b"-7200", b"7200.0", b"", b"7 200", b'"7200"'):
            self.assertEqual(age_value([value]), 0)


class ValidDatesTests(SynchronousTestCase):
    """Several values."""

    def test_others_are_left_out(self) -> None:
        """Those that are no dates are left out, so that their number tells."""
        self.assertEqual(valid_dates([b"0", b"Sun, 06 Nov 1994 08:49:37 GMT", b"x"], NOW), [EXAMPLE])
