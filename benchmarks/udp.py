"""What a datagram costs: CPU per question and answer through the UDP listener, beside nginx's stream module.

    python benchmarks/udp.py [--seconds 4] [--rounds 3] [--reactors default,epoll] [--compiled PATH] [--dry]

64 clients each send a datagram and wait for the echo of it, again and again. In the case `sessions` each is one session
for good; in `queries` each answer ends its session and the next datagram begins one, as with DNS. The rounds interleave
the subjects; the median is told, and its ratio to nginx. (HAProxy forwards no UDP.)
Linux, Debian packages: nginx libnginx-mod-stream. Two minutes.
"""

import argparse
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from figures import publish, table
from lab import LOAD_CPU, ORIGIN_PORTS, ORIGINS, TWISTD, Lab, Running, build, enter_network

CLIENTS = 64
SIZES = (64, 1200)
"""Bytes of a datagram: a query, and what QUIC has."""

CASES = ("sessions", "queries")
LOST = 1.0
"""Seconds after which an answer is not waited for any more."""

HEAD = ("case", "bytes", "subject", "CPU", "ratio", "rate", "lost", "RSS")


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reactors", default="default,epoll", help="ours with each of these (twistd --reactor)")
    parser.add_argument("--compiled", type=Path, help="twistd of an environment with the compiled wheel")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    parser.add_argument("--origin", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.origin:
        echo()
    if arguments.load:
        ask(*arguments.load, arguments.seconds)
        return 0
    enter_network()
    rows = []
    with Lab() as lab:
        lab.start([sys.executable, __file__, "--origin"], ORIGIN_PORTS[0], LOAD_CPU)
        for case in CASES:
            running = {name: make() for name, make in subjects(lab, case, arguments)}
            for size in SIZES:
                samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in running}
                for _ in range(arguments.rounds):
                    for name, subject in running.items():
                        samples[name].append(load(subject, size, arguments.seconds))
                base = 0.0
                for name, each in samples.items():
                    cost, rate, lost = (statistics.median(values) for values in zip(*each, strict=True))
                    base = base or cost
                    rss = f"{running[name].rss() >> 20} MiB"
                    rows.append(
                        (
                            case,
                            str(size),
                            name,
                            f"{cost:.1f} us",
                            f"{cost / base:.2f}",
                            f"{rate:.0f}/s",
                            f"{lost:g}",
                            rss,
                        )
                    )
                    print(*rows[-1], sep="  ", flush=True)
    if not arguments.dry:
        builds = f"- balancer: {build()}\n"
        if arguments.compiled:
            builds += f"- compiled: {build(arguments.compiled)}\n"
        publish("udp", f"{builds}\n{table(HEAD, rows)}")
    return 0


def subjects(lab: Lab, case: str, arguments: argparse.Namespace) -> list[tuple[str, Callable[[], Running]]]:
    """Who is measured, and how each is started."""
    ours = [(f"balancer ({name})", partial(balancer, lab, case, name)) for name in arguments.reactors.split(",")]
    if arguments.compiled:
        ours.append(("compiled", partial(balancer, lab, case, "default", arguments.compiled)))
    return [("nginx", partial(nginx, lab, case)), *ours]


def nginx(lab: Lab, case: str) -> Running:
    """nginx's stream module, one worker. (The port is open for TCP too, by which the lab sees that it is there.)"""
    port = lab.port()
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    servers = " ".join(f"server {origin};" for origin in ORIGINS)
    once = "proxy_responses 1;" if case == "queries" else ""
    head = f"daemon off; master_process off; pid {lab.dir}/nginx-{port}.pid; error_log {lab.dir}/nginx-{port}.err;\n"
    text = f"load_module {module};\n" * module.exists() + head
    text += f"""events {{ worker_connections 4096; }}
stream {{ upstream u {{ {servers} }}
 server {{ listen 127.0.0.1:{port} udp; proxy_pass u; {once} proxy_timeout 60s; }}
 server {{ listen 127.0.0.1:{port}; return ""; }} }}"""
    return lab.start(["nginx", "-c", lab.write(f"nginx-{port}.conf", text)], port)


def balancer(lab: Lab, case: str, reactor: str, twistd: Path = TWISTD) -> Running:
    """Ours, everything on: checks, limits, the access log to a file."""
    port = lab.port()
    servers = ", ".join(f'"{origin}"' for origin in ORIGINS)
    text = f"""[upstream.u]
servers = [{servers}]
check = {{ type = "udp", send = "?", expect = "?" }}
[upstream.seen]
servers = ["{ORIGINS[0]}"]
[listener.udp]
listen = "udp:{port}:interface=127.0.0.1"
mode = "udp"
to = "u"
udp = {{ responses = {int(case == "queries")} }}
[listener.seen]
listen = "tcp:{port}:interface=127.0.0.1"
mode = "tcp"
to = "seen"
[access_log]
path = "{lab.dir / str(port)}.access"
"""
    words = [] if reactor == "default" else ["--reactor", reactor]
    file = lab.write(f"{port}.toml", text)
    return lab.start([twistd, "-n", "--pidfile=", *words, "balancer", "--config", file], port)


def load(subject: Running, size: int, seconds: float) -> tuple[float, float, float]:
    """Microseconds of CPU for a question and its answer, questions answered a second, and how many were not."""
    words = ["taskset", "-c", LOAD_CPU, sys.executable, __file__, "--load", str(subject.port), str(size)]
    before = subject.cpu()
    done = subprocess.run([*words, "--seconds", str(seconds)], capture_output=True, text=True, check=True)
    answered, lost, passed = map(float, done.stdout.split())
    if not answered:
        raise RuntimeError(f"nothing was answered\n{subject.log.read_text()}")
    return (subject.cpu() - before) / answered * 1e6, answered / passed, lost


# -- the other two processes -------------------------------------------------------------------------------------------


def ask(port: int, size: int, seconds: float) -> None:
    """64 clients; tells how many answers came, how many did not, and the seconds it took."""
    data = b"x" * size
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
    for each in clients:
        each.connect(("127.0.0.1", port))
        each.settimeout(LOST)
    answered = lost = 0
    begun = now = time.perf_counter()
    while now < begun + seconds:
        for each in clients:
            each.send(data)
        for each in clients:
            try:
                each.recv(2048)
                answered += 1
            except TimeoutError:
                lost += 1
        now = time.perf_counter()
    print(answered, lost, now - begun)


def echo() -> None:
    """The servers: answer each datagram with itself, for ever. (And take TCP connections, as a sign of life.)"""
    signs = [socket.create_server(("127.0.0.1", port), backlog=1024) for port in ORIGIN_PORTS]
    servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ORIGIN_PORTS]
    for server, port in zip(servers, ORIGIN_PORTS, strict=True):
        server.bind(("127.0.0.1", port))
        server.setblocking(False)
    while True:
        ready, _, _ = select.select([*servers, *signs], [], [])
        for sock in ready:
            if sock in signs:
                sock.accept()[0].close()
                continue
            try:
                while True:
                    sock.sendto(*sock.recvfrom(2048))
            except BlockingIOError:
                pass


if __name__ == "__main__":
    sys.exit(main())
