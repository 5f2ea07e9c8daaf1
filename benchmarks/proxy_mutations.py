"""Headers of the PROXY protocol, changed at random and cut at random: none raises anything but its own error, or hangs.

    python benchmarks/proxy_mutations.py                      # a million, about two minutes
    python benchmarks/proxy_mutations.py --count 50000 --seed 7

The suite does the same with fewer (tests/core/test_proxy_mutations.py).
"""

import argparse
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from balancer.testing.proxy_headers import survive

PART = 10_000
"""Mutations in one step, of which the longest is shown: a hang would be seen in it."""


def main() -> None:
    """Run and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = Random(options.seed)
    found: dict[str, int] = {}
    longest = 0.0
    begun = time.perf_counter()
    for done in range(0, options.count, PART):
        before = time.perf_counter()
        for kind, count in survive(min(PART, options.count - done), random).items():
            found[kind] = found.get(kind, 0) + count
        longest = max(longest, time.perf_counter() - before)
    seconds = time.perf_counter() - begun
    print(f"{options.count} mutations in {seconds:.1f} s: {', '.join(f'{n} {kind}' for kind, n in found.items())}")
    print(f"the longest {PART} took {longest:.2f} s; nothing but BadProxyHeader was raised")


if __name__ == "__main__":
    main()
