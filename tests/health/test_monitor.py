"""One probe stream per backend and check, following the registry."""

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.core.health import CheckSettings
from balancer.core.model import AdminState, Backend, BackendSpec, Health
from balancer.errors import UnknownName
from balancer.health.asking import FIRST_WITHIN
from balancer.health.monitor import Monitor
from balancer.interfaces import IProbePlugin, ProbeTarget
from balancer.registry import Registry
from balancer.testing.probes import FAILED, PASSED, ScriptedProbe

CHECK = CheckSettings(jitter=0)
OTHER = CheckSettings(jitter=0, port=8080)


class MonitorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.probe = ScriptedProbe()
        self.registry = Registry(self.clock.seconds, Random(1))
        self.monitor = self.make_monitor()
        self.monitor.start()

    def make_monitor(self, concurrent: int = 256) -> Monitor:
        return Monitor(self.registry, self.clock, Random(1), self.lookup, concurrent)

    def lookup(self, name: str) -> IProbePlugin:
        if name != "tcp":
            raise UnknownName(f"no {name}")
        return self.probe

    def apply(self, **checks: CheckSettings | None) -> None:
        servers = (ServerConfig(address="10.0.0.1:80"),)
        upstreams = {name: UpstreamConfig(servers=servers, check=check) for name, check in checks.items()}
        self.registry.apply(Configuration(upstream=upstreams))

    def publish(self, name: str, *hosts: str) -> None:
        self.registry.publish(name, [BackendSpec(host=host, port=80) for host in hosts])

    def settle(self) -> None:
        """Let the first probes be made."""
        self.clock.advance(FIRST_WITHIN)

    def backend(self, host: str = "10.0.0.1") -> Backend:
        return self.registry.find(f"{host}:80")[0]

    def reasons(self, host: str = "10.0.0.1") -> list[str]:
        return [f"{type(event).__name__}: {event.reason}" for event in self.backend(host).events]


class Sharing(MonitorCase):
    def test_five_upstreams_with_equal_checks_are_one_stream(self) -> None:
        """The probe count of a backend that five upstreams use is that of one."""
        self.apply(**{f"web{number}": CheckSettings(jitter=0) for number in range(5)})
        for number in range(5):
            self.publish(f"web{number}", "10.0.0.1")
        self.settle()
        self.clock.pump([5] * 10)
        self.assertEqual(len(self.monitor.streams), 1)
        self.assertEqual((self.monitor.probes_of(self.backend()), len(self.probe.targets)), (11, 11))

    def test_five_listeners_on_one_upstream_are_one_stream(self) -> None:
        """Listeners and routes are not asked at all: only upstreams have members."""
        listeners = {f"in{number}": ListenerConfig(listen=f"tcp:808{number}", to="web") for number in range(5)}
        upstream = UpstreamConfig(servers=(ServerConfig(address="10.0.0.1:80"),), check=CHECK)
        self.registry.apply(Configuration(upstream={"web": upstream}, listener=listeners))
        self.publish("web", "10.0.0.1")
        self.settle()
        self.assertEqual(self.monitor.probes_of(self.backend()), 1)

    def test_different_checks_are_two_streams_and_the_worst_verdict_counts(self) -> None:
        """A backend that passes one check and fails the other is down, and says for which reason."""

        def by_port(target: ProbeTarget) -> Any:
            answer = PASSED if target.port == 80 else FAILED
            return ScriptedProbe(answer).probe(target, None, None)

        self.probe.answer = by_port
        self.apply(web=CHECK, api=OTHER)
        self.publish("web", "10.0.0.1")
        self.publish("api", "10.0.0.1")
        self.settle()
        self.clock.pump([1] * 3)
        self.assertEqual(len(self.monitor.streams_of(self.backend())), 2)
        self.assertIs(self.backend().health, Health.DOWN)
        self.assertEqual(self.backend().health_reason, "3 probes in a row failed, the last: nobody is there")

    def test_a_further_check_does_not_make_a_known_backend_wait(self) -> None:
        """An upstream that begins to use a backend with a check of its own takes it from nobody."""
        self.apply(web=CHECK, api=OTHER)
        self.publish("web", "10.0.0.1")
        self.settle()
        self.publish("api", "10.0.0.1")
        self.assertEqual((self.backend().health, self.backend().available), (Health.UNKNOWN, True))
        self.settle()
        self.assertIs(self.backend().health, Health.UP)

    def test_no_check_is_no_stream(self) -> None:
        """check = none: the backend serves, and nobody probes it."""
        self.apply(web=None, api=CheckSettings(type="none"))
        self.publish("web", "10.0.0.1")
        self.publish("api", "10.0.0.1")
        self.settle()
        self.assertEqual((self.monitor.streams, self.probe.targets), ((), []))
        self.assertTrue(self.backend().available)


class Following(MonitorCase):
    def test_a_new_member_waits_before_anyone_can_choose_it(self) -> None:
        """Its first verdict is there when publish returns: nothing serves unprobed in between."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1")
        self.settle()
        self.publish("web", "10.0.0.1", "10.0.0.2")
        usable = {member.backend.host for member in self.registry.upstream("web").members if member.usable}
        self.assertEqual(usable, {"10.0.0.1"})
        self.settle()
        self.assertIs(self.backend("10.0.0.2").health, Health.UP)

    def test_streams_end_with_their_members(self) -> None:
        """One that left is not probed any more, and the survivor's stream goes on with its count."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.settle()
        survivor = self.monitor.streams_of(self.backend())
        self.publish("web", "10.0.0.1")
        self.assertEqual(self.monitor.streams, survivor)
        self.clock.advance(5)
        self.assertEqual([target.host for target in self.probe.targets[2:]], ["10.0.0.1"])

    def test_a_stream_lives_while_anyone_uses_it(self) -> None:
        """The last of two upstreams that leaves ends it."""
        self.apply(web=CHECK, api=CHECK)
        self.publish("web", "10.0.0.1")
        self.publish("api", "10.0.0.1")
        self.apply(api=CHECK)
        self.assertEqual([stream.users for stream in self.monitor.streams], [{"api"}])
        self.apply()
        self.assertEqual((self.monitor.streams, self.clock.getDelayedCalls()), ((), []))

    def test_a_changed_check_keeps_the_verdict_until_its_own_results_say_otherwise(self) -> None:
        """A reload takes no server out: up stays up, and down needs `rise` passes of the new check."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1")
        self.settle()
        self.apply(web=OTHER)
        self.assertEqual((self.backend().health, self.backend().available), (Health.UP, True))
        self.assertEqual([stream.check for stream in self.monitor.streams], [OTHER])
        self.probe.answer = FAILED
        self.settle()
        self.clock.pump([1, 1])
        self.assertIs(self.backend().health, Health.DOWN)
        self.probe.answer = PASSED
        self.apply(web=CHECK)
        self.settle()
        self.assertIs(self.backend().health, Health.DOWN)
        self.clock.advance(1)
        self.assertIs(self.backend().health, Health.UP)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_an_unchanged_check_is_not_touched_by_a_reload(self) -> None:
        """The stream is the same one, with its counts, and no event is left."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1")
        self.settle()
        before, told = self.monitor.streams, len(self.backend().events)
        self.apply(web=CheckSettings(jitter=0), api=CHECK)
        self.assertEqual((self.monitor.streams, len(self.backend().events)), (before, told))

    def test_a_check_that_is_dropped_frees_the_backend(self) -> None:
        """Down by a check that is not made any more is not down."""
        self.probe.answer = FAILED
        self.apply(web=CheckSettings(fall=1))
        self.publish("web", "10.0.0.1")
        self.settle()
        self.assertIs(self.backend().health, Health.DOWN)
        self.apply(web=None)
        self.assertEqual((self.backend().health, self.backend().available), (Health.UNKNOWN, True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_backend_that_comes_back_soon_comes_back_as_what_it_was(self) -> None:
        """A DNS answer that leaves it out for a while forgets neither its health nor its counts, and probes it not."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.settle()
        before = self.monitor.streams_of(self.backend("10.0.0.2"))
        self.publish("web", "10.0.0.1")
        self.clock.advance(60)
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.assertEqual(self.monitor.streams_of(self.backend("10.0.0.2")), before)
        self.assertIs(self.backend("10.0.0.2").health, Health.UP)
        self.assertEqual(before[0].probes, 1)
        self.settle()
        self.assertEqual(before[0].probes, 2)

    def test_a_backend_that_moves_to_another_check_leaves_no_verdict_of_the_old_one(self) -> None:
        """What the old upstream's check said goes over to the new one, and does not stand for ever."""
        self.probe.answer = FAILED
        self.apply(web=CheckSettings(fall=1, jitter=0))
        self.publish("web", "10.0.0.1")
        self.settle()
        self.apply(api=OTHER)
        self.publish("api", "10.0.0.1")
        self.assertIs(self.backend().health, Health.DOWN)
        self.probe.answer = PASSED
        self.settle()
        self.clock.advance(1)
        self.assertIs(self.backend().health, Health.UP)

    def test_backends_that_the_registry_forgot_are_forgotten(self) -> None:
        """A name that resolves to ever new addresses does not fill the monitor's memory."""
        self.apply(web=CHECK)
        for number in range(20):
            self.publish("web", f"10.0.1.{number}")
            self.clock.advance(100)
            self.registry.tick()
        self.assertLessEqual(len(self.monitor._parked), len(self.registry.remembered) + 1)
        self.assertLess(len(self.registry.remembered), 10)

    def test_a_subscriber_that_changes_members_in_an_event_finds_order(self) -> None:
        """Members that change while streams begin are followed after that, and none is lost or left over."""
        self.apply(web=CHECK)

        def drop_the_second(event: object) -> None:
            if len(self.registry.upstream("web").members) == 2:
                self.publish("web", "10.0.0.1")

        self.registry.subscribe(drop_the_second)
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.assertEqual([stream.backend.host for stream in self.monitor.streams], ["10.0.0.1"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_check_whose_plugin_is_not_known_fails_in_words(self) -> None:
        """The backend is down because nobody knows the probe, and everything else goes on."""
        self.apply(web=CheckSettings(type="nonsense", fall=1))
        self.publish("web", "10.0.0.1")
        self.settle()
        self.assertEqual(self.backend().health_reason, "the probe failed: no nonsense")


class Operators(MonitorCase):
    def setUp(self) -> None:
        super().setUp()
        self.apply(web=CHECK, api=CHECK)
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.settle()

    def administer(self, state: AdminState) -> None:
        self.registry.administer("10.0.0.1:80", state, "the operator")

    def test_drain_goes_on_probing(self) -> None:
        """Who drains wants to know whether the server lives."""
        self.administer(AdminState.DRAIN)
        self.clock.advance(5)
        self.assertEqual(self.monitor.probes_of(self.backend()), 2)

    def test_maintenance_is_not_probed_and_ends_with_a_probe(self) -> None:
        """In MAINT no probe is made; after it the backend is as new: it serves after its first pass."""
        self.administer(AdminState.MAINT)
        self.clock.advance(60)
        self.assertEqual(self.monitor.probes_of(self.backend()), 1)
        self.probe.answer = None
        self.administer(AdminState.READY)
        self.settle()
        self.assertEqual((self.backend().available, self.backend().health), (False, Health.UNKNOWN))
        self.probe.pending[0].callback(PASSED)
        self.assertEqual((self.backend().available, self.backend().health), (True, Health.UP))

    def test_maintenance_cancels_the_probe_under_way(self) -> None:
        """Not even the probe that was begun before is answered to."""
        self.probe.answer = None
        self.clock.advance(5)
        self.assertEqual(len(self.probe.pending), 2)
        self.administer(AdminState.MAINT)
        self.assertEqual((len(self.probe.pending), self.probe.cancelled), (1, 1))

    def test_a_backend_in_maintenance_that_joins_another_upstream_stays_unprobed(self) -> None:
        """The operator's word holds for streams that begin later, too."""
        self.apply(web=CHECK, api=OTHER)
        self.administer(AdminState.MAINT)
        self.publish("api", "10.0.0.1")
        before = len(self.probe.targets)
        self.clock.advance(0.2)
        self.assertEqual(len(self.probe.targets), before)
        self.assertEqual(len(self.monitor.streams_of(self.backend())), 2)

    def test_a_backend_in_maintenance_that_was_gone_stays_unprobed(self) -> None:
        """Coming back from a DNS flap does not end a maintenance."""
        self.administer(AdminState.MAINT)
        self.publish("web", "10.0.0.2")
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.settle()
        self.assertEqual(self.monitor.probes_of(self.backend()), 1)


class Life(MonitorCase):
    def test_stop_leaves_nothing_in_the_reactor(self) -> None:
        """Probes under way, in line and to come are all cancelled, and the registry is not followed any more."""
        self.monitor.stop()
        self.monitor = self.make_monitor(concurrent=1)
        self.monitor.start()
        self.apply(web=CHECK)
        self.probe.answer = None
        self.publish("web", "10.0.0.1", "10.0.0.2")
        self.settle()
        self.assertEqual(len(self.probe.pending), 1)
        self.monitor.stop()
        self.assertEqual((self.probe.pending, self.clock.getDelayedCalls(), self.monitor.streams), ([], [], ()))
        self.publish("web", "10.0.0.3")
        self.assertEqual(self.monitor.streams, ())

    def test_start_finds_what_is_there_already(self) -> None:
        """Members published before the monitor started are probed as well."""
        self.monitor.stop()
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1")
        self.monitor.start()
        self.monitor.start()
        self.settle()
        self.assertEqual(self.monitor.probes_of(self.backend()), 1)

    def test_thousands_of_backends_do_not_burst(self) -> None:
        """No more probes than the limit are under way, and every backend has its turn."""
        self.probe.answer = None
        self.apply(web=CHECK)
        self.publish("web", *(f"10.1.{number // 250}.{number % 250}" for number in range(600)))
        self.settle()
        self.assertEqual(len(self.probe.pending), 256)
        while self.probe.pending:
            self.probe.pending.pop().callback(PASSED)
        self.assertEqual(len(self.probe.targets), 600)

    def test_the_events_of_a_life_read_as_a_story(self) -> None:
        """New, up, down, up: each with its reason."""
        self.apply(web=CHECK)
        self.publish("web", "10.0.0.1")
        self.settle()
        self.probe.answer = FAILED
        self.clock.pump([5, 1, 1])
        self.probe.answer = PASSED
        self.clock.pump([5, 1])
        self.assertEqual(
            self.reasons(),
            [
                "HealthUnknown: new, not probed yet (start = 'wait')",
                "BackendUp: all is well",
                "BackendDown: 3 probes in a row failed, the last: nobody is there",
                "BackendUp: 2 probes in a row passed, the last: all is well",
            ],
        )
