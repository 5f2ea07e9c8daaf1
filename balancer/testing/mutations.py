"""Hostile bytes from good ones: what a parser has to answer without raising anything but its own errors.

Everything comes from the :class:`random.Random` that is given, so that what was found is found again.
"""

from collections.abc import Iterator, Sequence
from random import Random

MOST = 8
"""Changes made to one sample at most: more leave nothing of it, and are refused at the first byte."""


def mutated(sample: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """A sample with one or more changes: bytes replaced, inserted, removed, repeated, cut off, or another's.

    :param others: samples of which pieces may be taken.
    """
    data = bytearray(sample)
    for _ in range(random.randint(1, MOST)):
        place = random.randrange(len(data) + 1)
        kind = random.randrange(7)
        if kind == 0:
            data[place:place] = random.randbytes(random.randint(1, 4))
        elif kind == 1:
            del data[place : place + random.randint(1, 16)]
        elif kind == 2 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 3 and place < len(data):
            data[place] = random.choice((0, 1, 0x0A, 0x0D, 0x20, 0x30, 0x7F, 0x80, 0xFF))
        elif kind == 4:
            data[place:place] = data[place : place + random.randint(1, 64)]
        elif kind == 5:
            del data[place:]
        elif others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            data[place:] = other[start:]
    return bytes(data)


def pieces(data: bytes, random: Random) -> Iterator[bytes]:
    """The same bytes, cut at random: whole, in a few pieces, or byte by byte."""
    size = random.choice((1, 3, 16, 64, max(1, len(data))))
    start = 0
    while start < len(data):
        end = start + random.randint(1, size)
        yield data[start:end]
        start = end
