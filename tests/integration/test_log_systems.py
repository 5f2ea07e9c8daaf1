"""What the log says about whose connection it is: the uvloop reactor against Twisted's own, one program on both."""

import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.process import PATIENCE

PROGRAM = """
import sys
from twisted.application.reactors import installReactor
reactor = installReactor(sys.argv[1])
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.ssl import CertificateOptions, DefaultOpenSSLContextFactory
from twisted.python import log

def observe(event):
    if "failure" in event or "word" in event:
        words = log.textFromEventDict(event).splitlines()
        print(event["system"], words[0], words[-1], sep=" | ", flush=True)

log.addObserver(observe)
over = []

class Srv(Protocol):
    def __init__(self):
        over.append(Deferred())
        self.over = over[-1]
    def dataReceived(self, data):
        log.msg("received", word=1)
        if data == b"tls":
            self.transport.write(b"go")
            self.transport.startTLS(DefaultOpenSSLContextFactory(sys.argv[2], sys.argv[2]))
        elif data == b"raise":
            raise ValueError("received")
        elif data == b"end":
            self.transport.loseConnection()
    def connectionLost(self, reason):
        log.msg("lost", word=1)
        self.over.callback(None)
        if self.factory.broken:
            raise ValueError("lost")

class Cli(Protocol):
    def connectionMade(self):
        self.transport.write(self.factory.word)
    def dataReceived(self, data):
        self.transport.startTLS(CertificateOptions())
        self.transport.write(b"end")
    def connectionLost(self, reason):
        log.msg("lost", word=1)

class Connecting(ClientFactory):
    protocol = Cli
    def __init__(self, word):
        self.word = word
        self.over = Deferred()
        over.append(self.over)
    def clientConnectionLost(self, connector, reason):
        log.msg("factory lost", word=1)
        self.over.callback(None)

def run(words, broken=False):
    if not words:
        if broken:
            reactor.stop()
        else:
            run([b"end"], True)
        return
    over.clear()
    factory = Factory.forProtocol(Srv)
    factory.broken = broken
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    client = Connecting(words[0])
    reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    def ended(_):
        DeferredList(list(over)).addCallback(lambda _: port.stopListening()).addCallback(again)
    def again(_):
        reactor.callLater(0, run, words[1:], broken)
    client.over.addCallback(ended)

reactor.callWhenRunning(run, [b"end", b"raise", b"tls"])
reactor.run()
"""


def told(reactor: str, key: str) -> list[str]:
    """What the program logs on this reactor, in any order."""
    command = [sys.executable, "-c", PROGRAM, reactor, key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


class SystemTests(SynchronousTestCase):
    """Both reactors."""

    def test_as_stock_has_them(self) -> None:
        """Messages and exceptions of dataReceived, connectionLost and factories have the words and the system that
        they have on Twisted's epoll reactor, before and after startTLS."""
        with tempfile.TemporaryDirectory() as directory:
            key = Authority(directory).issue("localhost")
            stock = told("epoll", key)
            self.assertEqual(told("uvloop", key), stock)
        self.assertIn("Srv,0,127.0.0.1 | Unhandled Error | builtins.ValueError: received", stock)
        self.assertIn("Srv,0,127.0.0.1 | Unhandled Error | builtins.ValueError: lost", stock)
        self.assertIn("Cli,client | lost | lost", stock)
