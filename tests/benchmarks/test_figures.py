"""Figures and picture of the benchmarks: made from given numbers, never from a run."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).resolve().parents[2] / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


def program(name: str) -> object:
    """A module of benchmarks/, which is no package: its programs are run from a checkout."""
    sys.path.insert(0, str(HERE))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(HERE))


figures, picture, run = program("figures"), program("picture"), program("run")


class Options(SynchronousTestCase):
    """What the programs are told."""

    def test_wrong_names(self) -> None:
        """A case, layer, kind or peer that there is not ends the program with a message that names those there are,
        before anything is started."""
        for name, option, there in (
            ("scaling", "--only", "connections"),
            ("memory", "--only", "L4"),
            ("memory", "--peers", "haproxy"),
        ):
            words = [sys.executable, str(HERE / f"{name}.py"), option, "nosuch"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"{option}: no 'nosuch'; there are {there}", done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class Publishing(SynchronousTestCase):
    """The README."""

    def setUp(self) -> None:
        self.readme = Path(self.mktemp())
        self.readme.write_text("a\n<!-- x: written by its program -->\nold\n<!-- end of x -->\nb\n")

    def test_section(self) -> None:
        """A section is replaced as often as one likes, and nothing else changes."""
        for text in ("first", "second"):
            figures.publish("x", text, self.readme)
        said = self.readme.read_text()
        self.assertTrue(said.startswith("a\n<!-- x: written by its program -->\n"))
        self.assertTrue(said.endswith("second\n\n<!-- end of x -->\nb\n"))
        self.assertNotIn("first", said)

    def test_no_section(self) -> None:
        """Figures that have no place are not dropped silently."""
        with self.assertRaisesRegex(ValueError, "no section"):
            figures.publish("y", "text", self.readme)

    def test_ours(self) -> None:
        """Our README has a place for every program's figures."""
        text = (HERE / "README.md").read_text()
        for section in ("comparison", "memory", "connections", "backends", "routes", "checks"):
            self.assertIn(f"<!-- {section}: written by its program -->", text)
            self.assertIn(f"<!-- end of {section} -->", text)


class Pictures(SynchronousTestCase):
    """The SVG."""

    def drawn(self, ratio: float) -> list[ElementTree.Element]:
        """The bars for HAProxy and for us, in one case with a limit of 2."""
        bars = [picture.Bar("haproxy", 1.0, "10 us/req"), picture.Bar("balancer", ratio, "<some> & more")]
        return ElementTree.fromstring(picture.picture({"L7": bars}, {"L7": 2.0}, "a & b")).findall(f"{SVG}rect")

    def test_bars(self) -> None:
        """Each subject has a bar whose length is its ratio, and ours says whether it is within its limit."""
        peer, ours = self.drawn(1.5)
        self.assertAlmostEqual(float(ours.attrib["width"]) / float(peer.attrib["width"]), 1.5, 2)
        self.assertEqual([peer.attrib["class"], ours.attrib["class"]], ["haproxy", "ours"])
        self.assertEqual(self.drawn(2.5)[1].attrib["class"], "over")

    def test_longest(self) -> None:
        """A bar that is too long for the picture is cut."""
        self.assertEqual(self.drawn(50.0)[1].attrib["width"], self.drawn(picture.LONGEST)[1].attrib["width"])


class Verdicts(SynchronousTestCase):
    """The bars of a case."""

    def verdict(self, **cpu: float) -> str:
        """What is said of L7 with these costs."""
        return str(run.verdict("L7", {name: {"cpu": cost} for name, cost in cpu.items()}))

    def test_verdict(self) -> None:
        """A bar counts against its own peer, and only where that one was measured."""
        self.assertEqual(self.verdict(haproxy=10.0, balancer=22.0), "met (<= 2.2)")
        self.assertEqual(self.verdict(haproxy=10.0, balancer=23.0), "**not met** (<= 2.2)")
        self.assertIn("**not met** (<= 0.5 of Caddy: 0.60)", self.verdict(haproxy=20.0, caddy=40.0, balancer=24.0))

    def test_failures(self) -> None:
        """Whoever fails a request holds no bar, however cheap it is."""
        subjects = {"haproxy": {"cpu": 10.0}, "balancer": {"cpu": 1.0, "bad": "Socket errors"}}
        self.assertEqual(run.verdict("L7", subjects), "**not met** (failures)")
