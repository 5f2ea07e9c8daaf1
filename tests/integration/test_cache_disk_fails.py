"""Disks that are full or cannot be written: requests are served all the same, and the log says why. And memory over a
disk, which a restart leaves."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Origin, Told, ask, known, response, stores
from balancer.testing.pattern import piece
from balancer.testing.process import PATIENCE, BalancerProcess, twistd

OBJECT = 400_000
ROOM = 4
"""Megabytes of the disk that is too small."""

CONFIG = """
[store.ssd]
type = "disk"
path = "{path}"
size = "1GiB"
[store.both]
type = "tiered"
over = "ssd"
memory = {{ size = "1MiB" }}
[cache.pages]
store = "{store}"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""


def answer(told: Told) -> bytes:
    """``/N``: a body of its own."""
    number = told.target.strip("/")
    size = OBJECT if number.isdigit() else 100
    return response(piece(int(number) if number.isdigit() else 0, size), "Cache-Control: max-age=3600")


class DiskFailsTests(SynchronousTestCase):
    """See the module."""

    def ask_for_all(self, http: tuple[str, int], count: int) -> int:
        """Get ``/0`` and so on, each twice, and see that every byte is right; how many were hits."""
        hits = 0
        for number in [*range(count), *range(count)]:
            reply = ask(http, f"/{number}")
            self.assertEqual(reply.status, 200)
            self.assertTrue(reply.body == piece(number, OBJECT), f"wrong bytes in /{number}")
            hits += "; hit" in reply.cache
        return hits

    def test_a_directory_that_cannot_be(self) -> None:
        """Where the directory is a file the program does not start, and says so in a line; a reload changes nothing."""
        path = Path(self.mktemp()).absolute()
        path.write_text("not a directory")
        with Origin(answer) as origin:
            config = CONFIG.format(address=origin.address, path=path, store="ssd")
            file = Path(self.mktemp()).absolute()
            file.write_text(config)
            command = [*twistd(), "--nodaemon", "--pidfile=", "balancer", "--config", str(file)]
            started = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            self.assertNotEqual(started.returncode, 0)
            self.assertRegex(started.stderr.strip(), rf'^twistd balancer: store "ssd": .*{path}.*$')
            with BalancerProcess(
                config=config.replace('store = "ssd"', 'store = "memory"').replace(str(path), str(path) + "-other")
            ) as balancer:
                (balancer.directory / "balancer.toml").write_text(config)
                balancer.process.send_signal(signal.SIGHUP)
                balancer.wait_for(rf"not reloaded.*{path}")
                self.assertEqual(self.ask_for_all(balancer.addresses["http"], 2), 2)

    def test_a_directory_that_is_in_use(self) -> None:
        """A second program with the same directory keeps nothing, serves everything, and says why, once; the first one
        goes on with its own."""
        path = Path(self.mktemp()).absolute()
        with Origin(answer) as origin:
            config = CONFIG.format(address=origin.address, path=path, store="ssd")
            with BalancerProcess(config=config) as first:
                stores(first.addresses["http"], "/small")
                self.assertEqual(self.ask_for_all(first.addresses["http"], 3), 3)
                with BalancerProcess(config=config) as second:
                    second.wait_for("nothing is kept")
                    self.assertEqual(self.ask_for_all(second.addresses["http"], 3), 0)
                    said = [line for line in second.lines if str(path) in line]
                    self.assertEqual(len(said), 1, second.log)
                    self.assertNotIn("Traceback", second.log)
                self.assertEqual(self.ask_for_all(first.addresses["http"], 3), 6)

    def test_a_directory_that_goes(self) -> None:
        """A directory that is moved away, with a file in its place, costs hits and no answers."""
        path = Path(self.mktemp()).absolute()
        with Origin(answer) as origin:
            config = CONFIG.format(address=origin.address, path=path, store="ssd")
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                stores(http, "/small")
                self.assertEqual(self.ask_for_all(http, 3), 3)
                path.rename(path.with_name("moved"))
                path.write_text("not a directory")
                self.ask_for_all(http, 6)
                self.ask_for_all(http, 6)
                self.assertEqual(ask(http, "/small").status, 200)
                self.assertNotIn("Traceback", balancer.log)

    def test_a_disk_that_is_full(self) -> None:
        """On a file system that is smaller than the store was told, everything is served; the log says why, once until
        it is written again."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        unshare = shutil.which("unshare")
        mount = f"mount -t tmpfs -o size={ROOM}m tmpfs {directory}"
        if unshare is None or os.geteuid() != 0:
            self.skipTest("a file system of its own needs root and unshare (Debian: util-linux)")
        prefix = [unshare, "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
        tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
        if tried.returncode:
            self.skipTest(f"no file system can be mounted here: {tried.stderr.strip()}")
        with Origin(answer) as origin:
            config = CONFIG.format(address=origin.address, path=directory / "cache", store="ssd")
            with BalancerProcess(config=config, prefix=prefix) as balancer:
                http = balancer.addresses["http"]
                stores(http, "/small")
                hits = self.ask_for_all(http, 2 * ROOM * 1_000_000 // OBJECT)
                self.assertGreater(hits, 0)
                balancer.wait_for(r"(?i)no space left")
                self.ask_for_all(http, 2 * ROOM * 1_000_000 // OBJECT)
            again = balancer.seen("is written again")  # what is small may still fit in, and is room again when it goes
            self.assertLessEqual(balancer.seen(r"(?i)no space left"), 1 + again, balancer.log)
            self.assertNotIn("Traceback", balancer.log)

    def test_memory_over_a_disk(self) -> None:
        """What is small and what is large is found again, at once and after a restart; the server is asked once."""
        path = Path(self.mktemp()).absolute()
        with Origin(answer) as origin:
            config = CONFIG.format(address=origin.address, path=path, store="both")
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                stores(http, "/small")
                small = origin.asked("/small")
                self.assertEqual(self.ask_for_all(http, 5), 5)
                for _ in range(3):
                    self.assertIn("; hit", ask(http, "/small").cache)
            with BalancerProcess(config=config) as balancer:
                http = balancer.addresses["http"]
                for target in ("/small", *(f"/{number}" for number in range(5))):
                    self.assertEqual(known(http, target).status, 200)
                self.assertEqual(self.ask_for_all(http, 5), 10)
                for _ in range(3):
                    self.assertIn("; hit", ask(http, "/small").cache)
            self.assertEqual([origin.asked(f"/{number}") for number in range(5)], [1] * 5)
            self.assertEqual(origin.asked("/small"), small)
