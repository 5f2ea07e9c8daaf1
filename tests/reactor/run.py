"""Twisted's own reactor suite against the uvloop reactor: ``python tests/reactor/run.py [MODULE …]``.

Every ``ReactorBuilder`` test of ``twisted.internet.test`` is run, each module in a process of its own with a timeout,
and the counts are printed. A test that fails has to stand in ``expected.toml`` with its reason, and one that stands
there has to fail: anything else makes the run fail. A reason that begins with ``here:``
depends on the machine, not on the reactor.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import types
from pathlib import Path

HERE = Path(__file__).resolve()
EXPECTED = HERE.with_name("expected.toml")

MODULES = (
    "test_core",
    "test_endpoints",
    "test_fdset",
    "test_newtls",
    "test_process",
    "test_socket",
    "test_stdio",
    "test_tcp",
    "test_threads",
    "test_time",
    "test_tls",
    "test_udp",
    "test_unix",
)
"""All that use ``ReactorBuilder`` on Linux, and test_endpoints, which runs on whatever reactor is installed."""

INSTALLED = ("test_endpoints",)
"""Modules without ``ReactorBuilder``: they are run whole, with this reactor installed."""

SECONDS = 15
"""For the reactor run of one test (Twisted allows 120)."""

MODULE_SECONDS = 400
"""For a module, should a test hang elsewhere."""

OUTCOMES = ("passed", "skipped", "failed")


def child(module_name: str) -> None:
    """Run one module here and write ``{test: [outcome, words]}`` to the standard output's original."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if module_name in INSTALLED:
        importlib.import_module("balancer.net.uvloop_reactor").install()
    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial import reporter, runner

    stand_in = types.ModuleType("under_test")
    stand_in.UvloopReactor = build  # type: ignore[attr-defined]
    sys.modules["under_test"] = stand_in
    ReactorBuilder._reactors = ["under_test.UvloopReactor"]
    ReactorBuilder.timeout = SECONDS  # type: ignore[attr-defined]
    module = importlib.import_module(f"twisted.internet.test.{module_name}")
    suite = runner.TestLoader().loadModule(module)
    found: dict[str, tuple[str, str]] = {}
    for test in cases(suite):
        if module_name not in INSTALLED and not isinstance(test, ReactorBuilder):
            continue
        name = f"{module_name}.{type(test).__name__.removesuffix('_UvloopReactorTests')}.{test._testMethodName}"
        print(name, file=sys.stderr, flush=True)
        result = reporter.TestResult()
        test.run(result)
        if result.errors or result.failures:
            found[name] = ("failed", "\n".join(str(words) for _, words in [*result.errors, *result.failures]))
        elif result.skips:
            found[name] = ("skipped", str(result.skips[0][1]))
        else:
            found[name] = ("passed", "")
    json.dump(found, told)
    told.flush()
    os._exit(0)


def build(test: object) -> object:
    """A reactor with a loop of its own, which is closed after the test."""
    import asyncio

    import uvloop

    from balancer.net.uvloop_reactor import UvloopReactor

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    test.addCleanup(loop.close)  # type: ignore[attr-defined]
    return UvloopReactor(loop)


def cases(suite: object) -> list:
    """The tests of a suite, flat."""
    if hasattr(suite, "_testMethodName"):
        return [suite]
    return [case for part in suite for case in cases(part)]  # type: ignore[attr-defined]


def run(module: str) -> tuple[dict[str, list[str]], str]:
    """One module in its process: what became of each test, and what it printed if it did not come to its end."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                [sys.executable, str(HERE), "--child", module],
                capture_output=True,
                text=True,
                cwd=directory,
                timeout=MODULE_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            return {}, f"not done after {MODULE_SECONDS} s; {(late.stderr or b'').decode()[-2000:]}"
    if not done.stdout:
        return {}, done.stderr[-3000:]
    return json.loads(done.stdout), ""


def main() -> int:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--verbose", action="store_true", help="print the tracebacks of expected failures too")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.modules[0])
    expected = tomllib.loads(EXPECTED.read_text())
    total = dict.fromkeys(OUTCOMES, 0)
    wrong = []
    print(f"{'module':<16}{'passed':>8}{'skipped':>9}{'failed':>8}")
    for module in arguments.modules:
        found, broken = run(module)
        if broken:
            wrong.append(f"{module}: {broken}")
        counts = {outcome: sum(what == outcome for what, _ in found.values()) for outcome in OUTCOMES}
        print(f"{module:<16}{counts['passed']:>8}{counts['skipped']:>9}{counts['failed']:>8}", flush=True)
        for outcome in OUTCOMES:
            total[outcome] += counts[outcome]
        known = expected.get(module, {})
        for name, (outcome, words) in found.items():
            short = name.partition(".")[2]
            if outcome == "passed" and known.get(short, "").startswith("here:"):
                continue
            if (outcome == "failed") != (short in known):
                wrong.append(f"{name} {outcome}, which expected.toml does not say\n{words}")
            elif outcome == "failed":
                print(f"  {short}: {known[short]}")
                if arguments.verbose:
                    print(words)
            elif outcome == "skipped":
                print(f"  {short} skipped: {words}")
        wrong += [
            f"{module}.{name} is expected to fail, but there is no such test"
            for name in known
            if found and f"{module}.{name}" not in found
        ]
    print(f"{'all':<16}{total['passed']:>8}{total['skipped']:>9}{total['failed']:>8}")
    for problem in wrong:
        print(f"\nUNEXPECTED {problem}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
