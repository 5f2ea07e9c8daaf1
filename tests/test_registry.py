"""The registry: a configuration is applied by its difference, and what is known of a server outlives change."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer import registry as module
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.core import selection
from balancer.core.events import BackendDown, ConfigApplied, Drained, Ejected, Event, MembersChanged, Readmitted
from balancer.core.lease import Lease, Outcome
from balancer.core.model import AdminState, BackendSpec, Health, Member
from balancer.core.policies import OutlierPolicy
from balancer.core.route_spec import RouteSpec
from balancer.core.traits import NOTHING_KNOWN
from balancer.errors import UnknownName
from balancer.interfaces import ISelector, SelectionOptions
from balancer.registry import MOST_REMEMBERED, REMEMBERED, Registry
from balancer.testing.fakes import InOrder, make_specs

Builder = Callable[[Sequence[Member]], ISelector]


def upstream(**changes: Any) -> UpstreamConfig:
    """An upstream's configuration; its servers come by publish."""
    return UpstreamConfig(**{"servers": (), **changes})


def configuration(**upstreams: UpstreamConfig) -> Configuration:
    """A configuration of these upstreams."""
    return Configuration(upstream=upstreams)


class Registered(SynchronousTestCase):
    """A registry on a virtual clock, with selectors that take members in order."""

    def setUp(self) -> None:
        self.built: list[tuple[str, SelectionOptions]] = []
        self.patch(selection, "builder", self.builder)
        self.clock = Clock()
        self.registry = Registry(self.clock.seconds, Random(1))
        self.heard: list[Event] = []
        self.registry.subscribe(self.heard.append)

    def builder(self, text: str, lookup: object, options: SelectionOptions) -> Builder:
        """In order, whatever the text says."""
        if text == "nonsense":
            raise ValueError("nonsense is no selector")
        self.built.append((text, options))
        return lambda members: InOrder(members)

    def take(self, name: str) -> Lease:
        """A lease; there has to be one."""
        now = self.clock.seconds()
        lease = self.registry.upstream(name).place(NOTHING_KNOWN, now).next(now)
        assert lease is not None
        return lease


class Applying(Registered):
    """A configuration against what is there."""

    def test_difference(self) -> None:
        """Upstreams come, change and go; the summary says which."""
        self.registry.apply(configuration(a=upstream(), b=upstream()))
        b = self.registry.upstream("b")
        self.registry.apply(configuration(b=upstream(slow_start=5.0), c=upstream()))
        self.assertEqual(sorted(self.registry.upstreams), ["b", "c"])
        self.assertIs(self.registry.upstream("b"), b)
        self.assertEqual(b.policy.slow_start, 5.0)
        told = [event.reason for event in self.heard if isinstance(event, ConfigApplied)]
        self.assertEqual(told, ["added a, b", "added c; changed b; removed a"])

    def test_same_again(self) -> None:
        """The same configuration again changes nothing, and says so."""
        same = configuration(a=upstream())
        self.registry.apply(same)
        self.registry.publish("a", make_specs(2))
        a = self.registry.upstream("a")
        before = (a.members, a.selector, a.revision)
        self.clock.advance(1)
        self.registry.apply(configuration(a=upstream()))
        self.assertEqual((a.members, a.selector, a.revision), before)
        self.assertEqual(self.heard[-1], ConfigApplied(1.0, "configuration", "no upstream changed"))

    def test_selector_stays(self) -> None:
        """A change that is not about balancing keeps the selector and all it learnt; one that is builds another."""
        self.registry.apply(configuration(a=upstream()))
        self.registry.publish("a", make_specs(2))
        selector = self.registry.upstream("a").selector
        one = ServerConfig(address="10.0.0.1:80")
        self.registry.apply(configuration(a=upstream(servers=(one,), outlier=OutlierPolicy(failures=9))))
        self.assertIs(self.registry.upstream("a").selector, selector)
        self.registry.apply(configuration(a=upstream(balance="first")))
        self.assertIsNot(self.registry.upstream("a").selector, selector)

    def test_balance(self) -> None:
        """Where none is written it goes by the listeners: only tcp takes leastconn, everything else random(2); what
        is written counts."""
        routes = (RouteSpec(to="both"), RouteSpec(split={"canary": 1}))
        listeners = {
            "tcp": ListenerConfig(listen="tcp:1", mode="tcp", to="stream"),
            "tcp2": ListenerConfig(listen="tcp:2", mode="tcp", to="both"),
            "http": ListenerConfig(listen="tcp:3", to="web", route=routes),
        }
        names = ("stream", "both", "web", "canary", "unused")
        upstreams = {name: upstream() for name in names} | {"written": upstream(balance="first")}
        self.registry.apply(Configuration(upstream=upstreams, listener=listeners))
        rest = ["random(2)"] * 4
        self.assertEqual([text for text, _ in self.built], ["leastconn", *rest, "first"])

    def test_mode_changes(self) -> None:
        """An upstream that no longer only serves tcp is balanced anew."""
        tcp = ListenerConfig(listen="tcp:1", mode="tcp", to="a")
        http = ListenerConfig(listen="tcp:2", to="a")
        self.registry.apply(Configuration(upstream={"a": upstream()}, listener={"t": tcp}))
        self.registry.apply(Configuration(upstream={"a": upstream()}, listener={"t": tcp, "h": http}))
        self.assertEqual([text for text, _ in self.built], ["leastconn", "random(2)"])
        self.assertEqual(self.heard[-1].reason, "changed a")

    def test_options(self) -> None:
        """Selectors get our chance, our clock and the upstream's hash settings."""
        self.registry.apply(configuration(a=upstream(hash_type="maglev", hash_balance_factor=150)))
        options = self.built[0][1]
        self.assertIs(options.random, self.registry.random)
        self.assertEqual((options.hash_type, options.balance_factor, options.seconds()), ("maglev", 150, 0.0))

    def test_wrong_balance(self) -> None:
        """A configuration with a balance that cannot be served raises and changes nothing at all."""
        self.registry.apply(configuration(a=upstream()))
        a, heard = self.registry.upstream("a"), len(self.heard)
        wrong = configuration(b=upstream(), a=upstream(slow_start=9.0), c=upstream(balance="nonsense"))
        self.assertRaises(ValueError, self.registry.apply, wrong)
        self.assertEqual((self.registry.upstreams, a.policy, len(self.heard)), ({"a": a}, upstream(), heard))

    def test_moves(self) -> None:
        """A server that a configuration moves to another upstream is the same one, with counters, health and what the
        operator said."""
        self.registry.apply(configuration(a=upstream()))
        self.registry.publish("a", make_specs(1))
        lease = self.take("a")
        backend = lease.backend
        backend.judge("tcp", Health.UP, "connected", 0.0)
        self.registry.administer("10.0.0.1:80", AdminState.DRAIN, "upgrade")
        self.registry.apply(configuration(b=upstream()))
        self.registry.publish("b", make_specs(1))
        self.assertEqual([member.backend for member in self.registry.upstream("b").members], [backend])
        self.assertEqual((backend.active, backend.health, backend.admin), (1, Health.UP, AdminState.DRAIN))
        lease.release(Outcome.SUCCESS, 1.0)
        self.assertEqual((backend.active, backend.total), (0, 1))


class RealSelectors(SynchronousTestCase):
    """With the plugins that are installed."""

    def test_defaults(self) -> None:
        """The default of each mode is a selector there is."""
        registry = Registry(Clock().seconds, Random(1))
        tcp = ListenerConfig(listen="tcp:1", mode="tcp", to="stream")
        registry.apply(Configuration(upstream={"stream": upstream(), "web": upstream()}, listener={"t": tcp}))
        for name in ("stream", "web"):
            registry.publish(name, make_specs(3))
            placement = registry.upstream(name).place(NOTHING_KNOWN, 0.0)
            met = {lease.backend.host for lease in iter(lambda placement=placement: placement.next(0.0), None)}
            self.assertEqual(met, {"10.0.0.1", "10.0.0.2", "10.0.0.3"})

    def test_unknown(self) -> None:
        """A selector nobody provides is refused, with the names there are."""
        registry = Registry(Clock().seconds, Random(1))
        with self.assertRaises(ValueError) as caught:
            registry.apply(configuration(a=upstream(balance="leastcon")))
        self.assertIn("leastconn", str(caught.exception))


class Publishing(Registered):
    """Whole sets from discovery."""

    def setUp(self) -> None:
        super().setUp()
        self.registry.apply(configuration(a=upstream(), b=upstream()))
        self.heard.clear()

    def test_idempotent(self) -> None:
        """The same set twice is one change and one event."""
        self.assertEqual([self.registry.publish("a", make_specs(2)) for _ in range(2)], [True, False])
        self.assertEqual(self.heard, [MembersChanged(0.0, "a", "added 10.0.0.1:80, 10.0.0.2:80")])

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.frozensets(st.sampled_from(make_specs(5)))), max_size=12))
    def test_identity(self, sets: list[tuple[str, frozenset[BackendSpec]]]) -> None:
        """Whatever the sets, a server is one backend for as long as anybody remembers it, shared by both upstreams;
        and the registry holds exactly those that are listed."""
        self.setUp()
        known: dict[str, object] = {}
        for name, specs in sets:
            self.registry.publish(name, specs)
            listed = {m.backend for upstream in self.registry.upstreams.values() for m in upstream.members}
            self.assertEqual(set(self.registry.backends.values()), listed)
            for backend in (*listed, *self.registry.remembered.values()):
                self.assertIs(known.setdefault(backend.address, backend), backend)

    def test_unknown(self) -> None:
        """A set for an upstream there is not is refused, with the names there are."""
        with self.assertRaises(UnknownName) as caught:
            self.registry.publish("c", make_specs(1))
        self.assertEqual(str(caught.exception), "no upstream is named 'c'; there are: a, b")

    def test_tls_name(self) -> None:
        """One address with and without TLS is two backends."""
        plain = BackendSpec(host="10.0.0.1", port=443)
        secret = BackendSpec(host="10.0.0.1", port=443, tls_name="a.example")
        self.registry.publish("a", [plain, secret])
        self.assertEqual(len(self.registry.backends), 2)
        self.assertEqual(len(self.registry.find("10.0.0.1:443")), 2)


class Remembering(Registered):
    """Servers that left."""

    def setUp(self) -> None:
        super().setUp()
        self.registry.apply(configuration(a=upstream()))
        self.registry.publish("a", make_specs(2, max_connections=1))
        self.backend = self.registry.find("10.0.0.1:80")[0]

    def leave(self) -> None:
        """A DNS answer without the first server."""
        self.registry.publish("a", make_specs(2, max_connections=1)[1:])

    def come_back(self) -> bool:
        """It is in the answer again; whether it is the same one."""
        self.registry.publish("a", make_specs(2, max_connections=1))
        return self.registry.find("10.0.0.1:80") == [self.backend]

    def after(self, seconds: float) -> None:
        """Time goes by, with a tick at its end."""
        self.clock.advance(seconds)
        self.registry.tick()

    def test_for_a_while(self) -> None:
        """A server that leaves and comes back within the time is the same one, else a new one."""
        self.leave()
        self.after(REMEMBERED - 1)
        self.assertTrue(self.come_back())
        self.leave()
        self.after(REMEMBERED)
        self.assertEqual((self.registry.remembered, self.come_back()), ({}, False))

    def test_leases_out(self) -> None:
        """While leases on it are out it is remembered, so that its limit still counts them."""
        lease = self.take("a")
        self.assertIs(lease.backend, self.backend)
        self.leave()
        self.after(REMEMBERED * 10)
        self.assertTrue(self.come_back())
        self.assertTrue(self.backend.full)

    def test_operators_word(self) -> None:
        """What the operator took out stays out however long it was away, can be found meanwhile, and is forgotten
        once it is given back."""
        self.registry.administer("10.0.0.1:80", AdminState.MAINT, "repair")
        self.leave()
        self.after(REMEMBERED * 10)
        self.assertEqual(self.registry.administer("10.0.0.1:80", AdminState.MAINT, "still"), [self.backend])
        self.assertTrue(self.come_back())
        self.assertEqual(self.backend.state, "maint")
        self.leave()
        self.registry.administer("10.0.0.1:80", AdminState.READY, "repaired")
        self.after(REMEMBERED)
        self.assertRaises(UnknownName, self.registry.find, "10.0.0.1:80")

    def test_bounded(self) -> None:
        """No more than so many are remembered: the oldest are forgotten first."""
        self.patch(module, "MOST_REMEMBERED", 3)
        for third in range(10):
            self.registry.publish("a", [BackendSpec(host=f"10.0.{third}.1", port=80)])
        hosts = [backend.host for backend in self.registry.remembered.values()]
        self.assertEqual(hosts, ["10.0.6.1", "10.0.7.1", "10.0.8.1"])
        self.assertEqual(MOST_REMEMBERED, 10_000)

    def test_not_traffic(self) -> None:
        """What is only remembered is no backend of anyone: it is not listed, and not found."""
        self.leave()
        self.assertNotIn(self.backend.key, self.registry.backends)
        self.assertRaises(UnknownName, self.registry.find, "10.0.0.1:80")


class Operating(Registered):
    """The operator's word."""

    def setUp(self) -> None:
        super().setUp()
        self.registry.apply(configuration(a=upstream(), b=upstream()))
        named = BackendSpec(host="10.0.0.9", port=5432, name="db1")
        self.registry.publish("a", [*make_specs(2), named])
        self.registry.publish("b", make_specs(1))

    def test_everywhere(self) -> None:
        """One drain takes a server out of every upstream at once, and one event says so."""
        self.heard.clear()
        self.registry.administer("10.0.0.1:80", AdminState.DRAIN, "upgrade")
        usable = [[m.usable for m in self.registry.upstream(name).members] for name in "ab"]
        self.assertEqual(usable, [[False, True, True], [False]])
        self.assertEqual(self.heard, [Drained(0.0, "10.0.0.1:80", "upgrade")])

    def test_names(self) -> None:
        """A server is found by its address, and by the name it was resolved from with or without the port."""
        for text in ("10.0.0.9:5432", "db1", "db1:5432"):
            self.assertEqual([backend.host for backend in self.registry.find(text)], ["10.0.0.9"], text)

    def test_unknown(self) -> None:
        """An address nobody lists, or no name at all, is refused with those there are, and nothing is changed."""
        for text in ("10.0.0.3:80", "db1:80", ""):
            with self.assertRaises(UnknownName) as caught:
                self.registry.administer(text, AdminState.MAINT, "repair")
            self.assertIn("10.0.0.1:80, 10.0.0.2:80, 10.0.0.9:5432", str(caught.exception))
        self.assertTrue(all(backend.available for backend in self.registry.backends.values()))


class Telling(Registered):
    """Subscribers."""

    def setUp(self) -> None:
        super().setUp()
        self.registry.apply(configuration(a=upstream()))
        self.registry.publish("a", make_specs(2))
        self.heard.clear()

    def test_unsubscribe(self) -> None:
        """Who unsubscribes hears no more."""
        heard: list[Event] = []
        leave = self.registry.subscribe(heard.append)
        self.registry.administer("10.0.0.1:80", AdminState.DRAIN, "upgrade")
        leave()
        self.registry.administer("10.0.0.1:80", AdminState.READY, "upgraded")
        self.assertEqual(len(heard), 1)

    def test_broken_subscriber(self) -> None:
        """One that raises is logged; the change stands, and the others hear of it."""

        def broken(event: Event) -> None:
            raise ZeroDivisionError

        registry = Registry(self.clock.seconds, Random(1))
        registry.subscribe(broken)
        registry.subscribe(self.heard.append)
        registry.apply(configuration(a=upstream()))
        registry.publish("a", make_specs(1))
        self.assertEqual(len(registry.upstream("a").members), 1)
        self.assertEqual([type(event) for event in self.heard], [ConfigApplied, MembersChanged])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_one_order(self) -> None:
        """Where a subscriber causes another event, everyone hears both in the order in which they happened."""
        registry = Registry(self.clock.seconds, Random(1))
        registry.apply(configuration(a=upstream()))
        registry.publish("a", make_specs(2))

        def meddler(event: Event) -> None:
            if isinstance(event, BackendDown):
                registry.administer(event.subject, AdminState.DRAIN, "it failed")

        registry.subscribe(meddler)
        registry.subscribe(self.heard.append)
        registry.find("10.0.0.1:80")[0].judge("tcp", Health.DOWN, "refused", 0.0)
        self.assertEqual([type(event) for event in self.heard], [BackendDown, Drained])

    def test_subscriber_applies(self) -> None:
        """A subscriber may apply another configuration while it is told of what a tick brought."""
        lease = self.take("a")
        for _ in range(5):
            Lease(lease.lender, lease.member, 0.0).release(Outcome.RESET, 0.0)
        self.assertEqual([type(event) for event in self.heard], [Ejected])

        def subscriber(event: Event) -> None:
            if isinstance(event, Readmitted):
                self.registry.apply(configuration(y=upstream(), z=upstream()))

        self.registry.subscribe(subscriber)
        self.clock.advance(10)
        self.registry.tick()
        self.assertEqual(list(self.registry.upstreams), ["y", "z"])
