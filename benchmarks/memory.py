"""What an idle connection costs: resident memory, and CPU while nothing happens, of us and of the peers.

    python benchmarks/memory.py [--connections 10000] [--reactors default,epoll] [--idle 5] [--dry]

Each subject gets so many clients, one after the other; each asks once, takes its answer and stays. The memory of 100
such clients is taken off, so that what a program sets up once is not counted. At layer 4 each client costs the
proxy two sockets: where the limit of descriptors does not allow so many, fewer are made and the table says so.
Linux, Debian packages: haproxy nginx libnginx-mod-stream. About a minute.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from figures import chosen, publish, table
from lab import Lab, Running, build, clients, enter_network, files

WARM = 100
"""Clients before the first reading of the memory."""

BAR = 6.0
"""KiB for each connection at most (issue 3)."""

MODES = {"L4": "tcp", "L7": "http"}
PEERS = ("haproxy", "nginx")

HEAD = ("layer", "subject", "connections", "KiB of RSS each", "CPU while idle", f"bar {BAR:g} KiB")


def measured(running: Running, count: int, idle: float) -> tuple[float, float]:
    """KiB of RSS for each of so many idle connections, and the share of a core used meanwhile."""
    with clients(running.port, WARM):
        before = running.rss()
        with clients(running.port, count - WARM):
            time.sleep(1)  # what is done a moment after the answer (logs, timers) is done
            after = running.rss()
            share = running.idle_share(idle)
    return (after - before) / (count - WARM) / 1024, share


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10000, help="idle clients (default: %(default)s)")
    parser.add_argument("--reactors", default="default", help="ours with each of these (twistd --reactor)")
    parser.add_argument("--idle", type=float, default=5, help="seconds of idleness whose CPU is measured")
    parser.add_argument("--only", default="L4,L7", help="comma-separated layers (default: %(default)s)")
    parser.add_argument("--peers", default="haproxy,nginx", help="comma-separated; empty for none")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    layers = chosen(parser, "--only", arguments.only, tuple(MODES))
    peers = chosen(parser, "--peers", arguments.peers, PEERS) if arguments.peers else []
    enter_network()
    rows = []
    for layer in layers:
        mode = MODES[layer]
        count = min(arguments.connections, (files() - 100) // (2 if mode == "tcp" else 1))
        with Lab() as lab:
            lab.origin()
            subjects: list[tuple[str, Callable[[], Running]]] = []
            for peer in peers:
                subjects.append((peer, partial(getattr(lab, peer), mode)))
            for name in arguments.reactors.split(","):
                word = "" if name == "default" else name
                subjects.append((f"balancer ({name})", partial(lab.ours, mode, reactor=word)))
            for name, make in subjects:
                running = make()
                each, share = measured(running, count, arguments.idle)
                running.stop()
                verdict = "" if not name.startswith("balancer") else "met" if each <= BAR else "not met"
                rows.append((layer, name, f"{count}", f"{each:.1f}", f"{share:.1%}", verdict))
                print(*rows[-1], sep="  ", flush=True)
    if not arguments.dry:
        publish("memory", f"{build()}:\n\n{table(HEAD, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
