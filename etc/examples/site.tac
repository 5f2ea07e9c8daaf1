# Layer 7 at a path of an existing twisted.web site: twistd -ny site.tac, then curl http://127.0.0.1:8082/shop/
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor  # a .tac file is a program of its own, and names its reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site
from twisted.web.static import Data
from twisted.web.resource import Resource

from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.service import BalancerService

servers = (ServerConfig(address="127.0.0.1:9001"), ServerConfig(address="127.0.0.1:9002"))
balancer = BalancerService(Configuration(upstream={"shop": UpstreamConfig(servers=servers)}), reactor)

root = Resource()
root.putChild(b"", Data(b"the site's own page\n", "text/plain"))
root.putChild(b"shop", balancer.resource("shop"))

application = Application("site")
balancer.setServiceParent(application)
StreamServerEndpointService(serverFromString(reactor, "tcp:8082:interface=127.0.0.1"), Site(root)).setServiceParent(application)
