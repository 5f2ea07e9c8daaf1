"""What traffic says: ejection of a backend that fails in a row, for a while, never of too many.

Source: Envoy's outlier detection (consecutive failures, base ejection time, maximum ejection percent). It never
probes and never reads a clock.
"""

from math import ceil, floor

from balancer.core.lease import Outcome
from balancer.core.model import Backend
from balancer.core.policies import OutlierPolicy


def record(policy: OutlierPolicy, backend: Backend, outcome: Outcome, now: float) -> bool:
    """Count one outcome against the backend and eject it where that is due. Returns whether it was ejected.

    Outcomes that say nothing about the backend (the client left) change nothing. Where one of the upstreams that
    share the backend cannot do without it, it stays, and is judged again at its next failure. One that no upstream
    lists any more is not ejected: nobody would bring it back.
    """
    if outcome.failure is None:
        return False
    if not outcome.failure:
        backend.failures_in_row = 0
        return False
    backend.failures_in_row += 1
    if not policy.failures or backend.failures_in_row < policy.failures or backend.ejected_until is not None:
        return False
    if not backend.groups or not all(group.may_lose(backend) for group in backend.groups):
        return False
    # Time served without failing again forgives earlier ejections, one for each base_time. More of them than reach
    # max_time are not counted: nobody could see the difference, and a bad day would take days to be forgiven.
    forgiven = floor((now - backend.readmitted_at) / policy.base_time) if backend.ejections else 0
    most = ceil(policy.max_time / policy.base_time)
    backend.ejections = min(max(0, backend.ejections - forgiven) + 1, most)
    length = min(policy.base_time * backend.ejections, policy.max_time)
    reason = f"{backend.failures_in_row} failures in a row, the last: {outcome.words}; out for {length:g} s"
    return backend.eject(now + length, reason, now)
