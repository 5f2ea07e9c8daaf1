"""HAProxy and nginx with a configuration of the test's own, for tests with real peers that speak the PROXY protocol.

They listen on loopback and are ended by the context manager that started them. What a machine lacks is a
:class:`unittest.SkipTest` that names the Debian package.
"""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from balancer.testing.peers import PATIENCE, need, wait_until_open

STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Debian's package libnginx-mod-stream; elsewhere it is often built in."""


class Program:
    """A program in a directory of its own.

    :param ports: where it accepts once it runs.
    """

    def __init__(self, name: str, text: str, ports: tuple[int, ...]) -> None:
        self.program = need(name, name)
        self.ports = ports
        self._directory = tempfile.TemporaryDirectory(prefix=f"{name}-test-")
        self.directory = Path(self._directory.name)
        self.file = self.directory / f"{name}.conf"
        self.file.write_text(text.replace("DIRECTORY", str(self.directory)))

    def command(self) -> list[str]:
        """How it is started, in the foreground."""
        raise NotImplementedError

    def __enter__(self) -> "Program":
        self._log = (self.directory / "log").open("wb")
        self.process = subprocess.Popen(self.command(), stdout=self._log, stderr=self._log)
        try:
            for port in self.ports:
                wait_until_open(("127.0.0.1", port), self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {(self.directory / 'log').read_text(errors='replace')}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._log.close()
        self._directory.cleanup()


class Haproxy(Program):
    """HAProxy.

    :param text: its frontends, backends and listens.
    """

    def __init__(self, text: str, *ports: int) -> None:
        start = (
            "global\n maxconn 200\n log stdout format raw local0 info\n"
            "defaults\n mode tcp\n log global\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n"
        )
        super().__init__("haproxy", start + text, ports)

    def command(self) -> list[str]:
        """In the foreground."""
        return [self.program, "-db", "-f", str(self.file)]


class NginxProxy(Program):
    """nginx.

    :param http: what stands in its ``http`` block.
    :param stream: what stands in its ``stream`` block.
    """

    def __init__(self, *ports: int, http: str = "", stream: str = "") -> None:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temp = " ".join(f"{kind}_temp_path DIRECTORY/{kind};" for kind in kinds)
        text = "worker_processes 1; daemon off; pid DIRECTORY/pid; error_log DIRECTORY/error; events { }\n"
        text += f"http {{ access_log off; {temp}\n{http} }}\n"
        if stream:
            text = f"load_module {STREAM};\n" * STREAM.exists() + text + f"stream {{ {stream} }}\n"
        super().__init__("nginx", text, ports)

    def command(self) -> list[str]:
        """In the foreground."""
        return [self.program, "-e", "stderr", "-c", str(self.file)]
