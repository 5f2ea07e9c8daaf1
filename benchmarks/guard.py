"""What a client within its limit notices of a thousand sources over theirs.

    python benchmarks/guard.py [--sources 1000] [--attempts 2,5] [--rounds 3] [--seconds 10] [--modes tcp,http] [--dry]

Each source (an address of 127.0.0.0/8) holds as many connections as its guard allows and tries further ones, so often a
second, all of which are refused. A client elsewhere makes a connection, asks once, is answered and closes, 40 times a
second, which is within its limit. Its 99th percentile while the others try is compared with that of the same
connections while they do not, in turns. Client, sources and origin share a core, the balancer has the other. Linux,
Debian package: nginx. About four minutes.
"""

import argparse
import contextlib
import multiprocessing
import os
import select
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection

from figures import publish, table
from lab import LOAD_CPU, Lab, Running, build, enter_network

HELD = 2
"""Connections a source may have, and has."""

PACE = 1 / 40
"""Seconds between the client's connections."""

BAR = 2.0
"""The client's 99th percentile, as a multiple of its own without the flood (issue 4)."""

REQUEST = b"GET /1k HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
KEPT = b"GET /1k HTTP/1.1\r\nHost: test\r\n\r\n"
HEAD = ("mode", "tries a second", "refused a second", "p99 alone", "p99 in the flood", "ratio", f"bar < {BAR:g}", "CPU")


def connected(port: int, source: str) -> socket.socket:
    """A connection from there."""
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: the port is chosen at the connect
    client.bind((source, 0))
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    return client


def flood(port: int, sources: int, rate: float, seconds: float, tell: Connection) -> None:
    """Hold what is allowed, then, when told, try so often a second; tell how many were refused."""
    addresses = [f"127.1.{number // 250}.{1 + number % 250}" for number in range(sources)]
    held = []
    for address in addresses:
        for _ in range(HELD):
            held.append(connected(port, address))
            held[-1].sendall(KEPT)
            held[-1].recv(65536)
    tell.send(len(held))
    poll, waiting, refused, tried = select.epoll(), {}, 0, 0
    while tell.recv():
        began = time.perf_counter()
        refused = tried = 0
        while (now := time.perf_counter()) < began + seconds:
            while tried < (now - began) * rate:
                client = socket.socket()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_IP, 24, 1)
                client.bind((addresses[tried % sources], 0))
                client.connect_ex(("127.0.0.1", port))
                waiting[client.fileno()] = client
                poll.register(client.fileno(), select.EPOLLRDHUP)  # a reset, or an end
                tried += 1
            for number, _ in poll.poll(0.001):
                poll.unregister(number)
                waiting.pop(number).close()
                refused += 1
        tell.send((refused / seconds, len(waiting)))


def asked(port: int, seconds: float) -> list[float]:
    """Seconds from the connect to the end of the answer, of each connection of the client."""
    took = []
    due = time.perf_counter()
    for _ in range(round(seconds / PACE)):
        due += PACE
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        with contextlib.closing(connected(port, "127.200.0.1")) as client:
            client.sendall(REQUEST)
            received = 0
            while data := client.recv(65536):
                received += len(data)
        if received < 1024:
            sys.exit("the client was not served")
        took.append(time.perf_counter() - began)
    return took


def percentile(took: list[float]) -> float:
    """The 99th, in milliseconds."""
    return statistics.quantiles(took, n=100)[98] * 1000


def measured(running: Running, sources: int, attempts: float, rounds: int, seconds: float) -> tuple[float, ...]:
    """Refused a second, p99 alone, p99 in the flood, and the share of a core used in the flood."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    # A little longer than the client measures, so that all it sees is in the flood.
    flooding = context.Process(
        target=flood, args=(running.port, sources, attempts * sources, seconds + 0.5, there), daemon=True
    )
    flooding.start()
    here.recv()
    alone: list[float] = []
    among: list[float] = []
    refused, shares = [], []
    for _ in range(rounds):
        alone += asked(running.port, seconds)
        here.send(True)
        before, began = running.cpu(), time.perf_counter()
        among += asked(running.port, seconds)
        shares.append((running.cpu() - before) / (time.perf_counter() - began))
        count, left = here.recv()
        refused.append(count)
        if left > attempts * sources:
            sys.exit(f"{left} connections over the limit were not refused")
    here.send(False)
    flooding.join()
    return statistics.mean(refused), percentile(alone), percentile(among), statistics.mean(shares)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=1000)
    parser.add_argument("--attempts", default="2,5", help="tries of each source a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--modes", default="tcp,http")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    enter_network()
    os.sched_setaffinity(0, {int(LOAD_CPU)})
    rows = []
    for mode in arguments.modes.split(","):
        for attempts in arguments.attempts.split(","):
            with Lab() as lab:
                lab.origin()
                running = lab.ours(mode, listener=f"guard = {{ connections = {HELD}, rate = 50 }}")
                refused, alone, among, share = measured(
                    running, arguments.sources, float(attempts), arguments.rounds, arguments.seconds
                )
            verdict = "met" if among < BAR * alone else "**not met**"
            ratio = f"{among / alone:.2f}"
            tries = f"{arguments.sources} x {attempts}"
            rows.append(
                (mode, tries, f"{refused:.0f}", f"{alone:.2f} ms", f"{among:.2f} ms", ratio, verdict, f"{share:.0%}")
            )
            print(*rows[-1], flush=True)
    text = f"{build()}:\n\n{table(HEAD, rows)}"
    print(text)
    if not arguments.dry:
        publish("guard", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
