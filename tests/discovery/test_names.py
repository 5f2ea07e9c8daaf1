"""Streams of questions after names."""

from random import Random

from twisted.internet.defer import TimeoutError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.names import dns
from twisted.names.error import DNSNameError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.resolving import ResolvePolicy
from balancer.discovery.names import Names
from balancer.testing.resolver import ScriptedResolver

NAME = "db.example"


class NamesCase(SynchronousTestCase):
    policy = ResolvePolicy(jitter=0)

    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = ScriptedResolver()
        self.names = Names(self.resolver, self.clock, Random(1), self.policy)
        self.heard: list[tuple[str, ...]] = []
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict) -> None:
        if event["log_level"] >= LogLevel.info and str(event.get("log_namespace")).startswith("balancer"):
            self.warnings.append(event["log_format"].format(**event))

    @property
    def rounds(self) -> int:
        return self.resolver.asked.count((NAME, dns.A))


class Watching(NamesCase):
    def test_a_watcher_hears_the_first_result_and_then_only_changes(self) -> None:
        """The first answer is told even late, the same answer again is not."""
        self.names.watch(NAME, self.heard.append)
        self.assertEqual(self.heard, [])
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        self.assertEqual(self.heard, [("10.0.0.1",)])
        self.clock.advance(30)
        self.assertEqual((self.rounds, self.heard), (2, [("10.0.0.1",)]))
        self.resolver.give(NAME, "10.0.0.2", ttl=30)
        self.clock.advance(30)
        self.assertEqual(self.heard, [("10.0.0.1",), ("10.0.0.2",)])

    def test_a_name_is_asked_for_again_at_its_ttl_and_not_before(self) -> None:
        """Both families are asked together, once per TTL."""
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        self.names.watch(NAME, self.heard.append)
        self.clock.advance(29.99)
        self.assertEqual(self.resolver.asked, [(NAME, dns.A), (NAME, dns.AAAA)])
        self.clock.advance(0.01)
        self.assertEqual(len(self.resolver.asked), 4)

    def test_a_name_is_resolved_once_however_many_watch_it(self) -> None:
        """A second watcher is told at once what is known, and asks nothing."""
        self.resolver.give(NAME, "10.0.0.1")
        self.names.watch(NAME, lambda addresses: None)
        self.names.watch(NAME, self.heard.append)
        self.assertEqual((self.rounds, self.heard), (1, [("10.0.0.1",)]))

    def test_the_last_watcher_ends_the_stream(self) -> None:
        """Nothing is left in the reactor when nobody wants to know, and a watcher that left hears nothing."""
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        leave = [self.names.watch(NAME, self.heard.append) for _ in range(2)]
        leave[0]()
        self.resolver.give(NAME, "10.0.0.2", ttl=30)
        self.clock.advance(30)
        self.assertEqual(self.heard, [("10.0.0.1",), ("10.0.0.1",), ("10.0.0.2",)])
        leave[1]()
        leave[1]()
        self.assertEqual((self.clock.getDelayedCalls(), self.names.watched), ([], ()))

    def test_stop_takes_back_what_is_asked(self) -> None:
        """A question that is out is cancelled, its timer too, and its late answer is told to nobody."""
        self.names.watch(NAME, self.heard.append)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.names.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.heard), ([], []))

    def test_a_watcher_that_raises_is_logged_and_the_stream_goes_on(self) -> None:
        """One broken hearer does not end the questions."""
        self.resolver.give(NAME, "10.0.0.1", ttl=30)

        def raises(addresses: tuple[str, ...]) -> None:
            raise RuntimeError("broken hearer")

        self.resolver.silence(NAME)
        self.names.watch(NAME, raises)
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(30)
        self.assertEqual(self.rounds, 2)


class Failing(NamesCase):
    def test_a_failing_resolver_keeps_the_last_good_set_and_is_asked_again_with_growing_waits(self) -> None:
        """1, 2, 4 seconds after failures; the watcher hears nothing, for nothing is known better."""
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        self.names.watch(NAME, self.heard.append)
        self.resolver.fail(NAME, TimeoutError())
        for wait in (30, 1, 2, 4):
            before = self.rounds
            self.clock.advance(wait)
            self.assertEqual(self.rounds, before + 1)
        self.assertEqual(self.heard, [("10.0.0.1",)])

    def test_trouble_is_logged_once_per_change(self) -> None:
        """Timeout, NXDOMAIN and recovery are three lines, however often each is seen."""
        self.resolver.give(NAME, "10.0.0.1", ttl=1)
        self.names.watch(NAME, self.heard.append)
        for error in (TimeoutError(), DNSNameError()):
            self.resolver.fail(NAME, error)
            self.clock.pump([1] * 10)
        self.resolver.give(NAME, "10.0.0.1", ttl=30)
        self.clock.pump([1] * 60)
        self.assertEqual(
            self.warnings,
            [
                "db.example: no name server answered in time; addresses in use: 10.0.0.1",
                "db.example: there is no such name (NXDOMAIN); addresses in use: 10.0.0.1",
                "db.example resolves again: 10.0.0.1",
            ],
        )

    def test_a_first_failure_is_told(self) -> None:
        """Whoever waits for a first word hears that there is no address yet."""
        self.resolver.fail(NAME, DNSNameError())
        self.names.watch(NAME, self.heard.append)
        self.assertEqual(self.heard, [()])

    def test_a_silent_resolver_is_given_up_on_at_the_timeout(self) -> None:
        """After the timeout the question counts as failed; one answered family is used all the same."""
        self.resolver.fail(NAME, DNSNameError(), dns.AAAA)
        self.names.watch(NAME, self.heard.append)
        self.clock.advance(9.99)
        self.assertEqual(self.heard, [])
        self.clock.advance(0.01)
        self.assertEqual(self.heard, [()])
        self.assertIn("no name server answered in time; there is no such name", self.warnings[0])

    def test_a_resolver_that_raises_is_a_failing_one(self) -> None:
        """A name that the resolver cannot even encode is reported like any other failure."""
        self.names.watch("a" * 70 + "\udc80", self.heard.append)
        self.assertEqual(self.heard, [()])
        self.assertIn("the question failed", self.warnings[0])


class Crowds(NamesCase):
    policy = ResolvePolicy(jitter=0, concurrent=2)

    def test_no_more_names_are_asked_for_at_one_time_than_allowed(self) -> None:
        """The third name waits for its turn, and gets it."""
        for name in ("a.example", "b.example", "c.example"):
            self.names.watch(name, self.heard.append)
        self.assertEqual({name for name, _ in self.resolver.waiting}, {"a.example", "b.example"})
        self.resolver.give("a.example", "10.0.0.1")
        self.assertEqual({name for name, _ in self.resolver.waiting}, {"b.example", "c.example"})

    def test_one_that_waits_for_its_turn_can_be_left(self) -> None:
        """Its place in the line goes to the next, and nothing is logged."""
        for name in ("a.example", "b.example"):
            self.names.watch(name, self.heard.append)
        leave = self.names.watch("c.example", self.heard.append)
        self.names.watch("d.example", self.heard.append)
        leave()
        self.resolver.give("a.example", "10.0.0.1")
        self.assertEqual({name for name, _ in self.resolver.waiting}, {"b.example", "d.example"})
        self.assertEqual(self.warnings, [])


class Configuring(NamesCase):
    def test_another_policy_reaches_the_names_that_are_watched(self) -> None:
        """After a reload with a longer least TTL a name is asked for by it, from its next answer on."""
        self.resolver.give(NAME, "10.0.0.1", ttl=1)
        self.names.watch(NAME, self.heard.append)
        self.names.configure(ResolvePolicy(jitter=0, min_ttl=60))
        self.clock.advance(1)
        self.assertEqual(self.rounds, 2)
        self.clock.advance(59)
        self.assertEqual(self.rounds, 2)
        self.clock.advance(1)
        self.assertEqual(self.rounds, 3)
