"""Layer 4, and bulk of both layers, over real sockets on other reactors, ours among them: as on epoll."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).parent
LONG = 900
"""Seconds that whole files of tests may take on a slow machine; each of their tests has its own limit."""


@pytest.mark.timeout(LONG)
class ReactorTests(SynchronousTestCase):
    """One run each."""

    def tell(self, name: str, reactor: str = "asyncio") -> None:
        """Run every test of a file, and count them."""
        story = HERE / name
        words = [f"--reactor={reactor}", "--temp-directory", self.mktemp(), story]
        command = [sys.executable, "-m", "twisted.trial", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
        passed = re.search(r"PASSED \(successes=(\d+)\)", done.stdout)
        self.assertIsNotNone(passed, done.stdout[-5000:] + done.stderr[-2000:])
        wanted = len(re.findall(r"    async def test_", story.read_text()))
        self.assertEqual(int(passed[1]) if passed else 0, wanted)  # trial passes where it finds no test

    def test_asyncio(self) -> None:
        """The whole of test_tcp_forwarding passes on Twisted's asyncio reactor."""
        self.tell("test_tcp_forwarding.py")

    def test_asyncio_splice(self) -> None:
        """So does the whole of test_tcp_splice and of test_http_splice."""
        self.tell("test_tcp_splice.py")
        self.tell("test_http_splice.py")

    def test_sendfile(self) -> None:
        """And the whole of test_sendfile, on both."""
        for name in ("asyncio", "uvloop"):
            self.tell("test_sendfile.py", name)

    def test_uvloop_splice(self) -> None:
        """All that is spliced is spliced on our own reactor too."""
        for name in ("test_tcp_splice", "test_http_splice", "test_http_splice_up", "test_http_splice_tunnel"):
            self.tell(f"{name}.py", "uvloop")
