"""The built-in probes: each connects, looks, and closes at once. A probe never decides what its result changes.

They are plugins like any other (:class:`balancer.interfaces.IProbePlugin`). A probe ends its connection by a reset,
as HAProxy's checks do: the result is known, and nothing is to linger, neither here nor on the backend.
"""

from balancer.health.probes.agent import AGENT
from balancer.health.probes.expect import EXPECT
from balancer.health.probes.http import HTTP
from balancer.health.probes.tcp import TCP
from balancer.health.probes.tls import TLS
from balancer.health.probes.udp import UDP

__all__ = ["AGENT", "EXPECT", "HTTP", "TCP", "TLS", "UDP"]
