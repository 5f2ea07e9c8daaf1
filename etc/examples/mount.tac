# The balancer at a path of an existing site: twistd -ny mount.tac, then curl http://127.0.0.1:8082/shop/
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor  # a .tac file is a program of its own, and names its reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site
from twisted.web.static import File

from balancer.http.standalone import proxy

root = File(".")
root.putChild(b"shop", proxy(reactor, "127.0.0.1:9001", "127.0.0.1:9002"))
application = Application("site")
endpoint = serverFromString(reactor, "tcp:8082:interface=127.0.0.1")
StreamServerEndpointService(endpoint, Site(root)).setServiceParent(application)
