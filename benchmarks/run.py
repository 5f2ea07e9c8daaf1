"""Run the side-by-side comparison with our command lines and put the figures into benchmarks/README.md.

    python benchmarks/run.py [--only L4,L7] [--rounds 3] [--duration 3] [--compare PATH]

The comparison itself (origin, peers, load, CPU per request) is compare.py, which is shared by several projects and
not part of this one: it is looked for in ../shared/bench beside the checkout. Debian packages: haproxy nginx
libnginx-mod-stream caddy wrk. Never part of the test suite: these figures say something only beside each other.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
COMPARE = HERE.parent.parent / "shared" / "bench" / "compare.py"
TWISTD = Path(sys.executable).with_name("twistd")

OPEN, CLOSE = "<!-- figures: written by benchmarks/run.py -->", "<!-- end of figures -->"

COMMAND = (
    "exec {twistd} -n --pidfile= --logfile={{dir}}/{case}.log balancer "
    "{listen} --to {{a}} --to {{b}} --access-log {{dir}}/{case}.access"
)
"""Everything on: active and passive health checks, limits, forwarded headers, the access log to a file."""

CASES = {
    "L4": "tcp",
    "L4-conn": "tcp",
    "L4-bulk": "tcp",
    "L7": "http",
    "L7-conn": "http",
    "L7-bulk": "http",
    "L7-post": "http",
    "tls": "https",
    "tls-conn": "https",
}


def command(case: str) -> str:
    """Our command line for a case, with compare.py's own placeholders left in."""
    listen = f"--{CASES[case]} 127.0.0.1:{{port}}" + " --cert {cert} --key {key}" * (CASES[case] == "https")
    return COMMAND.format(twistd=TWISTD, case=case, listen=listen)


def table(result: dict[str, dict[str, dict[str, float | str]]]) -> str:
    """The medians as a Markdown table; the ratio is to the first peer of the case."""
    lines = ["| case | subject | CPU | ratio | rate | RSS | failures |", "|---|---|---|---|---|---|---|"]
    for case, subjects in result.items():
        base = float(next(iter(subjects.values()))["cpu"])
        for name, row in subjects.items():
            rate_unit = "GiB/s" if case.endswith("-bulk") else "req/s"
            digits = 2 if case.endswith("-bulk") else 1
            cpu, rate = float(row["cpu"]), float(row["rate"])
            memory = f"{float(row['rss_mib']):.0f} MiB"
            cells = [
                case,
                name,
                f"{cpu:.{digits}f} {row['unit']}",
                f"{cpu / base:.2f}",
                f"{rate:.{digits}f} {rate_unit}",
            ]
            lines.append(f"| {' | '.join([*cells, memory, str(row['bad'] or 'none')])} |")
    return "\n".join(lines)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="L4,L7", help="comma-separated cases (default L4,L7)")
    parser.add_argument("--rounds", default="3")
    parser.add_argument("--duration", default="3", help="seconds per measurement")
    parser.add_argument("--compare", type=Path, default=COMPARE, help="where compare.py is")
    parser.add_argument("--dry", action="store_true", help="print the table and leave the README as it is")
    arguments = parser.parse_args()
    unknown = [case for case in arguments.only.split(",") if case not in CASES]
    if unknown:
        parser.error(f"no command line of ours for {', '.join(unknown)}; there are {', '.join(CASES)}")
    if not arguments.compare.exists():
        parser.error("compare.py is not beside this checkout; name it with --compare PATH")
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        told = ["--only", arguments.only, "--rounds", arguments.rounds, "--duration", arguments.duration]
        ours = [word for case in arguments.only.split(",") for word in ("--cmd", f"{case}={command(case)}")]
        done = subprocess.run([sys.executable, str(arguments.compare), *told, "--json", out.name, *ours])
        if done.returncode:
            return done.returncode
        figures = table(json.load(out))
    print(figures)
    if not arguments.dry:
        before, _, rest = README.read_text().partition(OPEN)
        after = rest.partition(CLOSE)[2]
        said = (
            f"`python benchmarks/run.py {' '.join(sys.argv[1:])}`, {datetime.now(UTC):%Y-%m-%d}, the default reactor:"
        )
        README.write_text(f"{before}{OPEN}\n\n{said.replace(' `,', '`,')}\n\n{figures}\n\n{CLOSE}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
