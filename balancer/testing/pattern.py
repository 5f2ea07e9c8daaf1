"""A byte stream of any length that both ends can compute, so that gigabytes are compared without being kept.

The pattern's period is a prime, so a piece that was lost, doubled or moved never fits its place. It never does I/O.
"""

from random import Random

PERIOD = 1048573
"""The largest prime below 1 MiB."""

_BLOCK = Random(20).randbytes(PERIOD)
_TWICE = _BLOCK + _BLOCK


def piece(offset: int, length: int) -> bytes:
    """The bytes at ``offset``; at most :data:`PERIOD` of them."""
    start = offset % PERIOD
    return _TWICE[start : start + min(length, PERIOD)]


def fits(offset: int, data: bytes) -> bool:
    """Whether these are the bytes at ``offset``."""
    return all(data[at : at + PERIOD] == piece(offset + at, len(data) - at) for at in range(0, len(data), PERIOD))
