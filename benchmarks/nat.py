"""What mode nat costs, beside static rules of nftables written by hand and HAProxy in mode tcp, between the same hosts.

    python benchmarks/nat.py [--rounds 9] [--duration 2] [--gib 2] [--dry]

As root: hosts are network namespaces (`balancer.testing.hosts`). Each round asks every subject in turn for requests on
kept connections, for a new connection each time, and for a file. The median of the rounds is told, and the median of
the ratios to the static rules within each round. Debian packages: nftables haproxy nginx wrk curl. About four minutes.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from figures import publish, table
from lab import LOAD_CPU, PROXY_CPU, TWISTD

from balancer.testing.hosts import Hosts, place

VIP = "10.77.0.1"
PORTS = {"static rules": 8081, "balancer": 8080, "haproxy": 8082}
TICKS = os.sysconf("SC_CLK_TCK")
GIB = 1 << 30
BAR = 0.9
"""Of what the static rules do."""

HEAD = (
    "subject",
    "requests",
    "ratio",
    "connections",
    "ratio",
    "bulk",
    "ratio",
    f"bar >= {BAR:g}",
    "CPU of its process",
)

ORIGIN = """daemon off; master_process off; pid {dir}/{name}.pid; error_log {dir}/{name}.err;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; keepalive_requests 10000000; keepalive_timeout 600; {paths}
 server {{ listen 8000 backlog=4096; root {dir}; location = /1k {{ return 200 "{body}"; }} }} }}
"""

STATIC = f"""table ip static {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        ip daddr {VIP} tcp dport {PORTS["static rules"]} dnat to numgen inc mod 3 map {{
            0 : 10.77.1.2 . 8000, 1 : 10.77.2.2 . 8000, 2 : 10.77.3.2 . 8000
        }}
    }}
}}
"""

HAPROXY = f"""global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend f
  bind {VIP}:{PORTS["haproxy"]}
  default_backend b
backend b
  balance roundrobin
""" + "".join(f"  server s{number} {place(number)} check\n" for number in (1, 2, 3))

OURS = f"""[upstream.web]
servers = [{", ".join(f'"{place(number)}"' for number in (1, 2, 3))}]
[listener.web]
listen = "tcp:{PORTS["balancer"]}:interface={VIP}"
mode = "nat"
to = "web"
"""

Sample = tuple[float, float, float, float]
"""Requests a second, connections a second, GB a second, the share of a core that the process took meanwhile."""


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--duration", type=int, default=2, help="seconds of each measurement")
    parser.add_argument("--gib", type=int, default=2, help="size of one download")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.chmod(directory, 0o755)
        with Hosts(command=origin(Path(directory), arguments.gib)) as hosts:
            samples = measured(hosts, Path(directory), arguments)
    rows = []
    base = samples["static rules"]
    for name, each in samples.items():
        *rates, share = [statistics.median(values) for values in zip(*each, strict=True)]
        ratios = [statistics.median(one[k] / first[k] for one, first in zip(each, base, strict=True)) for k in range(3)]
        cells = [f"{rates[0]:.0f} req/s", f"{rates[1]:.0f} conn/s", f"{rates[2]:.2f} GB/s"]
        pairs = [cell for pair in zip(cells, (f"{ratio:.2f}" for ratio in ratios), strict=True) for cell in pair]
        verdict = "" if name != "balancer" else "met" if min(ratios) >= BAR else "**not met**"
        rows.append((name, *pairs, verdict, "none" if name == "static rules" else f"{share:.1%} of a core"))
        print(*rows[-1], sep="  ", flush=True)
    if not arguments.dry:
        publish("nat", table(HEAD, rows))
    return 0


def origin(directory: Path, gib: int) -> list[str]:
    """A program that runs nginx for the server whose number it is given."""
    with (directory / "file").open("wb") as file:
        file.truncate(gib * GIB)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    for number in (1, 2, 3):
        paths = " ".join(f"{kind}_temp_path {directory}/{number}-{kind};" for kind in kinds)
        text = ORIGIN.format(dir=directory, name=number, paths=paths, body="0123456789abcdef" * 64)
        (directory / f"{number}.conf").write_text(text)
    words = (
        f"nginx -t -q -c {directory}/$0.conf && echo ready && exec taskset -c {PROXY_CPU} nginx -c {directory}/$0.conf"
    )
    return ["sh", "-c", words]


def measured(hosts: Hosts, directory: Path, arguments: argparse.Namespace) -> dict[str, list[Sample]]:
    """All rounds."""
    hosts.switch("c", "net/ipv4/ip_local_port_range", "1024 65535")
    hosts.switch("c", "net/ipv4/tcp_tw_reuse", "1")
    hosts.run("b", "nft", "-f", "-", text=STATIC)
    # Closed connections leave the table at once, or the second round would find it full of those of the first.
    hosts.switch("b", "net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
    (directory / "haproxy.cfg").write_text(HAPROXY)
    (directory / "ours.toml").write_text(OURS)
    pinned = [*hosts.within("b"), "taskset", "-c", PROXY_CPU]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = {
        "haproxy": subprocess.Popen([*pinned, "haproxy", "-db", "-f", str(directory / "haproxy.cfg")], **quiet),
        "balancer": subprocess.Popen(
            [*pinned, TWISTD, "-n", "--pidfile=", "balancer", "--config", str(directory / "ours.toml")], **quiet
        ),
    }
    try:
        for port in PORTS.values():
            until_open(hosts, port)
        samples: dict[str, list[Sample]] = {name: [] for name in PORTS}
        for turn in range(arguments.rounds):
            order = list(PORTS) if turn % 2 == 0 else list(reversed(PORTS))  # what drifts drifts for all
            for name in order:
                samples[name].append(sample(hosts, PORTS[name], running.get(name), arguments))
                print(f"round {turn + 1}, {name}: {samples[name][-1]}", file=sys.stderr, flush=True)
        return samples
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


def until_open(hosts: Hosts, port: int) -> None:
    """Wait until that port is forwarded."""
    end = time.perf_counter() + 60
    while True:
        try:
            hosts.run("c", "curl", "-sf", "-o", "/dev/null", f"http://{VIP}:{port}/1k")
            return
        except subprocess.CalledProcessError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.1)


def sample(hosts: Hosts, port: int, process: "subprocess.Popen[bytes] | None", arguments: argparse.Namespace) -> Sample:
    """One subject, once."""
    url, load = f"http://{VIP}:{port}", ["taskset", "-c", LOAD_CPU]

    def wrk(*words: str) -> float:
        out = hosts.run("c", *load, "wrk", "-t1", "-c64", f"-d{arguments.duration}s", *words, f"{url}/1k")
        if bad := re.search(r"(Socket errors.*|Non-2xx.*)", out):
            print(f"{port}: {bad[1]}", file=sys.stderr)
        found = re.search(r"Requests/sec:\s+([\d.]+)", out)
        return float(found[1]) if found else 0.0

    def bulk() -> float:
        told = hosts.run("c", *load, "curl", "-sf", "-o", "/dev/null", "-w", "%{speed_download}", f"{url}/file")
        return float(told) / 1e9

    before, began = cpu(process), time.perf_counter()
    rates = [measure() for measure in (wrk, closing(wrk), bulk)]
    share = (cpu(process) - before) / (time.perf_counter() - began)
    return rates[0], rates[1], rates[2], share


def closing(wrk: Callable[..., float]) -> Callable[[], float]:
    """A connection for each request."""
    return lambda: wrk("-H", "Connection: close")


def cpu(process: "subprocess.Popen[bytes] | None") -> float:
    """Seconds of CPU of a process and of its children that ended: ``nft`` is one of ours."""
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
