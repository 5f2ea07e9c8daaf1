"""Twisted's asyncio reactor on a loop of uvloop's, whose streams are uvloop's own: ``twistd -r uvloop``.

Files, processes, UDP, threads, signals and timers go the ways of Twisted. TCP and UNIX streams do not: uvloop reads and
writes them, and :mod:`balancer.net.uvloop_stream` makes Twisted transports of them. Nothing here knows of balancing;
any Twisted program may use it.
"""

import asyncio
import contextvars
import gc
import signal
import socket
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any

import uvloop
from twisted.internet import error, process
from twisted.internet._signals import _MultiSignalHandling
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorDaemonize
from twisted.internet.main import installReactor
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from balancer.net import uvloop_context
from balancer.net.uvloop_client import DirectClient, LiteralOwner, is_literal
from balancer.net.uvloop_connector import TcpConnector, TcpDirectTransport
from balancer.net.uvloop_outbox import Outbox
from balancer.net.uvloop_port import TcpPort, TcpServerTransport, UvloopPort
from balancer.net.uvloop_stream import StartPaused, UvloopStream, conclude
from balancer.net.uvloop_transport import internet_address
from balancer.net.uvloop_unix import UnixConnector, UnixPort, adopt


class ChildSignals:
    """SIGCHLD reaps children. (Twisted's way needs ``signal.set_wakeup_fd``, which uvloop has for itself.)"""

    def __init__(self, reactor: "UvloopReactor") -> None:
        self._reactor = reactor

    def install(self) -> None:
        """Reap from now on; and once, for children that ended before."""
        signal.signal(signal.SIGCHLD, self._ended)
        signal.siginterrupt(signal.SIGCHLD, False)
        process.reapAllProcesses()

    def uninstall(self) -> None:
        """Leave SIGCHLD alone again."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _ended(self, *_: object) -> None:
        self._reactor.callFromThread(process.reapAllProcesses)


class Transports(weakref.WeakValueDictionary[int, Any]):
    """What uvloop remembers of its transports by descriptor, to refuse ``add_reader`` on one of them: the same answers,
    without the weak reference of Python's that takes itself out when its object goes (7 % of what a connection costs).
    An entry goes when its descriptor comes again, so that there are never more than there were descriptors at one time.
    """

    def __setitem__(self, key: int, value: Any) -> None:
        self.data[key] = weakref.ref(value)  # type: ignore[attr-defined]  # what there is to read is in the parent


def quicken(loop: asyncio.AbstractEventLoop) -> None:
    """Have this loop of uvloop's remember its transports as :class:`Transports`. (Nobody can reach that attribute but
    the garbage collector; where it finds none the loop stays as it is.)"""
    for found in gc.get_referents(loop):
        if type(found) is weakref.WeakValueDictionary:
            found.__class__ = Transports


@implementer(IReactorDaemonize)
class UvloopReactor(AsyncioSelectorReactor):
    """See the module.

    :param loop: a loop of uvloop's; a new one where none is given.
    :ivar loop: it.
    :ivar transports: every stream that is connected.
    """

    _log = Logger()
    _timerHandle: Any

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.transports: set[UvloopStream] = set()
        self._just_opened: list[Coroutine[Any, Any, Any]] = []
        self._due: float | None = None
        self._context = contextvars.Context()  # calls and wake-ups belong to no connection
        uvloop_context.install()
        self._use(loop or uvloop.new_event_loop())
        super().__init__(self.loop)

    def _use(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = self._asyncioEventloop = loop
        self.outbox = Outbox(partial(loop.call_soon, context=self._context))
        quicken(loop)
        loop.set_exception_handler(self._unhandled)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody caught."""
        exception = context.get("exception")
        if isinstance(exception, StartPaused):
            return
        stream = context.get("protocol")
        if isinstance(stream, UvloopStream):
            stream.reason = exception  # its protocol raised: that is why it ends
            if exception is not None:
                log.callWithLogger(stream, log.err, Failure(exception))  # uvloop's words are not Twisted's
                return
        if exception is not None:
            self._log.failure("{what}", Failure(exception), what=context.get("message"))
        else:
            self._log.error("{what}", what=context.get("message"))

    # -- streams -------------------------------------------------------------------------------------------------

    def opened(self, opening: Coroutine[Any, Any, Any]) -> None:
        """Let this coroutine of a transport that is connected come to its end in the next turn."""
        if not self._just_opened:
            self.loop.call_soon(self._finish_opened)
        self._just_opened.append(opening)

    def _finish_opened(self) -> None:
        openings, self._just_opened = self._just_opened, []
        for opening in openings:
            conclude(opening)

    def listenTCP(self, port: Any, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See ``IReactorTCP``."""
        listening = TcpPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(self, host: Any, port: Any, factory: Any, timeout: Any = 30.0, bindAddress: Any = None) -> Any:
        """See ``IReactorTCP``."""
        connector = TcpConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def connect_literal(self, host: str, port: int, owner: LiteralOwner, bare: bool = False) -> DirectClient | None:
        """Connect to an IP address without what ``connectTCP`` has beside the connection: factory, connector, timeout.

        :param bare: nobody assigns anything to the transport or starts TLS on it.
        :returns: what can be given up with ``stopConnecting``; ``None`` where only ``connectTCP`` knows the way (a
            name, an IPv6 zone). The owner hears of nothing before the next turn.
        """
        if not is_literal(host, port):
            return None
        kind = DirectClient if bare else TcpDirectTransport
        client = kind(self, None, (host, port), owner)
        client.connect()
        return client

    def listenUNIX(self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> Any:
        """See ``IReactorUNIX``."""
        listening = UnixPort(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectUNIX(self, address: Any, factory: Any, timeout: Any = 30, checkPID: int = 0) -> Any:
        """See ``IReactorUNIX``."""
        connector = UnixConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See ``IReactorSocket``."""
        if addressFamily not in self._supportedAddressFamilies:
            raise error.UnsupportedAddressFamily(addressFamily)
        if addressFamily == socket.AF_UNIX:
            listening = UnixPort._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            listening = TcpPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        listening.startListening()
        return listening

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See ``IReactorSocket``."""
        if addressFamily not in self._supportedAddressFamilies:
            raise error.UnsupportedAddressFamily(addressFamily)
        sock = socket.fromfd(fileDescriptor, addressFamily, socket.SOCK_STREAM)
        if addressFamily == socket.AF_UNIX:
            return adopt(self, sock, factory)
        peer = sock.getpeername()
        protocol = factory.buildProtocol(internet_address(peer))
        if protocol is None:
            sock.close()
            return None
        transport = TcpServerTransport(self, sock, peer, lambda _: protocol, None, peer[1])
        transport.open()
        return transport

    def addReader(self, reader: Any) -> None:
        """See ``IReactorFDSet``; a stream of uvloop's is resumed, and a port that accepts for it is called directly."""
        if isinstance(reader, UvloopStream):
            reader.resumeProducing()
        elif isinstance(reader, UvloopPort):
            readers: dict[Any, int] = self._readers
            if reader not in readers:
                readers[reader] = descriptor = reader.fileno()
                self.loop.add_reader(descriptor, reader.doRead)
        else:
            super().addReader(reader)

    def removeReader(self, reader: Any) -> None:
        """See ``IReactorFDSet``; a stream of uvloop's is paused."""
        if isinstance(reader, UvloopStream):
            reader.pauseProducing()
        else:
            super().removeReader(reader)

    def getReaders(self) -> Any:
        """See ``IReactorFDSet``: the streams that are read, too."""
        return [*super().getReaders(), *(stream for stream in self.transports if stream.reading)]

    def removeAll(self) -> Any:
        """Everything that is open, which a reactor that stops disconnects."""
        transports = list(self.transports)
        self.transports.clear()
        return [*super().removeAll(), *transports]

    # -- processes -----------------------------------------------------------------------------------------------

    def _signalsFactory(self) -> Any:
        return _MultiSignalHandling((ReactorBase._signalsFactory(self), ChildSignals(self)))

    def beforeDaemonize(self) -> None:
        """Nothing to do yet."""

    def afterDaemonize(self) -> None:
        """This is the child of a fork: what the loop had in the kernel is the parent's, so take a new one."""
        readers, writers = list(self._readers), list(self._writers)
        self._readers.clear()
        self._writers.clear()
        self._due = None
        self._use(uvloop.new_event_loop())
        asyncio.set_event_loop(self.loop)
        for reader in readers:
            self.addReader(reader)
        for writer in writers:
            self.addWriter(writer)
        self._reschedule()

    # -- time ----------------------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> Any:
        """See ``IReactorTime``."""
        call = PosixReactorBase.callLater(self, delay, callable, *args, **kw)
        if self._due is None or call.getTime() < self._due:
            self._reschedule()
        return call

    def _onTimer(self) -> None:
        self._due = self._timerHandle = None
        self.runUntilCurrent()
        self._reschedule()

    def _reschedule(self) -> None:
        """Be called when the next call is due. (A loop's own clock has whole milliseconds and stands still during a
        turn: what is asked for is never earlier than what is due.)"""
        timeout = self.timeout()
        if self._timerHandle is not None:
            self._timerHandle.cancel()
            self._timerHandle = self._due = None
        if timeout is None:
            return
        self._due = self.seconds() + timeout
        if timeout > 0:
            self._timerHandle = self.loop.call_later(ceil(timeout * 1000) / 1000, self._onTimer, context=self._context)
        else:
            self._timerHandle = self.loop.call_soon(self._onTimer, context=self._context)

    def callFromThread(self, callable: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]  # Twisted names it twice
        """See ``IReactorFromThreads``; signal handlers may call it too."""
        ReactorBase.callFromThread(self, callable, *args, **kwargs)

    def wakeUp(self) -> None:
        """Have what waits in line called in the next turn."""
        with suppress(RuntimeError):  # the loop is closed: it will have no turn
            self.loop.call_soon_threadsafe(self._wake, context=self._context)

    def _wake(self) -> None:
        self.runUntilCurrent()
        self._reschedule()


def install() -> None:
    """Make this Twisted's reactor (``twistd -r uvloop`` and ``twist --reactor uvloop`` call it)."""
    reactor = UvloopReactor()
    asyncio.set_event_loop(reactor.loop)
    installReactor(reactor)
