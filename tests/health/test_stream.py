"""One backend, one check, one probe after the other."""

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.health import CheckSettings
from balancer.core.model import Backend, Health
from balancer.health.asking import FIRST_WITHIN, Surroundings
from balancer.health.gate import Gate
from balancer.health.stream import ProbeStream
from balancer.interfaces import IProbePlugin, ProbeResult, ProbeTarget
from balancer.testing.probes import FAILED, PASSED, ScriptedProbe


class StreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.probe = ScriptedProbe()
        self.gate = Gate(8)
        self.reasons: list[str] = []
        self.backend = Backend(("10.0.0.1", 80, None), lambda event: self.reasons.append(event.reason))

    def lookup(self, name: str) -> IProbePlugin:
        return self.probe

    def stream(self, **timing: object) -> ProbeStream:
        check = CheckSettings(jitter=0, **timing)  # type: ignore[arg-type]
        return ProbeStream(self.backend, check, "db", Surroundings(self.clock, Random(1), self.gate, self.lookup))

    def started(self, **timing: object) -> ProbeStream:
        stream = self.stream(**timing)
        stream.start()
        self.clock.advance(FIRST_WITHIN)
        return stream


class Verdicts(StreamCase):
    def test_the_change_comes_on_exactly_the_third_failure_and_the_second_pass(self) -> None:
        """fall = 3, rise = 2: neither one result earlier nor one later."""
        stream = self.started(fall=3, rise=2, interval=5, fast_interval=1)
        self.assertIs(self.backend.health, Health.UP)
        self.probe.answer = FAILED
        seen = []
        for wait in (5, 1, 1):
            self.clock.advance(wait)
            seen.append(self.backend.health)
        self.assertEqual(seen, [Health.UP, Health.UP, Health.DOWN])
        self.probe.answer = PASSED
        seen.clear()
        for wait in (5, 1):
            self.clock.advance(wait)
            seen.append(self.backend.health)
        self.assertEqual(seen, [Health.DOWN, Health.UP])
        self.assertEqual(stream.probes, 6)
        self.assertEqual(
            self.reasons[1:],
            [
                "all is well",
                "3 probes in a row failed, the last: nobody is there",
                "2 probes in a row passed, the last: all is well",
            ],
        )

    def test_a_disagreeing_result_leaves_verdict_and_reason(self) -> None:
        """While one failure is not enough, the backend is up for the reason it is up for; the stream knows more."""
        stream = self.started()
        self.probe.answer = FAILED
        self.clock.advance(5)
        self.assertEqual((self.backend.health, self.backend.health_reason), (Health.UP, "all is well"))
        self.assertEqual(stream.last, FAILED)

    def test_an_agreeing_result_brings_the_latest_reason_without_an_event(self) -> None:
        """Down, and now for another reason: the page shows it, the events do not repeat."""
        self.probe.answer = FAILED
        self.started(fall=1)
        events = len(self.reasons)
        self.probe.answer = ProbeResult(False, "connect refused")
        self.clock.advance(5)
        self.assertEqual(self.backend.health_reason, "connect refused")
        self.assertEqual(len(self.reasons), events)

    def test_start_wait_serves_after_one_pass(self) -> None:
        """A new backend waits for its first result, and one pass is enough."""
        self.probe.answer = None
        self.started(start="wait")
        self.assertEqual((self.backend.health, self.backend.available), (Health.UNKNOWN, False))
        self.probe.pending.pop().callback(PASSED)
        self.assertEqual((self.backend.health, self.backend.available), (Health.UP, True))

    def test_start_wait_waits_on_after_a_failure(self) -> None:
        """A failed first probe does not let it serve; `fall` failures make it DOWN."""
        self.probe.answer = FAILED
        self.started(start="wait", fall=2)
        self.assertEqual((self.backend.health, self.backend.available), (Health.UNKNOWN, False))
        self.assertEqual(self.backend.health_reason, "nobody is there")
        self.clock.advance(1)
        self.assertIs(self.backend.health, Health.DOWN)

    def test_start_up_serves_at_once(self) -> None:
        """start = up: not known, and served all the same."""
        self.probe.answer = None
        self.started(start="up")
        self.assertEqual((self.backend.health, self.backend.available), (Health.UNKNOWN, True))

    def test_start_down_serves_after_rise_passes(self) -> None:
        """start = down: one pass is not enough where rise is two."""
        self.started(start="down", rise=2)
        self.assertIs(self.backend.health, Health.DOWN)
        self.clock.advance(1)
        self.assertIs(self.backend.health, Health.UP)


class Times(StreamCase):
    def test_the_first_probe_comes_at_once_and_the_next_at_the_intervals(self) -> None:
        """Settled every interval, changing every fast interval, down every down interval."""
        stream = self.started(interval=5, fast_interval=1, down_interval=7, fall=2)
        self.assertEqual(stream.probes, 1)
        self.probe.answer = FAILED
        for wait, probes in ((4.9, 1), (0.1, 2), (0.9, 2), (0.1, 3), (6.9, 3), (0.1, 4)):
            self.clock.advance(wait)
            self.assertEqual(stream.probes, probes)

    def test_a_probe_that_does_not_answer_fails_at_its_timeout(self) -> None:
        """It is cancelled, counts as a failure with that reason, and the next one comes."""
        self.probe.answer = None
        stream = self.started(timeout=2)
        self.clock.advance(2)
        self.assertEqual(stream.last, ProbeResult(False, "no answer within 2 s"))
        self.assertEqual((self.probe.cancelled, self.gate.inside), (1, 0))
        self.clock.advance(1)
        self.assertEqual(stream.probes, 2)

    def test_another_port_and_address_are_probed_where_the_check_says_so(self) -> None:
        """The target is the check's, the name the backend's."""
        self.started(port=8080, address="10.9.9.9")
        self.assertEqual(self.probe.targets, [ProbeTarget(host="10.9.9.9", port=8080, tls_name=None, name="db")])


class Life(StreamCase):
    def test_halt_leaves_nothing_and_keeps_the_verdict(self) -> None:
        """Between probes and in the midst of one: no timer, no probe, no place at the gate."""
        for answer in (PASSED, None):
            self.probe.answer = PASSED
            stream = self.started()
            self.probe.answer = answer
            self.clock.advance(5)
            stream.halt()
            self.assertEqual((self.clock.getDelayedCalls(), self.probe.pending, self.gate.inside), ([], [], 0))
            self.assertIs(self.backend.health, Health.UP)

    def test_stop_takes_the_verdict_back(self) -> None:
        """Without a check nothing is known of the backend."""
        self.started().stop()
        self.assertEqual((self.backend.health, self.backend.health_reason), (Health.UNKNOWN, "no check is configured"))

    def test_one_that_is_stopped_by_whoever_hears_of_it_stays_stopped(self) -> None:
        """A subscriber may end the stream in the very event of its result."""
        stream = self.stream()

        def stop_at_up(event: object) -> None:
            if self.backend.health is Health.UP:
                stream.stop()

        self.backend.listener = stop_at_up
        stream.start()
        self.clock.advance(FIRST_WITHIN)
        self.assertEqual((self.clock.getDelayedCalls(), self.gate.inside), ([], 0))

    def test_one_that_waits_at_the_gate_can_be_halted_and_resumed(self) -> None:
        """Its old place is void: it is probed once, not twice."""
        gate = self.gate
        for _ in range(gate.limit):
            gate.enter(lambda: True)
        stream = self.started()
        stream.halt()
        stream.resume()
        self.clock.advance(FIRST_WITHIN)
        gate.leave()
        gate.leave()
        self.assertEqual(stream.probes, 1)

    def test_a_plugin_that_raises_is_logged_once_and_the_stream_goes_on(self) -> None:
        """An unexpected error is a failed probe with that reason; the log has it once, not every second."""

        def raises(target: ProbeTarget) -> Deferred[ProbeResult]:
            raise RuntimeError("oh")

        self.probe.answer = raises
        stream = self.started(fall=3)
        self.clock.pump([1, 1, 5, 5])
        self.assertEqual(stream.probes, 5)
        self.assertEqual(self.backend.health_reason, "the probe failed: RuntimeError: oh")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
