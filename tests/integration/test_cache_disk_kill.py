"""A disk store that is killed while it is written: a handful of kills; ``benchmarks/cache_kill.py`` does fifty."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

KILL = Path(__file__).parents[2] / "benchmarks" / "cache_kill.py"
ROUNDS = 4


class KillTests(SynchronousTestCase):
    """See the module."""

    @pytest.mark.timeout(600)
    def test_no_wrong_body(self) -> None:
        """After each kill the next process finds exact bodies only, and nothing that was purged, removed or dropped."""
        seed = random.SystemRandom().randrange(2**32)
        command = [sys.executable, str(KILL), "--rounds", str(ROUNDS), "--seed", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout)  # the seed, where it fails
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{ROUNDS} kills, 0 wrong", done.stdout)
