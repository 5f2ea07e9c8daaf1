"""Plugins are found by name, ours and strangers' through one door, and imported when first used."""

import subprocess
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from balancer import plugins
from balancer.core.model import Member
from balancer.errors import UnknownName
from balancer.interfaces import (
    ICacheStorePlugin,
    IProbePlugin,
    ISelector,
    ISelectorPlugin,
    ProbeTarget,
    SelectionOptions,
)
from balancer.plugins import LazyProbe, LazySelector, LazyStore, every, named
from balancer.testing.fakes import InOrder, make_upstream


@implementer(IPlugin, ISelectorPlugin)
class Strange:
    """A stranger's selector plugin."""

    name = "first"

    def check(self, arguments: Sequence[str]) -> None:
        """Takes no arguments."""
        if arguments:
            raise ValueError("no arguments, please")

    def selector(self, arguments: Sequence[str], members: Sequence[Member], options: SelectionOptions) -> ISelector:
        """In order."""
        return InOrder(members)


class StrangeProbe:
    """What a probe plugin's reference may name."""

    settings = dict

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Any:
        """Says what it was asked."""
        return (target, settings, reactor)


class StrangeStore:
    """What the reference of a plugin for stores may name."""

    settings = dict

    def store(self, settings: object, reactor: object, others: object) -> Any:
        """Says what it was asked."""
        return (settings, reactor, others)


STRANGE = Strange()
PROBE = StrangeProbe()
STORE = StrangeStore()
OPTIONS = SelectionOptions(random=Random(1), seconds=Clock().seconds)


class Finding(SynchronousTestCase):
    """By name."""

    def test_built_in(self) -> None:
        """Every selector, probe and store that is promised is found, and is what its interface says."""
        selectors = {"roundrobin", "static-rr", "leastconn", "first", "random", "peak-ewma"}
        hashes = {"source", "uri", "url_param", "hdr", "cookie", "hash"}
        self.assertEqual((selectors | hashes) - set(every(ISelectorPlugin)), set())
        self.assertEqual({"tcp", "tls", "http", "expect"} - set(every(IProbePlugin)), set())
        self.assertEqual({"memory", "tiered", "disk"} - set(every(ICacheStorePlugin)), set())
        for interface in (ISelectorPlugin, IProbePlugin, ICacheStorePlugin):
            for name, plugin in every(interface).items():
                verifyObject(interface, plugin)
                self.assertEqual(plugin.name, name)

    def test_unknown(self) -> None:
        """A name nobody has is refused with the nearest and all there are."""
        with self.assertRaises(UnknownName) as caught:
            named(ISelectorPlugin, "leastcon")
        message = str(caught.exception)
        self.assertIn("no selector is named 'leastcon' (did you mean 'leastconn'?); there are: ", message)
        self.assertIn("roundrobin", message)

    def test_unknown_store(self) -> None:
        """The message calls each kind by its name."""
        with self.assertRaises(UnknownName) as caught:
            named(ICacheStorePlugin, "memoir")
        self.assertIn("no cache store is named 'memoir' (did you mean 'memory'?)", str(caught.exception))

    def test_stranger_counts(self) -> None:
        """Of two plugins with one name the stranger's counts, in whichever order they are found."""
        ours = LazySelector("first", "balancer.core.selection.first.FIRST")
        for found in ([ours, STRANGE], [STRANGE, ours]):
            self.patch(plugins, "getPlugins", lambda interface, found=found: iter(found))
            self.assertIs(named(ISelectorPlugin, "first"), STRANGE)


class Laziness(SynchronousTestCase):
    """References."""

    def test_selector(self) -> None:
        """A lazy selector is the object its reference names."""
        lazy = LazySelector("strange", f"{__name__}.STRANGE")
        verifyObject(ISelectorPlugin, lazy)
        with self.assertRaises(ValueError) as caught:
            lazy.check(["1"])
        self.assertEqual(str(caught.exception), "no arguments, please")
        made = lazy.selector([], make_upstream(2).members, OPTIONS)
        self.assertIsInstance(made, InOrder)
        self.assertEqual(repr(lazy), f"<LazySelector strange = {__name__}.STRANGE>")

    def test_probe(self) -> None:
        """A lazy probe is the object its reference names."""
        lazy = LazyProbe("strange", f"{__name__}.PROBE")
        verifyObject(IProbePlugin, lazy)
        target = ProbeTarget(host="10.0.0.1", port=80, tls_name=None, name="")
        self.assertEqual((lazy.settings, lazy.probe(target, 1, 2)), (dict, (target, 1, 2)))
        self.assertEqual(repr(lazy), f"<LazyProbe strange = {__name__}.PROBE>")

    def test_store(self) -> None:
        """A lazy plugin for stores is the object its reference names."""
        lazy = LazyStore("strange", f"{__name__}.STORE")
        verifyObject(ICacheStorePlugin, lazy)
        self.assertEqual((lazy.settings, lazy.store(1, 2, self.fail)), (dict, (1, 2, self.fail)))
        self.assertEqual(repr(lazy), f"<LazyStore strange = {__name__}.STORE>")

    def test_not_imported(self) -> None:
        """Finding the plugins imports none of the modules they refer to: `twistd --help` stays quick."""
        program = (
            "import sys; from balancer.plugins import every; from balancer.interfaces import *; "
            "found = [*every(ISelectorPlugin), *every(IProbePlugin), *every(ICacheStorePlugin)]; "
            "assert {'leastconn', 'memory'} <= set(found), found; "
            "ours = ('balancer.core.selection', 'balancer.health', 'balancer.stores'); "
            "bad = [name for name in sys.modules if name.startswith(ours)]; assert not bad, bad"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
