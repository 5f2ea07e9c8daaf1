"""``openssl s_server`` and ``s_client`` for integration tests, on loopback and bounded in time."""

import contextlib
import subprocess
import threading
from types import TracebackType

from balancer.testing.peers import PATIENCE, free_port, need, wait_until_open


class OpensslServer:
    """An ``openssl s_server`` that answers each line backwards (``-rev``).

    :param pem: its certificate and key.
    :param options: more of its options, ``-tls1_2`` for example.
    """

    def __init__(self, pem: str, *options: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._command = [
            need("openssl", "openssl"), "s_server", "-accept", self.address, "-cert", pem, "-key", pem, "-rev",
            "-quiet", *options,
        ]  # fmt: skip

    def __enter__(self) -> "OpensslServer":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until_open(("127.0.0.1", self.port), self._process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)


def s_client(address: tuple[str, int], *options: str, line: str = "hello") -> tuple[str, str]:
    """Send one line with ``openssl s_client``; the line that comes back, empty for none, and all that it said.

    It leaves when it has the line, or when the server closes.
    """
    command = [need("openssl", "openssl"), "s_client", "-connect", f"{address[0]}:{address[1]}", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        too_long = threading.Timer(PATIENCE, process.kill)
        too_long.start()
        said: list[str] = []
        answer = ""
        for said_line in process.stdout:
            said.append(said_line)
            if said_line.rstrip().endswith(line[::-1]):  # what it prints of its own may stand before it
                answer = line[::-1]
                break
        too_long.cancel()
        process.kill()
        process.wait(PATIENCE)
    return answer, "".join(said)
