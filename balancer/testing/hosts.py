"""Hosts made of network namespaces: a client, a balancer and servers, each with its own addresses and rules.

Needs root and ``ip`` (iproute2). Everything is taken away at the end; nothing of it can reach, or be reached from, the
machine's own network. For tests of what the kernel forwards.

    client 10.77.0.2 ── 10.77.0.1 balancer 10.77.N.1 ── 10.77.N.2 server N        (fd77:N::… of IPv6 likewise)
"""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CLONE_NEWNET = 0x40000000

PATIENCE = 20.0
"""Seconds an answer may take on a busy machine."""

SERVER = r"""
import asyncio, socket, sys
name, port = sys.argv[1], int(sys.argv[2])
async def serve(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(f"{name} {writer.get_extra_info('peername')[0]}\n".encode())
    except OSError:
        pass
    writer.close()
class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, peer): self.transport.sendto(f"{name} {peer[0]}\n".encode(), peer)
async def main():
    loop = asyncio.get_running_loop()
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        await loop.create_datagram_endpoint(Datagrams, sock=made)
    await asyncio.start_server(serve, None, port)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
"""Says for each line, and each datagram, who it is and whom it sees."""

PORT = 8000
"""Of every server: they are alone in their networks."""


@cache
def unavailable() -> str:
    """Why there can be no hosts here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need ip (Debian: iproute2)"
    if not shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return "mode nat needs nft (Debian: nftables)"
    try:
        subprocess.run(["unshare", "--net", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "this machine lets nobody make network namespaces"
    return ""


class Hosts:
    """The hosts, as a context manager.

    :param servers: how many.
    :param command: what each runs: a program that prints ``ready``, is given the server's number and :data:`PORT`, and
        is :data:`SERVER` where nothing is said.
    :ivar name: what the namespaces' names begin with; ``NAME-b`` is the balancer's, ``NAME-c`` the client's.
    """

    _serial = 0

    def __init__(self, servers: int = 3, command: Sequence[str] = (sys.executable, "-c", SERVER)) -> None:
        self.command = command
        Hosts._serial += 1
        self.name = f"tb{os.getpid()}x{Hosts._serial}"
        self.servers = servers
        self._running: dict[int, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Hosts":
        try:
            for host in ("b", "c", *map(str, range(1, self.servers + 1))):
                _run("ip", "netns", "add", self.of(host))
                self.run(host, "ip", "link", "set", "lo", "up")
            for number, host in enumerate(["c", *map(str, range(1, self.servers + 1))]):
                self._join(host, number)
            for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                self.switch("b", name, "1")
            for number in range(1, self.servers + 1):
                self.start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in tuple(self._running):
            self.stop(number)
        for host in ("b", "c", *map(str, range(1, self.servers + 1))):
            with suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "del", self.of(host))

    def of(self, host: str) -> str:
        """The namespace of a host: ``b``, ``c`` or a server's number."""
        return f"{self.name}-{host}"

    def within(self, host: str) -> list[str]:
        """What stands in front of a command that runs on a host."""
        return ["ip", "netns", "exec", self.of(host)]

    def run(self, host: str, *command: str, text: str | None = None) -> str:
        """Run a command on a host; what it printed."""
        return _run(*self.within(host), *command, text=text)

    def switch(self, host: str, name: str, value: str) -> None:
        """Set a switch of a host's kernel, by its path below /proc/sys."""
        self.run(host, "sh", "-c", f'echo "{value}" >/proc/sys/{name}')

    def start(self, number: int) -> None:
        """Start a server, and wait until it serves."""
        command = [*self.within(str(number)), *self.command, str(number), str(PORT)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._running[number] = process
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def stop(self, number: int) -> None:
        """End a server, with all its connections."""
        process = self._running.pop(number)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @contextmanager
    def socket(self, host: str, family: int, kind: int) -> Iterator[socket.socket]:
        """A socket of that host, with a timeout."""
        made: list[socket.socket] = []

        def make() -> None:  # in a thread of its own, which alone changes its network
            with open(f"/run/netns/{self.of(host)}") as there:
                if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket(family, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        made[0].settimeout(PATIENCE)
        with made[0]:
            yield made[0]

    @contextmanager
    def connection(self, host: str, address: str, port: int, source: str = "") -> Iterator["Talk"]:
        """A TCP connection of that host."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.socket(host, family, socket.SOCK_STREAM) as made:
            if source:
                made.bind((source, 0))
            made.connect((address, port))
            yield Talk(made)

    def ask(self, host: str, address: str, port: int, source: str = "") -> tuple[str, str]:
        """Connect, ask once, and close: which server it was, and whom it saw."""
        with self.connection(host, address, port, source) as talk:
            return talk.ask()

    def asked(self, host: str, address: str, port: int, times: int) -> Counter[str]:
        """How often each server answered."""
        return Counter(self.ask(host, address, port)[0] for _ in range(times))

    def _join(self, host: str, number: int) -> None:
        """A cable between a host and the balancer."""
        near = f"to{host}"
        _run(
            "ip",
            "-n",
            self.of("b"),
            "link",
            "add",
            near,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.of(host),
        )
        for place, device, last in (("b", near, 1), (host, "eth0", 2)):
            _run("ip", "-n", self.of(place), "address", "add", f"10.77.{number}.{last}/24", "dev", device)
            _run("ip", "-n", self.of(place), "address", "add", f"fd77:{number}::{last}/64", "dev", device, "nodad")
            _run("ip", "-n", self.of(place), "link", "set", device, "up")
        _run("ip", "-n", self.of(host), "route", "add", "default", "via", f"10.77.{number}.1")
        _run("ip", "-n", self.of(host), "-6", "route", "add", "default", "via", f"fd77:{number}::1")


class Talk:
    """A connection to a server of :data:`SERVER`."""

    def __init__(self, made: socket.socket) -> None:
        self._file = made.makefile("rwb", buffering=0)

    def ask(self) -> tuple[str, str]:
        """Which server it is, and whom it sees."""
        self._file.write(b"?\n")
        line = b""
        while not line.endswith(b"\n"):
            more = self._file.read(256)
            if not more:
                raise ConnectionError("the server closed the connection")
            line += more
        name, seen = line.decode().split()
        return name, seen


def place(number: int, ipv6: bool = False) -> str:
    """``host:port`` of a server."""
    return f"[fd77:{number}::2]:{PORT}" if ipv6 else f"10.77.{number}.2:{PORT}"


def _run(*command: str, text: str | None = None) -> str:
    done: Sequence[str] = command
    ended = subprocess.run(done, input=text, capture_output=True, text=True)
    if ended.returncode:
        raise subprocess.CalledProcessError(
            ended.returncode, done, ended.stdout, Path(done[0]).name + ": " + ended.stderr
        )
    return ended.stdout
