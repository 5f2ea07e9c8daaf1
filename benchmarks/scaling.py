"""What a request costs as things grow: connections, backends, routes.

    python benchmarks/scaling.py [--only connections,backends,routes,checks] [--seconds 2] [--rounds 3] [--dry]

CPU of the proxy for each request (user and system), requests per second and the 99th percentile. The growth of a row
is its cost over the lowest cost of the rows before it, and is to stay within 1.3. Connections are measured with
HAProxy beside us, and so is one way to balance, for with thousands of sockets that are seldom touched the kernel's own
work grows for everybody. Backends are addresses of
127.0.0.0/8 that one origin answers; with many of them every backend is first given its kept connection, so that a
request is compared with a request and not with a connect, and health checks are off, for their number grows with
the backends and not with the requests: what they cost is measured by itself (`checks`), without any request.
Linux, Debian packages: haproxy nginx wrk. Some minutes.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from figures import chosen, publish, table
from lab import ORIGIN_PORTS, Lab, Running, Sample, build, enter_network, files, load

BAR = 1.3
"""How much more a request may cost than with less of everything (issue 3)."""

CONNECTIONS = (1, 10, 100, 1000, 5000)
BACKENDS = (10, 100, 1000, 10000)
ROUTES = (10, 100, 1000)

LOAD = 64
"""Connections of the load where something else grows."""

NO_CHECKS = 'check = { type = "none" }'
HEAD = ("what", "subject", "how many", "CPU", "growth", f"bar {BAR}", "rate", "p99", "failures")


def addresses(count: int) -> list[str]:
    """So many backends at the origin."""
    return [f"127.{1 + n // 62500}.{n // 250 % 250}.{1 + n % 250}:{ORIGIN_PORTS[0]}" for n in range(count)]


def warmed(running: Running, backends: int) -> None:
    """Let every backend have its kept connection: with n requests spread by chance over n backends a third has none
    yet, with 4 n one in fifty."""
    load(running, LOAD, max(1.0, 4 * backends / load(running, LOAD, 1).rate))


@dataclass(frozen=True)
class Subject:
    """One row to be: a process, and how it is loaded."""

    what: str
    name: str
    count: int
    running: Running
    clients: int
    words: tuple[str, ...] = ()


def connections(lab: Lab) -> Iterator[list[Subject]]:
    """The same two backends, more and more clients."""
    for mode, layer in (("tcp", "L4"), ("http", "L7")):
        peers = [("haproxy", lab.haproxy(mode)), ("balancer", lab.ours(mode))]
        yield [
            Subject(f"connections, {layer}", name, count, running, count)
            for name, running in peers
            for count in CONNECTIONS
        ]


def backends(lab: Lab) -> Iterator[list[Subject]]:
    """More and more servers; layer 4 chooses for each connection, layer 7 for each request."""
    ways: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
        ("backends, L4-conn", "tcp", "leastconn", ("-H", "Connection: close")),
        ("backends, L7", "http", "random(2)", ()),
        ("backends, L7", "http", "leastconn", ()),
        ("backends, L7", "http", "roundrobin", ()),
    )
    made = []
    for count in BACKENDS:
        made.append(lab.haproxy("http", addresses(count), options=""))
        warmed(made[-1], count)
    yield [
        Subject("backends, L7", "haproxy, random(2)", count, running, LOAD)
        for count, running in zip(BACKENDS, made, strict=True)
    ]
    for what, mode, balance, words in ways:
        subjects = []
        for count in BACKENDS:
            running = lab.ours(mode, addresses(count), upstream=f'{NO_CHECKS}\nbalance = "{balance}"')
            warmed(running, count if mode == "http" else 1)
            subjects.append(Subject(what, f"balancer, {balance}", count, running, LOAD, words))
        yield subjects


def routes(lab: Lab) -> Iterator[list[Subject]]:
    """More and more routes, a third each by host, by path and by prefix; the load asks for one after the other."""
    subjects = []
    for count in ROUTES:
        kinds = ('host = "h{n}.example"', 'path = "/exact/{n}"', 'path_prefix = "/prefix/{n}"')
        lines = [f'[[listener.front.route]]\n{kinds[n % 3].format(n=n)}\nto = "web"\n' for n in range(count)]
        running = lab.ours("http", listener="\n".join(lines))
        script = lab.write(f"routes-{count}.lua", ROUTES_LUA % count)
        subjects.append(Subject("routes, L7", "balancer", count, running, LOAD, ("-s", str(script))))
    yield subjects


ROUTES_LUA = """
local n = 0
request = function()
  n = (n + 1) %% %d
  local kind = n %% 3
  if kind == 0 then return wrk.format("GET", "/any", {Host = "h" .. n .. ".example"}) end
  if kind == 1 then return wrk.format("GET", "/exact/" .. n, {Host = "localhost"}) end
  return wrk.format("GET", "/prefix/" .. n .. "/below", {Host = "localhost"})
end
"""
"""Asks for every route in turn."""


def rows_of(series: Iterator[list[Subject]], seconds: float, rounds: int) -> Iterator[tuple[str, ...]]:
    """The rows of one kind: every subject in turn, so many times, so that what else the machine does meets all."""
    for subjects in series:
        samples: dict[Subject, list[Sample]] = {subject: [] for subject in subjects}
        for _ in range(rounds):
            for subject in subjects:
                warm = 1 + subject.clients / 2000
                samples[subject].append(load(subject.running, subject.clients, seconds, *subject.words, warm=warm))
        lowest: dict[str, float] = {}
        for subject in subjects:
            yield row(subject, samples[subject], lowest)
        for running in {subject.running for subject in subjects}:
            running.stop()


def row(subject: Subject, samples: list[Sample], lowest: dict[str, float]) -> tuple[str, ...]:
    """One row: medians; of the percentiles the last.

    :param lowest: by subject, the lowest cost of the rows before; is kept.
    """
    cost = median(sample.cost for sample in samples)
    rate = median(sample.rate for sample in samples)
    bad = "; ".join(sorted({sample.bad for sample in samples} - {""}))
    base = lowest.setdefault(subject.name, cost)
    lowest[subject.name] = min(base, cost)
    growth = cost / base
    verdict = "" if subject.name.startswith("haproxy") else "met" if growth <= BAR else "**not met**"
    figures = (f"{cost:.1f} us/req", f"{growth:.2f}", verdict, f"{rate:.0f} req/s", samples[-1].p99)
    return (subject.what, subject.name, f"{subject.count}", *figures, bad or "none")


def checks(lab: Lab, seconds: float) -> Iterator[tuple[str, ...]]:
    """What the health checks alone take of a core, at their defaults, once every backend has had its first."""
    for count in BACKENDS:
        begun = time.perf_counter()
        running = lab.ours("http", addresses(count))
        listening = time.perf_counter() - begun
        settled = running.cpu()
        time.sleep(12)  # a first probe comes within a second, all others after five
        settled = running.cpu() - settled
        share = running.idle_share(max(seconds, 10))
        running.stop()
        yield (f"{count}", f"{listening:.1f} s", f"{settled:.1f} s", f"{share:.1%}")


CHECKS_HEAD = ("backends", "until it listens", "CPU of the 12 s after", "share of a core then")


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"connections": connections, "backends": backends, "routes": routes}
    known = (*kinds, "checks")
    parser.add_argument("--only", default=",".join(known), help="comma-separated kinds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    wanted = chosen(parser, "--only", arguments.only, known)
    enter_network()
    if files() < 11000:
        print(f"only {files()} descriptors for a process (ulimit -n): 10,000 backends need more", file=sys.stderr)
    for name in wanted:
        with Lab() as lab:
            lab.origin()
            head: tuple[str, ...] = HEAD
            if name == "checks":
                head, source = CHECKS_HEAD, checks(lab, arguments.seconds)
            else:
                source = rows_of(kinds[name](lab), arguments.seconds, arguments.rounds)
            rows = []
            for cells in source:
                print(*cells, sep="  ", flush=True)
                rows.append(cells)
        if not arguments.dry:
            publish(name, f"{build()}:\n\n{table(head, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
