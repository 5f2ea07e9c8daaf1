"""Who is let in: networks, counts and rates, and what is remembered of how many sources."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.guard import Networks, Refusal, Source, Sources, number
from balancer.core.guard_policy import GuardPolicy

NETWORKS = st.one_of(
    st.builds(
        lambda value, bits: ip_network((value << 24, bits), strict=False), st.integers(8, 15), st.integers(4, 12)
    ),
    st.builds(
        lambda value, bits: ip_network((value << 112, bits), strict=False), st.integers(1, 64), st.integers(8, 18)
    ),
)
CLIENTS = st.one_of(
    st.builds(lambda value: ip_address(value << 20), st.integers(0, 4095)),
    st.builds(lambda value: ip_address(value << 110), st.integers(1 << 10, (1 << 18) - 1)),
)


class NumberTests(SynchronousTestCase):
    """Addresses as sockets spell them."""

    def test_it_reads_what_sockets_say(self) -> None:
        """IPv4, IPv6, IPv4 inside IPv6, a zone; a path is none."""
        self.assertEqual(number("192.0.2.1"), (32, 0xC0000201))
        self.assertEqual(number("::ffff:192.0.2.1"), (32, 0xC0000201))
        self.assertEqual(number("fe80::1%eth0"), (128, (0xFE80 << 112) + 1))
        self.assertEqual([number(text) for text in ("", "/run/web.sock", "a.example", "1.2.3")], [None] * 4)

    @given(CLIENTS)
    def test_it_agrees_with_ipaddress(self, client: object) -> None:
        """Every address has the value that the standard library gives it."""
        address = ip_address(str(client))
        self.assertEqual(number(str(client)), (address.max_prefixlen, int(address)))


class NetworksTests(SynchronousTestCase):
    """Lists of networks."""

    def judge(self, networks: Networks, host: str) -> Refusal | None:
        address = number(host)
        assert address is not None
        return networks.judge(address)

    def test_the_smallest_network_decides(self) -> None:
        """Holes may be cut into either list, and holes into holes."""
        networks = Networks(["10.0.0.0/8", "10.1.1.1"], ["10.1.0.0/16"])
        told = [self.judge(networks, host) for host in ("10.0.0.1", "10.1.0.1", "10.1.1.1", "192.0.2.1")]
        self.assertEqual(told, [None, Refusal.DENIED, None, Refusal.NOT_ALLOWED])
        self.assertIn("ipv4=3", repr(networks))

    def test_with_nothing_allowed_all_is(self) -> None:
        """A list of networks to refuse refuses those alone; one to allow refuses all else, of either family."""
        self.assertIsNone(self.judge(Networks([], ["10.0.0.0/8"]), "192.0.2.1"))
        self.assertIs(self.judge(Networks(["10.0.0.0/8"], []), "2001:db8::1"), Refusal.NOT_ALLOWED)
        self.assertIsNone(self.judge(Networks(["0.0.0.0/0", "::/0"], []), "2001:db8::1"))

    @given(st.lists(st.tuples(NETWORKS, st.booleans()), max_size=12, unique_by=lambda entry: entry[0]), CLIENTS)
    def test_it_agrees_with_a_search(self, entries: list, client: object) -> None:  # type: ignore[type-arg]
        """Looking up by prefix length finds what going through all networks finds."""
        allow = [str(network) for network, allowed in entries if allowed]
        deny = [str(network) for network, allowed in entries if not allowed]
        holding = [entry for entry in entries if client in entry[0]]
        smallest = max(holding, key=lambda entry: entry[0].prefixlen, default=None)
        expected = Refusal.NOT_ALLOWED if allow else None
        if smallest is not None:
            expected = None if smallest[1] else Refusal.DENIED
        self.assertEqual(self.judge(Networks(allow, deny), str(client)), expected)


class SourcesTests(SynchronousTestCase):
    """Counts and rates."""

    def enter(self, sources: Sources, key: int, now: float = 0.0) -> Source:
        """Come in."""
        source = sources.enter(key, now)
        assert isinstance(source, Source), source
        return source

    def test_connections_of_one_source(self) -> None:
        """One more than the limit is refused; one that leaves makes room; another source has its own."""
        sources = Sources(GuardPolicy(connections=2))
        first = self.enter(sources, 1)
        self.enter(sources, 1)
        self.assertIs(sources.enter(1, 0.0), Refusal.CONNECTIONS)
        self.enter(sources, 2)
        sources.leave(first, 0.0)
        self.enter(sources, 1)
        self.assertEqual((sources.connections, len(sources)), (3, 2))

    def test_a_burst_and_then_the_rate(self) -> None:
        """As many as the burst at once, then one per token, however late in the life of the machine it is."""
        sources = Sources(GuardPolicy(rate=10, burst=3))
        began = 123456.7
        told = [isinstance(sources.enter(1, began + at), Source) for at in (0, 0, 0, 0, 0.05, 0.11, 0.11, 0.21)]
        self.assertEqual(told, [True, True, True, False, False, True, False, True])
        self.assertIs(sources.enter(1, began + 0.22), Refusal.RATE)

    def test_a_rate_below_one(self) -> None:
        """Six a minute is one each ten seconds."""
        sources = Sources(GuardPolicy(rate=0.1))
        told = [isinstance(sources.enter(1, at), Source) for at in (0.0, 9.9, 10.0, 19.0, 20.0)]
        self.assertEqual(told, [True, False, True, False, True])

    def test_ipv6_is_counted_by_prefix(self) -> None:
        """Addresses of one /64 are one source, those of another are not; and a prefix may be longer or shorter."""
        near, far = (self.key(Sources(GuardPolicy(connections=1)), f"2001:db8:0:{n}::1") for n in (1, 2))
        self.assertEqual(near, self.key(Sources(GuardPolicy(connections=1)), "2001:db8:0:1:ffff::2"))
        self.assertNotEqual(near, far)
        wide = Sources(GuardPolicy(connections=1, ipv6_prefix=48))
        self.assertEqual(self.key(wide, "2001:db8:0:1::1"), self.key(wide, "2001:db8:0:2::1"))
        self.assertEqual(self.key(wide, "192.0.2.1"), 0xC0000201)

    def key(self, sources: Sources, host: str) -> int:
        address = number(host)
        assert address is not None
        return sources.key(address)

    def test_a_flood_of_sources_is_bounded_and_shuts_nobody_out(self) -> None:
        """However many sources come, so many are kept; every new one is let in; one with connections is never
        forgotten, and who tries all the time is forgotten last."""
        sources = Sources(GuardPolicy(rate=0.001, connections=1, max_sources=100))
        self.enter(sources, 1)
        sources.leave(self.enter(sources, 2), 0.0)
        for key in range(10, 10_010):
            sources.leave(self.enter(sources, key), 1.0)
            self.assertIs(sources.enter(2, 1.0), Refusal.RATE)
        self.assertEqual((len(sources), sources.forgotten), (101, 9901))
        self.assertIs(sources.enter(1, 1.0), Refusal.CONNECTIONS)

    def test_full_buckets_are_not_kept(self) -> None:
        """A source that rested long enough is as good as new, and costs nothing."""
        sources = Sources(GuardPolicy(rate=1))
        for key in range(50):
            sources.leave(self.enter(sources, key), 0.0)
        self.assertEqual(len(sources), 50)
        for key in range(100, 130):
            sources.leave(self.enter(sources, key, 10.0), 10.0)
        self.assertEqual(len(sources), 30)
        self.assertEqual(sources.forgotten, 0)

    def test_another_policy(self) -> None:
        """Counts stay when the policy changes; without a rate nobody is remembered who has no connection."""
        sources = Sources(GuardPolicy(rate=1, connections=5))
        source = self.enter(sources, 1)
        sources.leave(self.enter(sources, 2), 0.0)
        sources.configure(GuardPolicy(connections=1))
        self.assertIs(sources.enter(1, 0.0), Refusal.CONNECTIONS)
        self.assertEqual(len(sources), 1)
        sources.leave(source, 0.0)
        self.assertRaises(ValueError, sources.leave, source, 0.0)
        self.assertEqual(len(sources), 0)

    @given(
        st.floats(0.1, 50),
        st.integers(1, 5),
        st.integers(0, 3),
        st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1), st.booleans()), max_size=60),
    )
    def test_laws(self, rate: float, burst: int, most: int, steps: list) -> None:  # type: ignore[type-arg]
        """In no stretch of time does a source get more than rate times its length and the burst; never more than its
        connections; and when all have left, nobody is counted."""
        sources = Sources(GuardPolicy(rate=rate, burst=burst, connections=most))
        now = 1000.0
        times: dict[int, list[float]] = {}
        inside: list[Source] = []
        for key, wait, leaves in steps:
            now += wait
            if leaves and inside:
                sources.leave(inside.pop(0), now)
            judged = sources.judge(key, now)
            source = sources.enter(key, now)
            self.assertEqual(judged, None if isinstance(source, Source) else source)
            if isinstance(source, Source):
                inside.append(source)
                times.setdefault(key, []).append(now)
                self.assertTrue(not most or source.active <= most)
        for came in times.values():
            for first, start in enumerate(came):
                for last in range(first, len(came)):
                    self.assertLessEqual(last - first + 1, rate * (came[last] - start) + burst + 1e-3)
        for source in inside:
            sources.leave(source, now)
        self.assertEqual(sources.connections, 0)
        sources.leave(self.enter(sources, 99, now + 1000), now + 1000)
        self.assertLessEqual(len(sources), 3)


class PolicyTests(SynchronousTestCase):
    """What is written."""

    def test_networks(self) -> None:
        """A network with host bits, a name, and IPv4 spelt as IPv6 are errors that say what is allowed."""
        adapter = TypeAdapter(GuardPolicy)
        for text, words in (("10.0.0.1/8", "host bits"), ("a.example", "192.0.2.1"), ("::ffff:10.0.0.0/104", "IPv4")):
            with self.assertRaises(ValidationError) as caught:
                adapter.validate_python({"deny": [text]})
            self.assertIn(words, str(caught.exception))
