"""The law of the cache on the wire: nothing is sent that RFC 9111 forbids, whoever waits for what meanwhile.

The sequences and the judge are those of ``tests/cache/test_laws.py``, with requests that are held at the origin until
others meet them, bodies that stop in their middle, and clients that leave. ``BALANCER_CACHE_SEQUENCES`` sets how many
are played (a third of it here; 100 unless told).
"""

import os
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balancer.cache.policy import CachePolicy
from tests.cache.scenes import PARTS, POLICIES, STEPS, ask, played, scene
from tests.http.cache_stage import HttpStage

SEQUENCES = int(os.environ.get("BALANCER_CACHE_SEQUENCES", "300")) // 3

OWN = [
    ("hold",),
    ("release", False),
    ("release", True),
    ("halves", True),
    ("leave", 0),
    ("leave", 1),
    ("time", 130.0),
    ("kill",),
]

PRIVATE: list[Any] = [("cc", ("private", None)), ("cc", ("max-age", 60))]
TOGETHER = [
    scene(("hold",), ask(), ask(), ("leave", 0), ask(said=PRIVATE), ("release", False)),
    scene(("hold",), ask(), ask(), ask(said=[("set_cookie", True), ("extra", True)]), ("release", True), ask()),
    scene(ask(PARTS[0], said=[]), ("clock", 61.0), ("hold",), ask(PARTS[0]), ask(said=[("behaviour", "dead")])),
    scene(ask(PARTS[0], said=[]), ("clock", 61.0), ("hold",), ask(PARTS[0]), ask(said=[("status", 500), ("cc", None)])),
    scene(ask(said=[]), ("clock", 61.0), ("hold",), ask(("method", "HEAD")), ask(), ("release", False)),
    scene(("hold",), ask(), ask(), ("purge", ("url", "http://a.example/1"), False), ask(), ("release", False), ask()),
    scene(("halves", True), ("hold",), ask(), ask(), ("release", False), ask()),
]
"""Clients that meet at the origin."""

SEQUENCE = st.lists(STEPS | st.sampled_from(OWN) | st.sampled_from(TOGETHER), min_size=2, max_size=14)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck))
@given(policy=st.sampled_from(POLICIES), steps=SEQUENCE)
def test_nothing_forbidden(policy: CachePolicy, steps: list[Any]) -> None:
    """What the engine sends to clients is permitted, whatever was asked, said and done before, and meanwhile."""
    stage = HttpStage(policy)
    faults = played(stage, [*steps, ("release", False)])
    assert not faults, "\n".join([*stage.events, *map(str, faults)])


def test_nothing_forbidden_from_a_disk() -> None:
    """The same of what survives restarts and kills, with a store that takes its time, under a memory or not."""
    with TemporaryDirectory() as path:

        @settings(max_examples=SEQUENCES // 5, deadline=None, suppress_health_check=list(HealthCheck))
        @given(policy=st.sampled_from(POLICIES), tiered=st.booleans(), steps=SEQUENCE)
        def nothing_forbidden(policy: CachePolicy, tiered: bool, steps: list[Any]) -> None:
            stage = HttpStage(policy, path, tiered=tiered)
            stage.purge("all", "", soft=False)  # what the sequence before has left
            faults = played(stage, [*steps, ("release", False)])
            stage.close()
            assert not faults, "\n".join([*stage.events, *map(str, faults)])

        nothing_forbidden()
