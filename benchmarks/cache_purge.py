"""What a purge costs: by tag over 100,000 objects, and the lookups and the sweep after it.

    python benchmarks/cache_purge.py [--objects 100000] [--others 100000] [--dry]

So many responses have one tag, as many others another; a purge of the tag is timed with the lookups that show that none
of the tagged is found any more and that the others are. Then the same without lookups, where the sweep gives the room
back: how long the longest of its turns takes, which is what a request may have to wait, and all of them together. Times
are of the processor.
"""

import argparse
import sys
import time

from cache_memory import a_response, key
from figures import publish, table
from twisted.internet.task import Clock

from balancer._version import __version__
from balancer.cache.purges import Purge
from balancer.compiled import build
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings
from balancer.stores.sweep import PAUSE

BAR = 100.0
"""Milliseconds for the purge of a tag that 100,000 objects have (issue 5)."""


def filled(tagged: int, others: int) -> tuple[MemoryStore, Clock]:
    """A store with so many of either, and its clock."""
    clock = Clock()
    store = MemoryStore(MemorySettings(size=4096 * (tagged + others)), clock)
    for number in range(tagged + others):
        stored = a_response(number, bytes(1024))
        stored.tags = (b"product-%d" % number, b"red" if number < tagged else b"blue")
        stored.serial = store.serial
        store.put(key(number), stored)
    return store, clock


def found(store: MemoryStore, keys: list[bytes]) -> tuple[int, float]:
    """How many are found, and the milliseconds it took to look."""
    start = time.process_time()
    count = sum([1 for one in keys if store.get(one)])
    return count, (time.process_time() - start) * 1000


def purged(store: MemoryStore, purge: Purge) -> float:
    """Milliseconds of one purge."""
    start = time.process_time()
    store.purge(purge)
    return (time.process_time() - start) * 1000


def swept(clock: Clock) -> tuple[int, float, float]:
    """Turns of a sweep; milliseconds of the longest and of all of them."""
    turns: list[float] = []
    while any(call.getTime() <= clock.seconds() + PAUSE for call in clock.getDelayedCalls()):
        start = time.process_time()
        clock.advance(PAUSE)
        turns.append((time.process_time() - start) * 1000)
    return len(turns), max(turns), sum(turns)


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000, help="responses with the tag (default: %(default)s)")
    parser.add_argument("--others", type=int, default=100_000, help="responses without it (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    tagged = [key(number) for number in range(arguments.objects)]
    others = [key(arguments.objects + number) for number in range(arguments.others)]
    rows = []
    for soft in (False, True):
        word = "soft" if soft else "hard"
        store, clock = filled(len(tagged), len(others))
        purge = purged(store, Purge(kind="tag", what=b"red", soft=soft))
        rows.append((f"{word} purge", f"{purge:.3f} ms", "met" if purge < BAR else "not met"))
        count, took = found(store, tagged)
        assert count == (len(tagged) if soft else 0), count
        rows.append((f"lookups of the {len(tagged)} it met, {count} found", f"{took:.0f} ms", ""))
        count, took = found(store, others)
        assert count == len(others), count
        rows.append((f"lookups of {len(others)} others, {count} found", f"{took:.0f} ms", ""))
        count, took = found(store, others)
        rows.append((f"the same again, {count} found", f"{took:.0f} ms", ""))
        store, clock = filled(len(tagged), len(others))
        store.purge(Purge(kind="tag", what=b"red", soft=soft))
        turns, longest, took = swept(clock)
        left = store.counters["objects"]
        assert left == len(others) + len(tagged) * soft, left
        rows.append((f"the sweep instead: {turns} turns, the longest", f"{longest:.1f} ms", ""))
        rows.append(("all of them", f"{took:.0f} ms", ""))
    for row in rows:
        print(*row, sep="  ", flush=True)
    if not arguments.dry:
        head = ("what", "figure", f"bar {BAR:g} ms")
        publish("cache purge", f"twistd-balancer {__version__} ({build()}):\n\n{table(head, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
