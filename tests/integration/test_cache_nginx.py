"""Conditions and ranges, answered from the cache as nginx answers them from its file: same status, fields and bytes.

Left out is what RFC 9110 has otherwise than nginx: a malformed Range (416 there), one of HEAD (206), If-Modified-Since
beside an If-None-Match that holds (both count); and what it leaves open: parts that lie near to each other.
"""

import email
import os
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Reply, ask
from balancer.testing.pattern import piece
from balancer.testing.peers import Nginx, need
from balancer.testing.process import BalancerProcess

SIZE = 300_000
MODIFIED = 1_700_000_000

CONFIG = """
[store.ssd]
type = "disk"
path = "{path}"
[cache.memory]
[cache.disk]
store = "ssd"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "memory"
[listener.memory]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
[listener.disk]
listen = "tcp:0:interface=127.0.0.1"
[[listener.disk.route]]
to = "web"
cache = "disk"
"""

COMPARED = ("content-range", "content-length", "content-type", "etag", "last-modified")


def same(reply: Reply) -> list[object]:
    """What has to be the same; of several parts each with its fields, whatever stands between them."""
    kind = reply.fields.get("content-type", "")
    if reply.status == 304:
        return [304, reply.fields.get("etag"), reply.body]
    if reply.status == 416:
        return [416, reply.fields.get("content-range")]  # what is said of it in words differs
    if not kind.startswith("multipart/"):
        return [reply.status, *(reply.fields.get(name) for name in COMPARED), reply.body]
    whole = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + reply.body)
    parts: list[object] = []
    for part in whole.get_payload():
        assert isinstance(part, email.message.Message)
        parts += [part["Content-Range"], part["Content-Type"], part.get_payload()]
    return [reply.status, reply.fields["etag"], kind.partition(";")[0], *parts]


class NginxTests(SynchronousTestCase):
    """See the module."""

    def setUp(self) -> None:
        """nginx with a file, and the program in front of it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        os.chmod(directory.name, 0o755)
        self.file = Path(directory.name) / "file.txt"
        self.data = bytes(32 + byte % 90 for byte in piece(0, SIZE))  # a text: parts are compared by a parser of texts
        self.file.write_bytes(self.data)
        os.utime(self.file, (MODIFIED, MODIFIED))
        nginx = Nginx(
            "file",
            f"location = /file.txt {{ root {directory.name}; default_type text/plain; if_modified_since before;"
            " add_header Cache-Control max-age=3600; }",
        )
        nginx.__enter__()
        self.addCleanup(nginx.__exit__, None, None, None)
        config = CONFIG.format(address=nginx.address, path=Path(self.mktemp()).absolute())
        balancer = BalancerProcess(config=config, expect=2)
        balancer.__enter__()
        self.addCleanup(balancer.__exit__, None, None, None)
        self.direct = ("127.0.0.1", nginx.port)
        self.caches = balancer.addresses
        self.etag = ask(self.direct, "/file.txt").fields["etag"]
        for address in self.caches.values():
            for _ in range(100):
                if "; hit" in ask(address, "/file.txt").cache:
                    break

    def compare(self, *lines: str, method: str = "GET") -> list[object]:
        """Ask nginx and both caches; what nginx said."""
        wanted = same(ask(self.direct, "/file.txt", *lines, method=method))
        for name, address in self.caches.items():
            got = ask(address, "/file.txt", *lines, method=method)
            self.assertIn("; hit", got.cache, f"{name}: {lines}")
            self.assertEqual(same(got), wanted, f"{name}: {method} {lines}")
        return wanted

    def test_ranges(self) -> None:
        """One, several, the last bytes, up to the end, beyond it, and outside."""
        for words, status in (
            ("0-0", 206), ("0-99", 206), ("100-", 206), ("-1", 206), ("-500", 206), (f"-{SIZE}", 206),
            (f"-{SIZE * 2}", 206), ("0-", 206), (f"{SIZE - 1}-", 206), (f"{SIZE - 1}-{SIZE * 9}", 206),
            ("0-9,2000-2009", 206), ("0-0,-1", 206), ("100-199, 5000-5999,-10", 206), (f"0-9,{SIZE}-", 206),
            (f"{SIZE}-", 416), (f"{SIZE * 2}-{SIZE * 3}", 416), ("-0", 416),
        ):  # fmt: skip
            with self.subTest(words=words):
                self.assertEqual(self.compare(f"Range: bytes={words}")[0], status)
        self.assertEqual(self.compare("Range: lines=1-2")[0], 200)

    def test_conditions(self) -> None:
        """If-None-Match, If-Modified-Since, alone and together; by GET and HEAD."""
        equal, older, later = (formatdate(MODIFIED + seconds, usegmt=True) for seconds in (0, -1, 1))
        for lines, status in (
            ((f"If-None-Match: {self.etag}",), 304),
            ((f"If-None-Match: W/{self.etag}",), 304),
            ((f'If-None-Match: "x", {self.etag}',), 304),
            (('If-None-Match: "x"',), 200),
            (("If-None-Match: *",), 304),
            ((f"If-Modified-Since: {equal}",), 304),
            ((f"If-Modified-Since: {older}",), 200),
            ((f"If-Modified-Since: {later}",), 304),
            (("If-Modified-Since: yesterday",), 200),
            (('If-None-Match: "x"', f"If-Modified-Since: {equal}"), 200),
            ((f"If-None-Match: {self.etag}", "Range: bytes=0-9"), 304),
            (('If-None-Match: "x"', "Range: bytes=0-9"), 206),
        ):
            for method in ("GET", "HEAD"):
                with self.subTest(lines=lines, method=method):
                    if method == "GET" or "Range: bytes=0-9" not in lines:
                        self.assertEqual(self.compare(*lines, method=method)[0], status)

    def test_if_range(self) -> None:
        """The part of what the client has, or all of what is there now."""
        equal, older = (formatdate(MODIFIED + seconds, usegmt=True) for seconds in (0, -1))
        for validator, status in ((self.etag, 206), ('"x"', 200), (f"W/{self.etag}", 200), (equal, 206), (older, 200)):
            with self.subTest(validator=validator):
                self.assertEqual(self.compare(f"If-Range: {validator}", "Range: bytes=5-9")[0], status)
        self.assertEqual(self.compare('If-Range: "x"', f"Range: bytes={SIZE}-")[0], 200)

    def test_head(self) -> None:
        """HEAD is GET without the body."""
        self.assertEqual(self.compare(method="HEAD")[0], 200)

    def test_curl_goes_on(self) -> None:
        """curl --continue-at completes a file of which it has a part, and --etag-compare gets no body twice."""
        curl = need("curl", "curl")
        for host, port in self.caches.values():
            there = Path(self.mktemp())
            there.write_bytes(self.data[:123_456])
            words = [curl, "-sSf", "-H", "Host: site.test", f"http://{host}:{port}/file.txt"]
            subprocess.run([*words, "--continue-at", "-", "-o", str(there)], check=True)
            self.assertTrue(there.read_bytes() == self.data)
            tag, body = Path(self.mktemp()), Path(self.mktemp())
            tag.write_text(f"{self.etag}\n")
            said = subprocess.run(
                [*words, "--etag-compare", str(tag), "-o", str(body), "-w", "%{http_code} %{size_download}"],
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(said.stdout, "304 0")
