"""Bar 3: 2 GiB up and 2 GiB down, layer 4 and layer 7, in a process that may not use more than 200 MiB."""

import socket

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.pattern import fits, piece
from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess

SIZE = 2 << 30
PIECE = 1 << 18
MEMORY = 200 << 20


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """A message's head and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise AssertionError(f"closed inside a head: {data!r}")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def send_pattern(connection: socket.socket) -> None:
    """Send the whole pattern."""
    for offset in range(0, SIZE, PIECE):
        connection.sendall(piece(offset, PIECE))


def receive_pattern(connection: socket.socket, begun: bytes) -> int:
    """Receive until the pattern is complete, a byte does not fit or the peer closes; how many bytes fitted."""
    if not fits(0, begun):
        return 0
    offset = len(begun)
    while offset < SIZE:
        data = connection.recv(PIECE)
        if not data or not fits(offset, data):
            break
        offset += len(data)
    return offset


def serve(connection: socket.socket) -> None:
    """GET: the pattern. PUT: how many bytes of the pattern arrived."""
    head, rest = read_head(connection)
    if head.startswith(b"GET"):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        send_pattern(connection)
    else:
        said = b"%d" % receive_pattern(connection, rest)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))


class BulkTests(SynchronousTestCase):
    """Large bodies through a small process."""

    def measure(self, listener: str) -> None:
        """Upload and download through one listener."""
        config = """
            [upstream.big]
            servers = ["{address}"]
            check = {{ type = "none" }}
            [listener.http]
            listen = "tcp:0:interface=127.0.0.1"
            to = "big"
            [listener.tcp]
            listen = "tcp:0:interface=127.0.0.1"
            mode = "tcp"
            to = "big"
            """
        with (
            SocketServer(serve) as server,
            BalancerProcess(config=config.format(address=server.address), expect=2) as balancer,
        ):
            address = balancer.addresses[listener]
            with socket.create_connection(address, PATIENCE) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: big\r\n\r\n")
                head, rest = read_head(client)
                self.assertIn(b"200 OK", head)
                self.assertEqual(receive_pattern(client, rest), SIZE)
            with socket.create_connection(address, PATIENCE) as client:
                client.sendall(b"PUT / HTTP/1.1\r\nHost: big\r\nContent-Length: %d\r\n\r\n" % SIZE)
                send_pattern(client)
                _, rest = read_head(client)
                self.assertEqual(rest, b"%d" % SIZE)
            self.assertLess(balancer.peak_memory(), MEMORY)
            self.assertEqual(server.errors, [])

    def test_layer_7(self) -> None:
        """HTTP carries 2 GiB each way byte for byte, within 200 MiB."""
        self.measure("http")

    def test_layer_4(self) -> None:
        """TCP carries 2 GiB each way byte for byte, within 200 MiB."""
        self.measure("tcp")
