"""A loopback address where connects neither succeed nor fail: a listening socket whose backlog is full.

Linux drops the SYNs for it (``net.ipv4.tcp_abort_on_overflow`` is 0 by default). It never accepts anything.
"""

import contextlib
import socket
from types import TracebackType

MANY = 64
"""Connects after which the backlog of a listener with backlog 0 is full, many times over."""


class Blackhole:
    """Use as a context manager; ``address`` is where connects hang."""

    def __enter__(self) -> "Blackhole":
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.host, self.port = self._listening.getsockname()
        self.address = f"{self.host}:{self.port}"
        self._fillers = []
        for _ in range(MANY):
            filler = socket.socket()
            filler.settimeout(0.1)
            self._fillers.append(filler)
            try:
                filler.connect((self.host, self.port))
            except TimeoutError:
                return self
        raise AssertionError(f"a backlog of 0 took {MANY} connections")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for filler in (*self._fillers, self._listening):
            filler.close()

    def half_open(self) -> int:
        """How many sockets of this machine are connecting to it now, its own filler not counted."""
        target = f"0100007F:{self.port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
        connecting = [row for row in rows if row[2] == target and row[3] == "02"]  # SYN_SENT
        own = 0
        for filler in self._fillers:
            with contextlib.suppress(OSError):
                filler.getpeername()
                continue
            own += 1
        return len(connecting) - own
