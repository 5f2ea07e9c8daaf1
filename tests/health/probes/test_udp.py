"""The probe udp, on loopback sockets that are read by hand, and a clock."""

import socket

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.health.probes import UDP
from balancer.health.settings import UdpCheckSettings
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from tests.net.test_watch import Readers


class Reactor(Clock, Readers):
    """Time, and who is to be read."""

    def __init__(self) -> None:
        Clock.__init__(self)
        Readers.__init__(self)

    def turn(self) -> None:
        """Read."""
        for reader in tuple(self.readers):
            reader.doRead()  # type: ignore[attr-defined]


class UdpProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", 0))
        self.server.settimeout(30)
        self.port = self.server.getsockname()[1]
        self.reactor = Reactor()

    def begin(self, **keys: object) -> "Deferred[ProbeResult]":
        target = ProbeTarget(host="127.0.0.1", port=self.port, tls_name=None, name="dns")
        return UDP.probe(target, UdpCheckSettings(**keys), self.reactor)  # type: ignore[arg-type]

    def answer(self, data: bytes) -> bytes:
        """What the server got, to which it answers."""
        got, client = self.server.recvfrom(65535)
        self.server.sendto(data, client)
        self.reactor.turn()
        return got

    def result(self, probe: "Deferred[ProbeResult]") -> ProbeResult:
        """What came of it; nothing is left open."""
        found = self.successResultOf(probe)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))
        return found

    def test_plugin(self) -> None:
        """It provides IProbePlugin whole."""
        verifyObject(IProbePlugin, UDP)

    def test_expected(self) -> None:
        """The datagram has escapes undone, and so has what is looked for in the answer."""
        probe = self.begin(send=r"\x12\x34?", expect=r"4\0!")
        self.assertEqual(self.answer(b"124\0!5"), b"\x12\x34?")
        self.assertEqual(self.result(probe), ProbeResult(True, f"127.0.0.1:{self.port} answered as expected"))

    def test_otherwise(self) -> None:
        """Another answer fails, and the reason shows it."""
        probe = self.begin(send="a", expect="yes")
        self.answer(b"no")
        result = self.result(probe)
        self.assertEqual(
            (result.passed, result.reason.partition(" ")[2]), (False, "answered otherwise than expected (got b'no')")
        )

    def test_regex(self) -> None:
        """A regular expression where asked for."""
        probe = self.begin(expect="^y.s$", regex=True)
        self.assertEqual(self.answer(b"y\ns"), b"")
        self.assertTrue(self.result(probe).passed)

    def test_any_answer(self) -> None:
        """Where nothing is expected any answer passes, at once."""
        probe = self.begin()
        self.answer(b"")
        self.assertEqual(self.result(probe), ProbeResult(True, f"127.0.0.1:{self.port} answered"))

    def test_silence(self) -> None:
        """Where nothing is expected, silence passes after a while; where something is, the monitor's timeout comes."""
        silent, waiting = self.begin(wait=0.5), self.begin(expect="x")
        self.reactor.advance(0.5)
        self.assertTrue(self.successResultOf(silent).passed)
        self.reactor.advance(100)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))

    def test_refused(self) -> None:
        """An ICMP refusal is a failure, whatever is expected."""
        self.server.close()
        for expect in ("", "x"):
            probe = self.begin(expect=expect)
            self.reactor.turn()
            result = self.result(probe)
            self.assertFalse(result.passed)
            self.assertIn("refused the datagram", result.reason)

    def test_unreachable(self) -> None:
        """No way there is a failure with the system's words."""
        target = ProbeTarget(host="240.0.0.1", port=1, tls_name=None, name="dns")
        probe = UDP.probe(target, UdpCheckSettings(expect="x"), self.reactor)
        if self.reactor.readers:  # this machine has a default route, and the datagram is under way
            probe.cancel()
            self.failureResultOf(probe, CancelledError)
        else:
            self.assertFalse(self.result(probe).passed)

    def test_settings(self) -> None:
        """A wait for silence as long as the timeout is refused; with an expected answer it does not count."""
        with self.assertRaises(ValueError) as caught:
            UdpCheckSettings(wait=2.0, timeout=2.0)
        self.assertIn('"wait" below "timeout" (2 s)', str(caught.exception))
        UdpCheckSettings(wait=2.0, timeout=2.0, expect="x")
        for wrong in ({"expect": "(", "regex": True}, {"expect": r"\q"}):
            with self.assertRaises(ValueError):
                UdpCheckSettings(**wrong)  # type: ignore[arg-type]
