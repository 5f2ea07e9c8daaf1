"""A balancer in a process of its own, for tests with real sockets and real peers.

It starts ``twistd -n balancer`` the way a user does, learns from the log where the listeners are, and ends it. It
never waits longer than it is told to, and shows the log where the process did not do what was expected.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

OPEN = re.compile(r"listener '([^']+)' is open at (\S+)")
"""What the service logs for each listener."""

PATIENCE = 60.0
"""Seconds a start, a log line or a stop may take on a busy machine."""


def twistd() -> list[str]:
    """The ``twistd`` of the environment that runs the tests."""
    return [sys.executable, str(Path(sys.executable).with_name("twistd"))]


def twist() -> list[str]:
    """The ``twist`` of the environment that runs the tests, with a log that people read."""
    return [sys.executable, str(Path(sys.executable).with_name("twist")), "--log-format=text"]


class BalancerProcess:
    """``twistd -n balancer OPTIONS``, used as a context manager.

    :param options: the plugin's options; or give ``config``, a TOML text, which is written to a file.
    :param expect: how many listeners to wait for.
    :param environment: variables added to the environment.
    :param prefix: a command in front, for example ``["prlimit", "--as=…"]``.
    :param reactor: the reactor; else the environment's BALANCER_TEST_REACTOR, else what ``twistd balancer`` picks.
    :param runner: the command in place of ``twistd -n`` (see :func:`twist`).
    :ivar addresses: where the listeners are, by name, ``(host, port)``.
    """

    def __init__(
        self,
        *options: str,
        config: str | None = None,
        expect: int = 1,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        reactor: str | None = None,
        runner: Sequence[str] = (),
    ) -> None:
        self.options = list(options)
        self.config = config
        self.expect = expect
        self.environment = environment
        self.prefix = list(prefix)
        self.reactor = reactor or os.environ.get("BALANCER_TEST_REACTOR")
        self.runner = list(runner) or [*twistd(), "--nodaemon", "--pidfile="]
        self.addresses: dict[str, tuple[str, int]] = {}
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._directory = tempfile.TemporaryDirectory(prefix="balancer-test-")
        self.directory = Path(self._directory.name)

    def __enter__(self) -> "BalancerProcess":
        if self.config is not None:
            file = self.directory / "balancer.toml"
            file.write_text(self.config)
            self.options += ["--config", str(file)]
        choice = ["--reactor", self.reactor] if self.reactor else []
        self.process = subprocess.Popen(
            [*self.prefix, *self.runner, *choice, "balancer", *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.directory,
            env=None if self.environment is None else dict(self.environment),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_until(lambda: len(self.addresses) >= self.expect, f"{self.expect} open listener(s)")
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._directory.cleanup()

    @property
    def log(self) -> str:
        """What it printed so far."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until so many log lines match.

        :raises AssertionError: it did not happen within :data:`PATIENCE`, or the process ended.
        """
        found = re.compile(pattern)
        self.wait_until(lambda: sum(bool(found.search(line)) for line in self.lines) >= times, repr(pattern))

    def seen(self, pattern: str) -> int:
        """How many log lines match by now."""
        found = re.compile(pattern)
        with self._news:
            return sum(bool(found.search(line)) for line in self.lines)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something is true after a new log line.

        :raises AssertionError: it did not happen within :data:`PATIENCE`, or the process ended.
        """
        with self._news:
            happened = self._news.wait_for(lambda: condition() or self._ended, PATIENCE)
        if not happened or not condition():
            raise AssertionError(f"waited for {what}; the balancer printed:\n{self.log}")

    def rss(self) -> int:
        """Resident memory of the process now, in bytes."""
        return self._memory("VmRSS")

    def peak_memory(self) -> int:
        """The most resident memory the process ever had, in bytes."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    _ended = False

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                match = OPEN.search(line)
                if match is not None:
                    host, _, port = match[2].rpartition(":")
                    self.addresses[match[1]] = (host.strip("[]"), int(port))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
