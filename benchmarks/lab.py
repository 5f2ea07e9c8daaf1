"""Processes to measure, in a network of their own: an origin, the peers, and us; what they use, and a load.

For `memory.py`, `scaling.py` and `upload.py`; `run.py` has compare.py, which brings its own. Everything runs in a
network namespace of its own (`unshare --net`, util-linux), whose only interface is the loopback: no port can collide
with one in use, nothing can be reached from outside, and every address of 127.0.0.0/8 is the origin's. It never
measures by itself what a run is to show, and it never renders anything.
"""

import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from urllib.request import urlopen

TICKS = os.sysconf("SC_CLK_TCK")
TWISTD = Path(os.environ.get("BALANCER_TWISTD") or Path(sys.executable).with_name("twistd"))
"""Whose balancer is measured: that of the interpreter, or (BALANCER_TWISTD) that of another environment, for example
one with the compiled wheel (docs/compiled.md)."""
SPEED = """
import platform, timeit
body = "for number in range(1000): a = A(number); d[number & 255] = a.f(2)"
setup = "class A:\\n def __init__(s, x): s.x = x\\n def f(s, y): return s.x + y\\nd = {}"
best = min(timeit.repeat(body, setup, number=100, repeat=5)) * 1e4
print(f"CPython {platform.python_version()}, {best:.0f} ns for an object, a call and an item")
"""
"""What an interpreter says of itself."""

ORIGIN_PORTS = (19001, 19002)
ORIGINS = tuple(f"127.0.0.1:{port}" for port in ORIGIN_PORTS)
BODY = "0123456789abcdef" * 64
"""What the origin answers: 1 KiB."""

PROXY_CPU, LOAD_CPU = "0", "1"
INSIDE = "BALANCER_BENCHMARK_NETWORK"
"""Set for a program that runs in the network of its own already."""


def enter_network() -> None:
    """Go on in a network of our own, by starting this program again in it; as root or (user namespaces) as anybody."""
    if INSIDE not in os.environ:
        unshare = shutil.which("unshare")
        if unshare is None:
            sys.exit("unshare is needed (Debian: util-linux)")
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        words = [unshare, "--net", *mapped, sys.executable, *sys.argv]
        os.execve(unshare, words, {**os.environ, INSIDE: "1"})
    with socket.socket() as any_socket:
        up = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("20000 65535")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build(twistd: Path = TWISTD) -> str:
    """Which balancer that is: the version, whether it is compiled, and how fast its interpreter is. (Two builds of one
    version of CPython differ by more than two: with and without profile-guided optimisation.)"""
    told = subprocess.run([twistd, "balancer", "--version"], capture_output=True, text=True).stdout.strip()
    asked = [twistd.with_name("python"), "-c", SPEED]
    speed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return f"{told or 'it tells no version'}, {speed}"


def files() -> int:
    """How many descriptors a process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@dataclass(frozen=True)
class Sample:
    """What a load cost: microseconds of CPU for each answer (user and system), answers a second, the 99th percentile
    as wrk writes it, and what went wrong."""

    cost: float
    rate: float
    p99: str
    bad: str


class Running:
    """One process that is measured, with its children.

    :ivar port: where it listens, on 127.0.0.1.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def cpu(self) -> float:
        """Seconds of CPU so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss(self) -> int:
        """Bytes resident."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else 0

    def sockets(self) -> int:
        """Descriptors open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def idle_share(self, seconds: float) -> float:
        """The share of one core used while nothing is asked of it."""
        before = self.cpu()
        time.sleep(seconds)
        return (self.cpu() - before) / seconds

    def stop(self) -> None:
        """End it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Lab:
    """A directory and the processes in it; a context manager that ends and removes both."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="bench-"))
        self._running: list[Running] = []
        self._port = 19100

    def __enter__(self) -> "Lab":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends with us
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running:
            running.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def port(self) -> int:
        """A port nobody had yet."""
        self._port += 1
        return self._port

    def start(self, argv: Sequence[str | Path], port: int, cpu: str = PROXY_CPU, patience: float = 60) -> Running:
        """Start one pinned to a CPU, and wait until it listens."""
        log = self.dir / f"{port}.log"
        with log.open("wb") as out:
            words = ["taskset", "-c", cpu, *map(str, argv)]
            process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        running = Running(process, port, log)
        self._running.append(running)
        end = time.perf_counter() + patience
        while time.perf_counter() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return running
            time.sleep(0.05)
        sys.exit(f"did not start: {' '.join(map(str, argv))}\n{log.read_text()}")

    def write(self, name: str, text: str) -> Path:
        """A file of ours."""
        path = self.dir / name
        path.write_text(text)
        return path

    # -- who is measured ----------------------------------------------------------------------------------------------

    def origin(self) -> Running:
        """nginx, at every address of 127.0.0.0/8."""
        listens = " ".join(f"listen 0.0.0.0:{port} backlog=4096;" for port in ORIGIN_PORTS)
        text = (
            self._nginx_head("origin")
            + f"""http {{ access_log off; default_type text/plain;
 keepalive_requests 10000000; keepalive_timeout 600; {self._nginx_paths("origin")}
 server {{ {listens} location = /status {{ stub_status; }} location / {{ return 200 "{BODY}"; }} }} }}"""
        )
        return self.start(["nginx", "-c", self.write("origin.conf", text)], ORIGIN_PORTS[0], LOAD_CPU)

    def nginx(self, mode: str, more: str = "") -> Running:
        """nginx as a peer, one worker.

        :param more: further directives of the location.
        """
        port = self.port()
        servers = " ".join(f"server 127.0.0.1:{number};" for number in ORIGIN_PORTS)
        listen = f"listen 127.0.0.1:{port} backlog=4096;"
        text = self._nginx_head(f"nginx-{mode}")
        if mode == "tcp":
            module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
            text = f"load_module {module};\n" * module.exists() + text
            text += f"stream {{ upstream u {{ {servers} }} server {{ {listen} proxy_pass u; }} }}"
        else:
            text += f"""http {{ access_log off; keepalive_requests 10000000; keepalive_timeout 600;
 {self._nginx_paths("peer")} upstream u {{ {servers} keepalive 256; keepalive_requests 10000000; }}
 server {{ {listen} location / {{ proxy_pass http://u; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr; {more} }} }} }}"""
        return self.start(["nginx", "-c", self.write(f"nginx-{mode}.conf", text)], port)

    def haproxy(self, mode: str, addresses: Sequence[str] = ORIGINS, options: str = "check", more: str = "") -> Running:
        """HAProxy, one thread.

        :param options: of each server.
        :param more: a further line of the defaults.
        """
        port = self.port()
        servers = "\n".join(f"  server s{n} {address} {options}" for n, address in enumerate(addresses))
        text = f"""global
  nbthread 1
  no strict-limits
  maxconn {files() - 1000}
defaults
  mode {mode}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  {"http-reuse always" if mode == "http" else ""}
  {more}
frontend f
  bind 127.0.0.1:{port}
  {"option forwardfor" if mode == "http" else ""}
  default_backend b
backend b
  balance random(2)
{servers}
"""
        return self.start(["haproxy", "-db", "-f", self.write(f"haproxy-{port}.cfg", text)], port)

    def ours(
        self,
        mode: str,
        servers: Sequence[str] = ORIGINS,
        *,
        reactor: str = "",
        upstream: str = "",
        listener: str = "",
    ) -> Running:
        """The balancer, everything on: checks, limits, forwarded headers, the access log to a file.

        :param reactor: for `twistd --reactor`; empty for the default.
        :param upstream: further lines of the upstream, `listener`: of the listener.
        """
        port = self.port()
        listed = ", ".join(f'{{ address = "{server}" }}' for server in servers)
        text = f"""[upstream.web]
servers = [{listed}]
{upstream}
[listener.front]
listen = "tcp:{port}:interface=127.0.0.1"
mode = "{mode}"
to = "web"
max_connections = 0
timeouts = {{ keep_alive = "600s" }}
{listener}
[access_log]
path = "{self.dir / str(port)}.access"
"""
        words = ["--reactor", reactor] if reactor else []
        file = self.write(f"{port}.toml", text)
        return self.start([TWISTD, "-n", "--pidfile=", *words, "balancer", "--config", file], port)

    def _nginx_head(self, name: str) -> str:
        own = f"pid {self.dir / name}.pid; error_log {self.dir / name}.err;"
        return f"daemon off; master_process off; {own}\nevents {{ worker_connections {files()}; }}\n"

    def _nginx_paths(self, name: str) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return " ".join(f"{kind}_temp_path {self.dir / name}-{kind};" for kind in kinds)


def load(running: Running, connections: int, seconds: float, *words: str, warm: float = 1.0) -> Sample:
    """Ask again and again over so many kept connections, and say what an answer cost once all are connected.

    :param words: further arguments of wrk.
    :param warm: seconds of load before those that are measured; rate and percentile are of all of it.
    """
    argv = [
        "taskset",
        "-c",
        LOAD_CPU,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{ceil(warm + seconds) + 1}s",
        "--latency",
        "--timeout",
        "10s",
    ]
    url = f"http://127.0.0.1:{running.port}/1k"
    process = subprocess.Popen([*argv, *words, url], stdout=subprocess.PIPE, text=True)
    time.sleep(warm)
    before, asked = running.cpu(), answered()
    time.sleep(seconds)
    used, asked = running.cpu() - before, answered() - asked
    out = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"wrk failed: {out}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p99 = re.search(r"\s99%\s+(\S+)", out)
    bad = re.search(r"(Socket errors.*|Non-2xx.*)", out)
    cost = used / asked * 1e6 if asked else float("nan")
    return Sample(
        cost, float(rate.group(1)) if rate else 0.0, p99.group(1) if p99 else "-", bad.group(1) if bad else ""
    )


def answered() -> int:
    """How many requests the origin has answered so far."""
    with urlopen(f"http://127.0.0.1:{ORIGIN_PORTS[0]}/status") as answer:
        numbers = re.search(rb"^ \d+ \d+ (\d+)", answer.read(), re.MULTILINE)
    if numbers is None:
        raise RuntimeError("the origin does not tell its stub_status")
    return int(numbers.group(1))


@contextlib.contextmanager
def clients(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, each of which asked once, was answered, and is kept."""
    kept: list[socket.socket] = []
    try:
        for _ in range(count):
            kept.append(socket.create_connection(("127.0.0.1", port), 10))
            ask(kept[-1])
        yield kept
    finally:
        for each in kept:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def ask(connection: socket.socket) -> None:
    """Send one request and take the whole answer."""
    connection.sendall(b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(BODY.encode()):
        part = connection.recv(65536)
        if not part:
            raise RuntimeError(f"closed before the answer was complete: {answer[:200]!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not 200: {answer[:200]!r}")
