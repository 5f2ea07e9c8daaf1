"""Units that people write and programs count in: durations, sizes, shares.

These are type annotations for the settings dataclasses: pydantic reads them when a configuration is
loaded, plain Python code passes numbers. This module never reads a clock.
"""

import re
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator

# At most 15 digits: what a float holds exactly, and far from infinity.
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(us|ms|s|m|h|d)")
_DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(B|KB|MB|GB|KiB|MiB|GiB)")
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def seconds(value: object) -> object:
    """Turn ``"250ms"``, ``"5s"``, ``"10m"``, ``"1h"`` or ``"1d"`` into seconds; numbers pass through.

    :raises ValueError: the text is not a number followed by one of us, ms, s, m, h, d.
    """
    if isinstance(value, bool):
        raise ValueError('a duration is a number of seconds or a text like "250ms", "5s", "1h"')
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError('a duration is a number of seconds or a text like "250ms", "5s", "1h"')
    return float(match[1]) * _DURATION_UNITS[match[2]]


def octets(value: object) -> object:
    """Turn ``"64KiB"`` or ``"2MB"`` into a number of bytes; numbers pass through.

    :raises ValueError: the text is not a number followed by one of B, KB, MB, GB, KiB, MiB, GiB.
    """
    if isinstance(value, bool):
        raise ValueError('a size is a number of bytes or a text like "64KiB", "2MB"')
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError('a size is a number of bytes or a text like "64KiB", "2MB"')
    return round(float(match[1]) * _SIZE_UNITS[match[2]])


LONGEST = 366 * 86400.0
"""The longest wait, in seconds: a year. What waits longer was meant to be off, which 0 says where it can be."""

Seconds = Annotated[float, BeforeValidator(seconds), Gt(0), Le(LONGEST)]
"""A wait: more than zero seconds."""

SecondsOrZero = Annotated[float, BeforeValidator(seconds), Ge(0), Le(LONGEST)]
"""A wait in seconds; what zero means is said where the key is documented."""

Size = Annotated[int, BeforeValidator(octets), Gt(0)]
"""A number of bytes, at least one."""

SizeOrZero = Annotated[int, BeforeValidator(octets), Ge(0)]
"""A number of bytes; what zero means is said where the key is documented."""

Count = Annotated[int, Ge(1)]
"""A whole number, at least one."""

CountOrZero = Annotated[int, Ge(0)]
"""A whole number; what zero means is said where the key is documented."""

Weight = Annotated[int, Ge(0), Le(256)]
"""A backend's share of the traffic, 0 (none) to 256, as in HAProxy."""

Share = Annotated[float, Ge(0), Le(1)]
"""A part of a whole, 0 to 1."""

Port = Annotated[int, Ge(1), Le(65535)]
"""A TCP port."""
