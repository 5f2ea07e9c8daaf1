"""The example that mounts layer 7 in a site runs, streams both ways and aborts what it cannot finish."""

import socket
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer, free_port, wait_until_open
from balancer.testing.process import PATIENCE, twistd

EXAMPLE = Path(__file__).parent.parent.parent / "etc" / "examples" / "site.tac"
SIZE = 20 << 20


def serve(connection: socket.socket) -> None:
    """``/cut``: a body that is cut off. Otherwise: as many bytes as were sent, after all of them arrived."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    if head.startswith(b"GET /cut "):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        return
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(fields.get(b"Content-Length", b"0")) - len(rest)
    while left > 0:
        left -= len(connection.recv(65536))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
    connection.sendall(b"y" * SIZE)


class MountTests(SynchronousTestCase):
    """etc/examples/site.tac."""

    def test_mount(self) -> None:
        """The site serves its own page and forwards below the mount, 20 MiB each way; a cut body is a reset."""
        port = free_port()
        with SocketServer(serve) as server, tempfile.TemporaryDirectory() as directory:
            example = EXAMPLE.read_text()
            changes = {"8082": str(port), "127.0.0.1:9001": server.address, "127.0.0.1:9002": server.address}
            for there, here in changes.items():
                self.assertIn(there, example)
                example = example.replace(there, here)
            (Path(directory) / "site.tac").write_text(example)
            process = subprocess.Popen(
                [*twistd(), "--nodaemon", "--pidfile=", "--python=site.tac"], cwd=directory, stdout=subprocess.DEVNULL
            )
            try:
                wait_until_open(("127.0.0.1", port), process)
                self.assertTrue(self.ask(port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"own page\n"))
                head = b"PUT /shop/up HTTP/1.0\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE
                answer = self.ask(port, head + b"x" * SIZE)
                self.assertTrue(answer.startswith(b"HTTP/1.0 200 OK\r\n"), answer[:200])
                self.assertEqual(answer.count(b"y" * 1024), SIZE // 1024)
                with self.assertRaises(ConnectionResetError):
                    self.ask(port, b"GET /shop/cut HTTP/1.1\r\nHost: a\r\n\r\n")
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def ask(self, port: int, request: bytes) -> bytes:
        """One request; the whole answer."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(request)
            answer = []
            while more := client.recv(1 << 20):
                answer.append(more)
        return b"".join(answer)
