"""What a large upload costs: CPU per GiB of request bodies through the HTTP listener, beside HAProxy and nginx.

    python benchmarks/upload.py [--gib 4] [--rounds 3] [--reactors default,epoll] [--peers haproxy,nginx] [--dry]

curl sends a file of that size to a server that reads and drops it; `haproxy (splice)` has `option splice-auto`, and
`copied` is us with `splice = 0`. The rounds interleave the subjects; the median is told, and its ratio to the first.
Linux, Debian packages: haproxy nginx curl. About a minute.
"""

import argparse
import re
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from figures import publish, table
from lab import LOAD_CPU, ORIGIN_PORTS, Lab, Running, enter_network

GIB = 1 << 30

BAR = 1.0
"""Times HAProxy's CPU at most: that of L7-bulk, the same in the other direction."""

HEAD = ("subject", "CPU", "ratio", f"bar {BAR:g}", "rate", "RSS")


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=int, default=4, help="size of one upload")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reactors", default="default", help="ours with each of these (twistd --reactor)")
    parser.add_argument("--peers", default="haproxy,nginx", help="comma-separated; ratios are to the first")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sink:
        serve()
    enter_network()
    with Lab() as lab:
        lab.start([sys.executable, __file__, "--sink"], ORIGIN_PORTS[0], LOAD_CPU)
        body = lab.dir / "body"
        with body.open("wb") as file:
            file.truncate(arguments.gib * GIB)
        running = {name: make() for name, make in subjects(lab, arguments.peers, arguments.reactors)}
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for _ in range(arguments.rounds):
            for name, subject in running.items():
                samples[name].append(upload(subject, body, arguments.gib))
        rows = []
        base = 0.0
        for name, each in samples.items():
            cost, rate = (statistics.median(values) for values in zip(*each, strict=True))
            base = base or cost
            ours = name.startswith("balancer") and "copied" not in name
            verdict = "" if not ours else "met" if cost <= BAR * base else "**not met**"
            size = f"{running[name].rss() >> 20} MiB"
            rows.append((name, f"{cost:.2f} s/GiB", f"{cost / base:.2f}", verdict, f"{rate:.2f} GiB/s", size))
            print(*rows[-1], sep="  ", flush=True)
    if not arguments.dry:
        publish("upload", table(HEAD, rows))
    return 0


def subjects(lab: Lab, peers: str, reactors: str) -> list[tuple[str, Callable[[], Running]]]:
    """Who is measured, and how each is started."""
    listed: list[tuple[str, Callable[[], Running]]] = []
    for peer in filter(None, peers.split(",")):
        if peer == "haproxy":
            listed.append((peer, partial(lab.haproxy, "http")))
            listed.append((f"{peer} (splice)", partial(lab.haproxy, "http", more="option splice-auto")))
        else:
            streamed = "proxy_request_buffering off; client_max_body_size 0;"
            listed.append((peer, partial(lab.nginx, "http", streamed)))
    for name in reactors.split(","):
        word = "" if name == "default" else name
        listed.append((f"balancer ({name})", partial(lab.ours, "http", reactor=word)))
        listed.append((f"balancer ({name}, copied)", partial(lab.ours, "http", reactor=word, listener="splice = 0")))
    return listed


def upload(subject: Running, body: Path, gib: int) -> tuple[float, float]:
    """Seconds of CPU for each GiB of one upload, and GiB a second.

    :raises RuntimeError: it was not answered 200, or not all of it was sent.
    """
    before = subject.cpu()
    argv = ["taskset", "-c", LOAD_CPU, "curl", "-sS", "-o", "/dev/null", "-H", "Expect:", "-T", str(body)]
    told = "%{http_code} %{size_upload} %{time_total}"
    done = subprocess.run(
        [*argv, "-w", told, f"http://127.0.0.1:{subject.port}/"], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    if words[:2] != ["200", f"{gib * GIB}"]:
        raise RuntimeError(f"curl: {done.stdout} {done.stderr}\n{subject.log.read_text()}")
    return (subject.cpu() - before) / gib, gib / float(words[2])


# -- the server that drops what it is sent ---------------------------------------------------------------------------


def serve() -> None:
    """Answer each request when its whole body was read; for ever."""
    listening = [socket.create_server(("127.0.0.1", port), backlog=1024) for port in ORIGIN_PORTS]
    for each in listening[1:]:
        threading.Thread(target=accept, args=(each,), daemon=True).start()
    accept(listening[0])


def accept(listening: socket.socket) -> None:
    """A thread for each connection."""
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=sink, args=(connection,), daemon=True).start()


def sink(connection: socket.socket) -> None:
    """Read heads, drop bodies, answer."""
    buffer = bytearray(1 << 20)
    data = b""
    while part := connection.recv(65536):
        data += part
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            continue
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        left = (int(length[1]) if length else 0) - len(rest)
        while left > 0:
            # MSG_TRUNC: TCP drops the bytes and copies nothing (tcp(7)).
            size = connection.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC)
            if not size:
                return
            left -= size
        data = rest[left:] if left else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


if __name__ == "__main__":
    sys.exit(main())
