"""Every built-in selector keeps the contract that plugin authors inherit, and the contract finds those who do not."""

import io
import os
import subprocess
import sys
import unittest
from collections.abc import Iterator, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from balancer.core.model import Member
from balancer.core.selection.kinds import plain
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, ISelectorPlugin, SelectionOptions
from balancer.plugins import LazySelector, every, named
from balancer.testing.selectors import SelectorContract, options_with, some_members

BUILT_IN = {
    "cookie": ("session",),
    "first": (),
    "hash": ("host + path + hdr(x-tenant)",),
    "hdr": ("x-tenant",),
    "leastconn": (),
    "peak-ewma": ("5s",),
    "random": ("3",),
    "roundrobin": (),
    "source": (),
    "static-rr": (),
    "uri": ("whole", "len=40", "depth=2"),
    "url_param": ("user",),
}
HASHES = {"cookie", "hash", "hdr", "source", "uri", "url_param"}
ROOT = Path(__file__).parent.parent.parent


def _contract(name: str, title: str, keeps_keys: bool, options: dict[str, object]) -> type:
    body = {
        "__doc__": f"{title} keeps the contract.",
        "plugin": named(ISelectorPlugin, name),
        "arguments": BUILT_IN[name],
        "options": options,
        "keeps_keys": keeps_keys,
    }
    return type(f"Contract_{title}", (SelectorContract, SynchronousTestCase), body)


for _name in BUILT_IN:
    _case = _contract(_name, _name, _name in HASHES or _name == "first", {})
    globals()[_case.__name__] = _case
for _title, _options in (
    ("maglev", {"hash_type": "maglev"}),
    ("bounded_ring", {"balance_factor": 125}),
    ("bounded_maglev", {"hash_type": "maglev", "balance_factor": 101}),
):
    _case = _contract("hash", _title, True, _options)
    globals()[_case.__name__] = _case
del _case


class PluginTests(SynchronousTestCase):
    def test_all_are_found_by_name(self) -> None:
        """Every selector of the list is found through twisted.plugin, is ours, and leads to a selector."""
        found = every(ISelectorPlugin)
        for name, arguments in BUILT_IN.items():
            plugin = found[name]
            self.assertIsInstance(plugin, LazySelector)
            self.assertTrue(verifyObject(ISelectorPlugin, plugin))
            self.assertTrue(verifyObject(ISelector, plugin.selector(arguments, some_members([1, 2]), options_with())))

    def test_no_package_marker(self) -> None:
        """There is no __init__.py under twisted/, here or in the example: one would hide everyone else's plugins."""
        self.assertEqual(list(ROOT.glob("twisted/**/__init__.py")), [])
        self.assertEqual(list(ROOT.glob("etc/examples/**/twisted/**/__init__.py")), [])


@implementer(ISelector)
class Careless:
    """Breaks the contract in the way it is told to."""

    def __init__(self, fault: str, members: Sequence[Member], options: SelectionOptions) -> None:
        self.fault = fault
        self.members = members
        self.ready = [member for member in members if member.usable]

    def refresh(self) -> None:
        if self.fault != "deaf":
            self.ready = [member for member in self.members if member.usable]

    def candidates(self, traits: Traits) -> Iterator[Member] | None:
        found = list(self.members if self.fault == "blind" else self.ready)
        if self.fault == "twice":
            found = found[:1] + found
        if self.fault == "greedy" and found:
            found[0].backend.active += 1
        if self.fault == "forgets":
            found = found[:-1]
        if self.fault == "snapshot":
            return iter(found)
        if self.fault == "chance":
            found.sort(key=id, reverse=bool(Careless.flip()))
        if self.fault == "list":
            return found  # type: ignore[return-value]  # the fault
        return (member for member in found if member.usable or self.fault == "blind")

    def observe(self, member: Member, latency: float, now: float) -> None:
        if self.fault == "adopts" and member not in self.ready:
            self.ready.append(member)

    flips = 0

    @classmethod
    def flip(cls) -> int:
        cls.flips += 1
        return cls.flips % 2


def run(case: type[unittest.TestCase]) -> unittest.TestResult:
    """Run a test case apart from this run."""
    return unittest.TextTestRunner(stream=io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))


class ContractTests(SynchronousTestCase):
    def failures(self, fault: str) -> int:
        """How many of the contract's tests fail for a selector with that fault."""
        plugin = plain(lambda members, options: Careless(fault, members, options))
        case = type(
            "Case", (SelectorContract, SynchronousTestCase), {"plugin": plugin, "keeps_keys": fault == "chance"}
        )
        result = run(case)
        self.assertGreater(result.testsRun, 10)
        return len(result.failures) + len(result.errors)

    def test_a_good_one_passes(self) -> None:
        """A selector without fault passes the whole contract."""
        self.assertEqual(self.failures("none"), 0)

    def test_each_fault_is_found(self) -> None:
        """Each way to break the contract fails at least one of its tests."""
        for fault in ("deaf", "blind", "twice", "greedy", "forgets", "snapshot", "chance", "list", "adopts"):
            self.assertGreater(self.failures(fault), 0, fault)


class ExampleTests(SynchronousTestCase):
    """The selector that docs/writing-a-selector.md explains."""

    place = ROOT / "etc" / "examples" / "selectors" / "twisted" / "plugins" / "zone_selector.py"

    def setUp(self) -> None:
        self.names: dict[str, object] = {"__name__": "zone_selector"}
        exec(compile(self.place.read_text(), str(self.place), "exec"), self.names)

    def test_it_keeps_the_contract(self) -> None:
        """The example passes the contract tests that the page tells its reader to inherit."""
        body = {"plugin": self.names["zone"], "arguments": ("eu-1",)}
        case = type("ZoneContract", (SelectorContract, SynchronousTestCase), body)
        self.assertTrue(run(case).wasSuccessful())

    def test_it_comes_through_the_same_door(self) -> None:
        """With the example's folder on the path ``zone`` is a selector like ours, and may stand in a chain."""
        program = (
            "from balancer.core import selection; from balancer.interfaces import ISelectorPlugin; "
            "from balancer.plugins import named; from functools import partial; "
            "selection.check('hdr(x-tenant) or zone(eu-1)', partial(named, ISelectorPlugin))"
        )
        folder = os.pathsep.join((str(self.place.parent.parent.parent), str(ROOT)))
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_the_page_shows_the_file(self) -> None:
        """The page prints the example as it is."""
        self.assertIn(self.place.read_text(), (ROOT / "docs" / "writing-a-selector.md").read_text())
