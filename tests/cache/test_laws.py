"""The law of the cache: nothing is sent that RFC 9111 forbids, whatever clients ask, origins say and clocks do.

Sequences of requests, answers, clock steps, purges and restarts are generated; the judge (``model``) is told all of
them. ``BALANCER_CACHE_SEQUENCES`` sets how many are played (500 unless told): 10000 take some minutes, and pytest
has to be given ``--timeout=0`` then.
"""

import os
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer.cache.policy import CachePolicy
from tests.cache.scenes import POLICIES, SEQUENCE, played
from tests.cache.settled import SettledDisk
from tests.cache.stage import Stage

SEQUENCES = int(os.environ.get("BALANCER_CACHE_SEQUENCES", "500"))


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=st.sampled_from(POLICIES), steps=SEQUENCE)
def test_nothing_forbidden(policy: CachePolicy, steps: list[Any]) -> None:
    """What a cache sends is permitted, whatever was asked, said and done before."""
    stage = Stage(policy)
    faults = played(stage, steps)
    assert not faults, "\n".join([*stage.events, *map(str, faults)])


def test_nothing_forbidden_from_a_disk() -> None:
    """The same of what survives restarts."""
    with TemporaryDirectory() as path:
        disk = SettledDisk(path)

        @settings(max_examples=SEQUENCES // 5, deadline=None, suppress_health_check=list(HealthCheck))
        @given(policy=st.sampled_from(POLICIES), steps=SEQUENCE)
        def nothing_forbidden(policy: CachePolicy, steps: list[Any]) -> None:
            stage = Stage(policy, disk)
            faults = played(stage, steps)
            assert not faults, "\n".join([*stage.events, *map(str, faults)])

        nothing_forbidden()
        disk.stop()
