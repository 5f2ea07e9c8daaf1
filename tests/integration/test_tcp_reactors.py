"""Layer 4 over real sockets on the other stock reactor: whatever holds on epoll holds on asyncio."""

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

STORY = Path(__file__).with_name("test_tcp_forwarding.py")


class ReactorTests(SynchronousTestCase):
    """One run each."""

    def test_asyncio(self) -> None:
        """The whole of test_tcp_forwarding passes on Twisted's asyncio reactor."""
        command = [sys.executable, "-m", "twisted.trial", "--reactor=asyncio", "--temp-directory", self.mktemp(), STORY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        passed = re.search(r"PASSED \(successes=(\d+)\)", done.stdout)
        self.assertIsNotNone(passed, done.stdout[-5000:] + done.stderr[-2000:])
        wanted = len(re.findall(r"    async def test_", STORY.read_text()))
        self.assertEqual(int(passed[1]) if passed else 0, wanted)  # trial passes where it finds no test
