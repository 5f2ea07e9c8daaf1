"""Figures in Markdown: a table, and its place in benchmarks/README.md. It never measures anything."""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def chosen(parser: argparse.ArgumentParser, option: str, text: str, known: Sequence[str]) -> list[str]:
    """What an option names, separated by commas; ends the program with a word where there is no such thing."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"{option}: no {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return names


def command() -> str:
    """How this program was started."""
    return f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip()


def commit() -> str:
    """The commit that was measured, as far as git tells; uncommitted changes are not seen."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=README.parent, capture_output=True, text=True)
    return f", commit {asked.stdout.strip()}" if asked.returncode == 0 else ""


def publish(section: str, text: str, readme: Path = README) -> None:
    """Put it between the section's two comments in the README, with the date, the command and the commit.

    :raises ValueError: the README has no such section.
    """
    opening, closing = f"<!-- {section}: written by its program -->", f"<!-- end of {section} -->"
    before, found, rest = readme.read_text().partition(opening)
    _, ended, after = rest.partition(closing)
    if not found or not ended:
        raise ValueError(f"{readme.name} has no section {opening} ... {closing}")
    said = f"`{command()}`, {datetime.now(UTC):%Y-%m-%d}{commit()}:"
    readme.write_text(f"{before}{opening}\n\n{said}\n\n{text}\n\n{closing}{after}")
