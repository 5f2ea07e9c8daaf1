"""The commands of mode nat, judged by the kernel: any change leads where a replacement would, and nft reads it back."""

import json
import re
from random import Random
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.nat import Draw, Entrance, Ruleset, Translation, translation
from balancer.core.nat_policy import NatSettings
from balancer.nat.rendering import change, removal, replacement
from balancer.testing.hosts import Hosts, unavailable
from tests.nat.stage import members

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")

ROUNDS = 25
ENTRANCES = (
    Entrance("web", "tcp", 4, "10.77.0.1", 80),
    Entrance("any", "udp", 4, "", 80),
    Entrance("six", "tcp", 6, "fd77::1", 80),
    Entrance("dns.2-x", "udp", 6, "", 53),
)
HOSTS = {4: ("10.0.0.1", "10.0.0.2", "10.0.0.3"), 6: ("fd00::1", "fd00::2", "2001:db8:0:1:2:3:4:5")}
SOURCES = {4: "10.77.0.1", 6: "fd77::1"}


def drawn(random: Random) -> Ruleset:
    """Some rules."""
    return Ruleset("t", tuple(some(random, entrance) for entrance in ENTRANCES if random.random() < 0.7))


def some(random: Random, entrance: Entrance) -> Translation:
    """What one listener might want."""
    hosts = random.sample(HOSTS[entrance.family], random.randrange(4))
    listed = members(*hosts, *hosts[:1])  # one in two spellings
    for member in listed:
        member.usable = random.random() < 0.7
    settings = NatSettings(
        source=random.choice(["client", "masquerade", SOURCES[entrance.family]]),
        local=random.random() < 0.5,
        unavailable="reject" if random.random() < 0.5 else "drop",
    )
    return translation(entrance, settings, random.choice(list(Draw)), listed)


class KernelTests(SynchronousTestCase):
    """On a host of its own."""

    def setUp(self) -> None:
        self.hosts = Hosts(servers=0)
        self.hosts.__enter__()
        self.addCleanup(self.hosts.__exit__)

    def do(self, commands: list[dict[str, Any]]) -> None:
        """One transaction."""
        self.hosts.run("b", "nft", "-j", "-f", "-", text=json.dumps({"nftables": commands}))

    def listed(self) -> list[str]:
        """All there is, in whatever order the kernel keeps objects."""
        text = re.sub(r"packets \d+ bytes \d+", "", self.hosts.run("b", "nft", "list", "ruleset"))
        return sorted(block.strip() for block in re.split(r"\n(?=\t\S)", text))

    def test_changes(self) -> None:
        """The kernel takes every change, has then what a replacement would have made, and nft reads its own listing."""
        random = Random(20)
        before = drawn(random)
        self.do(replacement(before, {}))
        for _ in range(ROUNDS):
            after = drawn(random)
            self.do(change(before, after))
            changed = self.listed()
            self.hosts.run("b", "nft", "-c", "-f", "-", text=self.hosts.run("b", "nft", "list", "ruleset"))
            self.do(replacement(after, {}))
            self.assertEqual(changed, self.listed())
            before = after
        self.do(removal("t"))
        self.assertEqual(self.hosts.run("b", "nft", "list", "ruleset"), "")
