"""What the disk store costs: CPU of storing and finding by size of the body, and what a start with many files takes.

    .venv/bin/python benchmarks/cache_disk.py [--files 100000] [--path DIRECTORY]

Figures of storing have the threads' work in them; it is done in turns, so nothing waits for anything. Finding is from
the page cache. A start is timed with the real reactor and its threads: until everything is found, and the longest time
that the reactor did nothing else meanwhile.
"""

import argparse
import gc
import os
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

from balancer.cache.stored import Stored
from balancer.stores.disk import DISK, DiskSettings
from balancer.stores.disk_directory import Directory
from balancer.stores.disk_files import write_whole
from balancer.stores.disk_index import Entry, name_of
from balancer.stores.disk_record import encode_head
from balancer.testing.threads import ThreadlessClock

SIZES = (1024, 16384, 65536, 1 << 20)
LINES = (
    b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n"
    b'ETag: "abcdef"\r\nCache-Control: max-age=3600\r\nVary: Accept-Encoding\r\n'
)


def response(body: bytes) -> Stored:
    """As most are."""
    return Stored(200, b"OK", LINES, 1e9, 0.0, 3600.0, nominated=b"gzip", body=body)


def key_of(number: int) -> bytes:
    """A key of usual length."""
    return b"http://example.org/path/to/page/%d\nmain" % number


def microseconds(call: Callable[[int], object], times: int) -> float:
    """CPU of one call."""
    begin = time.process_time()
    for number in range(times):
        call(number)
    return (time.process_time() - begin) / times * 1e6


def settled(clock: ThreadlessClock) -> None:
    """Do all that waits."""
    while clock.waiting:
        clock.advance(0)


def costs(path: str) -> None:
    """One line for each size."""
    print("   bytes   put us   get us   open, read 64 KiB, close us")
    for size in SIZES:
        clock = ThreadlessClock()
        store: Any = DISK.store(DiskSettings(path=f"{path}/{size}"), clock, {}.__getitem__)
        store.start()
        settled(clock)
        body, count = os.urandom(size), min(1000, (64 << 20) // size)

        def put(number: int, store: Any = store, body: bytes = body, clock: ThreadlessClock = clock) -> None:
            store.put(key_of(number), response(body))
            settled(clock)

        put_cost = microseconds(put, count)
        get_cost = microseconds(lambda number, store=store, count=count: store.get(key_of(number % count)), 10_000)
        (found,) = store.get(key_of(0))
        read_cost = ""
        if not isinstance(found.body, bytes):
            read_cost = f"{microseconds(lambda _, found=found: read(found.body), 5000):8.1f}"
        print(f"{size:8} {put_cost:8.1f} {get_cost:8.1f}   {read_cost}", flush=True)
        store.stop()


def read(body: Any) -> None:
    """As a delivery that wants a piece."""
    reader = body.open()
    reader.read(0, 65536)
    reader.close()


def fill(path: str, count: int) -> None:
    """So many small files, as a store leaves them."""
    directory = Directory(path)
    directory.open()
    stored, body = response(b""), os.urandom(1024)
    for number in range(count):
        key = key_of(number)
        write_whole(
            directory.temporary(), directory.file_of(Entry(name_of(key, b"gzip"), 1, 0)), encode_head(key, stored), body
        )
    directory.close()


def start(path: str, count: int) -> None:
    """Time a start with so many files."""
    from twisted.internet import reactor  # noqa: TID251  # a program of its own

    clock: Any = reactor
    store: Any = DISK.store(DiskSettings(path=path, size=1 << 40, objects=1 << 30), reactor, {}.__getitem__)
    longest, before = 0.0, time.perf_counter()

    def tick() -> None:
        nonlocal longest, before
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
        clock.callLater(0, tick)

    def loaded(_: object) -> None:
        took, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        gc.collect()
        each = (resident() - memory) / count
        print(
            f"{store.counters['objects']} files: known after {took:.2f} s ({cpu:.2f} s of CPU), "
            f"the reactor was away for {longest * 1000:.1f} ms at most, {each:.0f} bytes of memory each"
        )
        assert store.get(key_of(1)), "nothing is found"
        store.stop().addCallback(lambda _: clock.stop())

    def begun() -> None:
        nonlocal begin, begin_cpu, memory
        gc.collect()
        memory, begin, begin_cpu = resident(), time.perf_counter(), time.process_time()
        tick()
        store.start().addCallback(loaded)

    begin = begin_cpu = 0.0
    memory = 0
    clock.callWhenRunning(begun)
    clock.run()


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="of the start")
    parser.add_argument("--path", help="a directory on the disk that is meant; else the system's temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.path) as path:
        costs(path)
        # What is stored before the first start is not trusted: so the directory is started once while it is empty.
        clock = ThreadlessClock()
        store: Any = DISK.store(DiskSettings(path=f"{path}/many"), clock, {}.__getitem__)
        store.start()
        settled(clock)
        store.stop()
        settled(clock)
        fill(f"{path}/many", options.files)
        start(f"{path}/many", options.files)


if __name__ == "__main__":
    main()
