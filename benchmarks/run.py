"""Run the side-by-side comparison with our command lines; put table and picture into benchmarks/README.md.

    python benchmarks/run.py [--only L4,L7] [--rounds 3] [--duration 3] [--peers haproxy,nginx,varnish,caddy]
                             [--compiled TWISTD] [--compare PATH]

The comparison itself (origin, peers, load, CPU per request) is compare.py, which is shared by several projects and
not part of this one: it is looked for in ../shared/bench beside the checkout. Debian packages: haproxy nginx
libnginx-mod-stream caddy wrk. Never part of the test suite: these figures say something only beside each other.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from figures import publish, table
from lab import TWISTD, build, enter_network
from picture import Bar, picture

HERE = Path(__file__).resolve().parent
COMPARE = HERE.parent.parent / "shared" / "bench" / "compare.py"
PICTURE = HERE / "comparison.svg"

COMMAND = (
    "exec {twistd} -n --pidfile= --logfile={{dir}}/{case}.log balancer "
    "{options} --to {{a}} --to {{b}} --access-log {{dir}}/{case}.access"
)
"""Everything on: active and passive health checks, limits, forwarded headers, the access log to a file."""

TCP = "--tcp 127.0.0.1:{port}"
HTTP = "--http 127.0.0.1:{port}"
HTTPS = "--https 127.0.0.1:{port} --cert {cert} --key {key}"


@dataclass(frozen=True)
class Case:
    """What we are started with for a case of compare.py, and the bars of issues 3 and 5.

    :ivar options: of `twistd balancer`, with compare.py's own placeholders.
    :ivar bar: CPU per request over the first peer's, at most; ``peer``: which that is.
    :ivar other: a second peer, what it is called in words, and the bar over it.
    """

    options: str
    bar: float
    peer: str = "haproxy"
    other: tuple[str, str, float] | None = None


CASES = {
    "L4": Case(TCP, 1.2),
    "L4-conn": Case(TCP, 2.5),
    "L4-bulk": Case(TCP, 0.8),
    "L7": Case(HTTP, 2.2, other=("caddy", "Caddy", 0.5)),
    "L7-conn": Case(HTTP, 2.2),
    "L7-bulk": Case(HTTP, 1.0),
    "L7-post": Case(HTTP, 2.0),
    "tls": Case(HTTPS, 3.0),
    "tls-conn": Case(HTTPS, 2.0),
    "cache": Case(f"--cache {HTTP}", 1.5, "nginx", ("varnish", "Varnish", 1.0)),
}

OURS, COMPILED = "balancer", "compiled"
"""What compare.py calls us, and the compiled build of us."""

HEAD = ("case", "subject", "CPU", "ratio", "bar", "rate", "RSS", "failures")

Results = dict[str, dict[str, dict[str, float | str]]]
"""What compare.py writes: the medians, by case and subject."""


def command(case: str, twistd: Path, name: str = OURS) -> str:
    """Our command line for a case, with compare.py's own placeholders left in."""
    return COMMAND.format(twistd=twistd, case=f"{case}-{name}", options=CASES[case].options)


def served(twistd: Path) -> list[str]:
    """The cases that this balancer has the options for."""
    told = subprocess.run([twistd, "balancer", "--help"], capture_output=True, text=True).stdout
    return [name for name, case in CASES.items() if name != "cache" and case.options.split()[0] in told]


def cost(row: dict[str, float | str]) -> str:
    """CPU with its unit."""
    unit = str(row["unit"])
    return f"{float(row['cpu']):.{2 if unit == 's/GiB' else 1}f} {unit}"


def verdict(case: str, subjects: dict[str, dict[str, float | str]], name: str = OURS) -> str:
    """The bars of a case, and whether this one of ours holds them."""
    if subjects[name].get("bad"):
        return "**not met** (failures)"
    ours = float(subjects[name]["cpu"])
    told = CASES[case]
    bars = [("", told.peer, told.bar)]
    if told.other is not None:
        peer, called, bar = told.other
        bars.append((f" of {called}", peer, bar))
    words = []
    for of, peer, bar in bars:
        if peer in subjects:
            ratio = ours / float(subjects[peer]["cpu"])
            held = "met" if ratio <= bar else "**not met**"
            words.append(f"{held} (<= {bar:g}{of})" if not of else f"{held} (<= {bar:g}{of}: {ratio:.2f})")
    return ", ".join(words)


def rows(results: Results) -> list[tuple[str, ...]]:
    """The medians; the ratio is to the first peer of the case."""
    found: list[tuple[str, ...]] = []
    for case, subjects in results.items():
        base = float(next(iter(subjects.values()))["cpu"])
        for name, row in subjects.items():
            bulk = row["unit"] == "s/GiB"
            rate = f"{float(row['rate']):.2f} GiB/s" if bulk else f"{float(row['rate']):.0f} req/s"
            bar = verdict(case, subjects, name) if name in (OURS, COMPILED) else ""
            memory = f"{float(row['rss_mib']):.0f} MiB"
            ratio = f"{float(row['cpu']) / base:.2f}"
            found.append((case, name, cost(row), ratio, bar, rate, memory, str(row["bad"] or "none")))
    return found


def drawn(results: Results) -> str:
    """The picture of it."""
    bars = {
        case: [
            Bar(name, float(row["cpu"]) / float(next(iter(subjects.values()))["cpu"]), cost(row))
            for name, row in subjects.items()
        ]
        for case, subjects in results.items()
    }
    limits = {name: case.bar for name, case in CASES.items()}
    title = f"CPU per request as a multiple of HAProxy's (the mark: our bar), {datetime.now(UTC):%Y-%m-%d}"
    return picture(bars, limits, title)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", help="comma-separated cases (default: every one we have the options for but cache)"
    )
    parser.add_argument("--rounds", default="3")
    parser.add_argument("--duration", default="3", help="seconds per measurement")
    parser.add_argument("--peers", default="haproxy,nginx,varnish,caddy")
    parser.add_argument("--reactor", default="", help="for twistd --reactor (default: what we pick by ourselves)")
    parser.add_argument("--twistd", type=Path, default=TWISTD, help="whose balancer is measured (default: our own)")
    parser.add_argument(
        "--compiled", type=Path, help="twistd of an environment with the compiled wheel, in the same run"
    )
    parser.add_argument("--compare", type=Path, default=COMPARE, help="where compare.py is")
    parser.add_argument("--dry", action="store_true", help="print the table and leave README and picture as they are")
    arguments = parser.parse_args()
    cases = arguments.only.split(",") if arguments.only else served(arguments.twistd)
    unknown = [case for case in cases if case not in CASES]
    if unknown:
        parser.error(f"no command line of ours for {', '.join(unknown)}; there are {', '.join(CASES)}")
    if not arguments.compare.exists():
        parser.error("compare.py is not beside this checkout; name it with --compare PATH")
    ours = {OURS: arguments.twistd.absolute()}
    if arguments.compiled:
        ours[COMPILED] = arguments.compiled.absolute()
    enter_network()  # whose ports are free: an origin that somebody left behind would answer in place of compare.py's
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        told = ["--only", ",".join(cases), "--rounds", arguments.rounds, "--duration", arguments.duration]
        told += ["--peers", arguments.peers, "--json", out.name]
        for case in cases:
            for name, twistd in ours.items():
                line = command(case, twistd, name)
                if arguments.reactor:
                    line = line.replace(" -n ", f" -n --reactor {arguments.reactor} ", 1)
                told += ["--cmd", f"{case}:{name}={line}"]
        done = subprocess.run([sys.executable, str(arguments.compare), *told])
        if done.returncode:
            return done.returncode
        results: Results = json.load(out)
    started = {case: subjects for case, subjects in results.items() if OURS in subjects}
    builds = "".join(f"- {name}: {build(twistd)}\n" for name, twistd in ours.items())
    figures = f"{builds}\n{table(HEAD, rows(started))}"
    print(figures)
    if not arguments.dry and list(started) == ["cache"]:
        publish("cache", figures)  # beside other peers, so in a table of its own
    elif not arguments.dry:
        PICTURE.write_text(drawn(started))
        publish("comparison", f"![the table as bars]({PICTURE.name})\n\n{figures}")
    return 0 if len(started) == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
