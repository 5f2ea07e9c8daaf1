"""The values that ages are counted from: dates, numbers of seconds, the Age field.

A value that is invalid is told so and never guessed at; what follows from that is for the caller to decide. It never
reads a clock and knows no time zone but GMT (RFC 9111 section 4.2).
"""

import re
from calendar import timegm
from collections.abc import Iterable
from typing import Final

OVERFLOW: Final = 2**31
"""What a number of seconds counts as that is greater (RFC 9111 section 1.2.2)."""

_MONTHS: Final = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY: Final = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY: Final = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH: Final = rb"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_TIME: Final = rb"([0-9]{2}):([0-9]{2}):([0-9]{2})"
# RFC 9110 section 5.6.7. Case does not count for a cache (RFC 9111 section 4.2).
_FIXDATE: Final = re.compile(_DAY + rb", ([0-9]{2}) " + _MONTH + rb" ([0-9]{4}) " + _TIME + rb" gmt")
_RFC850: Final = re.compile(_LONG_DAY + rb", ([0-9]{2})-" + _MONTH + rb"-([0-9]{2}) " + _TIME + rb" gmt")
_ASCTIME: Final = re.compile(_DAY + rb" " + _MONTH + rb" ([0-9 ][0-9]) " + _TIME + rb" ([0-9]{4})")


def http_date(value: bytes, now: float) -> float | None:
    """The second that an HTTP-date in one of its three forms names; ``None`` for anything else.

    The day of the week is not compared with the date.

    :param now: for the two digits of a year: one more than 50 years from now is of the past century.
    """
    text = value.lower()
    found = _FIXDATE.fullmatch(text)
    if found is not None:
        day, month, year, hour, minute, second = found.groups()
        return _second(int(year), month, int(day), int(hour), int(minute), int(second))
    found = _RFC850.fullmatch(text)
    if found is not None:
        day, month, year, hour, minute, second = found.groups()
        return _of_two_digits(int(year), month, int(day), int(hour), int(minute), int(second), now)
    found = _ASCTIME.fullmatch(text)
    if found is not None:
        month, day, hour, minute, second, year = found.groups()
        return _second(int(year), month, int(day), int(hour), int(minute), int(second))
    return None


def delta_seconds(value: bytes) -> int | None:
    """A number of seconds, :data:`OVERFLOW` at most; ``None`` where it is anything but digits."""
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")  # a million digits take a second to read
    return OVERFLOW if len(digits) > 10 else min(int(digits or b"0"), OVERFLOW)


def age_value(values: list[bytes]) -> int:
    """What Age says: the first member of the first field counts; an invalid one is as none (RFC 9111 5.1)."""
    return (delta_seconds(values[0].partition(b",")[0].strip(b" \t")) or 0) if values else 0


def valid_dates(values: Iterable[bytes], now: float) -> list[float]:
    """Those of the values that are dates, as seconds."""
    return [date for value in values if (date := http_date(value, now)) is not None]


def _second(year: int, month: bytes, day: int, hour: int, minute: int, second: int) -> float | None:
    number = _MONTHS.index(month) + 1
    longest = _LENGTHS[number - 1]
    if number == 2 and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        longest = 28
    # 60 is a leap second. A year before 1970 is a date too: nothing is older than what came from there.
    if not (1 <= day <= longest and hour < 24 and minute < 60 and second <= 60 and year > 0):
        return None
    return float(timegm((year, number, day, hour, minute, second)))


def _of_two_digits(year: int, month: bytes, day: int, hour: int, minute: int, second: int, now: float) -> float | None:
    """RFC 9110 section 5.6.7: the latest year with these digits that is not more than 50 years ahead."""
    latest = 1970 + int(now // 31556952) + 50
    whole = latest - (latest - year) % 100
    return _second(whole, month, day, hour, minute, second)
