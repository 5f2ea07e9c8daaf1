"""docs/architecture.md stays true: the files and names it speaks of exist."""

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text()


class ArchitectureTests(SynchronousTestCase):
    """The page against the tree."""

    def test_files_and_names_exist(self) -> None:
        """Each `file.py` is there, and each `file.py: name` is defined at its top."""
        spoken = re.findall(r"`((?:balancer|twisted|tests|docs|etc)/[\w./-]+\.\w+)(?:: (\w+))?`", TEXT)
        self.assertGreater(len(spoken), 50)
        for file, name in spoken:
            with self.subTest(file=file, name=name):
                self.assertTrue((ROOT / file).exists(), f"{file} is not there")
                if name:
                    tree = ast.parse((ROOT / file).read_text())
                    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
                    self.assertIn(name, {node.name for node in tree.body if isinstance(node, kinds)}, file)

    def test_every_room_is_shown(self) -> None:
        """Each package and top module of the balancer is in the picture of the rooms."""
        picture = TEXT.split("```")[1]
        for path in sorted((ROOT / "balancer").iterdir()):
            if path.name.startswith("_") or (path.is_dir() and not (path / "__init__.py").exists()):
                continue
            if path.is_dir() or path.suffix == ".py":
                with self.subTest(path=path.name):
                    self.assertRegex(picture, rf"(?m)(^|\s){re.escape(path.name)}(/|\s)")

    def test_every_page_is_named_in_the_readme(self) -> None:
        """A page under docs/ that the README does not name is a page nobody finds."""
        readme = (ROOT / "README.md").read_text()
        for page in sorted((ROOT / "docs").glob("*.md")):
            with self.subTest(page=page.name):
                self.assertIn(f"docs/{page.name}", readme)
