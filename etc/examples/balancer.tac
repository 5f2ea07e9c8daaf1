# A balancer in ten lines: twistd -ny balancer.tac
from twisted.application.service import Application
from twisted.internet import reactor  # a .tac file is a program of its own, and names its reactor

from balancer.config.quick import quick
from balancer.service import BalancerService

configuration = quick(http=["127.0.0.1:8080"], to=["127.0.0.1:9001", "127.0.0.1:9002"], balance="leastconn")
application = Application("balancer")
BalancerService(configuration, reactor).setServiceParent(application)
