"""From what the kernel is to do to the commands that say so. (Whether it does it: tests/integration/test_nat_*.py.)"""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.nat import Draw, Entrance, Ruleset, Translation, translation
from balancer.core.nat_policy import NatSettings
from balancer.nat.rendering import change, listing, removal, replacement
from tests.nat.stage import members

FOUR = Entrance("web", "tcp", 4, "192.0.2.1", 80)
SIX = Entrance("dns", "udp", 6, "", 53)
HOSTS = {4: ("10.0.0.1", "10.0.0.2", "10.0.0.3"), 6: ("fd00::1", "fd00::2", "fd00::3")}


def made(entrance: Entrance, draw: Draw, hosts: int, **settings: Any) -> Translation:
    """A translation to so many servers; a fourth is the third once more, as two spellings of an address are."""
    listed = [*HOSTS[entrance.family], HOSTS[entrance.family][-1]]
    return translation(entrance, NatSettings(**settings), draw, members(*listed[:hosts]))


translations = st.builds(
    made,
    st.sampled_from([FOUR, SIX]),
    st.sampled_from(Draw),
    st.integers(0, 4),
    source=st.sampled_from(["client", "masquerade"]),
    local=st.booleans(),
    unavailable=st.sampled_from(["reject", "drop"]),
)
rulesets = st.lists(translations, max_size=2, unique_by=lambda each: each.entrance.name).map(
    lambda each: Ruleset("t", tuple(each))
)


class Kernel:
    """What nftables would have, as far as names go: it refuses what it would refuse.

    :ivar objects: kind and name of all there is in the table; ``None`` while there is no table.
    """

    def __init__(self) -> None:
        self.objects: set[tuple[str, str]] | None = None
        self.rules: list[dict[str, Any]] = []

    def run(self, commands: list[dict[str, Any]]) -> None:
        """Carry them out."""
        for command in json.loads(json.dumps(commands)):
            ((verb, what),) = command.items()
            ((kind, about),) = what.items()
            assert about["family"] == "inet" and about.get("table", about.get("name")) == "t", command
            getattr(self, verb)(kind, about)

    def add(self, kind: str, about: dict[str, Any]) -> None:
        if kind == "table":
            self.objects = self.objects or set()
            return
        assert self.objects is not None
        if kind == "rule":
            assert ("chain", about["chain"]) in self.objects, about
            for needed in references(about["expr"]):
                assert needed in self.objects, (needed, about)
            self.rules.append(about)
        elif kind == "element":
            assert ("map", about["name"]) in self.objects
            for _key, name in about["elem"]:
                assert ("counter", name) in self.objects
        else:
            self.objects.add((kind, about["name"]))

    def delete(self, kind: str, about: dict[str, Any]) -> None:
        assert self.objects is not None
        if kind == "table":
            self.objects, self.rules = None, []
            return
        self.objects.remove((kind, about["name"]))  # which fails where it is gone already
        used = {needed for rule in self.rules for needed in references(rule["expr"])}
        assert (kind, about["name"]) not in used, about

    def flush(self, kind: str, about: dict[str, Any]) -> None:
        assert self.objects is not None
        if kind == "table":
            self.rules = []


def references(expressions: Any) -> "list[tuple[str, str]]":
    """The chains and counters that a rule names."""
    found = []
    if isinstance(expressions, dict):
        for key, value in expressions.items():
            if key == "goto":
                found.append(("chain", value["target"]))
            elif key == "counter" and isinstance(value, str):
                found.append(("counter", value))
            else:
                found += references(value)
    elif isinstance(expressions, list):
        for each in expressions:
            found += references(each)
    return found


class LawTests(SynchronousTestCase):
    """What holds for any rules."""

    @given(rulesets, rulesets)
    def test_change_is_replacement(self, before: Ruleset, after: Ruleset) -> None:
        """A change leads to what a replacement would have made, names nothing that is not there, takes out nothing
        that is used, and touches no table but ours."""
        changed, replaced = Kernel(), Kernel()
        changed.run(replacement(before, {}))
        changed.run(change(before, after))
        replaced.run(replacement(after, {}))
        self.assertEqual((changed.objects, changed.rules), (replaced.objects, replaced.rules))

    @given(rulesets)
    def test_twice(self, rules: Ruleset) -> None:
        """Done twice is done once."""
        kernel = Kernel()
        kernel.run(replacement(rules, {}))
        once = (kernel.objects, kernel.rules)
        kernel.run(replacement(rules, {}))
        self.assertEqual((kernel.objects, kernel.rules), once)
        kernel.run(change(rules, rules))
        self.assertEqual((kernel.objects, kernel.rules), once)
        kernel.run(removal("t"))
        kernel.run(removal("t"))
        self.assertIsNone(kernel.objects)

    @given(rulesets, rulesets)
    def test_counters_stay(self, before: Ruleset, after: Ruleset) -> None:
        """A change never takes out and never sets a counter that is still wanted."""
        deleted = [c["delete"]["counter"]["name"] for c in change(before, after) if "counter" in c.get("delete", {})]
        added = [c["add"]["counter"] for c in change(before, after) if "counter" in c.get("add", {})]
        self.assertEqual(set(deleted) & {counter["name"] for counter in added}, set())
        self.assertEqual([counter for counter in added if "packets" in counter], [])


class RuleTests(SynchronousTestCase):
    """Single rules."""

    def chain(self, name: str, *translations: Translation) -> list[list[dict[str, Any]]]:
        """The rules of one chain."""
        commands = replacement(Ruleset("t", translations), {})
        rules = [command["add"]["rule"] for command in commands if "rule" in command.get("add", {})]
        return [rule["expr"] for rule in rules if rule["chain"] == name]

    def test_turns(self) -> None:
        """A slot for each turn, each going to its server's chain."""
        ((drawing,),) = self.chain("listen/web", made(FOUR, Draw.ROUNDROBIN, 2))
        self.assertEqual(drawing["vmap"]["key"], {"numgen": {"mode": "inc", "mod": 2, "offset": 0}})
        self.assertEqual(
            drawing["vmap"]["data"]["set"],
            [[0, {"goto": {"target": "to/web/10.0.0.1/8000"}}], [1, {"goto": {"target": "to/web/10.0.0.2/8000"}}]],
        )

    def test_source(self) -> None:
        """The source's address alone is hashed, with a seed that never changes."""
        ((drawing,),) = self.chain("listen/dns", made(SIX, Draw.SOURCE, 2))
        key = drawing["vmap"]["key"]["jhash"]
        self.assertEqual(key["expr"], {"payload": {"protocol": "ip6", "field": "saddr"}})
        self.assertEqual((key["mod"], key["seed"]), (1021, 0x62616C61))

    def test_names(self) -> None:
        """An IPv6 address has no colons in a name, so that nft reads its own listing."""
        ((counting, _, translating),) = self.chain("to/dns/fd00__1/8000", made(SIX, Draw.RANDOM, 1))
        self.assertEqual(counting, {"counter": "new/udp/fd00__1/8000"})
        self.assertEqual(translating, {"dnat": {"family": "ip6", "addr": "fd00::1", "port": 8000}})

    def test_refusing(self) -> None:
        """Without a server: a reset for TCP, ICMP for UDP, or silence; counted."""
        ((counted, _, reset),) = self.chain("listen/web", made(FOUR, Draw.RANDOM, 0))
        self.assertEqual((counted, reset), ({"counter": "refused/web"}, {"reject": {"type": "tcp reset"}}))
        ((_, icmp),) = self.chain("listen/dns", made(SIX, Draw.RANDOM, 0))
        self.assertEqual(icmp, {"reject": {"type": "icmpx", "expr": "port-unreachable"}})
        ((_, silence),) = self.chain("listen/web", made(FOUR, Draw.RANDOM, 0, unavailable="drop"))
        self.assertEqual(silence, {"drop": None})

    def test_ways(self) -> None:
        """What arrives is taken, the machine's own where wanted; sources are replaced only where wanted."""
        plain = made(FOUR, Draw.RANDOM, 1, local=False)
        self.assertEqual(len(self.chain("prerouting", plain)), 1)
        self.assertEqual((self.chain("output", plain), self.chain("postrouting", plain)), ([], []))
        hidden = made(FOUR, Draw.RANDOM, 1, source="192.0.2.9")
        self.assertEqual(self.chain("output", hidden), self.chain("prerouting", hidden))
        (replacing,) = self.chain("postrouting", hidden)
        self.assertEqual(replacing[-1], {"snat": {"family": "ip", "addr": "192.0.2.9"}})

    def test_any_address(self) -> None:
        """Without an address every one of the machine is meant, of the family, and no other machine's."""
        ((family, local, _, _),) = self.chain("prerouting", made(SIX, Draw.RANDOM, 1))
        self.assertEqual(family["match"]["right"], "ipv6")
        self.assertEqual(local["match"]["right"], "local")

    def test_listing(self) -> None:
        """Only our counters are asked for."""
        self.assertEqual(listing("t"), [{"list": {"counters": {"family": "inet", "table": "t"}}}])
