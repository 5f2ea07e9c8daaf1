"""Backends: addresses, three verdicts, events with reasons, limits of several groups."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.events import KEPT, BackendDown, BackendUp, Drained, Ejected, Enabled, Event, HealthUnknown
from balancer.core.model import (
    AdminState,
    Backend,
    BackendSpec,
    Health,
    Member,
    is_literal,
    join_address,
    split_address,
)


class Addresses(SynchronousTestCase):
    """Host and port, as one text and as two."""

    @given(st.sampled_from(["db1", "10.0.0.1", "::1", "2001:db8::7", "a.example"]), st.integers(1, 65535))
    def test_round_trip(self, host: str, port: int) -> None:
        """What was joined is split into what it was."""
        self.assertEqual(split_address(join_address(host, port)), (host, port))

    def test_brackets(self) -> None:
        """An IPv6 address is written in brackets."""
        self.assertEqual(join_address("::1", 80), "[::1]:80")
        with self.assertRaises(ValueError) as caught:
            split_address("::1:80")
        self.assertIn("brackets", str(caught.exception))

    def test_urls(self) -> None:
        """Of a URL the message says that it is one, not that brackets are missing."""
        with self.assertRaisesRegex(ValueError, "without a scheme"):
            split_address("http://db1:80")

    def test_refused(self) -> None:
        """Whatever is not HOST:PORT is refused, and the message shows it."""
        bad = (
            "",
            ":80",
            "db1",
            "db1:",
            "db1:0",
            "db1:65536",
            "db1:8o",
            "db1:+80",
            "db1: 80",
            "db1:\u0668\u0660",
            "[]:80",
        )
        for text in (*bad, "[db1]:80", "[::1:80", "a b:80", "db1:" + "9" * 5000):
            with self.assertRaises(ValueError, msg=text) as caught:
                split_address(text)
            self.assertIn(repr(text), str(caught.exception))

    def test_literals(self) -> None:
        """An IP address is told from a name to resolve."""
        self.assertEqual(
            [is_literal(host) for host in ("10.0.0.1", "::1", "db1", "10.0.0")], [True, True, False, False]
        )


class Specs(SynchronousTestCase):
    """What an upstream says about a backend."""

    def test_authority(self) -> None:
        """A Host field has the operator's name, and the port unless it is 80 (443 with TLS)."""
        for keys, authority in [
            ({"name": "web1", "host": "10.0.0.1", "port": 8001}, "web1:8001"),
            ({"name": "web1", "host": "10.0.0.1", "port": 80}, "web1"),
            ({"name": "web1", "host": "10.0.0.1", "port": 80, "tls_name": "web1"}, "web1:80"),
            ({"name": "web1", "host": "10.0.0.1", "port": 443, "tls_name": "web1"}, "web1"),
            ({"host": "10.0.0.1", "port": 443}, "10.0.0.1:443"),
            ({"host": "2001:db8::80", "port": 80}, "[2001:db8::80]"),
            ({"name": "2001:db8::1", "host": "2001:db8::1", "port": 8080}, "[2001:db8::1]:8080"),
        ]:
            self.assertEqual(BackendSpec(**keys).authority, authority)  # type: ignore[arg-type]  # a table of keys

    def test_same_server(self) -> None:
        """Address and TLS name make the server; weight, limits and tags do not."""
        plain = BackendSpec(host="10.0.0.1", port=443)
        self.assertEqual(plain.key, BackendSpec(host="10.0.0.1", port=443, weight=7, tags=(("a", "b"),)).key)
        self.assertNotEqual(plain.key, BackendSpec(host="10.0.0.1", port=443, tls_name="a.example").key)

    def test_refused(self) -> None:
        """Numbers out of range are refused when the spec is made, whoever makes it."""
        for wrong in ({"weight": 257}, {"weight": -1}, {"max_connections": -1}, {"port": 0}, {"port": 65536}):
            with self.assertRaises(ValueError, msg=repr(wrong)):
                BackendSpec(**{"host": "10.0.0.1", "port": 80, **wrong})


class Recorder:
    """A group that writes down what it is told, and what it sees then."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def backend_changed(self, backend: Backend, event: Event) -> None:
        self.log.append(f"{self.name} settles, available={backend.available}")

    def backend_settled(self, backend: Backend, event: Event) -> None:
        self.log.append(f"{self.name} acts")

    def backend_vacant(self, backend: Backend) -> None:
        self.log.append(f"{self.name} is offered room")

    def may_lose(self, backend: Backend) -> bool:
        return True


class Verdicts(SynchronousTestCase):
    """Operator, probes and traffic each have their own say."""

    def setUp(self) -> None:
        self.heard: list[Event] = []
        self.backend = Backend(("10.0.0.1", 80, None), self.heard.append)

    def kinds(self) -> list[type[Event]]:
        """What was heard so far."""
        return [type(event) for event in self.heard]

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("administer"), st.sampled_from(AdminState)),
                st.tuples(st.just("judge"), st.tuples(st.sampled_from("ab"), st.sampled_from(Health), st.booleans())),
                st.tuples(st.just("forget"), st.sampled_from("ab")),
                st.tuples(st.just("eject"), st.floats(1, 9)),
                st.tuples(st.just("readmit"), st.none()),
            ),
            max_size=20,
        )
    )
    def test_available(self, steps: list[tuple[str, object]]) -> None:
        """At any time it is available exactly if READY, not ejected, not DOWN and not waiting; every change of a
        verdict leaves one event with its reason, heard and kept, and a call that changes nothing leaves none."""
        heard: list[Event] = []
        backend = Backend(("10.0.0.1", 80, None), heard.append)
        for now, (step, argument) in enumerate(steps):
            before = len(heard)
            changed = self.perform(backend, step, argument, float(now))
            ready = backend.admin is AdminState.READY and backend.ejected_until is None
            self.assertEqual(backend.available, ready and backend.health is not Health.DOWN and not backend.waits)
            self.assertEqual(len(heard) - before, int(changed))
            if changed:
                self.assertEqual((heard[-1].at, heard[-1].subject), (float(now), "10.0.0.1:80"))
                self.assertTrue(heard[-1].reason)
        self.assertEqual(list(backend.events), heard)

    def perform(self, backend: Backend, step: str, argument: object, now: float) -> bool:
        """One change; whether it was one."""
        if step == "administer":
            return backend.administer(argument, "the operator", now)
        if step == "judge":
            check, health, waits = argument
            return backend.judge(check, health, "a probe", now, waits)
        if step == "forget":
            return backend.forget_check(argument, now)
        if step == "eject":
            return backend.eject(now + 5, "traffic", now)
        return backend.readmit("its time is over", now)

    def test_independent(self) -> None:
        """Enabling a server the probes say is down does not make it available, and the word for its state is the
        first reason that applies."""
        self.backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.backend.eject(20.0, "5 failures in a row", 2.0)
        self.backend.administer(AdminState.DRAIN, "upgrade", 3.0)
        self.assertEqual((self.backend.state, self.backend.why), ("drain", "upgrade"))
        self.backend.administer(AdminState.READY, "upgraded", 4.0)
        self.assertEqual((self.backend.state, self.backend.why), ("ejected", "5 failures in a row"))
        self.backend.readmit("its time is over", 20.0)
        self.assertEqual((self.backend.state, self.backend.why), ("down", "refused"))
        self.assertFalse(self.backend.available)
        self.backend.judge("tcp", Health.UP, "connected", 21.0)
        self.assertTrue(self.backend.available)

    def test_worst_check_counts(self) -> None:
        """Of several checks the worst counts, and a check that is no longer made has no say."""
        self.backend.judge("tcp", Health.UP, "connected", 1.0)
        self.backend.judge("http", Health.DOWN, "status 500", 2.0)
        self.backend.judge("tcp", Health.UP, "connected", 3.0)
        self.assertEqual((self.backend.health, self.backend.health_reason), (Health.DOWN, "status 500"))
        self.backend.forget_check("http", 4.0)
        self.assertEqual(self.backend.health, Health.UP)
        self.backend.forget_check("tcp", 5.0)
        self.assertEqual(self.backend.health, Health.UNKNOWN)
        self.assertEqual(self.kinds(), [BackendUp, BackendDown, BackendUp, HealthUnknown])

    def test_waits(self) -> None:
        """A new backend that is to wait for its first probe is not available until it came."""
        self.backend.judge("tcp", Health.UNKNOWN, "not probed yet", 0.0, waits=True)
        self.assertFalse(self.backend.available)
        self.backend.judge("tcp", Health.UP, "connected", 1.0)
        self.assertTrue(self.backend.available)

    def test_kept(self) -> None:
        """The last 50 events are kept, oldest first, and none before them."""
        for now in range(60):
            self.backend.administer((AdminState.DRAIN, AdminState.READY)[now % 2], f"word {now}", float(now))
        self.assertEqual(KEPT, 50)
        self.assertEqual([event.reason for event in self.backend.events], [f"word {now}" for now in range(10, 60)])
        self.assertEqual({type(event) for event in self.backend.events}, {Drained, Enabled})

    def test_ejected_once(self) -> None:
        """An ejection that runs is not prolonged by another."""
        self.assertTrue(self.backend.eject(10.0, "first", 0.0))
        self.assertFalse(self.backend.eject(99.0, "second", 1.0))
        self.assertEqual((self.backend.ejected_until, self.kinds()), (10.0, [Ejected]))

    def test_order(self) -> None:
        """Every group has settled before the listener hears of a change, and acts only after that."""
        log: list[str] = []
        self.backend.listener = lambda event: log.append("the listener hears")
        for name in "ab":
            self.backend.join(Recorder(log, name), 0)
        self.backend.administer(AdminState.MAINT, "repair", 1.0)
        settled = ["a settles, available=False", "b settles, available=False"]
        self.assertEqual(log, [*settled, "the listener hears", "a acts", "b acts"])

    def test_repr(self) -> None:
        """The repr tells address, state and counters."""
        self.backend.eject(10.0, "why", 0.0)
        self.assertEqual(repr(self.backend), "<Backend 10.0.0.1:80 ejected active=0 total=0>")
        self.assertEqual(
            repr(Member(self.backend, BackendSpec(host="10.0.0.1", port=80, weight=3))),
            "<Member 10.0.0.1:80 weight=3 unusable>",
        )


class SlowStart(SynchronousTestCase):
    """When a backend counts as having come back."""

    def setUp(self) -> None:
        self.backend = Backend(("10.0.0.1", 80, None))

    def test_new(self) -> None:
        """A backend that is new, or passes its first probe, has not come back."""
        self.backend.judge("tcp", Health.UNKNOWN, "not probed yet", 0.0, waits=True)
        self.backend.judge("tcp", Health.UP, "connected", 1.0)
        self.assertIsNone(self.backend.up_since)

    def test_each_way(self) -> None:
        """It comes back from DOWN, from an ejection and from the operator's hands alike."""
        self.backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.backend.judge("tcp", Health.UP, "connected", 2.0)
        self.assertEqual(self.backend.up_since, 2.0)
        self.backend.eject(13.0, "failures", 3.0)
        self.backend.readmit("its time is over", 13.0)
        self.assertEqual(self.backend.up_since, 13.0)
        self.backend.administer(AdminState.MAINT, "repair", 20.0)
        self.backend.administer(AdminState.READY, "repaired", 30.0)
        self.assertEqual(self.backend.up_since, 30.0)

    def test_last_verdict(self) -> None:
        """Where several verdicts kept it out, it is back when the last of them ends."""
        self.backend.judge("tcp", Health.DOWN, "refused", 1.0)
        self.backend.administer(AdminState.MAINT, "repair", 2.0)
        self.backend.administer(AdminState.READY, "repaired", 3.0)
        self.assertIsNone(self.backend.up_since)
        self.backend.judge("tcp", Health.UP, "connected", 4.0)
        self.assertEqual(self.backend.up_since, 4.0)


class Limits(SynchronousTestCase):
    """Several groups, one server."""

    def setUp(self) -> None:
        self.log: list[str] = []
        self.a, self.b = Recorder(self.log, "a"), Recorder(self.log, "b")
        self.backend = Backend(("10.0.0.1", 80, None))

    def test_smallest(self) -> None:
        """The smallest limit counts, none (0) is never the smallest, and a group that leaves takes its own along."""
        self.backend.join(self.a, 0)
        self.assertEqual(self.backend.max_connections, 0)
        self.backend.join(self.b, 5)
        self.assertEqual(self.backend.max_connections, 5)
        self.backend.join(self.a, 3)
        self.assertEqual((self.backend.max_connections, self.backend.groups), (3, [self.a, self.b]))
        self.backend.leave(self.a)
        self.assertEqual((self.backend.max_connections, self.backend.groups), (5, [self.b]))

    def test_stranger_leaves(self) -> None:
        """A group that never joined cannot leave, and nothing changes."""
        self.backend.join(self.a, 3)
        with self.assertRaises(KeyError):
            self.backend.leave(self.b)
        self.assertEqual((self.backend.max_connections, self.backend.groups), (3, [self.a]))

    def test_turns(self) -> None:
        """The groups take turns at being offered room first."""
        self.backend.join(self.a, 1)
        self.backend.join(self.b, 1)
        for _ in range(2):
            self.backend.offer()
        self.assertEqual([line[0] for line in self.log], ["a", "b", "b", "a"])
