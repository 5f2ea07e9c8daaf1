"""Kill a process that writes into a disk store, again and again: what the next one finds must be exact, or absent.

    .venv/bin/python benchmarks/cache_kill.py                 # fifty kills
    .venv/bin/python benchmarks/cache_kill.py --rounds 5 --seed 7

Each round starts a process that stores, replaces, freshens, drops, removes and purges responses of up to some
megabytes, in a directory that is too small for all of them, kills it with SIGKILL at a random moment, and starts
another one that opens the directory and reads all there is. Each body follows from its key and its version, and the
version is in the head; so a body that is torn, mixed, of another key, or purged before the kill is told. The exit
status is 1 where there was one. Purges count from the moment they were reported, after ``purge`` or ``remove``
returned. The directory lives on from round to round.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from balancer.cache.purges import Purge
from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.errors import StoreError
from balancer.stores.disk import DISK, DiskSettings

KEYS = 300
SIZE = 24 << 20
LARGE = 3 << 20
PIECE = 50_000
ROUND = 1_000_000
"""Versions of one round."""


def body_of(number: int, version: int) -> bytes:
    """What this version of this key has as its body: mostly small, some large."""
    chance = random.Random(number * ROUND * 1000 + version)
    size = chance.choice((0, 1, 500, 3000, 20_000, 65_536, 65_537, 300_000, chance.randrange(LARGE)))
    return chance.randbytes(size)


def key_of(number: int) -> bytes:
    """Its key."""
    return b"http://example.org/%d\nmain" % number


def response(number: int, version: int, serial: int, body: Any, freshened: int = 0) -> Stored:
    """This version of this key; tagged by its last digit."""
    lines = b"Date: x\r\nX-Version: %d\r\nX-Freshened: %d\r\n" % (version, freshened)
    tags = (b"tag%d" % (number % 10),)
    return Stored(200, b"OK", lines, float(version), 0.0, 1e9, body=body, serial=serial, tags=tags)


def opened(path: str) -> tuple[Any, Any]:
    """The reactor, and the store once it is started (see :func:`run`)."""
    from twisted.internet import reactor  # noqa: TID251  # a program of its own

    others: Any = {}.__getitem__  # there are none
    return reactor, DISK.store(DiskSettings(path=path, size=SIZE), reactor, others)


class Load:
    """What writes until it is killed."""

    def __init__(self, reactor: Any, store: Any, seed: int, first: int) -> None:
        self.reactor, self.store = reactor, store
        self.chance = random.Random(seed)
        self.version = first
        self.writers: dict[int, Any] = {}  # by version
        self.writing: Counter[int] = Counter()  # writers of each key

    def begin(self, _: object) -> None:
        tell("ready")
        self.act()

    def act(self) -> None:
        """A handful of things, and again in the next turn."""
        for _ in range(4):
            kinds: list[Callable[[int], None]] = [
                self.put, self.put, self.put, self.write, self.write, self.freshen, self.drop, self.remove, self.purge,
            ]  # fmt: skip
            weights = [10, 10, 10, 10, 10, 10, 2, 1, 0.3]
            self.chance.choices(kinds, weights)[0](self.chance.randrange(KEYS))
        self.reactor.callLater(0.001 * self.chance.random(), self.act)

    def next(self) -> int:
        self.version += 1
        return self.version

    def put(self, number: int) -> None:
        version = self.next()
        self.store.put(key_of(number), response(number, version, self.store.serial, body_of(number, version)))

    def write(self, number: int) -> None:
        version = self.next()
        stored = response(number, version, self.store.serial, b"")
        feed = self.feed(number, version)
        writer = self.store.begin(key_of(number), stored, -1, lambda: self.go_on(feed))
        if writer is not None:
            self.writers[version] = writer
            self.writing[number] += 1
            self.go_on(feed)

    def feed(self, number: int, version: int) -> Iterator[None]:
        """Writes piece by piece; stops where the writer is full."""
        data = body_of(number, version)
        writer = self.writers.pop(version)
        try:
            for start in range(0, len(data), PIECE):
                if not writer.write(data[start : start + PIECE]):
                    yield
            if self.chance.random() < 0.1:
                writer.abort()
            else:
                writer.commit()
        except StoreError:
            writer.abort()
        self.writing[number] -= 1

    def go_on(self, feed: Iterator[None]) -> None:
        next(feed, None)

    def freshen(self, number: int) -> None:
        found = self.store.get(key_of(number))
        if isinstance(found, list) and found:
            version = int(found[0].get(b"x-version"))
            self.store.put(
                key_of(number), response(number, version, self.store.serial, found[0].body, self.chance.randrange(9))
            )

    def drop(self, number: int) -> None:
        found = self.store.get(key_of(number))
        if isinstance(found, list) and found:
            self.store.drop(key_of(number), found[0])
            if not self.writing[number]:  # else an older one may come still: a drop is no purge
                tell("gone", number, int(found[0].get(b"x-version")))

    def remove(self, number: int) -> None:
        self.store.remove(key_of(number).partition(b"\n")[0], False)
        tell("gone", number, self.version)

    def purge(self, number: int) -> None:
        self.store.purge(Purge(kind="tag", what=b"tag%d" % (number % 10)))
        for other in range(number % 10, KEYS, 10):
            tell("gone", other, self.version)


def tell(*words: object) -> None:
    """One line, in one write: a kill does not cut it."""
    os.write(1, (json.dumps(words) + "\n").encode())


def load(path: str, seed: int, first: int) -> None:
    """Write until the end."""
    reactor, store = opened(path)
    run(reactor, store, Load(reactor, store, seed, first).begin, wait=bool(seed % 2))


def check(path: str) -> None:
    """Tell what is found: each version, and each that is wrong."""
    reactor, store = opened(path)

    async def look(_: object) -> None:
        for number in range(KEYS):
            found = store.get(key_of(number))
            for stored in found if isinstance(found, list | tuple) else await found:
                version = int(stored.get(b"x-version"))
                try:
                    exact = await content(stored) == body_of(number, version)
                except StoreError:
                    continue
                tell("found" if exact else "wrong", number, version)
                if stored.flags & SOFT_PURGED:
                    tell("wrong", number, version)
        tell("counters", dict(store.counters))
        await store.stop()
        reactor.stop()

    from twisted.internet.defer import ensureDeferred

    run(reactor, store, lambda _: ensureDeferred(look(None)))


async def content(stored: Stored) -> bytes:
    """The body, read as deliveries read it; once it is proven, from the descriptor as well."""
    if isinstance(stored.body, bytes):
        return stored.body
    reader: Any = stored.body.open()
    try:
        data = b""
        while len(data) < stored.size:
            piece = reader.read(len(data), 65536)
            data += piece if isinstance(piece, bytes) else await piece
        if data:
            file, offset = reader.file
            assert os.pread(file, len(data), offset) == data
        return data
    finally:
        reader.close()


def run(reactor: Any, store: Any, then: Callable[[object], Any], wait: bool = True) -> None:
    """Start the store, and then go on, or while it still finds what it has; what goes wrong ends the process."""

    def failed(failure: Any) -> None:
        failure.printTraceback()
        os._exit(2)

    def start() -> None:
        started = store.start()
        if wait:
            started.addCallback(then)
        else:
            reactor.callLater(0.003, then, None)
        started.addErrback(failed)

    reactor.callWhenRunning(start)
    reactor.run()


class Trial:
    """The rounds of one directory.

    :ivar gone: of each key the last version that must not be found any more.
    """

    def __init__(self, path: str, seed: int) -> None:
        self.path = path
        self.chance = random.Random(seed)
        self.gone: dict[int, int] = {}
        self.wrong = 0

    def round(self, number: int) -> dict[str, Any]:
        """Kill once, and look."""
        seed = self.chance.randrange(2**32)
        child = self.start("load", str(seed), str(number * ROUND))
        assert child.stdout is not None
        first = child.stdout.readline()
        if json.loads(first or b"[0]") != ["ready"]:
            raise SystemExit(f"the writer did not start: {first!r}")
        time.sleep(self.chance.random() * 1.5)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        told = [json.loads(line) for line in rest.splitlines()]
        for _, key, version in told:
            self.gone[key] = max(self.gone.get(key, 0), version)
        return {"seed": seed, "removed": len(told), **self.look()}

    def look(self) -> dict[str, Any]:
        """What the next process finds."""
        checker = self.start("check")
        said, _ = checker.communicate()
        if checker.returncode:
            raise SystemExit("the checker failed")
        found, counters = 0, {}
        for kind, *rest in map(json.loads, said.splitlines()):
            if kind == "counters":
                (counters,) = rest
                continue
            key, version = rest
            found += 1
            if kind == "wrong" or version <= self.gone.get(key, 0):
                self.wrong += 1
                print(f"WRONG: key {key}, version {version}: {kind}, gone {self.gone.get(key, 0)}", flush=True)
        return {"found": found, **counters}

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """One of our own processes."""
        return subprocess.Popen([sys.executable, __file__, "--path", self.path, *words], stdout=subprocess.PIPE)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="kills")
    parser.add_argument("--seed", type=int, default=None, help="of the moments and of what is written; else by chance")
    parser.add_argument("--path", help="the directory; else a new one that is removed afterwards")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.words:
        case ["load", seed, first]:
            load(options.path, int(seed), int(first))
            return 0
        case ["check"]:
            check(options.path)
            return 0
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(options.path or os.path.join(folder, "cache"), seed)
        for number in range(1, options.rounds + 1):
            print(f"round {number}: {trial.round(number)}", flush=True)
    print(f"{options.rounds} kills, {trial.wrong} wrong", flush=True)
    return 1 if trial.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
