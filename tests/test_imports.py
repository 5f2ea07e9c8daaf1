"""Which way imports point: the table of design.md section 3, held for every module by reading it.

Imports for types only (``if TYPE_CHECKING:``) count like all others, so that no room can come to depend on another
through its types. ``interfaces`` alone is excused: it says what plugins are, so its signatures name the model, and at
run time it imports nothing of ours.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import balancer

PACKAGE = Path(balancer.__file__).parent

LAYERS: list[set[str]] = [
    {"tap"},
    {"demo"},
    # The composition root, and what it needs of the machine.
    {"service"},
    {"listeners"},
    {"live", "caches"},
    {"preflight"},
    {"tls_material"},
    {"admin"},
    {"tcp", "udp", "http", "nat", "health", "discovery"},
    {"net", "registry", "plugins", "stores"},
    {"config"},
    {"cache"},
    {"core", "http1"},
    {"errors", "interfaces"},
    {"compiled"},
    {"hangup"},
    {"_version"},
]
"""From the top. A module imports from its own room and from lower layers."""

SIDEWAYS = {("registry", "plugins"), ("http1", "core")}
"""The only imports within a layer: the registry finds selectors, http1's limits are written in core's units."""

WITHOUT_TWISTED_IO = {"cache", "core", "http1", "config", "errors", "interfaces"}
"""Rooms that import neither twisted.internet nor twisted.web."""

ONLY = {"twisted.internet.reactor": "balancer.tap", "twisted.plugin.getPlugins": "balancer.plugins"}
"""Names that one module imports."""


def module_of(path: Path) -> str:
    """``balancer/http/front.py`` is ``balancer.http.front``; a package is its ``__init__``."""
    return ".".join(["balancer", *path.relative_to(PACKAGE).with_suffix("").parts])


def room_of(module: str) -> str:
    """The room a dotted name of ours belongs to: ``balancer.http.front`` is in ``http``."""
    return [*module.split("."), "__init__"][1]


def imported(module: str, source: str) -> Iterator[str]:
    """Every name a module imports, dotted: functions' and types' imports included."""
    tree = ast.parse(source)
    excused = set(types_only(tree)) if module == "balancer.interfaces" else set()
    for node in ast.walk(tree):
        if node in excused:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def types_only(tree: ast.Module) -> Iterator[ast.AST]:
    """What stands below ``if TYPE_CHECKING:``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                yield from ast.walk(statement)


def wrong(module: str, source: str) -> list[str]:
    """What a module imports against the rules, in words."""
    return [f"{module} imports {name}: {why}" for name in imported(module, source) if (why := objection(module, name))]


def objection(module: str, name: str) -> str:
    """Why this module may not import that name; empty where it may."""
    room = room_of(module)
    for one, where in ONLY.items():
        if (name == one or name.startswith(one + ".")) and module != where:
            return f"only {where} does"
    if room in WITHOUT_TWISTED_IO and f"{name}.".startswith(("twisted.internet.", "twisted.web.")):
        return f"{room} does no I/O"
    if not f"{name}.".startswith("balancer."):
        return ""
    return direction(room, room_of(name))


def direction(room: str, other: str) -> str:
    """Why one room may not import from another; empty where it may."""
    if room == other:
        return ""
    if other == "testing":
        return "testing is for tests and plugin authors"
    if room == "testing":
        return ""
    height = {name: height for height, layer in enumerate(LAYERS) for name in layer}
    height["__init__"] = height["__version__"] = height["errors"]  # the package itself
    if room not in height or other not in height:
        return f"{room if room not in height else other} is no room of the table: give it its place in LAYERS"
    if height[room] < height[other] or (room, other) in SIDEWAYS:
        return ""
    return "they never import each other" if height[room] == height[other] else "imports point down"


class Imports(SynchronousTestCase):
    """Every module of the balancer."""

    def test_every_module(self) -> None:
        """Every import of every module points down the table; core, http1 and config do no I/O; the reactor is
        imported by tap alone, plugins are found by plugins alone, and nothing of ours imports testing."""
        paths = sorted(PACKAGE.rglob("*.py"))
        self.assertGreater(len(paths), 50)
        found = [problem for path in paths for problem in wrong(module_of(path), path.read_text("utf-8"))]
        self.assertEqual(found, [])

    def test_plugin_file(self) -> None:
        """The file that Twisted finds imports only what it needs to name the rest, and has no package around it."""
        folder = PACKAGE.parent / "twisted" / "plugins"
        self.assertEqual(sorted(path.name for path in folder.parent.rglob("__init__.py")), [])
        source = (folder / "balancer_plugin.py").read_text("utf-8")
        ours = {name for name in imported("twisted.plugins.balancer_plugin", source) if name.startswith("balancer")}
        self.assertEqual({room_of(name) for name in ours}, {"plugins"})


class Rules(SynchronousTestCase):
    """What would be found."""

    def refused(self, module: str, source: str) -> str:
        """The one problem."""
        (problem,) = wrong(module, source)
        return problem.partition(": ")[2]

    def test_up(self) -> None:
        """An import that points up is found, also inside a function and for types only."""
        self.assertEqual(
            self.refused("balancer.core.x", "from balancer.registry import Registry"), "imports point down"
        )
        self.assertEqual(self.refused("balancer.net.x", "def f():\n import balancer.http.front"), "imports point down")
        typing = "if TYPE_CHECKING:\n from balancer.http import front"
        self.assertEqual(self.refused("balancer.core.x", typing), "imports point down")
        self.assertEqual(self.refused("balancer.core.x", "from ..http import front"), "imports point down")

    def test_beside(self) -> None:
        """Rooms of one layer do not know each other."""
        rooms = ("tcp", "udp", "http", "nat", "health", "discovery")
        for room, other in [(a, b) for a in rooms for b in rooms if a != b]:
            problem = self.refused(f"balancer.{room}.x", f"from balancer.{other} import y")
            self.assertEqual(problem, "they never import each other")
        self.assertEqual(wrong("balancer.registry", "from balancer.plugins import named"), [])

    def test_io(self) -> None:
        """Neither twisted.internet nor twisted.web in a core, in any spelling; their neighbours are another matter."""
        for source in ("from twisted import internet", "import twisted.web.http", "from twisted.internet import defer"):
            self.assertEqual(self.refused("balancer.http1.x", source), "http1 does no I/O")
        self.assertEqual(wrong("balancer.core.x", "from twisted.logger import Logger"), [])

    def test_one_place(self) -> None:
        """The reactor and getPlugins have one importer each."""
        self.assertEqual(
            self.refused("balancer.service", "from twisted.internet import reactor"), "only balancer.tap does"
        )
        self.assertEqual(wrong("balancer.tap", "from twisted.internet import reactor"), [])
        self.assertEqual(
            self.refused("balancer.service", "from twisted.plugin import getPlugins"), "only balancer.plugins does"
        )

    def test_testing(self) -> None:
        """The balancer never imports what is for its tests."""
        problem = self.refused("balancer.service", "from balancer.testing import fakes")
        self.assertEqual(problem, "testing is for tests and plugin authors")

    def test_interfaces(self) -> None:
        """Interfaces name the model in their signatures, and import it for nothing else."""
        named = "from balancer.core.model import Member"
        self.assertEqual(wrong("balancer.interfaces", f"if TYPE_CHECKING:\n {named}"), [])
        self.assertEqual(self.refused("balancer.interfaces", named), "imports point down")

    def test_new_room(self) -> None:
        """A new room has to be given its place."""
        self.assertIn("give it its place", self.refused("balancer.common.x", "from balancer.core import model"))
