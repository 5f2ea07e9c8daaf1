"""``twistd balancer`` as a user starts it: options, mistakes, ports already taken, daemon."""

import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.peers import SocketServer
from balancer.testing.process import PATIENCE, BalancerProcess, twistd

FIVE_MISTAKES = """\
[upstream.web]
servers = ["10.0.0.1:80", "10.0.0.2"]
balence = "roundrobin"
slow_start = "soon"

[listener.public]
listen = "tcp:8080"
mode = "htp"
to = "wbe"
"""

LACKING = """\
[upstream.a]
servers = ["10.0.0.1:443"]
tls = { ca = "/none/a.pem" }
check = "none"
[upstream.b]
servers = ["10.0.0.1:443"]
check = { type = "tls", ca = "/none/b.pem" }
[listener.l]
listen = "nosuch:1"
to = "a"
"""

CUT = """\
drain = 0
[upstream.a]
servers = ["{}"]
check = "none"
[listener.l]
listen = "tcp:0:interface=127.0.0.1"
mode = "{}"
to = "a"
"""


def run(*options: str, cwd: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run ``twistd -n balancer OPTIONS`` to its end."""
    return subprocess.run(
        [*twistd(), "--nodaemon", "--pidfile=", "balancer", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        cwd=cwd,
    )


def answer(connection: socket.socket) -> None:
    """An HTTP server that answers each request with the same few bytes."""
    data = b""
    while True:
        more = connection.recv(65536)
        if not more:
            return
        data += more
        while b"\r\n\r\n" in data:
            _, data = data.split(b"\r\n\r\n", 1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")


def begin(connection: socket.socket) -> None:
    """An HTTP/1.0 server that begins a response whose end is the connection's, and waits for the client to leave."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\na part")
    connection.recv(65536)


def get(address: tuple[str, int], path: str = "/") -> bytes:
    """One GET on a connection of its own; the whole answer."""
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while more := client.recv(65536):
            received += more
    return received


class CheckTests(SynchronousTestCase):
    """``--check``."""

    def test_five_mistakes_are_reported_at_once(self) -> None:
        """A file with five mistakes gets five reports with file, line, key, found and allowed, and a failing exit."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "five.toml"
            file.write_text(FIVE_MISTAKES)
            checked = run("--config", str(file), "--check")
            started = run("--config", str(file))
        said = checked.stdout + checked.stderr
        self.assertNotEqual(checked.returncode, 0)
        for line, key, found in [
            (2, "servers", "10.0.0.2"),
            (3, "balence", "balance"),
            (4, "slow_start", "soon"),
            (8, "mode", "htp"),
            (9, "to", "wbe"),
        ]:
            with self.subTest(key=key):
                self.assertRegex(said, rf"five\.toml:{line}\b[^\n]*{key}")
                self.assertIn(found, said)
        self.assertIn("web", said)
        self.assertNotEqual(started.returncode, 0)
        self.assertEqual(started.stdout + started.stderr, said)

    def test_a_good_file_passes(self) -> None:
        """A good file exits 0, from any directory, without opening a listener."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "good.toml"
            file.write_text('[upstream.a]\nservers = ["127.0.0.1:9"]\n[listener.l]\nlisten = "tcp:1"\nto = "a"\n')
            checked = run("--config", "good.toml", "--check", cwd=directory)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("good", checked.stdout)

    def test_a_missing_file_is_named(self) -> None:
        """A file that is not there is a clear message and a failing exit, not a traceback."""
        checked = run("--config", "no-such-file.toml", "--check")
        self.assertNotEqual(checked.returncode, 0)
        self.assertIn("no-such-file.toml", checked.stderr)
        self.assertNotIn("Traceback", checked.stderr)

    def test_what_the_machine_lacks_is_reported_at_once(self) -> None:
        """Files and kinds of endpoints that are missing are told by ``--check``, all of them, and the exit fails."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "lacking.toml"
            file.write_text(LACKING)
            checked = run("--config", str(file), "--check")
        said = checked.stdout + checked.stderr
        self.assertNotEqual(checked.returncode, 0)
        for words in ('upstream "a": ca = "/none/a.pem"', 'upstream "b", its check: ca = "/none/b.pem"', '"nosuch:1"'):
            self.assertIn(words, said)
        self.assertNotIn("Traceback", said)

    def test_options_without_a_meaning_are_refused(self) -> None:
        """What ``--demo`` would not heed, or cannot read, is a message of a few lines that names the option."""
        for options in (["--balance", "first"], ["--access-log", "-"], ["--check"], ["--cache"], ["--http", "x"]):
            refused = run("--demo", *options)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(options[0], refused.stderr)
            self.assertNotIn("Traceback", refused.stderr)

    def test_nothing_to_balance_is_a_clear_message(self) -> None:
        """Without a file, servers or --demo the message says what to give."""
        checked = run()
        self.assertNotEqual(checked.returncode, 0)
        self.assertIn("--config", checked.stderr)
        self.assertIn("--to", checked.stderr)

    def test_mistakes_are_told_in_options(self) -> None:
        """A certificate that is not there, a key that is not said and servers that are missing are told with the option
        that is to be changed, and with no key of a file."""
        with tempfile.TemporaryDirectory() as directory:
            pem = Path(Authority(directory).issue("localhost"))
            bare = pem.with_name("bare.pem")
            bare.write_text("-----BEGIN CERTIFICATE-----" + pem.read_text().partition("-----BEGIN CERTIFICATE-----")[2])
            bare.write_text(bare.read_text().partition("-----BEGIN PRIVATE KEY-----")[0])
            for options, words in (
                (["--https", "0", "--cert", "nope.pem", "--to", "a:1"], "--cert "),
                (["--https", "0", "--cert", str(bare), "--to", "a:1"], "name its file with --key"),
                (["--http", "8080"], "--to is missing"),
                (["--demo", "--to", "a:1"], "--demo and --to were given"),
                (["--tcp", "0", "--to", "a:1", "--cache"], "together with --http or --https"),
                (["--config", "a.toml", "--cache"], "--cache goes with --to; with --config the file says it"),
                (["--http", "localhost:80", "--to", "a:1"], "IP:PORT"),
            ):
                refused = run(*options, cwd=directory)
                self.assertNotEqual(refused.returncode, 0)
                self.assertIn(words, refused.stderr)
                self.assertNotIn("tls.", refused.stderr)
        said = run("--help").stdout
        self.assertIn("IP:PORT or [IPV6]:PORT", " ".join(said.split()))


class StartTests(SynchronousTestCase):
    """Starting and stopping in the foreground."""

    def test_http_and_tcp_without_a_file(self) -> None:
        """``--http`` and ``--tcp`` with ``--to`` serve both ways."""
        with (
            SocketServer(answer) as server,
            BalancerProcess(
                "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--to", server.address, expect=2
            ) as balancer,
        ):
            self.assertEqual(len(balancer.addresses), 2)
            for address in balancer.addresses.values():
                self.assertTrue(get_first(address).endswith(b"hello\n"))

    def test_a_cache_without_a_file(self) -> None:
        """With ``--cache`` what the server allows to be kept is asked for once, and the log says so."""
        asked = []

        def lasting(connection: socket.socket) -> None:
            data = b""
            while more := connection.recv(65536):
                data += more
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    asked.append(head)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\nyes")

        with (
            SocketServer(lasting) as server,
            BalancerProcess(
                "--http", "127.0.0.1:0", "--to", server.address, "--cache", "--access-log", "-", expect=1
            ) as balancer,
        ):
            (address,) = balancer.addresses.values()
            self.assertTrue(get(address).endswith(b"yes"))
            self.assertIn(b"Cache-Status: balancer; hit; ttl=", get(address))
            balancer.wait_for(r" cache=miss ")
            balancer.wait_for(r" cache=hit ")
        self.assertEqual(len([head for head in asked if head.startswith(b"GET")]), 1)

    def test_the_demonstration(self) -> None:
        """``--demo`` serves HTTP and TCP, prints what to try, and its switch takes a backend out with a reason."""
        with BalancerProcess("--demo", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", expect=2) as balancer:
            balancer.wait_for(r"curl http://127\.0\.0\.1:\d+/switch/off")
            balancer.wait_for(r"127\.0\.0\.1:\d+ is up: ", times=3)
            http = balancer.addresses["http"]
            seen = {get(http).rsplit(b"hello from ", 1)[1].strip() for _ in range(3)}
            self.assertEqual(seen, {b"green", b"blue", b"slow"})
            self.assertIn(b"blue is off", get(http, "/switch/off"))
            balancer.wait_for(r"127\.0\.0\.1:\d+ is down: .*refused")
            self.assertIn(b"blue is on", get(http, "/switch/on"))
            balancer.wait_for(r"127\.0\.0\.1:\d+ is up: ", times=4)

    def test_a_port_already_taken_names_the_option(self) -> None:
        """A port in use ends the start with the address, the reason and the option that changes it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            started = run("--demo", "--http", str(port))
        self.assertNotEqual(started.returncode, 0)
        self.assertIn(str(port), started.stderr)
        self.assertIn("in use", started.stderr)
        self.assertIn("choose another port with --http", started.stderr)
        self.assertNotIn("--tcp", started.stderr)
        self.assertNotIn("Traceback", started.stderr)


def get_first(address: tuple[str, int]) -> bytes:
    """One GET on a connection that stays open; what the first answer brings."""
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        received = b""
        while not received.endswith(b"hello\n"):
            more = client.recv(65536)
            if not more:
                break
            received += more
    return received


class TlsTests(SynchronousTestCase):
    """TLS in front."""

    def test_mode_tcp_agrees_on_no_application_protocol(self) -> None:
        """A client that offers protocols is served, and told none: in mode tcp nobody knows which one it is."""
        with tempfile.TemporaryDirectory() as directory, SocketServer(answer) as server:
            authority = Authority(directory)
            key = authority.issue("localhost")
            plain_port, keys = "tcp:0:interface=127.0.0.1", f":privateKey={key}:certKey={key}"
            config = CUT.format(server.address, "tcp").replace(plain_port, f"ssl{plain_port[3:]}{keys}")
            context = ssl.create_default_context(cafile=authority.file)
            context.set_alpn_protocols(["h2", "http/1.1"])
            with BalancerProcess(config=config) as balancer:
                plain = socket.create_connection(balancer.addresses["l"], PATIENCE)
                with context.wrap_socket(plain, server_hostname="localhost") as client:
                    self.assertIsNone(client.selected_alpn_protocol())
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 "))


class StopTests(SynchronousTestCase):
    """What clients see of a stop."""

    def test_what_the_drain_leaves_is_reset(self) -> None:
        """A response that the stop cuts off ends with a reset, in both modes: nobody takes a part for the whole."""
        for mode in ("http", "tcp"):
            with (
                SocketServer(begin) as server,
                BalancerProcess(config=CUT.format(server.address, mode)) as balancer,
                socket.create_connection(balancer.addresses["l"], PATIENCE) as client,
            ):
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                received = b""
                while not received.endswith(b"a part"):
                    received += client.recv(65536)
                balancer.process.send_signal(signal.SIGTERM)
                self.assertRaises(ConnectionResetError, client.recv, 65536)


class DaemonTests(SynchronousTestCase):
    """``twistd balancer`` without ``-n``."""

    def daemon(self, directory: str, *twistd_options: str) -> tuple[int, tuple[str, int]]:
        """Start a daemon; its process id and where it listens."""
        pidfile, logfile = Path(directory) / "balancer.pid", Path(directory) / "balancer.log"
        with SocketServer(answer) as server:
            config = Path(directory) / "balancer.toml"
            config.write_text(
                f'access_log = {{ path = "access.log" }}\n'
                f'[upstream.a]\nservers = ["{server.address}"]\n'
                f'[listener.l]\nlisten = "tcp:0:interface=127.0.0.1"\nto = "a"\n'
            )
            started = subprocess.run(
                [*twistd(), f"--pidfile={pidfile}", f"--logfile={logfile}", f"--rundir={directory}", *twistd_options]
                + ["balancer", "--config", str(config)],
                capture_output=True,
                text=True,
                timeout=PATIENCE * 2,
            )
            self.assertEqual(started.returncode, 0, started.stderr)
            pid = int(pidfile.read_text())
            self.addCleanup(self.end, pid)
            match = re.search(r"listener 'l' is open at 127\.0\.0\.1:(\d+)", logfile.read_text())
            assert match is not None, logfile.read_text()
            address = ("127.0.0.1", int(match[1]))
            self.assertTrue(get(address).endswith(b"hello\n"))
        return pid, address

    def end(self, pid: int) -> None:
        """Stop a daemon and see it gone."""
        try:
            handle = os.pidfd_open(pid)
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        import select

        gone, _, _ = select.select([handle], [], [], PATIENCE)
        os.close(handle)
        self.assertTrue(gone, "the daemon did not end")

    def test_it_forks_writes_its_pid_and_serves(self) -> None:
        """The daemon detaches, its pidfile names it, it serves, and SIGTERM removes the pidfile."""
        with tempfile.TemporaryDirectory() as directory:
            pid, _ = self.daemon(directory)
            self.assertNotEqual(os.getsid(pid), os.getsid(0))
            self.end(pid)
            self.assertFalse((Path(directory) / "balancer.pid").exists())

    def test_it_drops_its_privileges(self) -> None:
        """Started by root with --uid and --gid, the daemon serves as that user."""
        if os.getuid() != 0:
            raise unittest.SkipTest("dropping privileges needs root")
        nobody = pwd.getpwnam("nobody")
        with tempfile.TemporaryDirectory() as directory:
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
            pid, _ = self.daemon(directory, f"--uid={nobody.pw_uid}", f"--gid={nobody.pw_gid}")
            status = Path(f"/proc/{pid}/status").read_text()
            self.assertRegex(status, rf"Uid:\s+{nobody.pw_uid}\s+{nobody.pw_uid}")
            self.end(pid)

    def test_a_taken_port_is_told_to_whoever_started_it(self) -> None:
        """A daemon that cannot listen exits non-zero and says why on the terminal."""
        with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as taken:
            started = subprocess.run(
                [*twistd(), "--pidfile=x.pid", "--logfile=x.log", f"--rundir={directory}", "balancer"]
                + ["--http", f"127.0.0.1:{taken.getsockname()[1]}", "--to", "127.0.0.1:9"],
                capture_output=True,
                text=True,
                timeout=PATIENCE * 2,
                cwd=directory,
            )
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("in use", started.stdout + started.stderr)


class PluginTests(SynchronousTestCase):
    """The plugin is found."""

    def test_twistd_and_twist_list_it(self) -> None:
        """``twistd --help`` and ``twist --help`` list ``balancer`` from this (editable) installation."""
        for program in ("twistd", "twist"):
            with self.subTest(program=program):
                path = Path(sys.executable).with_name(program)
                said = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=PATIENCE * 2).stdout
                self.assertRegex(said, r"(?m)^ +balancer +A layer 4 and layer 7 load balancer")
