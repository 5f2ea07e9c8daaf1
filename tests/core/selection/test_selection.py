"""From a `balance` text to a selector that an upstream uses."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.core import selection
from balancer.core.lease import Lease, Outcome
from balancer.core.model import Backend, BackendKey, BackendSpec
from balancer.core.policies import UpstreamPolicy
from balancer.core.upstream import Upstream
from balancer.interfaces import ISelectorPlugin
from balancer.plugins import named
from balancer.testing.selectors import Asked, options_with, picks, some_members

lookup: Callable[[str], ISelectorPlugin] = partial(named, ISelectorPlugin)


class CheckTests(SynchronousTestCase):
    def wrong(self, text: str) -> str:
        with self.assertRaises(ValueError) as caught:
            selection.check(text, lookup)
        return str(caught.exception)

    def test_what_the_manual_shows(self) -> None:
        """Every form that the manual shows is accepted."""
        for text in (
            "roundrobin",
            "static-rr",
            "leastconn",
            "first",
            "random",
            "random(2)",
            "peak-ewma",
            "peak-ewma(5s)",
            "source",
            "uri(whole, depth=2)",
            "url_param(userid)",
            "hdr(x-tenant) or leastconn",
            "cookie(session) or hdr(x-tenant) or source",
            "hash(host + path)",
            "hash(hdr(x-tenant) + source) or random(3)",
        ):
            selection.check(text, lookup)

    def test_pages(self) -> None:
        """Every `balance = "..."` in the pages is accepted."""
        found = []
        for page in ("balancing.md", "writing-a-selector.md"):
            text = (Path(__file__).parents[3] / "docs" / page).read_text("utf-8")
            found += [each for each in re.findall(r'^ *balance = "(.*)"$', text, re.MULTILINE) if "zone" not in each]
        self.assertGreater(len(found), 3)
        for text in found:
            selection.check(text, lookup)

    def test_errors(self) -> None:
        """A mistake is a ValueError that names the place, what there is and what is nearest."""
        self.assertRegex(self.wrong("leastcon"), r"'leastcon'.*did you mean 'leastconn'.*roundrobin.*character 1 of")
        self.assertRegex(self.wrong("hdr(x) or nothing"), r"'nothing'.*there are: .*character 11 of")
        self.assertRegex(self.wrong("random(0)"), r"random: '0' is not a whole number from 1 to 32 .*character 1 of")
        self.assertRegex(self.wrong("first(1)"), r"first: takes no arguments, not '1'")
        self.assertRegex(self.wrong("first or hash(hst)"), r"hash: 'hst' .*did you mean 'host'.*character 10 of")
        self.assertRegex(self.wrong(""), "expected a name")

    def test_options(self) -> None:
        """An unknown hash type and a factor that cannot be kept are refused, with what is allowed."""
        with self.assertRaisesRegex(ValueError, "'jump' is not one of maglev, ring"):
            selection.builder("source", lookup, options_with(hash_type="jump"))
        for bad in (1, 100, -5):
            with self.assertRaisesRegex(ValueError, "neither 0 .* nor at least 101"):
                selection.builder("source", lookup, options_with(balance_factor=bad))
        selection.check_balance_factor(0)
        selection.check_balance_factor(101)


class BuilderTests(SynchronousTestCase):
    def test_fallback(self) -> None:
        """With the header its value decides, without it the next selector."""
        members = some_members([1, 1, 1])
        selector = selection.builder("hdr(x-tenant) or first", lookup, options_with())(members)
        self.assertEqual(len(set(picks(selector, 5, Asked()))), 1)
        self.assertEqual(set(picks(selector, 5, Asked(fields={}))), {members[0]})

    def test_no_key_at_all(self) -> None:
        """A chain in which nobody has a key takes turns."""
        members = some_members([1, 1, 1])
        selector = selection.builder("hdr(x-tenant)", lookup, options_with())(members)
        self.assertEqual(set(Counter(picks(selector, 9)).values()), {3})

    def test_latency_outlives_new_members(self) -> None:
        """peak-ewma still avoids the slow member after the upstream took a new one."""
        members = some_members([1, 1, 1])
        build = selection.builder("peak-ewma", lookup, options_with())
        selector = build(members[:2])
        selector.observe(members[0], 1.0, 0.0)
        selector.observe(members[1], 0.01, 0.0)
        selector = build(members)
        selector.observe(members[2], 0.01, 0.0)
        self.assertNotIn(members[0], picks(selector, 50))


class UpstreamTests(SynchronousTestCase):
    """The selectors in the upstream they are for."""

    def upstream(self, balance: str, *specs: BackendSpec, **options: object) -> Upstream:
        build = selection.builder(balance, lookup, replace(options_with(), **options))
        upstream = Upstream("u", UpstreamPolicy(), build)
        backends: dict[BackendKey, Backend] = {}
        upstream.update(specs, lambda key: backends.setdefault(key, Backend(key)), 0.0)
        return upstream

    def lease(self, upstream: Upstream) -> Lease:
        lease = upstream.place(Asked(), 0.0).next(0.0)
        assert lease is not None
        return lease

    def test_first_fills_up(self) -> None:
        """`first` fills the first server to its limit, then the next, and comes back when there is room."""
        upstream = self.upstream(
            "first", *(BackendSpec(host=f"10.0.0.{n}", port=80, max_connections=2) for n in (1, 2, 3))
        )
        leases = [self.lease(upstream) for _ in range(5)]
        self.assertEqual([lease.backend.host[-1] for lease in leases], ["1", "1", "2", "2", "3"])
        leases[0].release(Outcome.SUCCESS, 1.0)
        self.assertEqual(self.lease(upstream).backend.host, "10.0.0.1")

    def test_leases_by_weight(self) -> None:
        """Held leases stand in proportion to the weights, for every selector that looks at weight."""
        for balance, error in (
            ("roundrobin", 1),
            ("static-rr", 1),
            ("leastconn", 1),
            ("random(2)", 12),
            ("peak-ewma", 12),
        ):
            upstream = self.upstream(
                balance, *(BackendSpec(host=f"10.0.0.{weight}", port=80, weight=weight) for weight in (1, 2, 3))
            )
            for _ in range(600):
                self.lease(upstream)
            for member in upstream.members:
                self.assertApproximates(member.backend.active, 100 * member.weight, error, balance)

    def test_a_retry_meets_all_the_others(self) -> None:
        """One placement meets each usable backend once, whatever the selector."""
        for balance in ("roundrobin", "leastconn", "random(2)", "first", "source", "peak-ewma", "hdr(x-none)"):
            upstream = self.upstream(balance, *(BackendSpec(host=f"10.0.0.{n}", port=80) for n in range(1, 7)))
            placement = upstream.place(Asked(), 0.0)
            met = []
            while (lease := placement.next(0.0)) is not None:
                lease.release(Outcome.CONNECT_REFUSED, 0.0)
                met.append(lease.backend)
            self.assertEqual(len(met), 6, balance)
            self.assertEqual(len(set(met)), 6, balance)
