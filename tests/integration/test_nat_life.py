"""Mode nat through changes: verdicts, drains, reloads, restarts, crashes, other people's rules, missing privilege."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from balancer.testing.hosts import Talk, place, unavailable
from balancer.testing.process import PATIENCE, BalancerProcess, twistd
from tests.integration.test_nat_forwarding import VIP, NatCase, listener, upstream, weighted

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")

PROBED = 'check = { type = "tcp", interval = "200ms", fall = 1 }'

FOREIGN = """
table inet foreign {
    counter seen { }
    chain prerouting {
        type nat hook prerouting priority dstnat
        tcp dport 8080 dnat ip to 10.77.2.2:8000
    }
    chain input {
        type filter hook input priority filter
        tcp dport 22 counter name "seen"
    }
}
table ip twistd_balancer {
    chain mine { }
}
"""
"""What somebody else has there: a DNAT of their own, and a table that has our name in another family."""

PROGRAM = r"""
import json, sys
from balancer.tap import select_reactor
select_reactor()
from twisted.internet import reactor, stdio
from twisted.protocols.basic import LineOnlyReceiver
from balancer.config.reader import read
from balancer.service import BalancerService, vocabulary
service = BalancerService(read(sys.argv[1], vocabulary()), reactor)
class Operator(LineOnlyReceiver):
    delimiter = b"\n"
    def lineReceived(self, line):
        word, *rest = line.decode().split()
        if word == "show":
            told = {b.address: [b.translated.connections, b.translated.packets_in, b.translated.bytes_in,
                b.translated.packets_out, b.translated.bytes_out] if b.translated else None
                for b in service.registry.backends.values()}
            print(json.dumps(told), flush=True)
            return
        before = service.nat.transactions
        getattr(service, word)(*rest)
        def look():
            if service.nat.transactions > before:
                print(json.dumps(service.nat.lag), flush=True)
            else:
                reactor.callLater(0.002, look)
        look()
def ready():
    if all(listener.address for listener in service.listeners.values()):
        print("ready", flush=True)
    else:
        reactor.callLater(0.01, ready)
service.privilegedStartService()
service.startService()
reactor.callWhenRunning(lambda: stdio.StandardIO(Operator()))
reactor.callWhenRunning(ready)
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""
"""A balancer with an operator at standard input: ``drain HOST:PORT``, ``enable …``, ``show``."""


class Operated:
    """:data:`PROGRAM` on the balancer's host."""

    def __init__(self, case: NatCase, config: str) -> None:
        file = Path("operated.toml").absolute()
        file.write_text(config)
        command = [*case.hosts.within("b"), sys.executable, "-c", PROGRAM, str(file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        case.addCleanup(self.close)
        self.expect_ready()

    def expect_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def say(self, words: str) -> Any:
        """Give an order; what is answered when it is carried out."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class ChangeTests(NatCase):
    """While it runs."""

    def test_verdict(self) -> None:
        """A verdict reaches the rules: from then on every new connection meets a server that answers."""
        process = self.balancer(upstream(weighted(1), weighted(2), weighted(3), more=PROBED) + listener())
        process.wait_for("to 3 of 3 server")
        self.hosts.stop(2)
        # Not just any rules with two: at the start one may have come up after the others.
        told = re.compile(re.escape(place(2)) + r" is down.*to 2 of 3 server", re.DOTALL)
        process.wait_until(lambda: told.search(process.log) is not None, repr(told.pattern))
        self.assertEqual(set(self.hosts.asked("c", VIP, 80, 8)), {"1", "3"})
        lags = re.findall(r"(\d+) ms after the change \('web' to 2 of 3", process.log)
        print(f"verdict to rules: {lags} ms")
        down, rules = process.log.index("is down"), process.log.rindex("to 2 of 3")
        self.assertLess(down, rules)

    def test_drain(self) -> None:
        """A drained server gets no new connections; those it has go on, and are counted."""
        operated = Operated(self, "[nat]\ncounters = 0.1\n" + upstream(weighted(1), weighted(2)) + listener())
        with self.hosts.connection("c", VIP, 80) as first, self.hosts.connection("c", VIP, 80) as second:
            drained = first if first.ask()[0] == "1" else second
            self.assertEqual(drained.ask()[0], "1")
            lag = operated.say(f"drain {place(1)}")
            print(f"drain to rules: {lag} s")
            self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"2": 4})
            for _ in range(20):
                self.assertEqual(drained.ask()[0], "1")
            operated.say(f"enable {place(1)}")
            self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 2, "2": 2})
        shown: Any = {}
        while not all(shown.values()) or sum(counted[0] for counted in shown.values()) < 10:
            shown = operated.say("show")
        self.assertEqual({address: counted[0] for address, counted in shown.items()}, {place(1): 3, place(2): 7})
        for connections, packets_in, bytes_in, packets_out, bytes_out in shown.values():
            self.assertGreater(packets_in, 4 * connections)
            self.assertGreater(packets_out, 3 * connections)
            self.assertGreater(bytes_in, 52 * packets_in)
            self.assertGreater(bytes_out, 52 * packets_out)

    def test_reload(self) -> None:
        """A reload changes servers, weights and the listener's place; connections go on, even those to a server that
        left, and the old place is refused."""
        config = upstream(weighted(1)) + listener()
        process = self.balancer(config)
        with self.hosts.connection("c", VIP, 80) as talk:
            self.assertEqual(talk.ask()[0], "1")
            new = upstream(weighted(2), weighted(3, 2)) + listener(f"tcp:90:interface={VIP}")
            (process.directory / "balancer.toml").write_text(new)
            process.process.send_signal(signal.SIGHUP)
            process.wait_for(r"to 2 of 2 server")
            self.assertEqual(talk.ask()[0], "1")
            self.assertEqual(self.hosts.asked("c", VIP, 90, 6), {"2": 2, "3": 4})
            with self.assertRaises(ConnectionRefusedError):
                self.hosts.ask("c", VIP, 80)
            self.assertNotIn("10.77.1.2", self.rules())
            self.assertEqual(talk.ask()[0], "1")

    def test_last_listener_leaves(self) -> None:
        """With the last listener of the mode the table goes; another mode takes its place."""
        config = upstream(weighted(1)) + listener()
        process = self.balancer(config)
        (process.directory / "balancer.toml").write_text(config.replace('"nat"', '"tcp"'))
        process.process.send_signal(signal.SIGHUP)
        process.wait_for("no listener is left")
        self.assertEqual(self.hosts.run("b", "nft", "list", "ruleset"), "")
        self.assertEqual(self.hosts.ask("c", VIP, 80), ("1", "10.77.1.1"))

    def test_flushed(self) -> None:
        """Where somebody flushes all rules of the machine, ours are made anew."""
        process = self.balancer("[nat]\ncounters = 0.1\n" + upstream(weighted(1)) + listener())
        before = self.rules()
        self.hosts.run("b", "nft", "flush", "ruleset")
        process.wait_for("the kernel forwards by the new rules", times=2)
        self.assertEqual(self.rules(), before)
        self.assertEqual(self.hosts.ask("c", VIP, 80)[0], "1")


class RestartTests(NatCase):
    """Ends and beginnings."""

    def test_removed(self) -> None:
        """A clean stop takes the table out; other people's rules are untouched from beginning to end."""
        self.hosts.run("b", "nft", "-f", "-", text=FOREIGN)
        foreign = self.hosts.run("b", "nft", "-a", "list", "ruleset")
        with BalancerProcess(config=upstream(weighted(1)) + listener(), prefix=self.hosts.within("b")):
            self.assertEqual(self.hosts.ask("c", VIP, 80)[0], "1")
            self.assertEqual(self.hosts.ask("c", VIP, 8080)[0], "2")
            self.assertIn(foreign, self.hosts.run("b", "nft", "-a", "list", "ruleset"))
        self.assertEqual(self.hosts.run("b", "nft", "-a", "list", "ruleset"), foreign)

    def test_kept(self) -> None:
        """With on_stop = "keep" connections survive a restart, and new ones are served while no balancer runs."""
        config = '[nat]\non_stop = "keep"\n' + upstream(weighted(1), weighted(2)) + listener()
        with BalancerProcess(config=config, prefix=self.hosts.within("b")) as first:
            talk = self.enter(self.hosts.connection("c", VIP, 80))
            name = talk.ask()[0]
            first.process.send_signal(signal.SIGTERM)
            first.process.wait(PATIENCE)
        self.assertEqual(talk.ask()[0], name)
        self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 2, "2": 2})
        rules = self.rules()
        self.balancer(config)
        self.assertEqual(self.rules(), rules)
        self.assertEqual(talk.ask()[0], name)
        self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 2, "2": 2})

    def test_kept_till_known(self) -> None:
        """What was kept serves on at a start until the servers were probed: one that is down gets nothing meanwhile."""
        config = '[nat]\non_stop = "keep"\n' + upstream(weighted(1), weighted(2), more=PROBED) + listener()
        with BalancerProcess(config=config, prefix=self.hosts.within("b")) as first:
            self.hosts.stop(2)
            first.wait_for("to 1 of 2 server")
            first.process.send_signal(signal.SIGTERM)
            first.process.wait(PATIENCE)
        process = self.balancer(config)
        self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 4})
        self.assertNotIn("to 2 of 2 server", process.log)

    def test_crash(self) -> None:
        """What a crash leaves is replaced, never doubled: connections go on, and so do the counters."""
        config = upstream(weighted(1), weighted(2)) + listener()
        first = BalancerProcess(config=config, prefix=self.hosts.within("b"))
        with first:
            talk = self.enter(self.hosts.connection("c", VIP, 80))
            name = talk.ask()[0]
            rules = self.rules()
            first.process.kill()
            first.process.wait(PATIENCE)
        self.assertEqual(self.rules(), rules)
        self.hosts.run("b", "nft", "add", "rule", "inet", "twistd_balancer", "prerouting", "tcp", "dport", "1", "drop")
        self.balancer(config)
        self.assertEqual(self.rules(), rules)
        self.assertEqual(talk.ask()[0], name)
        self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 2, "2": 2})
        counted = self.hosts.run("b", "nft", "list", "counters", "table", "inet", "twistd_balancer")
        new = re.findall(r"counter new/\S+ \{\s+packets (\d+)", counted)
        self.assertEqual(sum(map(int, new)), 5)

    def enter(self, manager: AbstractContextManager[Talk]) -> Talk:
        """A connection until the end of the test."""
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()


class PrivilegeTests(NatCase):
    """Without the privilege."""

    WITHOUT = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")

    def start(self, config: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """A start that is to end by itself."""
        Path("b.toml").write_text(config)
        command = [*self.hosts.within("b"), *self.WITHOUT, *twistd(), "-n", "--pidfile=", "balancer", *options]
        return subprocess.run(
            [*command, "--config", os.path.abspath("b.toml")], capture_output=True, text=True, timeout=PATIENCE
        )

    def test_refused(self) -> None:
        """A start and --check name the listener, the cause and the remedy."""
        for options in ((), ("--check",)):
            ended = self.start(upstream(weighted(1)) + listener(), *options)
            self.assertNotEqual(ended.returncode, 0)
            self.assertRegex(ended.stderr, 'listener "web".*Operation not permitted.*CAP_NET_ADMIN')

    def test_fallback(self) -> None:
        """With fallback = "tcp" this process forwards, and says so; nothing is asked of the kernel."""
        config = upstream(weighted(1), weighted(2)) + listener(more='nat = { fallback = "tcp" }')
        self.assertIn("warning: listener", self.start(config, "--check").stdout)
        prefix = [*self.hosts.within("b"), *self.WITHOUT]
        with BalancerProcess(config=config, prefix=prefix) as process:
            self.assertEqual(self.hosts.asked("c", VIP, 80, 4), {"1": 2, "2": 2})
            self.assertEqual(self.hosts.ask("c", VIP, 80)[1][:6], "10.77.")
            self.assertRegex(process.log, "forwards in this process, as mode tcp: .*CAP_NET_ADMIN")
            self.assertEqual(self.hosts.run("b", "nft", "list", "ruleset"), "")

    def test_check(self) -> None:
        """With the privilege --check is content, leaves nothing behind, and warns where packets are not forwarded."""
        Path("b.toml").write_text(upstream(weighted(1), weighted(2)) + listener())
        self.hosts.switch("b", "net/ipv4/ip_forward", "0")
        told = self.hosts.run("b", *twistd(), "balancer", "--check", "--config", os.path.abspath("b.toml"))
        self.assertIn("warning: net.ipv4.ip_forward is off", told)
        self.assertEqual(self.hosts.run("b", "nft", "list", "ruleset"), "")
