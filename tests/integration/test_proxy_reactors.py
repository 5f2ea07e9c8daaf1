"""The PROXY protocol's transports on the uvloop reactor: as on epoll."""

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

STORY = Path(__file__).parent / "test_proxy_streams.py"
LONG = 160
"""Seconds the file may take on a slow machine."""


class ReactorTests(SynchronousTestCase):
    """One run."""

    def test_uvloop(self) -> None:
        """The whole of test_proxy_streams passes on our own reactor."""
        words = ["--reactor=uvloop", "--temp-directory", self.mktemp(), STORY]
        command = [sys.executable, "-m", "twisted.trial", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
        passed = re.search(r"PASSED \(successes=(\d+)\)", done.stdout)
        self.assertIsNotNone(passed, done.stdout[-5000:] + done.stderr[-2000:])
        self.assertEqual(int(passed[1]) if passed else 0, len(re.findall("async def test_", STORY.read_text())))
