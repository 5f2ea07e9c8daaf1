"""The probe ``udp``: a datagram is answered as expected, or at least not refused. It reads one datagram.

A server that does not answer at all passes where no answer is expected: syslog and its like never do. What takes it
down then is the ICMP message that nobody listens there (nginx's UDP checks go by the same).
"""

import re
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.core.datagrams import LARGEST
from balancer.core.model import join_address
from balancer.health.probes.wire import narrow
from balancer.health.settings import UdpCheckSettings, unescape
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from balancer.net.datagrams import connected
from balancer.net.watch import make_watch

SHOWN = 60
"""Bytes of what arrived instead that a reason shows."""


class _Question:
    """One datagram. ``done`` fires with the answer, with ``None`` for silence, or fails with an OSError."""

    def __init__(self, sock: socket.socket, reactor: Any) -> None:
        self.done: Deferred[bytes | None] = Deferred(lambda _: self.close())
        self._socket = sock
        self._reactor = reactor
        self._watch = make_watch(reactor)
        self._patience: IDelayedCall | None = None

    def ask(self, data: bytes, wait: float | None) -> "Deferred[bytes | None]":
        """Send it.

        :param wait: seconds after which silence is an answer; ``None`` for never.
        """
        if wait is not None:
            self._patience = self._reactor.callLater(wait, self._finish, None)
        try:
            self._watch.add(self)
            self._socket.send(data)
        except OSError as error:
            self._fail(error)
        return self.done

    def fileno(self) -> int:
        return self._socket.fileno()

    def readable(self) -> None:
        try:
            data = self._socket.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        self._finish(data)

    def close(self) -> None:
        """At once, in whatever state it is."""
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._watch.close()
        self._socket.close()

    def _finish(self, found: bytes | None) -> None:
        self.close()
        self.done.callback(found)

    def _fail(self, error: OSError) -> None:
        self.close()
        self.done.errback(error)


@implementer(IPlugin, IProbePlugin)
class UdpProbe:
    """Passes when the answer is as expected; where none is expected, when there is no refusal."""

    name = "udp"
    settings = UdpCheckSettings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        return Deferred.fromCoroutine(self._probe(target, narrow(settings, UdpCheckSettings), reactor))

    async def _probe(self, target: ProbeTarget, settings: UdpCheckSettings, reactor: Any) -> ProbeResult:
        address = join_address(target.host, target.port)
        wait = None if settings.expect else settings.wait
        try:
            question = _Question(connected(target.host, target.port), reactor)
            answer = await question.ask(unescape(settings.send), wait)
        except ConnectionRefusedError:
            return ProbeResult(False, f"{address} refused the datagram (ICMP: nobody listens there)")
        except OSError as error:
            return ProbeResult(False, f"{address}: {error.strerror}")
        return _judge(address, settings, answer)


def _judge(address: str, settings: UdpCheckSettings, answer: bytes | None) -> ProbeResult:
    if answer is None:
        return ProbeResult(True, f"{address} did not refuse the datagram within {settings.wait:g} s")
    expected = settings.expect.encode() if settings.regex else re.escape(unescape(settings.expect))
    if re.search(expected, answer, re.DOTALL):
        return ProbeResult(True, f"{address} answered" + " as expected" * bool(settings.expect))
    return ProbeResult(False, f"{address} answered otherwise than expected (got {answer[:SHOWN]!r})")


UDP = UdpProbe()
