"""The law of the cache on the wire: nothing is sent that RFC 9111 forbids, whoever waits for what meanwhile.

The sequences and the judge are those of ``tests/cache/test_laws.py``, with requests that are held at the origin until
others meet them, bodies that stop in their middle, and clients that leave. ``BALANCER_CACHE_SEQUENCES`` sets how many
are played (a third of it here; 100 unless told).
"""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer.cache.policy import CachePolicy
from tests.cache.scenes import POLICIES, STEPS, played
from tests.http.cache_stage import HttpStage

SEQUENCES = int(os.environ.get("BALANCER_CACHE_SEQUENCES", "300")) // 3

OWN = st.sampled_from(
    [
        ("hold",),
        ("hold",),
        ("release", False),
        ("release", True),
        ("halves", True),
        ("leave", 0),
        ("leave", 1),
        ("time", 130.0),
    ]
)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=st.sampled_from(POLICIES), steps=st.lists(STEPS | OWN, min_size=2, max_size=14))
def test_nothing_forbidden(policy: CachePolicy, steps: list[Any]) -> None:
    """What the engine sends to clients is permitted, whatever was asked, said and done before, and meanwhile."""
    stage = HttpStage(policy)
    faults = played(stage, [*steps, ("release", False)])
    assert not faults, "\n".join([*stage.events, *map(str, faults)])
