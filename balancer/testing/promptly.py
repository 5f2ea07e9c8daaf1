"""Bounds on wall time, for machines that stall now and then: what is quick is quick once in a few tries.

What waits for a timer that it should not wait for never is. It bounds nothing from below: that needs no tries.
"""

from collections.abc import Awaitable, Callable

TRIES = 10


def promptly(seconds: float, measure: Callable[[], float], tries: int = TRIES) -> None:
    """Measure until it took less than so many seconds.

    :raises AssertionError: it never did.
    """
    took: list[float] = []
    while len(took) < tries:
        took.append(measure())
        if took[-1] < seconds:
            return
    raise _late(seconds, took)


async def soon(seconds: float, measure: Callable[[], Awaitable[float]], tries: int = TRIES) -> None:
    """As :func:`promptly`, for what is awaited."""
    took: list[float] = []
    while len(took) < tries:
        took.append(await measure())
        if took[-1] < seconds:
            return
    raise _late(seconds, took)


def _late(seconds: float, took: list[float]) -> AssertionError:
    return AssertionError(f"never within {seconds:g} s: {', '.join(f'{each:.3f}' for each in took)}")
