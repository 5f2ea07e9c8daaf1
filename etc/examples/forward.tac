# TCP forwarding at any endpoint, without the rest of the balancer: twistd -ny forward.tac
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor  # a .tac file is a program of its own, and names its reactor
from twisted.internet.endpoints import serverFromString

from balancer.tcp.factory import forward

application = Application("forward")
endpoint = serverFromString(reactor, "tcp:8081:interface=127.0.0.1")
StreamServerEndpointService(endpoint, forward(reactor, "127.0.0.1:9001", "127.0.0.1:9002")).setServiceParent(application)
