"""Which modules of the data path a compiled build compiles (docs/compiled.md), and whether this is one.

The build reads the list by running this file alone (``setup.py``), so at its top it imports nothing of ours. It never
builds anything.
"""

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES

MODULES = (
    "balancer.admin.access_log",
    "balancer.admin.access_log_format",
    "balancer.cache.purges",
    "balancer.core.addresses",
    "balancer.core.admission",
    "balancer.core.client_hello",
    "balancer.core.events",
    "balancer.core.forwarded",
    "balancer.core.headers",
    "balancer.core.lease",
    "balancer.core.model",
    "balancer.core.outlier",
    "balancer.core.paths",
    "balancer.core.pool",
    "balancer.core.proxy_protocol",
    "balancer.core.record",
    "balancer.core.relay",
    "balancer.core.retry",
    "balancer.core.routing",
    "balancer.core.selection.chain",
    "balancer.core.selection.choices",
    "balancer.core.selection.draw",
    "balancer.core.selection.first",
    "balancer.core.selection.hashed",
    "balancer.core.selection.leastconn",
    "balancer.core.selection.peak_ewma",
    "balancer.core.selection.roundrobin",
    "balancer.core.sni",
    "balancer.core.tiers",
    "balancer.core.traits",
    "balancer.core.upstream",
    "balancer.http.attempts",
    "balancer.http.backend",
    "balancer.http.channel",
    "balancer.http.closing",
    "balancer.http.exchange",
    "balancer.http.failures",
    "balancer.http.fallible",
    "balancer.http.messages",
    "balancer.http.plans",
    "balancer.http.traits",
    "balancer.http.tunnel",
    "balancer.http.upload",
    "balancer.http.upstreams",
    "balancer.http1.body",
    "balancer.http1.faults",
    "balancer.http1.framing",
    "balancer.http1.grammar",
    "balancer.http1.heads",
    "balancer.http1.memo",
    "balancer.http1.parser",
    "balancer.http1.reader",
    "balancer.http1.section",
    "balancer.http1.serialize",
    "balancer.http1.targets",
    "balancer.net.connector",
    "balancer.net.flow",
    "balancer.net.timers",
    "balancer.net.uvloop_client",
    "balancer.net.uvloop_consumer",
    "balancer.net.uvloop_outbox",
    "balancer.net.uvloop_stream",
    "balancer.net.uvloop_transport",
    "balancer.stores.chunks",
    "balancer.stores.disk_index",
    "balancer.stores.disk_record",
    "balancer.stores.memory",
    "balancer.stores.memory_writer",
    "balancer.stores.packing",
    "balancer.stores.promotion",
    "balancer.stores.ready",
    "balancer.stores.s3fifo",
    "balancer.stores.tiered",
    "balancer.stores.uris",
    "balancer.stores.variants",
    "balancer.tcp.connection",
    "balancer.tcp.opening",
    "balancer.tcp.passthrough",
    "balancer.tcp.side",
    "balancer.udp.forwarder",
    "balancer.udp.session",
)
"""What each request or connection runs through. Not in it: what pydantic reads, what subclasses Twisted's own classes,
enums whose members have attributes, and what runs once a second or less."""


def is_compiled(module: str) -> bool:
    """Whether that module runs compiled, here and now."""
    return (import_module(module).__file__ or "").endswith(tuple(EXTENSION_SUFFIXES))


def build() -> str:
    """What runs, in words, for a log line: all of it is compiled or nothing is, unless files were mixed by hand."""
    found = sum(map(is_compiled, MODULES))
    if found in (0, len(MODULES)):
        return "compiled" if found else "pure Python"
    return f"compiled in part ({found} of {len(MODULES)} modules)"
