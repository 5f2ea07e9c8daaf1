"""Real peers for integration tests: nginx as a backend, and plain-socket servers scripted by the test.

Everything listens on loopback and is ended by the context manager that started it. What a machine lacks is a
:class:`unittest.SkipTest` that names the Debian package.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PATIENCE = 60.0
"""Seconds a peer may take to start or stop on a busy machine."""


def need(program: str, package: str) -> str:
    """The program's path.

    :raises unittest.SkipTest: it is not installed; the message names the Debian package.
    """
    found = shutil.which(program)
    if found is None:
        raise unittest.SkipTest(f"{program} is not installed (Debian: apt-get install {package})")
    return found


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nginx:
    """An nginx that answers ``GET /`` with its name; it can be killed and started again on the same port."""

    def __init__(self, name: str, extra: str = "") -> None:
        self.program = need("nginx", "nginx")
        self.name = name
        self.extra = extra
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._directory = tempfile.TemporaryDirectory(prefix="nginx-test-")
        where = Path(self._directory.name)
        temp = " ".join(
            f"{kind}_temp_path {where / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (where / "nginx.conf").write_text(
            f"worker_processes 1; daemon off; pid {where / 'pid'}; error_log {where / 'error'};\n"
            f"events {{ worker_connections 4096; }}\n"
            f"http {{ access_log off; keepalive_requests 1000000; {temp}\n"
            f" server {{ listen {self.address} backlog=4096; {extra}\n"
            f'  location / {{ default_type text/plain; return 200 "{name}\\n"; }} }} }}\n'
        )
        self._conf = where / "nginx.conf"

    def start(self) -> None:
        """Start it and wait until it accepts."""
        self.process = subprocess.Popen(
            [self.program, "-e", "stderr", "-c", str(self._conf)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until_open(("127.0.0.1", self.port), self.process)

    def kill(self) -> None:
        """Kill master and workers at once, as a crash would."""
        import os

        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self) -> "Nginx":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._directory.cleanup()


def wait_until_open(address: tuple[str, int], process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until somebody accepts at the address.

    :raises AssertionError: nobody did in :data:`PATIENCE` seconds, or the process ended.
    """
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        with contextlib.suppress(OSError), socket.create_connection(address, 1):
            return
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process for {address} ended with {process.returncode}")
        pause.wait(0.02)
    raise AssertionError(f"nobody accepts at {address}")


class SocketServer:
    """A TCP server whose every connection is handled by ``handle(connection)`` in a thread of its own.

    :ivar accepted: connections so far.
    :ivar errors: what handlers raised, other than the peer's leaving.
    """

    def __init__(
        self, handle: Callable[[socket.socket], None], backlog: int = 1024, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.handle = handle
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._listening = socket.create_server((host, port), backlog=backlog)
        self.host, self.port = self._listening.getsockname()
        self.address = f"{self.host}:{self.port}"
        self._open: set[socket.socket] = set()
        self._closed = False

    def __enter__(self) -> "SocketServer":
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.handle(connection)
        except OSError:
            return  # the peer left: what the test looks at is what the balancer made of it
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._open.discard(connection)
