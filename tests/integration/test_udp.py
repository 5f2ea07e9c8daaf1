"""UDP through a balancer in a process of its own: real DNS servers and clients, and servers that the test scripts."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.internet import reactor  # noqa: TID251  # a test of the whole is a program of its own
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.names import client, dns
from twisted.trial.unittest import SynchronousTestCase, TestCase

from balancer.testing.datagrams import DatagramServer, Dnsmasq, free_udp_port
from balancer.testing.peers import PATIENCE, need
from balancer.testing.process import BalancerProcess

QUERY = r"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01"
"""A query for the address of a.test, as a check sends it (RFC 1035 section 4.1)."""


def config(
    *servers: str, udp: str = "", more: str = "", check: str = '"none"', listen: str = "", drain: float = 0
) -> str:
    """A file with one UDP listener."""
    written = ", ".join(f'"{server}"' for server in servers)
    place = listen or "udp:0:interface=127.0.0.1"
    return (
        f'drain = {drain}\naccess_log = {{ path = "-" }}\n[upstream.u]\nservers = [{written}]\ncheck = {check}\n'
        f'balance = "first"\n[listener.l]\nlisten = "{place}"\nmode = "udp"\nto = "u"\n{more}\n'
        f"[listener.l.udp]\n{udp}\n"
    )


def echo(name: bytes = b"") -> Callable[[bytes], list[bytes]]:
    """Sends back what came, with its name in front."""
    return lambda data: [name + data]


class UdpTestCase(SynchronousTestCase):
    def peer(self, balancer: BalancerProcess, name: str = "l") -> socket.socket:
        """A client, connected: it hears only what comes from the listener's address."""
        host, port = balancer.addresses[name]
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        return sock

    def ask(self, sock: socket.socket, data: bytes = b"?") -> bytes:
        """One datagram there, one back."""
        sock.send(data)
        return sock.recv(65535)

    def serve(self, answers: Callable[[bytes], list[bytes]], host: str = "127.0.0.1", port: int = 0) -> DatagramServer:
        server = DatagramServer(answers, host, port).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server


def dig(address: tuple[str, int], name: str) -> str:
    """What dig says the address of a name is, asked by UDP once."""
    command = [need("dig", "bind9-dnsutils"), "+short", "+tries=1", f"+time={PATIENCE:.0f}", "+notcp"]
    where = [f"-p{address[1]}", f"@{address[0]}", name]
    done = subprocess.run([*command, *where], capture_output=True, text=True, timeout=PATIENCE * 2, check=True)
    return done.stdout.strip()


class DnsTests(UdpTestCase):
    """dnsmasq behind, dig in front."""

    def test_dig(self) -> None:
        """Queries are answered, each a session of its own that ends with its answer."""
        with (
            Dnsmasq("192.0.2.7") as server,
            BalancerProcess(config=config(server.address, udp="responses = 1")) as balancer,
        ):
            for name in ("a.test", "b.test", "c.test"):
                self.assertEqual(dig(balancer.addresses["l"], name), "192.0.2.7")
            balancer.wait_for(r'"UDP l -" .*end=done .*attempts=1 .*datagrams_in=1 datagrams_out=1', times=3)

    def test_probe_and_failover(self) -> None:
        """The check asks a real query. A server that dies is down by its ICMP messages, and before that its queries
        go to the other at once; it comes back up."""
        check = f"{{ type = \"udp\", send = '{QUERY}', expect = '\\x12\\x34', interval = \"0.2s\" }}"
        place = free_udp_port()
        with Dnsmasq("192.0.2.2") as second, contextlib.ExitStack() as life:
            first = life.enter_context(Dnsmasq("192.0.2.1", place))
            balancer = life.enter_context(
                BalancerProcess(config=config(first.address, second.address, udp="responses = 1", check=check))
            )
            balancer.wait_for(r" is up: .* answered as expected", times=2)
            self.assertEqual(dig(balancer.addresses["l"], "a.test"), "192.0.2.1")
            first.__exit__(None, None, None)
            self.assertEqual(dig(balancer.addresses["l"], "a.test"), "192.0.2.2")
            balancer.wait_for(rf":{place} is down: .* refused the datagram")
            self.assertEqual(dig(balancer.addresses["l"], "a.test"), "192.0.2.2")
            first.__enter__()
            balancer.wait_for(rf":{place} is up: .* answered as expected", times=2)
            self.assertEqual(dig(balancer.addresses["l"], "a.test"), "192.0.2.1")

    def test_command_line(self) -> None:
        """``--udp PORT --to SERVER`` is all it takes; a stop waits for sessions, and a second one for nothing."""
        options = ("--udp", "127.0.0.1:0", "--to")
        with Dnsmasq("192.0.2.7") as server, BalancerProcess(*options, server.address) as balancer:
            balancer.wait_for(" is up: ")
            self.assertEqual(dig(balancer.addresses["udp-0"], "a.test"), "192.0.2.7")
            balancer.process.send_signal(signal.SIGTERM)
            balancer.wait_for(r"draining: 1 connection\(s\) may finish")


class TwistedNamesTests(TestCase):
    """Twisted's own resolver in front."""

    timeout = 170

    def asked(self, balancer: BalancerProcess) -> "Deferred[list[str]]":
        """The addresses that twisted.names finds."""
        resolver = client.Resolver(servers=[balancer.addresses["l"]], reactor=reactor)
        found: Deferred[list[str]] = resolver.lookupAddress("a.test", [PATIENCE])
        return found.addCallback(
            lambda sections: [answer.payload.dottedQuad() for answer in sections[0] if answer.type == dns.A]
        )

    async def test_lookup(self) -> None:
        """twisted.names gets its answers from dnsmasq through the balancer."""
        with contextlib.ExitStack() as life:
            server = await deferToThread(life.enter_context, Dnsmasq("192.0.2.9"))
            process = BalancerProcess(config=config(server.address, udp="responses = 1"))
            balancer = await deferToThread(life.enter_context, process)
            for _ in range(3):
                self.assertEqual(await self.asked(balancer), ["192.0.2.9"])


class DatagramTests(UdpTestCase):
    def test_sizes(self) -> None:
        """Datagrams from nothing to the largest pass both ways as they are, on IPv4 and IPv6."""
        for host, listen in (("127.0.0.1", ""), ("::1", r"udp6:0:interface=\\:\\:1")):
            server = self.serve(echo(), host)
            with BalancerProcess(config=config(server.address, listen=listen)) as balancer:
                sock = self.peer(balancer)
                for size in (0, 1, 512, 1500, 9000, 65507, 0):
                    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
                    self.assertEqual(self.ask(sock, data), data)

    def test_boundaries(self) -> None:
        """Many answers to one datagram come as many datagrams, in order."""
        server = self.serve(lambda data: [b"%d" % number for number in range(50)])
        with BalancerProcess(config=config(server.address)) as balancer:
            sock = self.peer(balancer)
            sock.send(b"?")
            self.assertEqual([sock.recv(100) for _ in range(50)], [b"%d" % number for number in range(50)])

    def test_every_address(self) -> None:
        """At every address of the machine answers come from the one that was asked."""
        server = self.serve(echo())
        with BalancerProcess(config=config(server.address, listen="udp:0")) as balancer:
            balancer.addresses["l"] = ("127.0.0.3", balancer.addresses["l"][1])
            self.assertEqual(self.ask(self.peer(balancer), b"hello"), b"hello")

    def test_refused(self) -> None:
        """Where a server is gone the next one gets the question; after five refusals the first is ejected."""
        gone, server = free_udp_port(), self.serve(echo())
        with BalancerProcess(config=config(f"127.0.0.1:{gone}", server.address, udp="responses = 1")) as balancer:
            for _ in range(5):
                self.assertEqual(self.ask(self.peer(balancer)), b"?")
            balancer.wait_for(rf":{gone} is ejected|:{gone} .*ejected")
            balancer.wait_for("end=done .*attempts=2", times=5)
            self.assertEqual(self.ask(self.peer(balancer)), b"?")
            balancer.wait_for("end=done .*attempts=1")

    def test_nobody(self) -> None:
        """Where all are gone the session is over, and the log says that nobody listens there."""
        with BalancerProcess(config=config(f"127.0.0.1:{free_udp_port()}")) as balancer:
            self.peer(balancer).send(b"?")
            balancer.wait_for('end=connect_refused .*reason=".*Connection refused"')

    def test_limit(self) -> None:
        """Above its sessions a listener hears no other client, says so once, and serves those it has."""
        server = self.serve(echo())
        with BalancerProcess(config=config(server.address, more="max_connections = 2")) as balancer:
            first, second, third = (self.peer(balancer) for _ in range(3))
            self.assertEqual([self.ask(first), self.ask(second)], [b"?", b"?"])
            for _ in range(100):
                third.send(b"too many")
            balancer.wait_for("dropped: as many sessions as max_connections allows")
            self.assertEqual([self.ask(first), self.ask(second)], [b"?", b"?"])
            self.assertEqual((balancer.log.count("dropped"), server.received), (1, 4))

    def test_health_in_the_middle(self) -> None:
        """When a server goes down its clients' next datagrams go to another, from the same socket of the client."""
        check = '{ type = "udp", send = "ping", expect = "ping", interval = "0.1s" }'
        second = self.serve(echo(b"2"))
        with DatagramServer(echo(b"1")) as first:
            balancer = BalancerProcess(config=config(first.address, second.address, check=check)).__enter__()
            self.addCleanup(balancer.__exit__, None, None, None)
            balancer.wait_for(" is up: ", times=2)
            sock = self.peer(balancer)
            self.assertEqual(self.ask(sock), b"1?")
        balancer.wait_for(" is down: ")
        self.assertEqual(self.ask(sock), b"2?")

    def test_flood(self) -> None:
        """While datagrams flood in, a TCP listener of the same balancer is served."""
        server = self.serve(lambda data: [])
        tcp = '[upstream.t]\nservers = ["127.0.0.1:9"]\ncheck = "none"\n[listener.t]\n'
        tcp += 'listen = "tcp:0:interface=127.0.0.1"\nmode = "tcp"\nto = "t"\n'
        with BalancerProcess(config=config(server.address) + tcp, expect=2) as balancer, self.flooded(balancer, server):
            for _ in range(5):
                connection = socket.create_connection(balancer.addresses["t"], PATIENCE)
                with connection, self.assertRaises(ConnectionResetError):  # for nobody listens at its server
                    connection.recv(1)

    @contextlib.contextmanager
    def flooded(self, balancer: BalancerProcess, server: DatagramServer) -> Iterator[None]:
        """Clients that send without a pause."""
        code = (
            "import itertools, socket\n"
            "socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]\n"
            f"[sock.connect({balancer.addresses['l']!r}) for sock in socks]\n"
            "while True:\n    [sock.send(b'x') for sock in socks]\n"
        )
        with subprocess.Popen([sys.executable, "-c", code]) as flood:
            try:
                self.assertTrue(server.arrived.wait(PATIENCE))
                yield
            finally:
                flood.kill()


class ReloadTests(UdpTestCase):
    def test_sessions_go_on(self) -> None:
        """A reload keeps sessions where they are, and the clients that come get what it says; a listener that moves is
        open at both places until its sessions are over."""
        first = self.serve(lambda data: [b"1" + data] * (4 if data == b"c" else 1))
        second = self.serve(lambda data: [b"2" + data] * 2)
        udp = "responses = 2"
        with BalancerProcess(config=config(first.address, udp=udp, drain=PATIENCE)) as balancer:
            old = self.peer(balancer)
            self.assertEqual(self.ask(old, b"a"), b"1a")  # one more answer is expected: the session stays
            self.reload(balancer, config(second.address, udp=udp, drain=PATIENCE))
            balancer.wait_for("upstream u: .*removed")
            self.assertEqual(self.ask(old, b"b"), b"1b")
            self.assertEqual(self.ask(self.peer(balancer)), b"2?")
            place = free_udp_port()
            listen = f"udp:{place}:interface=127.0.0.1"
            self.reload(balancer, config(second.address, udp=udp, drain=PATIENCE, listen=listen))
            balancer.wait_for(f"is open at 127.0.0.1:{place}")
            self.assertEqual(self.ask(self.peer(balancer)), b"2?")
            self.assertEqual(self.ask(old, b"c"), b"1c")
            balancer.wait_for("end=done .*datagrams_in=3 datagrams_out=6")

    def reload(self, balancer: BalancerProcess, text: str) -> None:
        Path(balancer.options[balancer.options.index("--config") + 1]).write_text(text)
        balancer.process.send_signal(signal.SIGHUP)
