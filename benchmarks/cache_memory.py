"""What the store in memory costs: bytes beside each body, time for a lookup, and how often it has what is asked for.

    python benchmarks/cache_memory.py [--objects 1000000] [--body 1024] [--dry]

Fills a store with that many responses of a typical head (Date, Content-Type, Content-Length, Cache-Control, ETag) and
reads the resident memory before and after: what it grew by, less the bodies, is the overhead of keys, heads, and all
that finds and judges them. Then lookups of what is asked for often (unpacked already), of what is not, and of what is
not there; a full garbage collection; and the share of hits on a Zipf trace with scans in it, beside a plain LRU of as
many bytes. Times are of the processor. About half a minute and 2 GiB of memory with the defaults.
"""

import argparse
import gc
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from random import Random

from figures import publish, table
from twisted.internet.task import Clock

from balancer._version import __version__
from balancer.cache.stored import Stored
from balancer.compiled import build
from balancer.stores.memory import MemoryStore
from balancer.stores.settings import MemorySettings

BAR = 600
"""Bytes of overhead for each object at most (issue 5)."""

LINES = (
    b"Date: Tue, 24 Nov 2026 12:00:%02d GMT\r\nContent-Type: image/webp\r\nContent-Length: %d\r\n"
    b'Cache-Control: public, max-age=86400\r\nETag: "%016x"\r\n'
)


def key(number: int) -> bytes:
    """The key of one object."""
    return b"https://www.example.org/images/products/%08d.webp\nmain" % number


def a_response(number: int, body: bytes) -> Stored:
    """One response as it arrives."""
    lines = LINES % (number % 60, len(body), number * 0x9E3779B97F4A7C15 & 2**64 - 1)
    return Stored(200, b"OK", lines, 1.7e9 + number / 1000, 0.25, 86400.0, 0.0, 86400.0, body=body)


def resident() -> int:
    """Bytes of resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def filled(objects: int, body: int) -> tuple[MemoryStore, float, float]:
    """A store with them; bytes of overhead for each, as the system and as the store see them."""
    store = MemoryStore(MemorySettings(size=2 * objects * (body + 1000) + 2**20), Clock())
    pad = bytes(body - 8)
    gc.collect()
    before = resident()
    for number in range(objects):
        store.put(key(number), a_response(number, number.to_bytes(8, "big") + pad))
    gc.collect()
    grown = resident() - before
    return store, grown / objects - body, store.counters["bytes"] / objects - body


def each(run: Callable[[bytes], object], keys: list[bytes]) -> float:
    """Microseconds of one call."""
    start = time.process_time()
    for one in keys:
        run(one)
    return (time.process_time() - start) / len(keys) * 1e6


def trace(objects: int, length: int, scan: int, chance: Random) -> Iterator[int]:
    """Requests by Zipf's law (exponent 0.9); a tenth of them in scans of what is asked for once."""
    weights = list(accumulate((rank + 1) ** -0.9 for rank in range(objects)))
    once = objects
    for start in range(0, length, scan * 10):
        yield from chance.choices(range(objects), cum_weights=weights, k=min(scan * 9, length - start))
        yield from range(once, once + scan)
        once += scan


def hits(store_size: int, body: int, requests: Iterable[int]) -> tuple[float, float]:
    """The share of hits of our store, and of an LRU with as much room as the store counts for the same objects."""
    store = MemoryStore(MemorySettings(size=store_size), Clock())
    data = bytes(body)
    store.put(key(0), a_response(0, data))
    room = (store_size - store_size // 16) // store.counters["bytes"]
    lru: OrderedDict[int, None] = OrderedDict()
    asked = ours = theirs = 0
    for number in requests:
        asked += 1
        if store.get(key(number)):
            ours += 1
        else:
            store.put(key(number), a_response(number, data))
        if number in lru:
            theirs += 1
            lru.move_to_end(number)
        else:
            lru[number] = None
            if len(lru) > room:
                lru.popitem(last=False)
    return ours / asked, theirs / asked


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000, help="responses (default: %(default)s)")
    parser.add_argument("--body", type=int, default=1024, help="bytes of each body (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="print, and leave the README as it is")
    arguments = parser.parse_args()
    store, overhead, counted = filled(arguments.objects, arguments.body)
    start = time.process_time()
    gc.collect()
    collected = time.process_time() - start
    chance = Random(1)
    cold = [key(number) for number in chance.sample(range(arguments.objects), min(50000, arguments.objects))]
    hot = [key(number) for number in range(1000)] * 100
    missing = [key(arguments.objects + number) for number in range(100000)]
    rows = [
        ("overhead, of resident memory", f"{overhead:.0f} bytes", "met" if overhead < BAR else "not met"),
        ("the same, as the store counts it", f"{counted:.0f} bytes", ""),
        ("a lookup, not asked for before", f"{each(store.get, cold):.2f} us", ""),
        ("a lookup, asked for often", f"{each(store.get, hot):.2f} us", ""),
        ("a lookup of nothing", f"{each(store.get, missing):.2f} us", ""),
        ("a full garbage collection", f"{collected * 1000:.0f} ms", ""),
    ]
    del store, cold, hot, missing
    for share in (100, 10):
        requests = trace(100_000, 400_000, 2000, Random(2))
        ours, theirs = hits(100_000 * 1400 // share, 1024, requests)
        rows.append((f"hits with room for 1/{share} of what is asked for", f"{ours:.1%}, LRU {theirs:.1%}", ""))
    for row in rows:
        print(*row, sep="  ", flush=True)
    if not arguments.dry:
        head = ("what", "figure", f"bar {BAR} bytes")
        what = f"{arguments.objects} responses of {arguments.body} bytes, twistd-balancer {__version__} ({build()})"
        publish("cache memory", f"{what}:\n\n{table(head, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
