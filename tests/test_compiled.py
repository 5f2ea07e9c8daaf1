"""The list of what a compiled build compiles, and that compiled classes keep their promises."""

import contextlib
import io
import os
import runpy
from importlib import import_module
from pathlib import Path

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.trial.unittest import SynchronousTestCase

from balancer import __version__, compiled
from balancer.core.selection.choices import PowerOfChoices
from balancer.core.selection.first import First
from balancer.core.selection.hashed import Hashed
from balancer.core.selection.leastconn import LeastConnections
from balancer.core.selection.peak_ewma import PeakEwma
from balancer.core.selection.roundrobin import RoundRobin
from balancer.http.backend import BackendConnection
from balancer.http.channel import HttpChannel
from balancer.interfaces import ISelector
from balancer.net.flow import Flow
from balancer.tap import Options
from balancer.tcp.side import Side


@pytest.mark.parametrize("module", compiled.MODULES)
def test_listed_module(module: str) -> None:
    """Every module of the list is there, can be imported, and has its source beside it."""
    found = Path(import_module(module).__file__ or "")
    assert (found.parent / (module.rpartition(".")[2] + ".py")).exists()


class BuildTests(SynchronousTestCase):
    """Which build runs."""

    def test_one_build(self) -> None:
        """All of the list is compiled or nothing is; a run that is to be of the compiled build (CI says so in
        BALANCER_TEST_COMPILED) is."""
        found = compiled.build()
        self.assertIn(found, ("compiled", "pure Python"))
        if os.environ.get("BALANCER_TEST_COMPILED"):
            self.assertEqual(found, "compiled")

    def test_version(self) -> None:
        """``twistd balancer --version`` tells the version and the build, and ends well."""
        with contextlib.redirect_stdout(io.StringIO()) as out, self.assertRaises(SystemExit) as left:
            Options().parseOptions(["--version"])
        self.assertFalse(left.exception.code)
        self.assertEqual(out.getvalue(), f"twistd-balancer {__version__} ({compiled.build()})\n")

    def test_list(self) -> None:
        """The build finds the list by running its file alone; it is in order and names nothing twice."""
        modules = runpy.run_path(compiled.__file__)["MODULES"]
        self.assertEqual(list(modules), sorted(set(modules)))


class InterfaceTests(SynchronousTestCase):
    """What is said of a class after it was made holds for its objects, compiled or not."""

    def test_selectors(self) -> None:
        """Every selector of ours is one to zope.interface."""
        for kind in (First, Hashed, LeastConnections, PeakEwma, PowerOfChoices, RoundRobin):
            self.assertTrue(ISelector.implementedBy(kind), kind)

    def test_protocols(self) -> None:
        """What Twisted asks of a protocol or a producer before it calls them is answered."""
        for protocol in (Side, HttpChannel, BackendConnection):
            self.assertTrue(IProtocol.implementedBy(protocol), protocol)
            self.assertTrue(IHalfCloseableProtocol.implementedBy(protocol), protocol)
        for producer in (Flow, HttpChannel, BackendConnection):
            self.assertTrue(IPushProducer.implementedBy(producer), producer)
        self.assertTrue(IPushProducer.providedBy(Flow(None)))  # type: ignore[arg-type]  # it is not used
