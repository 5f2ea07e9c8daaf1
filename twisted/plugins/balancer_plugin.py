"""What Twisted finds of the balancer: the ``twistd`` command, the built-in selectors, probes and stores.

Each entry names its code; nothing of it is imported until it is used. A stranger's plugin looks the same
(docs/writing-a-selector.md). There is never an ``__init__.py`` beside this file.
"""

from twisted.application.reactors import Reactor

from balancer.plugins import Command, LazyProbe, LazySelector, LazyStore

balancer = Command("balancer", "balancer.tap", "A layer 4 and layer 7 load balancer", "balancer")

uvloop = Reactor("uvloop", "balancer.net.uvloop_reactor", "asyncio on uvloop, with its own TCP and UNIX streams")

roundrobin = LazySelector("roundrobin", "balancer.core.selection.roundrobin.ROUND_ROBIN")
static_rr = LazySelector("static-rr", "balancer.core.selection.roundrobin.STATIC")
leastconn = LazySelector("leastconn", "balancer.core.selection.leastconn.LEASTCONN")
first = LazySelector("first", "balancer.core.selection.first.FIRST")
random = LazySelector("random", "balancer.core.selection.choices.RANDOM")
peak_ewma = LazySelector("peak-ewma", "balancer.core.selection.peak_ewma.PEAK_EWMA")
source = LazySelector("source", "balancer.core.selection.hashed.SOURCE")
uri = LazySelector("uri", "balancer.core.selection.hashed.URI")
url_param = LazySelector("url_param", "balancer.core.selection.hashed.URL_PARAM")
hdr = LazySelector("hdr", "balancer.core.selection.hashed.HEADER")
cookie = LazySelector("cookie", "balancer.core.selection.hashed.COOKIE")
hash_ = LazySelector("hash", "balancer.core.selection.hashed.HASH")

tcp = LazyProbe("tcp", "balancer.health.probes.TCP")
tls = LazyProbe("tls", "balancer.health.probes.TLS")
http = LazyProbe("http", "balancer.health.probes.HTTP")
agent = LazyProbe("agent", "balancer.health.probes.AGENT")
expect = LazyProbe("expect", "balancer.health.probes.EXPECT")
udp = LazyProbe("udp", "balancer.health.probes.UDP")

memory = LazyStore("memory", "balancer.stores.memory.MEMORY")
tiered = LazyStore("tiered", "balancer.stores.tiered.TIERED")
disk = LazyStore("disk", "balancer.stores.disk.DISK")
