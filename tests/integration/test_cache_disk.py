"""A body of 64 MiB in a store on the disk: how it gets there, how it is served, what is there after it ended."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Client, Origin, Told, ask, known, response, stores, together
from balancer.testing.pattern import PERIOD, fits, piece
from balancer.testing.peers import need
from balancer.testing.process import PATIENCE, BalancerProcess

SIZE = 64 << 20
MEMORY = 48 << 20
"""Bytes by which the process may grow: less than the body."""

CONFIG = """
[store.ssd]
type = "disk"
path = "{path}"
size = "1GiB"
[cache.pages]
store = "ssd"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""


def answer(told: Told) -> Iterator[bytes]:
    """``/large``, whose length is told, and ``/chunked``, whose length is not; small ones by their name."""
    lasting = ("Cache-Control: max-age=3600", f'ETag: "{told.target}"')
    if told.target == "/large":
        yield response(b"", *lasting).replace(b"Length: 0", b"Length: %d" % SIZE)
        for at in range(0, SIZE, PERIOD):
            yield piece(at, min(PERIOD, SIZE - at))
    elif told.target == "/chunked":
        yield response(b"", *lasting).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        for at in range(0, SIZE, PERIOD):
            part = piece(at, min(PERIOD, SIZE - at))
            yield b"%x\r\n%b\r\n" % (len(part), part)
        yield b"0\r\n\r\n"
    else:
        yield response(told.target.encode(), *lasting)


def digest() -> str:
    """The SHA-256 of the whole body."""
    made = hashlib.sha256()
    for at in range(0, SIZE, PERIOD):
        made.update(piece(at, min(PERIOD, SIZE - at)))
    return made.hexdigest()


class DiskTests(SynchronousTestCase):
    """See the module."""

    def config(self, origin: Origin) -> str:
        """With a directory that stays for the whole test."""
        if not hasattr(self, "path"):
            self.path = Path(self.mktemp()).absolute()
        return CONFIG.format(address=origin.address, path=self.path)

    def check(self, http: tuple[str, int], target: str = "/large") -> str:
        """Get it, see that every byte is right, and what Cache-Status says."""
        with Client(http) as client:
            client.send(target)
            head = client.head()
            at = 0
            while data := head.read(PERIOD):
                self.assertTrue(fits(at, data), f"wrong bytes at {at}")
                at += len(data)
        self.assertEqual(at, SIZE)
        return str(head.headers["Cache-Status"])

    def test_it_is_served_by_the_kernel(self) -> None:
        """It is stored while it arrives, the process does not grow by it, and a hit is sent by sendfile(2)."""
        strace = need("strace", "strace")
        with Origin(answer) as origin, BalancerProcess(config=self.config(origin)) as balancer:
            http = balancer.addresses["http"]
            stores(http, "/small")
            before = balancer.rss()
            for target in ("/large", "/chunked"):
                self.assertIn("; stored", self.check(http, target))
                self.assertIn("; hit", self.check(http, target))
            self.assertLess(balancer.peak_memory(), before + MEMORY)
            said = Path(self.mktemp())
            command = [strace, "-f", "-p", str(balancer.process.pid), "-e", "trace=sendfile", "-o", str(said)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracing:
                assert tracing.stderr is not None
                first = tracing.stderr.readline()
                if "attached" not in first:
                    self.skipTest(f"strace cannot attach: {first.strip()}")
                self.assertIn("; hit", self.check(http))
                tracing.send_signal(signal.SIGINT)
                tracing.communicate(timeout=PATIENCE)
            moved = sum(int(size) for size in re.findall(r"sendfile(?:64)?\(.*= (\d+)$", said.read_text(), re.M))
            self.assertGreater(moved, SIZE // 2)
            self.assertEqual([origin.asked(target) for target in ("/large", "/chunked")], [1, 1])

    def test_ranges(self) -> None:
        """curl gets parts of it, from its ends and its middle, and several at once."""
        curl = need("curl", "curl")
        with Origin(answer) as origin, BalancerProcess(config=self.config(origin)) as balancer:
            host, port = balancer.addresses["http"]
            stores((host, port), "/small")
            self.check((host, port))
            url = f"http://{host}:{port}/large"
            for words, begin, end in (
                ("0-99", 0, 100),
                ("-1000", SIZE - 1000, SIZE),
                (f"{SIZE - 1}-", SIZE - 1, SIZE),
                ("1000000-41999999", 1000000, 42000000),
            ):
                got = subprocess.run([curl, "-sSfr", words, "-H", "Host: site.test", url], capture_output=True).stdout
                self.assertEqual(len(got), end - begin)
                self.assertTrue(fits(begin, got), words)
            reply = ask((host, port), "/large", "Range: bytes=5-9,30000000-32000000")
            self.assertEqual(reply.status, 206)
            parts = reply.body.split(b"\r\n\r\n", 2)
            self.assertTrue(parts[1].startswith(piece(5, 5) + b"\r\n--"))
            self.assertTrue(fits(30000000, parts[2][:2000001]))
            self.assertTrue(parts[2][2000001:].startswith(b"\r\n--"))
            self.assertEqual(origin.asked("/large"), 1)

    def test_slow_clients_and_one_that_leaves(self) -> None:
        """Two that read nothing for a while, and one that resets in the middle, keep nobody from anything; the slow
        ones get all of it."""
        with Origin(answer) as origin, BalancerProcess(config=self.config(origin)) as balancer:
            http = balancer.addresses["http"]
            stores(http, "/small")
            for state in ("arriving", "stored"):
                with self.subTest(state=state), Client(http) as one, Client(http) as two:
                    for slow in (one, two):
                        slow.send("/large")
                    heads = [slow.head() for slow in (one, two)]
                    self.assertTrue(all(fits(0, head.read(1000)) for head in heads))
                    leaving = Client(http)
                    leaving.send("/large")
                    self.assertTrue(fits(0, leaving.head().read(20_000_000)))
                    leaving.reset()
                    self.check(http)

                    def finish(number: int, heads: list[HTTPResponse] = heads) -> None:
                        made = hashlib.sha256(piece(0, 1000))
                        while data := heads[number].read(PERIOD):
                            made.update(data)
                        assert made.hexdigest() == digest()

                    together(2, finish)
            self.assertEqual(origin.asked("/large"), 1)
            self.assertIn("; hit", ask(http, "/large", "Range: bytes=0-0").cache)
            self.assertEqual(self.open_files(balancer), set())

    def test_between_others(self) -> None:
        """Sent by the kernel between small ones of one connection, asked for at once: all in order. A client that stops
        reading is given up in its time, and one that reads slowly is not."""
        text = 'timeouts = {{ write = "5s" }}\n[access_log]\npath = "{log}"\nformat = "json"\n'
        log = Path(self.mktemp()).absolute()
        with Origin(answer) as origin:
            config = self.config(origin) + text.format(log=log)
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                stores(http, "/small")
                self.check(http)
                targets = ("/large", "/small", "/large", "/new", "/large", "/small")
                with Client(http) as client:
                    for target in targets:
                        client.send(target)
                    stream = client.socket.makefile("rb")
                    for target in targets:
                        self.assertEqual(stream.readline(), b"HTTP/1.1 200 OK\r\n")
                        fields = dict(line.split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
                        body = stream.read(int(fields[b"content-length".title()]))
                        if target == "/large":
                            self.assertEqual(len(body), SIZE)
                            self.assertTrue(fits(0, body))
                        else:
                            self.assertEqual(body, target.encode())
                    stream.close()
                with Client(http) as stopping, Client(http) as slow:
                    for client in (stopping, slow):
                        client.send("/large")
                    stopping.head().read(1000)
                    head = slow.head()
                    reader = threading.Event()
                    got = head.read(1 << 20)
                    while len(got) < 12 << 20:  # longer than the limit, but never as long without reading
                        reader.wait(0.5)
                        got += head.read(1 << 20)
                    got += head.read()
                    self.assertEqual(len(got), SIZE)
                    self.assertTrue(fits(0, got))
                    with self.assertRaises(ConnectionResetError):
                        while stopping.response is not None and stopping.response.read(PERIOD):
                            pass
        ends = [json.loads(line)["end"] for line in log.read_text().splitlines() if "/large" in line]
        self.assertEqual(sorted(ends), ["client_write_timeout", *["done"] * 5])

    def test_one_that_leaves_what_is_stored_on(self) -> None:
        """A client that lags behind and leaves while it arrives leaves no open file, and it is stored all the same."""
        rest = threading.Event()

        def held(told: Told) -> Iterator[bytes]:
            for number, data in enumerate(answer(told)):
                assert told.target == "/small" or number < 32 or rest.wait(PATIENCE)
                yield data

        with Origin(held) as origin, BalancerProcess(config=self.config(origin)) as balancer:
            http = balancer.addresses["http"]
            stores(http, "/small")
            for target in ("/large", "/chunked"):
                rest.clear()
                client = Client(http)
                client.send(target)
                with Client(http) as other:  # by the time that it has this, the one that does not read lags behind
                    other.send(target)
                    other.head().read(20_000_000)
                    client.reset()
                    other.reset()
                    for _ in range(2):
                        ask(http, "/small")
                rest.set()
                self.assertEqual(len(known(http, target).body), SIZE)
                self.assertIn("; hit", self.check(http, target))
            self.assertEqual(self.open_files(balancer), set())
            self.assertEqual([origin.asked(target) for target in ("/large", "/chunked")], [1, 1])

    def open_files(self, balancer: BalancerProcess) -> set[str]:
        """Bodies that the process has open, when what it does at the moment is done."""
        pause = threading.Event()
        for _ in range(int(PATIENCE / 0.05)):
            found = set()
            for file in Path(f"/proc/{balancer.process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(os.readlink(file))
            bodies = {
                name for name in found if name.startswith(f"{self.path}/") and name.count("/") > len(self.path.parts)
            }
            if not bodies:
                break
            pause.wait(0.05)
        return bodies

    def test_restart(self) -> None:
        """After the program ended in order, the next one has it all."""
        small = 0
        with Origin(answer) as origin:
            for number in range(3):
                with BalancerProcess(config=self.config(origin)) as balancer:
                    http = balancer.addresses["http"]
                    if not number:
                        stores(http, "/small")
                        small = origin.asked("/small")
                    self.assertEqual(known(http, "/small").body, b"/small")
                    for target in ("/large", "/chunked"):
                        if number:
                            self.assertEqual(len(known(http, target).body), SIZE)
                        self.assertIn("; hit" if number else "; stored", self.check(http, target))
            self.assertEqual([origin.asked(target) for target in ("/large", "/chunked", "/small")], [1, 1, small])

    def test_kill(self) -> None:
        """After kill -9, with bodies complete, just now complete and half there: a hit or a miss, and no wrong byte."""
        with Origin(answer) as origin:
            for moment in ("half", "just complete", "complete"):
                with self.subTest(moment=moment), BalancerProcess(config=self.config(origin)) as balancer:
                    http = balancer.addresses["http"]
                    stores(http, "/small")
                    if moment == "half":
                        with Client(http) as client:
                            client.send("/chunked")
                            client.head().read(SIZE // 2)
                            balancer.process.kill()
                    else:
                        self.check(http, "/chunked")
                        if moment == "complete":
                            self.assertIn("; hit", self.check(http, "/chunked"))
                        balancer.process.kill()
                    balancer.process.wait(PATIENCE)
            origin.errors.clear()  # a killed client
            with BalancerProcess(config=self.config(origin)) as balancer:
                http = balancer.addresses["http"]
                self.check(http, "/chunked")
                self.assertIn("; hit", self.check(http, "/chunked"))
                self.assertEqual(ask(http, "/small").body, b"/small")
