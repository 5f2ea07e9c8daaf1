"""Mode nat between hosts of network namespaces: who gets which connections, and what each side sees."""

import re
import socket
from collections import Counter

import pytest
from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.hosts import Hosts, place, unavailable
from balancer.testing.process import BalancerProcess

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")

VIP, VIP6 = "10.77.0.1", "fd77:0::1"
NO_CHECK = 'check = "none"'


def upstream(*servers: str, more: str = NO_CHECK) -> str:
    """An upstream."""
    return f"[upstream.web]\nservers = [{', '.join(servers)}]\n{more}\n"


def listener(listen: str = f"tcp:80:interface={VIP}", more: str = "") -> str:
    """A listener of mode nat."""
    return f'[listener.web]\nlisten = "{listen}"\nmode = "nat"\nto = "web"\n{more}\n'


def weighted(number: int, weight: int = 1, ipv6: bool = False) -> str:
    """A server."""
    return f'{{ address = "{place(number, ipv6)}", weight = {weight} }}'


class NatCase(SynchronousTestCase):
    """Hosts of this test's own."""

    def setUp(self) -> None:
        self.hosts = Hosts()
        self.hosts.__enter__()
        self.addCleanup(self.hosts.__exit__)

    def balancer(self, config: str, expect: int = 1) -> BalancerProcess:
        """A balancer on its host, until the end of the test."""
        process = BalancerProcess(config=config, expect=expect, prefix=self.hosts.within("b"))
        process.__enter__()
        self.addCleanup(process.__exit__, None, None, None)
        return process

    def rules(self, table: str = "inet twistd_balancer") -> str:
        """A table of the balancer's host, without what counts."""
        text = self.hosts.run("b", "nft", "list", "table", *table.split())
        return re.sub(r"packets \d+ bytes \d+", "", text)


class SharesTests(NatCase):
    """Who gets what."""

    def test_weighted_turns(self) -> None:
        """Any cycle of new connections is shared exactly by weight, and servers see the client's own address."""
        self.balancer(upstream(weighted(1, 1), weighted(2, 2), weighted(3, 3)) + listener())
        self.assertEqual(self.hosts.asked("c", VIP, 80, 12), Counter({"1": 2, "2": 4, "3": 6}))
        self.assertEqual(self.hosts.ask("c", VIP, 80)[1], "10.77.0.2")

    def test_random(self) -> None:
        """By chance every server gets some, and the one of weight 0 none."""
        self.balancer(
            upstream(weighted(1), weighted(2), weighted(3, 0), more=f'{NO_CHECK}\nbalance = "random"') + listener()
        )
        found = self.hosts.asked("c", VIP, 80, 60)
        self.assertEqual(set(found), {"1", "2"})

    def test_source(self) -> None:
        """A source meets one server; when a server leaves, only its own sources move, and they come back with it."""
        sources = [f"10.77.0.{last}" for last in range(10, 40)]
        for source in sources:
            self.hosts.run("c", "ip", "address", "add", f"{source}/24", "dev", "eth0")
        servers = [weighted(1), weighted(2), weighted(3)]
        text = upstream(*servers, more=f'{NO_CHECK}\nbalance = "source"') + listener()
        process = self.balancer(text)
        before = {source: self.hosts.ask("c", VIP, 80, source)[0] for source in sources}
        self.assertEqual(set(before.values()), {"1", "2", "3"})
        self.assertEqual({source: self.hosts.ask("c", VIP, 80, source)[0] for source in sources}, before)
        file = process.directory / "balancer.toml"
        file.write_text(text.replace('check = "none"', 'check = { type = "tcp", interval = "200ms", fall = 1 }'))
        self.hosts.stop(3)
        process.process.send_signal(1)
        process.wait_for(r"to 2 of 3 server")
        after = {source: self.hosts.ask("c", VIP, 80, source)[0] for source in sources}
        kept = {source for source in sources if before[source] != "3"}
        self.assertEqual({source: after[source] for source in kept}, {source: before[source] for source in kept})
        self.assertEqual(set(after.values()), {"1", "2"})
        self.hosts.start(3)
        process.wait_for(r"to 3 of 3 server", times=2)
        self.assertEqual({source: self.hosts.ask("c", VIP, 80, source)[0] for source in sources}, before)


class WaysTests(NatCase):
    """Which packets."""

    def test_ipv6(self) -> None:
        """IPv6 is translated as IPv4 is, at any address of the machine where none is named."""
        self.balancer(upstream(weighted(1, 1, True), weighted(2, 1, True)) + listener("tcp6:80"))
        self.assertEqual(self.hosts.asked("c", VIP6, 80, 4), Counter({"1": 2, "2": 2}))
        self.assertEqual(self.hosts.ask("c", "fd77:2::1", 80)[1], "fd77::2")

    def test_udp(self) -> None:
        """Each flow of UDP has one server, of either family of addresses, and answers come from where it asked."""
        self.balancer(
            upstream(weighted(1), weighted(2))
            + listener(f"udp:53:interface={VIP}")
            + f"[upstream.six]\nservers = [{weighted(3, 1, True)}]\n{NO_CHECK}\n"
            + '[listener.six]\nlisten = "udp6:53"\nmode = "nat"\nto = "six"\n',
            expect=2,
        )
        met = Counter[str]()
        for _ in range(4):
            with self.hosts.socket("c", socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.connect((VIP, 53))
                names = set()
                for _ in range(3):
                    asking.send(b"?")
                    names.add(asking.recv(100))
                (name,) = names
                met[name.decode()] += 1
        self.assertEqual(met, Counter({"1 10.77.0.2\n": 2, "2 10.77.0.2\n": 2}))
        with self.hosts.socket("c", socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.connect((VIP6, 53))
            asking.send(b"?")
            self.assertEqual(asking.recv(100), b"3 fd77::2\n")

    def test_own_connections(self) -> None:
        """The machine's own connections to the listener's address are forwarded too, unless that is turned off."""
        self.balancer(
            upstream(weighted(1), weighted(2))
            + listener()
            + f'[listener.off]\nlisten = "tcp:81:interface={VIP}"\nmode = "nat"\nto = "web"\n'
            + "nat = { local = false }\n",
            expect=2,
        )
        self.assertEqual(self.hosts.asked("b", VIP, 80, 4), Counter({"1": 2, "2": 2}))
        self.assertEqual(self.hosts.asked("c", VIP, 81, 4), Counter({"1": 2, "2": 2}))
        with self.assertRaises(ConnectionRefusedError):
            self.hosts.ask("b", VIP, 81)

    def test_source_addresses(self) -> None:
        """With masquerade the servers see the interface's address, with an address that one; servers that do not route
        back through the balancer answer then, too."""
        for number in (1, 2, 3):
            self.hosts.run(str(number), "ip", "route", "del", "default")
        other = f'[listener.other]\nlisten = "tcp:81:interface={VIP}"\nmode = "nat"\nto = "one"\n'
        self.balancer(
            upstream(weighted(2), weighted(3))
            + listener(more='nat = { source = "masquerade" }')
            + f"[upstream.one]\nservers = [{weighted(1)}]\n{NO_CHECK}\n"
            + f'{other}nat = {{ source = "10.77.1.1" }}\n',
            expect=2,
        )
        self.assertEqual({self.hosts.ask("c", VIP, 80) for _ in range(4)}, {("2", "10.77.2.1"), ("3", "10.77.3.1")})
        self.assertEqual(self.hosts.ask("c", VIP, 81), ("1", "10.77.1.1"))

    def test_no_server(self) -> None:
        """While no server is available connections are refused at once, TCP by a reset and UDP by ICMP; and answered
        again when one is back."""
        config = upstream(
            weighted(1), more='check = { type = "tcp", interval = "200ms", fall = 1 }\npanic_threshold = 0'
        )
        process = self.balancer(
            config + listener() + f'[listener.dns]\nlisten = "udp:53:interface={VIP}"\nmode = "nat"\nto = "web"\n',
            expect=2,
        )
        process.wait_for("1 of 1 server")
        before = process.seen("to 0 of 1 server")
        self.hosts.stop(1)
        process.wait_for("to 0 of 1 server", before + 1)
        for host in "cb":
            with self.assertRaises(ConnectionRefusedError):
                self.hosts.ask(host, VIP, 80)
        with self.hosts.socket("c", socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect((VIP, 53))
            asking.send(b"?")
            self.assertRaises(ConnectionRefusedError, asking.recv, 100)
        refused = self.hosts.run("b", "nft", "list", "counter", "inet", "twistd_balancer", "refused/web")
        self.assertIn("packets 2 ", refused)
        before = process.seen("to 1 of 1 server")
        self.hosts.start(1)
        process.wait_for("to 1 of 1 server", before + 1)
        self.assertEqual(self.hosts.ask("c", VIP, 80)[0], "1")
